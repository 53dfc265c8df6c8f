"""Snapshots: taken, weighed in a person's words, restored in one append, and undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.snapshot_store import SnapshotStore
from contracts.errors import Broken, Conflict, NotFound
from contracts.events import Fact
from contracts.ports import Journal, Once, Receipt, Write
from contracts.records import Approval, Policy, TrainedBundle
from contracts.rollouts import Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, SqlJournal
from mldl_ray.snapshots.state import artifacts, digest_of, state_at


class House:
    """A journal with a model in it, written as its owners would."""

    def __init__(self, journal: Journal, clock: SettableClock, folder: Path) -> None:
        self.journal, self.clock, self.blobs, self.folder = journal, clock, MemoryBlobs(), folder
        self.store = SnapshotStore(journal, self.blobs, clock)

    def put(self, kind: str, key: str, body: dict[str, Any]) -> None:
        past = self.journal.history(kind, key)
        write = Write(kind=kind, key=key, expected_version=past[-1].version if past else 0, body=body)
        self.journal.append([write], actor="owner", reason="as it came")
        self.clock.advance(1)

    def register(self, version: str) -> TrainedBundle:
        folder = self.folder / version
        folder.mkdir()
        (folder / "model.bin").write_text(f"model {version}")
        manifest = store_artifact(self.blobs, folder, {"version": version})
        bundle = TrainedBundle(
            model_key="income", version=version, artifact_uri=f"blobs:{manifest}", validation_hash=manifest,
            created_at="2026-01-01T00:00:00Z",
        )  # fmt: skip
        self.put("model_version", f"income@{version}", bundle.model_dump(mode="json"))
        return bundle

    def approve(self, version: str, by: str = "bob") -> None:
        approval = Approval(
            approval_id=f"income@{version}-{by}", model_key="income", version=version, decision="approved", by=by,
            role="approver", reason="fine", validation_hash="x", at_s=self.clock.now_s(),
        )  # fmt: skip
        self.put("approval", approval.approval_id, approval.model_dump(mode="json"))

    def serve(self, stable: str | None, previous: str | None = None, deployment_id: str | None = None) -> None:
        past = self.journal.history("endpoint", "income")
        endpoint = Endpoint(
            model_key="income", stable=stable, previous=previous, epoch=len(past) + 1, salt="s", replicas=2,
            deployment_ids=(deployment_id,) if deployment_id else (),
        )  # fmt: skip
        self.put("endpoint", "income", endpoint.model_dump(mode="json"))

    def roll_out(self, version: str, status: str = "canary") -> str:
        name = f"dep-{version}"
        deployment = Deployment.model_validate(
            {
                "deployment_id": name, "model_key": "income", "version": version, "spec": DeploymentSpec(),
                "strategy": "canary", "status": status, "steps": (5, 100), "promotion_window_s": 60,
                "bake_window_s": 60,
            }
        )  # fmt: skip
        self.put("deployment", name, deployment.model_dump(mode="json"))
        return name

    def endpoint(self) -> Endpoint:
        document = self.journal.read("endpoint", "income")
        assert document is not None
        return Endpoint.model_validate(document.body)

    def state_digest(self) -> str:
        return digest_of(state_at(self.journal, self.journal.position()).content)


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    clock = SettableClock()
    folder = tmp_path / "models"
    folder.mkdir()
    if request.param == "memory":
        yield House(MemoryJournal(clock), clock, folder)
        return
    journal = SqlJournal(f"sqlite:///{tmp_path / 'journal.db'}", clock)
    yield House(journal, clock, folder)
    journal.close()


@pytest.fixture
def changed(house: House) -> tuple[House, str]:
    """A house that served 1.1.0 when its snapshot was taken and 2.0.0 now."""
    for version in ("1.0.0", "1.1.0"):
        house.register(version)
        house.approve(version)
    house.put("policy", "default", Policy(approvals_required=1).model_dump(mode="json"))
    house.serve("1.1.0", "1.0.0")
    snapshot = house.store.export(reason="before the change", by="ann")
    house.register("2.0.0")
    house.approve("2.0.0")
    house.put("policy", "default", Policy(approvals_required=2).model_dump(mode="json"))
    house.serve("2.0.0", "1.1.0")
    return house, snapshot.snapshot_id


def test_a_snapshot_names_its_position_the_chain_there_and_its_documents(house: House) -> None:
    bundle = house.register("1.0.0")
    position = house.journal.position()
    snapshot = house.store.export(reason="nightly", by="ann")
    assert (snapshot.position, snapshot.created_by, snapshot.reason) == (position, "ann", "nightly")
    assert snapshot.counts["model_version"] == 1
    assert snapshot.digest == f"sha256:{house.journal.seal(as_of=position).head}"
    reached = artifacts(state_at(house.journal, position).content, house.blobs)
    assert bundle.validation_hash in reached
    assert len(reached) == 2
    assert house.store.snapshots() == [snapshot]
    assert [event.type for event in house.journal.events()][-1] == "MLDL_SNAPSHOT_EXPORTED"


def test_an_export_repeated_with_the_same_key_is_the_first_one(house: House) -> None:
    once = Once(key="k", digest="d")
    first = house.store.export(reason="one", by="ann", once=once)
    house.register("1.0.0")
    assert house.store.export(reason="one", by="ann", once=once) == first


def test_a_plan_says_what_would_change_and_changes_nothing(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    position = house.journal.position()
    plan = house.store.plan(snapshot_id)
    assert [impact.sentence for impact in plan.impacts] == [
        "income would serve 1.1.0 again instead of 2.0.0",
        "the policy for deploying would be as it was: approvals_required 1 instead of 2",
        "version 2.0.0 of income would be withdrawn from the registry; the history keeps it",
        "bob's approval of income 2.0.0 would no longer count",
    ]
    assert (plan.risk, plan.applied) == ("high", False)
    assert "income would go from major version 2 to 1; callers may have to send other columns" in plan.risk_reasons
    assert house.journal.position() == position


def test_a_restore_brings_the_whole_state_back_in_one_append(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    position = house.journal.position()
    taken = next(s.position for s in house.store.snapshots() if s.snapshot_id == snapshot_id)
    wanted = digest_of(state_at(house.journal, taken).content)
    plan = house.store.restore(snapshot_id, reason="2.0.0 was a mistake", by="ann")
    assert plan.applied
    assert house.journal.position() == position + 1
    assert house.state_digest() == wanted
    assert (house.endpoint().stable, house.endpoint().previous) == ("1.1.0", "1.0.0")
    assert house.journal.read("model_version", "income@2.0.0") is None
    types = [event.type for event in house.journal.events(after=position)]
    assert types == ["ROLLBACK_REQUESTED", "MLDL_SNAPSHOT_EXPORTED", "MLDL_SNAPSHOT_RESTORED"]
    assert house.journal.verify().ok


def test_a_restore_is_undone_by_the_snapshot_that_it_takes_first(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    before = house.state_digest()
    plan = house.store.restore(snapshot_id, reason="a mistake", by="ann")
    assert plan.undo_snapshot_id is not None
    undone = house.store.restore(plan.undo_snapshot_id, reason="it was none", by="ann")
    assert house.state_digest() == before
    assert house.endpoint().stable == "2.0.0"
    assert "version 2.0.0 of income would be back in the registry" in [i.sentence for i in undone.impacts]


def test_the_epoch_of_an_endpoint_only_rises_and_its_replicas_stay(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    before = house.endpoint()
    house.store.restore(snapshot_id, reason="a mistake", by="ann")
    after = house.endpoint()
    assert after.epoch > before.epoch
    assert (after.replicas, after.salt) == (before.replicas, before.salt)


def test_a_rollout_under_way_is_superseded_and_the_stable_version_takes_over(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    house.register("2.1.0")
    name = house.roll_out("2.1.0")
    house.serve("2.0.0", "1.1.0", deployment_id=name)
    plan = house.store.restore(snapshot_id, reason="a mistake", by="ann")
    document = house.journal.read("deployment", name)
    assert document is not None
    ended = Deployment.model_validate(document.body)
    assert (ended.status, ended.history[-1].traffic, ended.history[-1].actor) == ("superseded", {"1.1.0": 1.0}, "ann")
    assert house.endpoint().deployment_ids == ()
    assert "the deployment of income 2.1.0 (canary) would end; the stable version would answer everybody" in [
        impact.sentence for impact in plan.impacts
    ]


def test_a_canary_begun_after_the_snapshot_ends_even_where_stable_is_the_same(house: House) -> None:
    house.register("1.0.0")
    house.serve("1.0.0")
    snapshot = house.store.export(reason="calm", by="ann")
    house.register("1.1.0")
    name = house.roll_out("1.1.0")
    house.serve("1.0.0", deployment_id=name)
    house.store.restore(snapshot.snapshot_id, reason="stop", by="ann")
    document = house.journal.read("deployment", name)
    assert document is not None and document.body is not None
    assert document.body["status"] == "superseded"
    assert (house.endpoint().stable, house.endpoint().deployment_ids) == ("1.0.0", ())


def test_a_canary_that_was_already_under_way_goes_on(house: House) -> None:
    house.register("1.0.0")
    house.register("1.1.0")
    name = house.roll_out("1.1.0")
    house.serve("1.0.0", deployment_id=name)
    snapshot = house.store.export(reason="mid-way", by="ann")
    house.put("policy", "default", Policy(approvals_required=3).model_dump(mode="json"))
    plan = house.store.restore(snapshot.snapshot_id, reason="the policy was wrong", by="ann")
    assert [impact.kind for impact in plan.impacts] == ["policy"]
    assert house.endpoint().deployment_ids == (name,)


def test_an_endpoint_that_did_not_exist_yet_serves_nothing_and_keeps_its_epoch(house: House) -> None:
    empty = house.state_digest()
    snapshot = house.store.export(reason="empty", by="ann")
    house.register("1.0.0")
    house.serve("1.0.0")
    epoch = house.endpoint().epoch
    plan = house.store.restore(snapshot.snapshot_id, reason="start over", by="ann")
    assert plan.risk == "high"
    assert plan.impacts[0].sentence == "income would serve nothing any more; it serves 1.0.0 now"
    assert house.endpoint().stable is None
    assert house.endpoint().epoch > epoch
    assert house.state_digest() == empty


def test_a_snapshot_of_now_has_no_impact_and_no_risk(changed: tuple[House, str]) -> None:
    house, _ = changed
    now = house.store.export(reason="now", by="ann")
    plan = house.store.plan(now.snapshot_id)
    assert (plan.impacts, plan.risk, plan.risk_reasons) == ((), "none", ())


@pytest.mark.parametrize("file", ["manifest", "model"])
def test_a_snapshot_with_a_missing_file_is_refused_before_anything_is_written(
    changed: tuple[House, str], file: str
) -> None:
    house, snapshot_id = changed
    document = house.journal.read("model_version", "income@1.0.0")
    assert document is not None and document.body is not None
    manifest = document.body["validation_hash"]
    gone = (
        manifest
        if file == "manifest"
        else next(d for d in house.blobs.digests() if house.blobs.get(d) == b"model 1.0.0")
    )
    house.blobs.remove(gone)
    position = house.journal.position()
    plan = house.store.plan(snapshot_id)
    assert (plan.missing_artifacts, plan.risk) == ((gone,), "high")
    with pytest.raises(Conflict, match="is gone; bring it back"):
        house.store.restore(snapshot_id, reason="a mistake", by="ann")
    assert house.journal.position() == position
    assert house.endpoint().stable == "2.0.0"


def test_a_restore_repeated_with_the_same_key_gives_the_same_answer(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    once = Once(key="k", digest="d")
    first = house.store.restore(snapshot_id, reason="a mistake", by="ann", once=once)
    position = house.journal.position()
    for digest in list(house.blobs.digests()):
        house.blobs.remove(digest)
    assert house.store.restore(snapshot_id, reason="a mistake", by="ann", once=once) == first
    assert house.journal.position() == position
    with pytest.raises(Conflict, match="different request"):
        house.store.restore(snapshot_id, reason="another", by="ann", once=Once(key="k", digest="other"))


class Hurried:
    """A journal in which somebody else always writes just before the first append."""

    def __init__(self, journal: Journal, others: Sequence[Write]) -> None:
        self._journal, self._others = journal, list(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def append(self, writes: Sequence[Write], facts: Sequence[Fact] = (), **facts_of: Any) -> Receipt:
        if self._others:
            self._journal.append([self._others.pop()], actor="hurry", reason="at the same moment")
        return self._journal.append(writes, facts, **facts_of)


def test_a_writer_between_plan_and_append_makes_the_restore_decide_again(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    document = house.journal.read("endpoint", "income")
    assert document is not None and document.body is not None
    other = Write(kind="endpoint", key="income", expected_version=document.version, body=document.body | {"epoch": 77})
    store = SnapshotStore(Hurried(house.journal, [other]), house.blobs, house.clock)
    plan = store.restore(snapshot_id, reason="a mistake", by="ann")
    assert plan.applied
    assert (house.endpoint().stable, house.endpoint().epoch) == ("1.1.0", 78)


def test_a_snapshot_whose_digest_the_journal_no_longer_gives_is_broken(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    document = house.journal.read("snapshot", snapshot_id)
    assert document is not None and document.body is not None
    house.put("snapshot", snapshot_id, document.body | {"digest": "sha256:" + "0" * 64})
    with pytest.raises(Broken, match="mldl audit verify"):
        house.store.plan(snapshot_id)


def test_an_unknown_snapshot_is_told_with_those_there_are(changed: tuple[House, str]) -> None:
    house, snapshot_id = changed
    with pytest.raises(NotFound, match=f"there is {snapshot_id}"):
        house.store.plan("snap-nope")
