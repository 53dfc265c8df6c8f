"""A hundred ``kill -9`` at random moments of a rollback to a snapshot: each is wholly done, or not at all.

Whoever repeats the request with its key finishes it, or gets the answer of the one that was done.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from actors.snapshot_store import SnapshotStore
from contracts.ports import Once, Write
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal
from mldl_ray.snapshots.state import digest_of, state_at

KILLS = 100
DOCUMENTS = 20
_VICTIM = """
import os, sys
from actors.snapshot_store import SnapshotStore
from contracts.ports import Once
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal

url, *targets = sys.argv[1:]

def restore_for_ever(life):
    store = SnapshotStore(SqlJournal(url, SystemClock()), MemoryBlobs(), SystemClock())
    for n in range(10**9):
        os.write(1, f"begins {n}\\n".encode())
        store.restore(targets[n % 2], reason="back", by="victim", once=Once(key=f"{life}-{n}", digest="d"))
        os.write(1, f"done {n}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if not child:
        restore_for_ever(int(line))
    os.write(1, f"pid {child}\\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(1, f"dead {os.WTERMSIG(status)}\\n".encode())
"""


@pytest.mark.timeout(180)
def test_a_hundred_kills_leave_every_rollback_whole_or_undone_and_it_can_be_finished(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    journal = SqlJournal(url, SystemClock())
    store = SnapshotStore(journal, MemoryBlobs(), SystemClock())
    targets, states = _two_states(journal, store)
    began_s = time.monotonic()
    store.restore(targets[0], reason="how long one takes here", by="ann")
    pace_s = time.monotonic() - began_s
    chance = random.Random(20240917)
    done = cut = 0
    victim = [sys.executable, "-c", _VICTIM, url, *targets]
    with subprocess.Popen(victim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for life in range(KILLS):
            begun, ended = _one_life(parent, life, chance.uniform(0.0, 4 * pace_s))
            assert _state(journal) in states
            if begun < 0:
                continue
            done += ended + 1
            cut += begun > ended
            once = Once(key=f"{life}-{begun}", digest="d")
            finished = store.restore(targets[begun % 2], reason="back", by="victim", once=once)
            assert finished.applied
            assert _state(journal) == states[begun % 2]
        assert parent.stdin is not None
        parent.stdin.close()
    assert cut > KILLS / 4  # the kills did fall within rollbacks
    assert done > KILLS / 10  # and not all within the first
    assert journal.verify().ok
    undos = [snapshot for snapshot in store.snapshots() if snapshot.kind == "before_rollback"]
    told = journal.events(types=["MLDL_SNAPSHOT_RESTORED"], limit=10**6)
    assert len(undos) == len(told)  # each rollback that happened is audited once, with its way back
    journal.close()


def _two_states(journal: SqlJournal, store: SnapshotStore) -> tuple[list[str], list[str]]:
    targets, states = [], []
    for n in range(2):
        writes = [Write(kind="alias", key=f"a-{i}", expected_version=n, body={"n": n}) for i in range(DOCUMENTS)]
        journal.append(writes, actor="owner", reason="as it came")
        targets.append(store.export(reason=f"state {n}", by="ann").snapshot_id)
        states.append(_state(journal))
    return targets, states


def _state(journal: SqlJournal) -> str:
    return digest_of(state_at(journal, journal.position()).content)


def _one_life(parent: subprocess.Popen[str], life: int, seconds: float) -> tuple[int, int]:
    """Let one victim restore, kill it after so long; give the last rollback that it began and the last it ended."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(f"{life}\n")
    parent.stdin.flush()
    begun = ended = -1
    for line in parent.stdout:
        word, number = line.split()
        if word == "pid":
            threading.Timer(seconds, os.kill, (int(number), signal.SIGKILL)).start()
        elif word == "begins":
            begun = int(number)
        elif word == "done":
            ended = int(number)
        else:
            assert int(number) == int(signal.SIGKILL)
            break
    return begun, ended
