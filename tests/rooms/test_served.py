"""What served at a moment: told from the journal alone, whatever has happened since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.errors import Incompatible, NotFound
from contracts.ports import Write
from contracts.records import TrainedBundle
from contracts.rollouts import Change, Decision, Deployment, Endpoint
from contracts.served import Served
from contracts.specs import DeploymentSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock
from mldl_ray.deployment.moves import Move, end, go_back, moved, next_epoch, step_to
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import load, write
from mldl_ray.registry.served_page import sentence
from mldl_ray.settings import load_settings
from tests.rooms.test_api import KEY, problem
from tests.rooms.test_api import World as Service


class World:
    """An endpoint whose rollouts take the steps that a test tells them to, at the hours that it names."""

    def __init__(self) -> None:
        self.clock = SettableClock(0.0)
        self.journal = MemoryJournal(self.clock)
        self.blobs = MemoryBlobs()
        self.registry = Registry(self.journal, self.blobs, EmbeddedGovernance(self.journal, self.clock), self.clock)

    def at(self, hour: float) -> World:
        self.clock.advance(hour * 3600 - self.clock.now_s())
        return self

    def version(self, version: str) -> None:
        bundle = TrainedBundle(
            model_key=KEY,
            version=version,
            artifact_uri="file:x",
            validation_hash="sha256:x",
            created_at="",
            evaluation_id=f"eval-{version}",
            metrics={"auroc": 0.9},
        )
        self.journal.append([write("model_version", f"{KEY}@{version}", 0, bundle)], actor="tom", reason="good")

    def approve(self, version: str, by: str = "bo") -> None:
        self.registry.approve(KEY, version, reason="figures read", by=by, role="approver")

    def ask(self, name: str, version: str, *, strategy: Any = "canary") -> None:
        endpoint, revision = load(self.journal, "endpoint", KEY, Endpoint)
        goal = endpoint or Endpoint(model_key=KEY, salt="s")
        now_s = self.clock.now_s()
        deployment = Deployment(
            deployment_id=name,
            model_key=KEY,
            version=version,
            spec=DeploymentSpec(),
            strategy=strategy,
            status="requested",
            stable=goal.stable,
            steps=(5.0, 50.0, 100.0),
            promotion_window_s=1,
            bake_window_s=1,
            history=(Change(at_s=now_s, status="requested", traffic={}, actor="dora", reason="ship it"),),
            requested_by="dora",
            created_at_s=now_s,
        )
        going_on = goal.model_copy(update={"deployment_ids": (*goal.deployment_ids, name)})
        writes = [write("endpoint", KEY, revision, going_on), write("deployment", name, 0, deployment)]
        self.journal.append(writes, actor="dora", reason="ship it")

    def known(self, name: str) -> tuple[Endpoint, Deployment]:
        endpoint, _ = load(self.journal, "endpoint", KEY, Endpoint)
        deployment, _ = load(self.journal, "deployment", name, Deployment)
        assert endpoint is not None
        assert deployment is not None
        return endpoint, deployment

    def commit(self, move: Move) -> None:
        name = move.deployment.deployment_id
        (_, at), (_, revision) = (
            load(self.journal, "endpoint", KEY, Endpoint),
            load(self.journal, "deployment", name, Deployment),
        )
        writes = [write("endpoint", KEY, at, move.endpoint), write("deployment", name, revision, move.deployment)]
        self.journal.append(writes, move.facts, actor=move.actor, reason=move.reason)

    def first(self) -> None:
        """At one o'clock 1.0.0, approved by bo, serves everything at once."""
        self.at(1).version("1.0.0")
        self.approve("1.0.0")
        self.ask("dep-1", "1.0.0", strategy="direct")
        endpoint, deployment = self.known("dep-1")
        goal, why = next_epoch(endpoint, stable="1.0.0"), "nothing serves yet, so all traffic goes to it"
        self.commit(moved(goal, deployment, "promoting", self.clock.now_s(), why))
        endpoint, deployment = self.known("dep-1")
        self.commit(end(endpoint, deployment, "succeeded", self.clock.now_s(), "every replica serves it"))

    def step(self, name: str, step: int, **changes: Any) -> None:
        endpoint, deployment = self.known(name)
        verdict = Decision(verdict="PROMOTE", rule="no_harm", why="shown", at_s=self.clock.now_s(), step_pct=5)
        facts: dict[str, Any] = {"decision": verdict} | changes
        self.commit(step_to(endpoint, deployment, step, self.clock.now_s(), f"step {step}", **facts))

    def canary(self) -> None:
        """At two 1.1.0 gets 5%, at three 50% and at four everything."""
        self.at(2).version("1.1.0")
        self.approve("1.1.0", by="cy")
        self.ask("dep-2", "1.1.0")
        self.step("dep-2", 0, decision=None)
        self.at(3).step("dep-2", 1)
        self.at(4).step("dep-2", 2, actor="dora")

    def served(self, hour: float, **changes: Any) -> Served:
        return self.registry.served(**({"model_key": KEY} | changes), at_s=hour * 3600)


