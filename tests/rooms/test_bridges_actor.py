"""The bridges together, as the actor holds them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import actors.bridges
from actors.bridges import Bridges
from contracts.errors import Unavailable
from contracts.events import Event, Fact
from contracts.specs import DataRef
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_settings


class Shaky(MemoryJournal):
    """A journal that cannot be reached for a while."""

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock)
        self.away, self.asked, self.emptied = 0, threading.Semaphore(0), threading.Event()

    def events(self, **options: Any) -> list[Event]:
        self.asked.release()
        if self.away:
            self.away -= 1
            raise Unavailable("the journal is away")
        return super().events(**options)

    def delivered(self, ids: Any) -> None:
        super().delivered(ids)
        self.emptied.set()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def journal(clock: SettableClock) -> Shaky:
    return Shaky(clock)


def make(tmp_path: Path, journal: Shaky, clock: SettableClock, *, autostart: bool = False) -> Bridges:
    return Bridges(load_settings({}, home=tmp_path), journal, MemoryBlobs(), clock, autostart)


@pytest.fixture
def bridges(tmp_path: Path, journal: Shaky, clock: SettableClock) -> Iterator[Bridges]:
    made = make(tmp_path, journal, clock)
    yield made
    made.close()


def register(bridges: Bridges, folder: Path, ages: list[float]) -> str:
    path = folder / "people.parquet"
    pq.write_table(pa.table({"age": ages, "target": [0, 1] * (len(ages) // 2)}), path)
    return bridges.register_dataset(DataRef(uri=str(path), target="target"), by="ann").version


def test_a_dataset_is_held_against_the_version_before_it(
    bridges: Bridges, tmp_path: Path, clock: SettableClock
) -> None:
    first = register(bridges, tmp_path, [float(20 + n) for n in range(60)])
    clock.advance(60)
    second = register(bridges, tmp_path, [float(60 + n) for n in range(60)])
    assert bridges.quality("people", first)["reference"] is None
    told = bridges.quality("people")
    assert (told["version"], told["reference"], told["status"]) == (second, first, "critical")
    assert told["findings"][0]["message"] == "40 of 60 values of 'age' are outside 20 to 79, the range seen before"
    assert [dataset.version for dataset in bridges.datasets()] == [first, second]


def test_the_pump_empties_the_outbox_and_outlives_a_journal_that_is_away(
    tmp_path: Path, journal: Shaky, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors.bridges, "AFTER_TROUBLE_S", 0.01)
    journal.away = 3
    journal.append([], [Fact(type="MLDL_DRIFT_ALERT", subject="churn")], actor="monitor", reason="it drifted")
    bridges = make(tmp_path, journal, clock, autostart=True)
    for _ in range(4):
        assert journal.asked.acquire(timeout=20)
    assert journal.emptied.wait(20)
    assert journal.asked.acquire(timeout=20)  # the next look: the last one is over
    assert bridges.health()["mesh"] == "ok"
    bridges.close()
    assert journal.events(pending=True) == []
    assert bridges.health()["mesh"] == "its pump has ended"


def test_health_names_every_bridge(bridges: Bridges) -> None:
    states = bridges.health()
    assert set(states) == {"governance", "mlt", "intelligence", "memory", "ingress", "mesh"}
    assert {state for name, state in states.items() if name != "mesh"} == {"ok"}
