"""A hundred ``kill -9`` at random moments of a writer: what was acknowledged is there, whole; nothing is half there.

One parent process forks each victim, so that a victim begins to append within milliseconds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal

KILLS = 100
_PARTS = 3
_VICTIM = """
import os, sys
from contracts.events import Fact
from contracts.ports import Once, Write
from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal

url, parts = sys.argv[1], int(sys.argv[2])

def append_for_ever(life):
    journal = SqlJournal(url, SystemClock())
    for n in range(10**9):
        names = [f"{life:03}-{n:06}-{part}" for part in range(parts)]
        receipt = journal.append(
            [Write(kind="thing", key=name, expected_version=0, body={"text": name * 50}) for name in names],
            [Fact(type="MLDL_EVALUATED", subject=name) for name in names],
            actor="victim", reason="lives", once=Once(key=f"{life}-{n}", digest="d"),
        )
        os.write(1, f"ack {life} {n} {receipt.position}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if not child:
        append_for_ever(int(line))
    os.write(1, f"pid {child}\\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(1, f"dead {os.WTERMSIG(status)}\\n".encode())
"""


Appends = dict[tuple[int, int], int]
"""Life and number of an append → its position."""


@pytest.mark.timeout(180)
def test_a_hundred_kills_lose_no_acknowledged_append_and_leave_no_half_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    chance = random.Random(20240917)
    acknowledged = unacknowledged = 0
    with subprocess.Popen(
        [sys.executable, "-c", _VICTIM, url, str(_PARTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        for life in range(KILLS):
            told = _one_life(parent, life, chance.uniform(0.0, 0.12))
            found = _whole_appends(url, life)
            assert told.items() <= found.items()
            assert len(found) <= len(told) + 1  # a kill hides at most the last acknowledgement
            acknowledged += len(told)
            unacknowledged += len(found) - len(told)
        assert parent.stdin is not None
        parent.stdin.close()
    assert acknowledged > 5 * KILLS  # the kills did fall among appends
    assert _position(url) == acknowledged + unacknowledged


def _one_life(parent: subprocess.Popen[str], life: int, seconds: float) -> Appends:
    """Let one victim append, kill it after so long, and give the appends that it acknowledged."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(f"{life}\n")
    parent.stdin.flush()
    told: Appends = {}
    for line in parent.stdout:
        word, *numbers = line.split()
        if word == "pid":
            threading.Timer(seconds, os.kill, (int(numbers[0]), signal.SIGKILL)).start()
        elif word == "ack":
            told[int(numbers[0]), int(numbers[1])] = int(numbers[2])
        else:
            assert numbers == [str(int(signal.SIGKILL))]
            break
    return told


def _whole_appends(url: str, life: int) -> Appends:
    """Open the journal as the next process would; check the chain, and that each append of this life is whole."""
    journal = SqlJournal(url, SystemClock())
    verified = journal.verify()
    assert verified.ok, verified.problem
    written: defaultdict[int, list[str]] = defaultdict(list)
    for document in journal.scan("thing", prefix=f"{life:03}-", limit=100_000):
        assert document.body == {"text": document.key * 50}
        written[document.position].append(document.key)
    after = min(written, default=verified.positions + 1) - 1
    announced: defaultdict[int, list[str]] = defaultdict(list)
    for event in journal.events(after=after, limit=100_000, pending=True):
        announced[event.position].append(event.subject)
    journal.close()
    assert written == announced
    found: Appends = {}
    for position, names in written.items():
        number = int(names[0].split("-")[1])
        assert names == [f"{life:03}-{number:06}-{part}" for part in range(_PARTS)]
        found[life, number] = position
    return found


def _position(url: str) -> int:
    journal = SqlJournal(url, SystemClock())
    try:
        return journal.position()
    finally:
        journal.close()