@pytest.fixture
def world() -> World:
    return World()


def shares(served: Served) -> dict[str, float]:
    return {one.version: one.traffic_pct for one in served.versions}


def test_each_moment_of_a_rollout_is_told_with_its_traffic(world: World) -> None:
    world.first()
    world.canary()
    found = {hour: shares(world.served(hour)) for hour in (1.5, 2.5, 3.5, 4.5)}
    assert found == {
        1.5: {"1.0.0": 100},
        2.5: {"1.0.0": 95, "1.1.0": 5},
        3.5: {"1.0.0": 50, "1.1.0": 50},
        4.5: {"1.1.0": 100},
    }
    assert [world.served(hour).until_s for hour in (1.5, 2.5, 3.5, 4.5)] == [7200, 10800, 14400, None]


def test_who_decided_who_asked_who_approved_and_on_what_evidence(world: World) -> None:
    world.first()
    world.canary()
    stable, candidate = world.served(3.5).versions
    assert (stable.role, stable.since_s, stable.deployment_id) == ("stable", 3600, "dep-1")
    assert (stable.decided_by, stable.requested_by, stable.registered_by) == ("deployment-manager", "dora", "tom")
    assert ([word.by for word in stable.approvals], stable.approved) == (["bo"], True)
    assert (candidate.role, candidate.since_s, candidate.why) == ("candidate", 10800, "step 1")
    assert ([word.by for word in candidate.approvals], candidate.evaluation_id) == (["cy"], "eval-1.1.0")
    assert candidate.decision is not None
    assert (candidate.decision.rule, candidate.metrics) == ("no_harm", {"auroc": 0.9})
    (winner,) = world.served(4.5).versions
    assert (winner.decided_by, winner.deployment_id, winner.since_s) == ("dora", "dep-2", 14400)


def test_later_words_and_withdrawals_change_nothing_of_what_was(world: World) -> None:
    world.first()
    before = world.served(1.5)
    world.canary()
    world.registry.approve(KEY, "1.0.0", decision="rejected", reason="harm", by="bo", role="approver")
    world.journal.append(
        [Write(kind="model_version", key=f"{KEY}@1.0.0", expected_version=1, body=None)], actor="cy", reason="gone"
    )
    after = world.served(1.5)
    assert after.model_copy(update={"until_s": None}) == before
    assert after.until_s == 7200


def test_version_that_came_back_names_the_rollback_and_its_reason(world: World) -> None:
    world.first()
    world.canary()
    endpoint, deployment = world.at(5).known("dep-2")
    world.commit(go_back(endpoint, deployment, 5 * 3600.0, "support calls", actor="eve"))
    (back,) = world.served(5.5).versions
    assert (back.version, back.since_s, back.decided_by, back.why) == ("1.0.0", 18000, "eve", "support calls")
    assert (back.deployment_id, [word.by for word in back.approvals]) == ("dep-2", ["bo"])


def test_rollback_to_a_snapshot_is_told_without_a_deployment(world: World) -> None:
    world.first()
    store = SnapshotStore(world.journal, world.blobs, world.clock)
    snapshot = store.export(reason="before", by="ana").snapshot_id
    goal, at = load(world.journal, "endpoint", KEY, Endpoint)
    assert goal is not None
    emptied = goal.model_copy(update={"stable": None})
    world.at(3).journal.append([write("endpoint", KEY, at, emptied)], actor="x", reason="y")
    assert shares(world.served(3.5)) == {}
    world.at(4)
    store.restore(snapshot, reason="as it was", by="ana")
    (back,) = world.served(4.5).versions
    assert (back.deployment_id, back.decided_by, back.since_s, back.why) == (None, "ana", 14400, "as it was")


def test_shadow_is_named_and_has_no_traffic(world: World) -> None:
    world.first()
    world.at(2).version("1.1.0")
    world.ask("dep-2", "1.1.0", strategy="shadow")
    endpoint, deployment = world.known("dep-2")
    world.commit(moved(next_epoch(endpoint), deployment, "shadow", 7200.0, "requests are copied to it"))
    stable, shadow = world.served(2.5).versions
    assert (stable.traffic_pct, shadow.role, shadow.traffic_pct, shadow.approved) == (100, "shadow", 0, False)
    assert sentence(world.served(2.5)) == (
        f"{KEY} served 1.0.0 (100%) at 1970-01-01 02:30:00 UTC, with copies to 1.1.0."
    )


