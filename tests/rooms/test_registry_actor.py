"""Registering and reading versions, on a journal and blobs in memory. Approvals are in ``test_registry_approvals``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actors.registry import Registry
from contracts.errors import Broken, Conflict, Incompatible, NotFound
from contracts.evaluations import Evaluation
from contracts.events import Fact
from contracts.ports import Once, Receipt, Write
from contracts.records import Job, Lineage, Policy, Progress, TrainedBundle
from contracts.rollouts import Endpoint
from contracts.specs import JobSpec, ModelSpec
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal


class World:
    """A registry, and jobs that tom has trained."""

    def __init__(self, folder: Path, journal: MemoryJournal | None = None) -> None:
        self.folder = folder
        self.clock = SettableClock(1000.0)
        self.journal = journal or MemoryJournal(self.clock)
        self.blobs = MemoryBlobs()
        self.registry = self.another()

    def another(self) -> Registry:
        """A second registry on the same journal: the same actor after a restart, or beside it for a moment."""
        return Registry(self.journal, self.blobs, EmbeddedGovernance(self.journal, self.clock), self.clock)

    def artifact(self, name: str, *, classes: Sequence[object] = (0, 1)) -> str:
        folder = self.folder / name
        folder.mkdir()
        (folder / "model.json").write_text(name)
        return store_artifact(self.blobs, folder, {"classes": list(classes)})

    def job(
        self, job_id: str, *, family: str = "lr", columns: str = "ab", status: str = "succeeded", **changes: Any
    ) -> str:
        digest = self.artifact(job_id, classes=changes.pop("classes", (0, 1)))
        schema = InputSchema.of(pa.table({name: [1.0, 2.0] for name in columns}))
        spec = ModelSpec(model_key=changes.pop("model_key", "income"), family=family, tags=("demo",))
        bundle = TrainedBundle(
            model_key=spec.model_key,
            artifact_uri=f"blobs:{digest}",
            validation_hash=digest,
            created_at="2026-01-01T00:00:00Z",
            family=family,
            task="classification",
            spec=spec,
            metrics={"auroc": 0.91},
            input_schema=schema.to_json(),
            lineage=Lineage(dataset_id="adult", version="1", dataset_digest=f"sha256:{columns}"),
            evaluation_id=f"eval-{job_id}",
        )
        facts = {"job_id": job_id, "status": status, "job": JobSpec(spec=spec), "bundle": bundle} | changes
        body = Job(**facts).model_dump(mode="json")
        self.journal.append([Write(kind="job", key=job_id, expected_version=0, body=body)], actor="tom", reason="train")
        return job_id

    def registered(self, job_id: str, **changes: Any) -> TrainedBundle:
        return self.registry.register(self.job(job_id, **changes), reason="good", by="ana")

    def approve(self, version: str = "1.0.0", **changes: Any) -> Any:
        facts = {"reason": "figures read", "by": "bo", "role": "approver"} | changes
        return self.registry.approve("income", version, **facts)

    def events(self) -> list[str]:
        return [event.type for event in self.journal.events(limit=1000)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# Registering


def test_three_jobs_of_the_demo_become_three_versions_each_naming_the_one_before(world: World) -> None:
    bundles = [
        world.registered("job-1"),
        world.registered("job-2", family="xgb"),
        world.registered("job-3", family="xgb", columns="abc"),
    ]
    assert [bundle.version for bundle in bundles] == ["1.0.0", "1.1.0", "2.0.0"]
    assert [bundle.lineage.parent for bundle in bundles] == [None, "1.0.0", "1.1.0"]
    assert [bundle.lineage.job_id for bundle in bundles] == ["job-1", "job-2", "job-3"]


def test_model_that_answers_other_classes_is_a_new_major_version(world: World) -> None:
    assert world.registered("job-1").classes == (0, 1)
    other = world.registered("job-2", classes=("no", "yes"))
    assert (other.version, other.classes) == ("2.0.0", ("no", "yes"))


def test_registration_is_one_append_of_version_request_and_job_with_both_events(world: World) -> None:
    world.job("job-1")
    before = world.journal.position()
    bundle = world.registry.register("job-1", tags=("prod", "demo"), reason="good", by="ana")
    assert world.journal.position() == before + 1
    assert bundle.tags == ("demo", "prod")

    request = world.journal.read("approval_request", "income@1.0.0")
    job = world.journal.read("job", "job-1")
    assert request is not None
    assert request.body == {
        "model_key": "income",
        "version": "1.0.0",
        "validation_hash": bundle.validation_hash,
        "evaluation_id": "eval-job-1",
        "requested_by": "ana",
        "at_s": 1000.0,
    }
    assert job is not None
    assert job.body is not None
    assert job.body["registered_version"] == "1.0.0"
    assert world.journal.read("model_version", "income@1.0.0") is not None

    made, asked = world.journal.events()
    assert (made.type, asked.type) == ("MLDL_MODEL_REGISTERED", "MLDL_APPROVAL_REQUESTED")
    assert (made.subject, made.actor, made.reason) == ("income", "ana", "good")
    assert made.data["why"] == "the first version"
    assert made.data["job_id"] == "job-1"


def test_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="no job 'job-x'"):
        world.registry.register("job-x", reason="good", by="ana")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"status": "queued"}, "is queued"),
        ({"status": "running", "progress": Progress(trials_done=3, trials_total=10)}, r"is running \(3 of 10 trials"),
        ({"status": "failed", "error": {"code": "x", "message": "column age is empty"}}, "failed: column age is empty"),
        ({"status": "cancelled"}, "cancelled; it has no model"),
    ],
)
def test_job_that_has_not_succeeded_is_refused_with_its_state(world: World, facts: dict[str, Any], said: str) -> None:
    world.job("job-1", bundle=None, **facts)
    before = world.journal.position()
    with pytest.raises(Conflict, match=said) as caught:
        world.registry.register("job-1", reason="good", by="ana")
    assert caught.value.facts["status"] == facts["status"]
    assert world.journal.position() == before


def test_job_registered_already_is_a_conflict_that_names_its_version(world: World) -> None:
    world.registered("job-1")
    with pytest.raises(Conflict, match=r"registered already, as income 1\.0\.0") as caught:
        world.registry.register("job-1", reason="again", by="ana")
    assert caught.value.facts["version"] == "1.0.0"


def test_same_request_again_gives_the_same_version_and_writes_nothing(world: World) -> None:
    world.job("job-1")
    once = Once(key="k", digest="d")
    first = world.registry.register("job-1", reason="good", by="ana", once=once)
    before = world.journal.position()
    assert world.another().register("job-1", reason="good", by="ana", once=once) == first
    assert world.journal.position() == before


def test_new_idempotency_key_for_a_registered_job_is_a_conflict(world: World) -> None:
    world.registered("job-1")
    with pytest.raises(Conflict, match="registered already"):
        world.registry.register("job-1", reason="good", by="ana", once=Once(key="new", digest="d"))


def test_idempotency_key_of_another_request_is_a_conflict(world: World) -> None:
    world.job("job-1")
    world.registered("job-2")
    world.registry.register("job-1", reason="good", by="ana", once=Once(key="k", digest="d"))
    with pytest.raises(Conflict, match="different request"):
        world.registry.register("job-2", reason="good", by="ana", once=Once(key="k", digest="other"))


def test_succeeded_job_without_a_model_is_broken(world: World) -> None:
    world.job("job-1", bundle=None)
    with pytest.raises(Broken, match="no model"):
        world.registry.register("job-1", reason="good", by="ana")


@pytest.mark.parametrize("gone", ["manifest", "file"])
def test_job_whose_artifact_is_gone_is_not_registered(world: World, gone: str) -> None:
    world.job("job-1")
    manifest = [digest for digest in world.blobs.digests() if b'"format"' in world.blobs.get(digest)]
    files = [digest for digest in world.blobs.digests() if digest not in manifest]
    world.blobs.remove((manifest if gone == "manifest" else files)[0])
    with pytest.raises(NotFound):
        world.registry.register("job-1", reason="good", by="ana")
    assert world.events() == []


@pytest.mark.parametrize("bad", [{"reason": "  "}, {"tags": ("",)}, {"tags": ("a", " ")}])
def test_empty_reason_or_tag_is_refused(world: World, bad: dict[str, Any]) -> None:
    world.job("job-1")
    with pytest.raises(Incompatible, match=r"reason is missing|tag is empty"):
        world.registry.register("job-1", **({"reason": "good", "by": "ana"} | bad))


class Raced(MemoryJournal):
    """A journal in which somebody else makes a change just before the next one, once."""

    faster: Callable[[], object] | None = None

    def append(
        self,
        writes: Sequence[Write],
        facts: Sequence[Fact] = (),
        *,
        actor: str,
        reason: str,
        once: Once | None = None,
    ) -> Receipt:
        if facts and self.faster is not None:
            faster, self.faster = self.faster, None
            faster()
        return super().append(writes, facts, actor=actor, reason=reason, once=once)


@pytest.fixture
def raced(tmp_path: Path) -> World:
    return World(tmp_path, Raced(SettableClock(1000.0)))


def test_slower_of_two_registrations_gets_the_next_number_and_names_the_faster_one(raced: World) -> None:
    for job_id in ("job-1", "job-2"):
        raced.job(job_id)
    assert isinstance(raced.journal, Raced)
    raced.journal.faster = lambda: raced.another().register("job-2", reason="good", by="bo")
    mine = raced.registry.register("job-1", reason="good", by="ana")
    assert (mine.version, mine.lineage.parent) == ("1.0.1", "1.0.0")
    assert raced.registry.view("income", "1.0.0").registered_by == "bo"


def test_slower_of_two_registrations_of_one_job_is_told_the_version(raced: World) -> None:
    raced.job("job-1")
    assert isinstance(raced.journal, Raced)
    raced.journal.faster = lambda: raced.another().register("job-1", reason="good", by="bo")
    with pytest.raises(Conflict, match=r"registered already, as income 1\.0\.0"):
        raced.registry.register("job-1", reason="good", by="ana")


def test_one_request_sent_twice_at_once_gives_both_the_same_version(raced: World) -> None:
    raced.job("job-1")
    once = Once(key="k", digest="d")
    assert isinstance(raced.journal, Raced)
    raced.journal.faster = lambda: raced.another().register("job-1", reason="good", by="ana", once=once)
    assert raced.registry.register("job-1", reason="good", by="ana", once=once).version == "1.0.0"
    assert raced.events().count("MLDL_MODEL_REGISTERED") == 1


def test_slower_of_two_policies_is_the_one_in_force(raced: World) -> None:
    assert isinstance(raced.journal, Raced)
    raced.journal.faster = lambda: raced.another().set_policy(Policy(approvals_required=2), reason="why", by="bo")
    raced.registry.set_policy(Policy(approvals_required=3), reason="why", by="ana")
    assert raced.registry.policy().approvals_required == 3


def test_many_registrations_at_once_get_different_versions(world: World) -> None:
    jobs = [world.job(f"job-{n}") for n in range(8)]
    start = threading.Barrier(len(jobs))

    def register(job_id: str) -> str | None:
        start.wait()
        return world.another().register(job_id, reason="good", by="ana").version

    with ThreadPoolExecutor(len(jobs)) as pool:
        versions = list(pool.map(register, jobs))
    assert sorted(map(str, versions)) == ["1.0.0", *(f"1.0.{n}" for n in range(1, 8))]


def withdraw(world: World, version: str) -> None:
    writes = [
        Write(kind=kind, key=f"income@{version}", expected_version=1, body=None)
        for kind in ("model_version", "approval_request")
    ]
    world.journal.append(writes, actor="cy", reason="rollback")


def test_job_whose_version_was_withdrawn_registers_again_under_a_new_number(world: World) -> None:
    world.registered("job-1")
    world.registered("job-2")
    withdraw(world, "1.0.1")
    again = world.registry.register("job-2", reason="needed after all", by="ana")
    assert (again.version, again.lineage.parent) == ("1.0.2", "1.0.0")


# Reading


def test_view_shows_the_version_its_aliases_and_who_registered_it(world: World) -> None:
    bundle = world.registered("job-1")
    view = world.registry.view("income", "latest")
    assert view.bundle == bundle
    assert (view.registered_by, view.aliases) == ("ana", ("latest",))
    assert (view.approved, view.missing_approvals, view.approvals) == (False, 1, ())


def test_stable_follows_the_endpoint(world: World) -> None:
    world.registered("job-1")
    world.registered("job-2")
    with pytest.raises(NotFound, match="serves yet"):
        world.registry.view("income", "stable")
    body = Endpoint(model_key="income", stable="1.0.0", salt="s").model_dump(mode="json")
    write = Write(kind="endpoint", key="income", expected_version=0, body=body)
    world.journal.append([write], actor="cy", reason="test")
    assert world.registry.view("income", "stable").bundle.version == "1.0.0"
    assert world.registry.view("income", "1.0.0").aliases == ("stable",)


def test_unknown_version_names_the_known_ones(world: World) -> None:
    world.registered("job-1")
    for ask in (world.registry.view, world.registry.compliance, world.registry.card):
        with pytest.raises(NotFound, match=r"it has: 1\.0\.0"):
            ask("income", "9.9.9")


def test_view_as_of_a_moment_shows_what_was_approved_then(world: World) -> None:
    world.registered("job-1")
    world.clock.advance(100)
    world.approve()
    world.clock.advance(100)
    world.registered("job-2")
    then, later = (world.registry.view("income", "latest", as_of_s=at_s) for at_s in (1050.0, 1150.0))
    assert (then.bundle.version, then.approved) == ("1.0.0", False)
    assert (later.bundle.version, later.approved) == ("1.0.0", True)
    assert world.registry.view("income", "latest").bundle.version == "1.0.1"
    with pytest.raises(NotFound, match="at that moment"):
        world.registry.view("income", "1.0.0", as_of_s=999.0)


def test_another_registry_on_the_same_journal_answers_the_same(world: World) -> None:
    world.registered("job-1")
    world.approve()
    assert world.another().view("income", "1.0.0") == world.registry.view("income", "1.0.0")


def test_card_names_the_version_and_its_figures_as_a_page_and_as_json(world: World) -> None:
    world.registered("job-1")
    judged = Evaluation(evaluation_id="eval-job-1", model_key="income", rows=500, metrics={"auroc": 0.91})
    body = judged.model_dump(mode="json")
    write = Write(kind="evaluation", key="eval-job-1", expected_version=0, body=body)
    world.journal.append([write], actor="tom", reason="train")
    page = world.registry.card("income", "latest")
    assert "income 1.0.0" in page and "0.91" in page
    facts = world.registry.card_facts("income", "1.0.0")
    assert facts["model"]["version"] == "1.0.0"
    assert facts["evaluation"]["metrics"] == {"auroc": 0.91}


def test_version_without_a_card_says_so(world: World) -> None:
    world.registered("job-1")
    with pytest.raises(NotFound, match="never evaluated"):
        world.registry.card("income", "1.0.0")


def test_search_gives_views_by_model_and_number_page_by_page(world: World) -> None:
    world.registered("job-1", model_key="income")
    world.registered("job-2", model_key="churn", family="xgb")
    world.registered("job-3", model_key="income")
    found = world.registry.search(limit=2)
    assert [(view.bundle.model_key, view.bundle.version) for view in found] == [("churn", "1.0.0"), ("income", "1.0.0")]
    rest = world.registry.search(limit=2, after="income@1.0.0")
    assert [view.bundle.version for view in rest] == ["1.0.1"]
    assert [view.bundle.model_key for view in world.registry.search(family="xgb")] == ["churn"]
    assert len(world.registry.search(model_key="income", min_metrics={"auroc": 0.9}, text="demo")) == 2
    assert world.registry.search(model_key="nothing") == []


def test_search_tells_approved_versions_from_others(world: World) -> None:
    world.registered("job-1")
    world.registered("job-2")
    world.approve("1.0.0")
    assert [view.bundle.version for view in world.registry.search(approved=True)] == ["1.0.0"]
    assert [view.bundle.version for view in world.registry.search(approved=False, limit=1)] == ["1.0.1"]
