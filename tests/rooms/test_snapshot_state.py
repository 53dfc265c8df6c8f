"""What of the journal a snapshot gives back, what it leaves alone and why, and what it costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from actors.snapshot_store import SnapshotStore
from contracts.errors import Unavailable
from contracts.events import Fact
from contracts.ports import Once, Write
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import Defaults, load_defaults
from mldl_ray.snapshots import EXCLUDED, RESTORABLE
from mldl_ray.snapshots.state import digest_of, state_at

ROOT = Path(__file__).parents[2]


class Counting(MemoryJournal):
    """A journal that counts the documents it hands out."""

    given = 0

    def scan(self, *args: object, **options: object) -> list:  # type: ignore[type-arg]  # as it is given
        found = super().scan(*args, **options)  # type: ignore[arg-type]  # passed on
        self.given += len(found)
        return found

    def changes(self, *args: object, **options: object) -> list:  # type: ignore[type-arg]  # as it is given
        found = super().changes(*args, **options)  # type: ignore[arg-type]  # passed on
        self.given += len(found)
        return found


class Asked:
    """A journal elsewhere, that counts the questions put to it."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal, self.questions = journal, 0

    def __getattr__(self, name: str) -> Any:
        self.questions += 1
        return getattr(self._journal, name)


@pytest.fixture
def journal() -> Counting:
    return Counting(SettableClock())


def store(journal: MemoryJournal, defaults: Defaults | None = None) -> SnapshotStore:
    return SnapshotStore(journal, MemoryBlobs(), SettableClock(), defaults)


def put(journal: MemoryJournal, kind: str, key: str, body: dict[str, object] | None) -> None:
    write = Write(kind=kind, key=key, expected_version=len(journal.history(kind, key)), body=body)
    journal.append([write], actor="owner", reason="as it came")