def test_hold_changes_neither_the_share_nor_since_when_it_is(world: World) -> None:
    world.first()
    world.at(2).version("1.1.0")
    world.ask("dep-2", "1.1.0")
    world.step("dep-2", 0, decision=None)
    endpoint, deployment = world.at(2.5).known("dep-2")
    world.commit(moved(endpoint, deployment, "canary", 9000.0, "held: lunch", actor="ann"))
    _, candidate = world.served(2.75).versions
    assert (candidate.since_s, candidate.why) == (7200, "step 0")
    assert world.served(2.25).until_s is None


def test_nothing_served_before_the_first_deployment_and_nothing_was_before_the_first_version(world: World) -> None:
    world.at(0.5).version("0.9.0")
    world.first()
    early = world.served(0.75)
    assert (early.versions, early.epoch, early.until_s) == ((), None, 3600)
    with pytest.raises(NotFound, match="at that moment"):
        world.served(0.25)
    with pytest.raises(NotFound):
        world.served(1, model_key="nothing")


def test_deployment_answers_for_its_endpoint_from_when_it_was_asked_for(world: World) -> None:
    world.first()
    world.canary()
    found = world.served(2.5, model_key=None, deployment_id="dep-2")
    assert (found.deployment_id, shares(found)) == ("dep-2", {"1.0.0": 95, "1.1.0": 5})
    with pytest.raises(NotFound, match=r"at that moment; it was asked for at 7200"):
        world.served(1.5, model_key=None, deployment_id="dep-2")
    with pytest.raises(NotFound, match="GET /deployments"):
        world.served(1.5, model_key=None, deployment_id="dep-9")


@pytest.mark.parametrize("asked", [{}, {"model_key": KEY, "deployment_id": "dep-1"}])
def test_exactly_one_of_model_and_deployment_is_asked_about(world: World, asked: dict[str, str]) -> None:
    with pytest.raises(Incompatible, match="exactly one"):
        world.registry.served(**asked)  # type: ignore[arg-type]  # names of texts


def test_page_says_everything_and_carries_no_markup_from_outside(world: World) -> None:
    world.first()
    world.canary()
    endpoint, deployment = world.at(5).known("dep-2")
    world.commit(go_back(endpoint, deployment, 5 * 3600.0, "<script>alert(1)</script>", actor="eve"))
    page = world.registry.served_page(model_key=KEY, at_s=3.5 * 3600)
    for said in ("1.0.0, stable, 50%", "1.1.0, candidate, 50%", "bo", "cy", "eval-1.1.0", "no_harm", "dora", "until"):
        assert said in page
    later = world.registry.served_page(model_key=KEY, at_s=5.5 * 3600)
    assert "<script" not in later
    assert "&lt;script&gt;" in later


# Over HTTP


@pytest.fixture
def service(tmp_path: Path, free_port: int) -> Iterator[Service]:
    with Service(load_settings({}, home=tmp_path, port=free_port)) as found:
        found.registered()
        goal = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
        found.journal.append([write("endpoint", KEY, 0, goal)], actor="dora", reason="ship it")
        yield found


def test_client_and_page_tell_the_same(service: Service) -> None:
    found = service.client().served(KEY)
    assert [(one.version, one.traffic_pct, one.decided_by) for one in found.versions] == [("1.0.0", 100, "dora")]
    page = service.raw("GET", f"/served/page?model_key={KEY}")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "1.0.0, stable, 100%" in page.text
    problem(service.raw("GET", f"/served?model_key={KEY}&at_s=1"), 404, "not_found")
    problem(service.raw("GET", "/served"), 422, "incompatible")
    problem(service.raw("GET", "/served/page?model_key=nothing"), 404, "not_found")


def test_command_prints_a_table_or_writes_the_page(service: Service, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["served", *arguments, "--url", service.settings.url])

    table = run(KEY).stdout
    for said in ("1.0.0", "stable", "100%", "dora", "ship it", "nobody"):
        assert said in table
    page = tmp_path / "page.html"
    assert run(KEY, "--out", str(page)).exit_code == 0
    assert "1.0.0, stable, 100%" in page.read_text(encoding="utf-8")
    assert run(KEY, "--at", "1970-01-02").exit_code == 3
    assert run(KEY, "--at", "noonish").exit_code == 2
    assert run().exit_code == 2
