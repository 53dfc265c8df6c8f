"""Snapshots by the timetable, and which of them are kept."""

from __future__ import annotations

from actors.snapshot_store import SnapshotStore
from contracts.ports import Write
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_defaults


class House:
    """A store with a timetable, and somebody who changes things."""

    def __init__(self, snapshots: str) -> None:
        self.clock = SettableClock()
        self.journal = MemoryJournal(self.clock)
        defaults = load_defaults(f"mldl: {{snapshots: {snapshots}}}")
        self.store = SnapshotStore(self.journal, MemoryBlobs(), self.clock, defaults)
        self.changes = 0

    def change(self) -> None:
        write = Write(kind="policy", key="default", expected_version=self.changes, body={"n": self.changes})
        self.journal.append([write], actor="owner", reason="as it came")
        self.changes += 1

    def later(self, seconds: float, *, changed: bool = True) -> None:
        if changed:
            self.change()
        self.clock.advance(seconds)
        self.store.tick()

    def kinds(self) -> list[str]:
        return [snapshot.kind for snapshot in self.store.snapshots()]


def test_without_a_timetable_none_is_taken() -> None:
    house = House("{}")
    house.later(1e6)
    assert house.kinds() == []


def test_one_is_taken_when_it_is_due_and_not_before() -> None:
    house = House("{every_s: 60}")
    house.later(1)
    house.later(30)
    assert house.kinds() == ["scheduled"]
    house.later(30)
    assert house.kinds() == ["scheduled", "scheduled"]
    assert house.store.snapshots()[0].reason == "every 60 s"


def test_none_is_taken_where_nothing_changed_since_the_last() -> None:
    house = House("{every_s: 60}")
    house.later(60)
    house.later(60, changed=False)
    assert house.kinds() == ["scheduled"]


def test_the_oldest_go_when_there_are_too_many_and_named_ones_stay() -> None:
    house = House("{every_s: 60, keep: 2}")
    named = house.store.export(reason="mine", by="ann")
    for _ in range(4):
        house.later(60)
    assert house.kinds() == ["scheduled", "scheduled", "named"]
    assert house.store.snapshots()[-1] == named
    assert len(house.journal.history("snapshot", named.snapshot_id)) == 1


def test_the_too_old_go_and_named_ones_stay() -> None:
    house = House("{keep_s: 100}")
    named = house.store.export(reason="mine", by="ann")
    house.change()
    house.store.restore(named.snapshot_id, reason="back", by="ann")
    house.later(100, changed=False)
    assert house.kinds() == ["before_rollback", "named"]
    house.later(1, changed=False)
    assert house.kinds() == ["named"]
