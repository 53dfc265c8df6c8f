"""Events through crashes: how many are lost when the mesh's process, the broker or a receiver is killed mid-way.

A journal on SQLite gets its events while one process delivers them to a stream of a real NATS server and to a webhook.
Again and again one of the three is ended with SIGKILL, mid-way, and started anew. Then both ends are held against the
journal: lost, out of order of their key, and how many came twice. The last line printed is the JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.nats_server import NatsServer, listens
from contracts.events import Fact
from mldl_ray.bridges.mesh import Mesh
from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal

KEYS = 20
FACTS_AN_APPEND = 4
PATIENCE_S = 1200.0
STREAM = "mldl"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--crashes", type=int, default=12, help="in turns: the pump, the broker, the receiver")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-events-") as folder:
        print(json.dumps({"bench": "events"} | run(Path(folder), asked.events, asked.crashes)))


def run(folder: Path, events: int, crashes: int) -> dict[str, Any]:
    """Deliver events through crashes.

    Returns:
        ``{events, crashes, seconds, nats{lost, out_of_order, twice}, webhook{…}, verified}``.
    """
    url = f"sqlite:///{folder / 'journal.db'}"
    journal, sides = SqlJournal(url, SystemClock()), _Sides(folder, url)
    mesh = Mesh(journal, SystemClock())
    mesh.subscribe(f"http://127.0.0.1:{sides.port}/", secret="a shared secret", by="bench")
    mesh.close()
    began = time.monotonic()
    producer = threading.Thread(target=_produce, args=(journal, events), daemon=True)
    try:
        sides.start()
        producer.start()
        told = [sides.crash(n, (n + 1) * events // (crashes + 1)) for n in range(crashes)]
        producer.join()
        sides.wait_all(events)
        seconds = time.monotonic() - began
        truth = [(e.id, e.subject) for e in _all_events(journal)]
        found = {"nats": _compared(truth, sides.in_stream()), "webhook": _compared(truth, sides.in_file())}
    finally:
        sides.stop()
    verified = journal.verify().ok
    journal.close()
    return {"events": len(truth), "crashes": told, "seconds": round(seconds, 1)} | found | {"verified": verified}


class _Sides:
    """The three processes that may die."""

    def __init__(self, folder: Path, journal_url: str) -> None:
        self._url, self._file, self.port = journal_url, folder / "received.txt", _free_port()
        self._file.touch()
        self._nats = NatsServer(folder / "nats", _free_port())
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._nats.start()
        self._begin("receiver", "receive", str(self.port), str(self._file))
        listens(self.port)
        self._begin("pump", "pump", self._url, self._nats.url)

    def crash(self, number: int, at: int) -> str:
        """Kill one of them once so many events have arrived at the one that has fewer; start it again."""
        self._until(at)
        who = ("pump", "broker", "receiver")[number % 3]
        if who == "broker":
            self._nats.kill()
            time.sleep(0.2)
            self._nats.start()
        else:
            self._end(who)
            time.sleep(0.2)
            arguments = {
                "pump": ("pump", self._url, self._nats.url),
                "receiver": ("receive", str(self.port), str(self._file)),
            }
            self._begin(who, *arguments[who])
        return who

    def wait_all(self, events: int) -> None:
        self._until(events)

    def in_stream(self) -> list[tuple[str, str]]:
        return [(event["id"], event["subject"]) for _, event in self._nats.messages(STREAM)]

    def in_file(self) -> list[tuple[str, str]]:
        return [(line.split(" ")[0], line.split(" ")[1]) for line in self._file.read_text().splitlines()]

    def stop(self) -> None:
        for who in list(self._running):
            self._end(who)
        self._nats.kill()

    def _until(self, arrived: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            in_file = len({line.split(" ")[0] for line in self._file.read_text().splitlines()})
            if min(in_file, self._nats.count(STREAM)) >= arrived:
                return
            time.sleep(0.2)
        raise AssertionError(f"{arrived} events did not arrive within {PATIENCE_S:g} s")

    def _begin(self, who: str, *arguments: str) -> None:
        self._running[who] = subprocess.Popen([sys.executable, "-m", "bench.event_sides", *arguments])

    def _end(self, who: str) -> None:
        process = self._running.pop(who)
        process.kill()
        process.wait()


def _produce(journal: SqlJournal, events: int) -> None:
    for number in range(0, events, FACTS_AN_APPEND):
        count = min(FACTS_AN_APPEND, events - number)
        facts = [
            Fact(type="MLDL_EVALUATED", subject=f"key-{(number + n) % KEYS}", data={"n": number + n})
            for n in range(count)
        ]
        journal.append([], facts, actor="bench", reason="it happened")


def _all_events(journal: SqlJournal) -> list[Any]:
    found: list[Any] = []
    while page := journal.events(after=found[-1].position if found else 0, limit=1000):
        found += page
    return found


def _compared(truth: Sequence[tuple[str, str]], arrived: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Count what is missing, what came twice, and first arrivals that overtook another of their key."""
    first = list(dict.fromkeys(arrived))
    place = {event_id: n for n, (event_id, _) in enumerate(truth)}
    by_key: dict[str, list[int]] = {}
    for event_id, key in first:
        by_key.setdefault(key, []).append(place[event_id])
    overtaken = sum(after < before for places in by_key.values() for before, after in pairwise(places))
    return {"lost": len(set(truth) - set(first)), "out_of_order": overtaken, "twice": len(arrived) - len(first)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