def test_every_kind_of_document_is_restorable_or_excluded_with_a_reason() -> None:
    table = (ROOT / "docs/architecture.md").read_text().split("| Kind | Key | Written by |")[1].split("\n\n")[0]
    kinds = {kind for line in table.splitlines()[2:] for kind in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    assert len(kinds) > 10
    assert kinds <= {*RESTORABLE, *EXCLUDED}
    assert not RESTORABLE.keys() & EXCLUDED.keys()
    assert all(len(why.split()) > 3 for why in EXCLUDED.values())


@pytest.mark.parametrize("kind", [k for k in RESTORABLE if k not in {"endpoint", "model_version", "dataset"}])
def test_a_document_of_every_restorable_kind_comes_back_and_what_came_since_goes(journal: Counting, kind: str) -> None:
    put(journal, kind, "kept", {"n": 1})
    put(journal, kind, "lost", {"n": 1})
    before = digest_of(state_at(journal, journal.position()).content)
    snapshot = store(journal).export(reason="now", by="ann")
    put(journal, kind, "kept", {"n": 2})
    put(journal, kind, "lost", None)
    put(journal, kind, "new", {"n": 3})
    plan = store(journal).restore(snapshot.snapshot_id, reason="a mistake", by="ann")
    assert len(plan.impacts) == 3
    assert digest_of(state_at(journal, journal.position()).content) == before


@pytest.mark.parametrize("kind", EXCLUDED)
def test_a_document_of_an_excluded_kind_is_left_alone(journal: Counting, kind: str) -> None:
    snapshot = store(journal).export(reason="now", by="ann")
    if kind != "deployment":  # a live one may have to end: that is another fact
        put(journal, kind, "since", {"n": 1})
    plan = store(journal).plan(snapshot.snapshot_id)
    assert plan.impacts == ()


def test_settings_that_differ_are_told_and_not_applied(journal: Counting) -> None:
    snapshot = store(journal).export(reason="now", by="ann")
    other = store(journal, load_defaults("mldl: {fairness: {delta_max: 0.05}}"))
    notes = other.restore(snapshot.snapshot_id, reason="back", by="ann").notes
    assert notes == ("the setting mldl.fairness.delta_max is 0.05 and was 0.02; it is not changed",)
    assert store(journal).plan(snapshot.snapshot_id).notes == ()


def test_a_snapshot_reads_no_document_and_is_as_small_of_a_thousand_versions_as_of_one(journal: Counting) -> None:
    first = store(journal).export(reason="one", by="ann")
    writes = [Write(kind="alias", key=f"a-{n}", expected_version=0, body={"n": n}) for n in range(1000)]
    journal.append(writes, actor="owner", reason="many")
    journal.given = 0
    second = store(journal).export(reason="one", by="ann")
    assert journal.given == 0
    assert second.counts["alias"] == 1000
    assert len(second.model_dump_json()) - len(first.model_dump_json()) < 10


def test_a_plan_reads_what_was_written_since_and_not_the_state(journal: Counting) -> None:
    writes = [Write(kind="alias", key=f"a-{n}", expected_version=0, body={"n": n}) for n in range(1000)]
    journal.append(writes, actor="owner", reason="many")
    snapshot = store(journal).export(reason="one", by="ann")
    put(journal, "alias", "a-1", {"n": 7})
    journal.given = 0
    assert len(store(journal).plan(snapshot.snapshot_id).impacts) == 1
    assert journal.given < 10


def test_a_plan_asks_for_a_thousand_changes_in_a_few_questions(journal: Counting) -> None:
    names = [f"a-{n}" for n in range(1000)]
    for version in range(2):
        if version:
            snapshot = store(journal).export(reason="one", by="ann")
        writes = [Write(kind="alias", key=key, expected_version=version, body={"n": version}) for key in names]
        journal.append(writes, actor="owner", reason="many")
    elsewhere = Asked(journal)
    asking = SnapshotStore(elsewhere, MemoryBlobs(), SettableClock())
    assert len(asking.plan(snapshot.snapshot_id).impacts) == 1000
    assert elsewhere.questions < 20


def test_a_snapshot_of_an_earlier_release_is_checked_by_its_own_digest(journal: Counting) -> None:
    put(journal, "policy", "default", {"approvals_required": 1})
    content = state_at(journal, 1).content
    first = ("model_version", "approval_request", "approval", "policy", "dataset", "endpoint")
    old = {
        "snapshot_id": "snap-old", "position": 1, "digest": digest_of(content, first), "artifacts": ["sha256:1"],
        "reason": "r", "created_by": "ann", "created_at_s": 1.0, "counts": {},
    }  # fmt: skip
    put(journal, "snapshot", "snap-old", old)
    put(journal, "policy", "default", None)
    assert store(journal).restore("snap-old", reason="back", by="ann").applied
    assert journal.read("policy", "default") is not None


def test_the_snapshot_taken_before_a_restore_says_so(journal: Counting) -> None:
    snapshot = store(journal).export(reason="now", by="ann")
    once = Once(key="k", digest="d")
    done = store(journal).restore(snapshot.snapshot_id, reason="back", by="ann", once=once)
    kinds = {found.snapshot_id: found.kind for found in store(journal).snapshots()}
    assert kinds == {snapshot.snapshot_id: "named", done.undo_snapshot_id: "before_rollback"}


def test_events_alone_change_nothing_that_a_plan_tells(journal: Counting) -> None:
    snapshot = store(journal).export(reason="now", by="ann")
    journal.append([], [Fact(type="MLDL_EVALUATED", subject="x")], actor="ann", reason="r")
    assert store(journal).plan(snapshot.snapshot_id).risk == "none"


def served(stable: str) -> dict[str, object]:
    return {"model_key": "m", "stable": stable, "previous": None, "epoch": 1, "salt": "s", "replicas": 1}


def test_a_plan_tells_how_many_requests_a_minute_are_affected(journal: Counting) -> None:
    put(journal, "endpoint", "m", served("1.0.0"))
    live = {"endpoints": {"m": {"versions": {"2.0.0": {"qps": 2.0}}}, "other": {"versions": {"1.0.0": {"qps": 9.0}}}}}
    watched = SnapshotStore(journal, MemoryBlobs(), SettableClock(), live=lambda: live)
    snapshot = watched.export(reason="now", by="ann")
    put(journal, "endpoint", "m", served("2.0.0") | {"epoch": 2})
    notes = watched.plan(snapshot.snapshot_id).notes
    assert notes == ("m answers 120 requests a minute now; all of them would be affected",)


def test_a_plan_does_not_need_the_monitor(journal: Counting) -> None:
    def down() -> dict[str, object]:
        raise Unavailable("restarting")

    watched = SnapshotStore(journal, MemoryBlobs(), SettableClock(), live=down)
    snapshot = watched.export(reason="now", by="ann")
    assert "the monitor does not answer" in watched.plan(snapshot.snapshot_id).notes[0]
