"""Retiring, reinstating and deleting versions: what forbids it, what stays, who wins a race with a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner, Result

from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.aliases import AliasRequest
from contracts.errors import Conflict, Forbidden, Incompatible, NotFound
from contracts.events import Fact
from contracts.ports import Document, Once, Receipt, Write
from contracts.rollouts import Endpoint
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, open_journal
from mldl_ray.journal.documents import load, write
from mldl_ray.registry.life import Life
from mldl_ray.settings import load_settings
from tests.rooms.test_api import World as Service
from tests.rooms.test_api import problem
from tests.rooms.test_deployment_manager import KEY
from tests.rooms.test_deployment_manager import World as Deployments


class Meddling(MemoryJournal):
    """A journal into which somebody else writes just before the next append, or before the next look at an endpoint."""

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock)
        self.first: Callable[[], object] | None = None
        self.at_endpoint: Callable[[], object] | None = None

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        if kind == "endpoint" and self.at_endpoint is not None:
            meddle, self.at_endpoint = self.at_endpoint, None
            meddle()
        return super().read(kind, key, as_of=as_of)

    def append(
        self,
        writes: Sequence[Write],
        facts: Sequence[Fact] = (),
        *,
        actor: str,
        reason: str,
        once: Once | None = None,
    ) -> Receipt:
        meddle, self.first = self.first, None
        if meddle is not None:
            meddle()
        return super().append(writes, facts, actor=actor, reason=reason, once=once)


class World(Deployments):
    """A manager, a registry and snapshots on one journal; three versions, none of which serves."""

    def __init__(self) -> None:
        super().__init__()
        old, self.meddling = self.journal, Meddling(self.clock)
        self.journal = self.meddling
        for kind in ("policy", "model_version"):
            for document in old.scan(kind):
                one = Write(kind=kind, key=document.key, expected_version=0, body=document.body)
                self.journal.append([one], actor="t", reason="t")
        self.start()
        governance = EmbeddedGovernance(self.journal, self.clock)
        self.registry = Registry(self.journal, MemoryBlobs(), governance, self.clock)
        self.snapshots = SnapshotStore(self.journal, MemoryBlobs(), self.clock)

    def retire(self, version: str = "1.0.0", **more: Any) -> Any:
        return self.registry.retire(KEY, version, reason="it is biased", by="ana", **more)

    def delete(self, version: str = "1.0.0", **more: Any) -> Any:
        return self.registry.delete_version(KEY, version, reason="it holds names", by="adam", **more)

    def serve(self, stable: str | None, previous: str | None = None) -> None:
        _, at = load(self.journal, "endpoint", KEY, Endpoint)
        goal = Endpoint(model_key=KEY, stable=stable, previous=previous, salt="s")
        self.journal.append([write("endpoint", KEY, at, goal)], actor="t", reason="t")

    def events(self) -> list[str]:
        return [event.type for event in self.journal.events(limit=1000)]


@pytest.fixture
def world() -> World:
    return World()


# Retiring


def test_retired_version_is_shown_as_such_and_cannot_be_deployed(world: World) -> None:
    assert world.retire().status == "retired"
    assert world.registry.view(KEY, "1.0.0").bundle.status == "retired"
    with pytest.raises(Conflict, match=r"1\.0\.0 is retired"):
        asyncio.run(world.deploy("1.0.0"))


def test_reinstated_version_can_be_deployed_and_both_reasons_are_kept(world: World) -> None:
    world.retire()
    world.registry.reinstate(KEY, "1.0.0", reason="it was not", by="bo")
    asyncio.run(world.deploy("1.0.0"))
    told = [event for event in world.journal.events(limit=99) if event.type == "MLDL_MODEL_RETIRED"]
    assert [(one.actor, one.reason, one.data["change"]) for one in told] == [
        ("ana", "it is biased", "retired"),
        ("bo", "it was not", "reinstated"),
    ]


def test_version_is_not_retired_twice_nor_reinstated_unretired(world: World) -> None:
    with pytest.raises(Conflict, match="is not retired"):
        world.registry.reinstate(KEY, "1.0.0", reason="x", by="ana")
    world.retire()
    with pytest.raises(Conflict, match="retired already"):
        world.retire()


def test_same_request_again_gives_the_same_answer_and_writes_nothing(world: World) -> None:
    once = Once(key="k", digest="d")
    first = world.retire(once=once)
    at = world.journal.position()
    assert world.retire(once=once) == first
    gone = world.delete("1.1.0", once=Once(key="k2", digest="d"))
    assert world.delete("1.1.0", once=Once(key="k2", digest="d")) == gone
    assert world.journal.position() == at + 1


def test_version_that_serves_or_goes_through_a_rollout_is_not_retired(world: World) -> None:
    world.serve("1.0.0")
    with pytest.raises(Conflict, match="it serves"):
        world.retire()
    asked = asyncio.run(world.deploy("1.1.0"))
    with pytest.raises(Conflict, match=f"rollout {asked.deployment_id}, which is requested"):
        world.retire("1.1.0")
    assert world.registry.view(KEY, "1.1.0").bundle.status == "registered"


@pytest.mark.parametrize("served", ["2.0.0", None])
def test_deployment_that_came_first_wins_over_a_retirement(world: World, served: str | None) -> None:
    if served is not None:
        world.serve(served)
    world.meddling.first = lambda: asyncio.run(world.deploy("1.0.0"))
    with pytest.raises(Conflict, match="goes through the rollout"):
        world.retire()
    assert world.registry.view(KEY, "1.0.0").bundle.status == "registered"


@pytest.mark.parametrize("served", ["2.0.0", None])
@pytest.mark.parametrize("done", ["retire", "delete"])
@pytest.mark.parametrize("when", ["first", "at_endpoint"])
def test_retirement_and_deletion_that_came_first_win_over_a_deployment(
    world: World, served: str | None, done: str, when: str
) -> None:
    if served is not None:
        world.serve(served)
    setattr(world.meddling, when, getattr(world, done))
    with pytest.raises((Conflict, NotFound), match=r"is retired|was deleted by adam"):
        asyncio.run(world.deploy("1.0.0"))
    assert world.journal.scan("deployment") == []


def test_rollback_to_a_version_that_was_retired_meanwhile_is_possible(world: World) -> None:
    world.serve("1.1.0", previous="1.0.0")
    assert world.retire().status == "retired"


# Deleting


def test_deleted_version_is_gone_its_number_is_never_given_again_and_the_record_stays(world: World) -> None:
    gone = world.delete("1.2.0")
    assert (gone.version, gone.deleted_by, gone.reason) == ("1.2.0", "adam", "it holds names")
    with pytest.raises(NotFound, match=r"1\.2\.0 was deleted by adam: it holds names"):
        world.registry.view(KEY, "1.2.0")
    assert world.registry.view(KEY, "latest").bundle.version == "1.1.0"
    assert "1.2.0" in world.registry._catalog(None).taken(KEY)
    assert [one.version for one in (view.bundle for view in world.registry.search())] == ["1.0.0", "1.1.0"]
    assert world.journal.history("model_version", f"{KEY}@1.2.0")[0].body is not None
    assert world.events()[-1] == "MLDL_MODEL_DELETED"
    assert world.journal.verify().ok


def test_nobody_is_asked_to_approve_what_was_deleted(world: World) -> None:
    request = Write(kind="approval_request", key=f"{KEY}@1.0.0", expected_version=0, body={"version": "1.0.0"})
    world.journal.append([request], actor="t", reason="t")
    world.delete()
    assert world.journal.scan("approval_request") == []


def test_version_that_is_needed_is_not_deleted_and_every_need_is_named(world: World) -> None:
    world.serve("1.0.0", previous="1.1.0")
    asked = AliasRequest(version="1.1.0", reason="x")
    world.registry.move_alias(KEY, "champion", asked, by="ana")
    kept = world.snapshots.export(reason="x", by="ana")
    world.snapshots.export(reason="y", by="ana")
    with pytest.raises(Conflict) as refused:
        world.delete("1.1.0")
    assert [reason.split(" (")[0] for reason in refused.value.facts["reasons"]][:2] == [
        "the endpoint falls back to it",
        "the alias champion leads to it",
    ]
    assert "1 more snapshots hold it" in refused.value.message
    with pytest.raises(Conflict, match="it serves"):
        world.delete("1.0.0")
    assert kept.snapshot_id


def test_version_that_came_after_every_snapshot_is_deleted_and_no_restore_brings_it_back(world: World) -> None:
    kept = world.snapshots.export(reason="x", by="ana")
    world.register("1.3.0")
    world.delete("1.3.0")
    assert [impact.key for impact in world.snapshots.plan(kept.snapshot_id).impacts] == []
    world.snapshots.restore(kept.snapshot_id, reason="back", by="ana")
    with pytest.raises(NotFound, match="was deleted by"):
        world.registry.view(KEY, "1.3.0")


@pytest.mark.parametrize("act", ["retire", "reinstate", "delete_version"])
def test_numbers_only_and_a_reason_always(world: World, act: str) -> None:
    call = getattr(world.registry, act)
    with pytest.raises(Incompatible, match="alias"):
        call(KEY, "latest", reason="x", by="ana")
    with pytest.raises(Incompatible, match="reason"):
        call(KEY, "1.0.0", reason=" ", by="ana")
    with pytest.raises(NotFound, match=r"it has: 1\.0\.0"):
        call(KEY, "9.9.9", reason="x", by="ana")


def test_a_database_takes_the_same_as_memory(tmp_path: Path, world: World) -> None:
    journal = open_journal(str(make_url(f"sqlite:///{tmp_path}/j.db")), world.clock)
    document = world.journal.read("model_version", f"{KEY}@1.0.0")
    assert document is not None
    one = Write(kind="model_version", key=document.key, expected_version=0, body=document.body)
    journal.append([one], actor="t", reason="t")
    life = Life(journal, world.clock)
    life.retire(KEY, "1.0.0", reason="x", by="ana")
    life.delete(KEY, "1.0.0", reason="x", by="ana")
    goal = Endpoint(model_key=KEY, salt="s")
    journal.append([write("endpoint", KEY, load(journal, "endpoint", KEY, Endpoint)[1], goal)], actor="t", reason="t")
    assert journal.verify().ok


# Over HTTP


@pytest.fixture
def service(tmp_path: Path, free_port: int) -> Iterator[Service]:
    with Service(load_settings({}, home=tmp_path, port=free_port)) as found:
        found.registered("1.0.0")
        found.registered("1.1.0")
        goal = Endpoint(model_key=KEY, stable="1.1.0", salt="s")
        found.journal.append([write("endpoint", KEY, 0, goal)], actor="dora", reason="ship it")
        yield found


def test_client_retires_reinstates_and_deletes(service: Service) -> None:
    client = service.client()
    assert client.retire(KEY, "1.0.0", reason="x").status == "retired"
    assert client.version(KEY, "1.0.0").bundle.status == "retired"
    assert client.reinstate(KEY, "1.0.0", reason="x").status == "registered"
    assert client.delete_version(KEY, "1.0.0", reason="old").version == "1.0.0"
    with pytest.raises(NotFound, match="was deleted by local: old"):
        client.version(KEY, "1.0.0")
    assert [entry.reason for entry in client.audit(kind="MLDL_MODEL_DELETED")] == ["old"]


def test_mistakes_over_http_are_problems(service: Service) -> None:
    problem(service.raw("POST", f"/registry/{KEY}/1.1.0/retire", json={"reason": "x"}), 409, "conflict")
    problem(service.raw("POST", f"/registry/{KEY}/1.0.0/retire", json={}), 422, "incompatible")
    problem(service.raw("DELETE", f"/registry/{KEY}/1.1.0?reason=x"), 409, "conflict")
    problem(service.raw("DELETE", f"/registry/{KEY}/1.0.0"), 422, "incompatible")
    problem(service.raw("DELETE", f"/registry/{KEY}/9.0.0?reason=x"), 404, "not_found")


def test_who_registers_retires_and_only_an_admin_deletes(service: Service) -> None:
    trainer = service.client(key=service.client().create_key("tom", "trainer").secret)
    viewer = service.client(key=service.client().create_key("vic", "viewer").secret)
    with pytest.raises(Forbidden):
        viewer.retire(KEY, "1.0.0", reason="x")
    trainer.retire(KEY, "1.0.0", reason="x")
    with pytest.raises(Forbidden):
        trainer.delete_version(KEY, "1.0.0", reason="x")


def test_command_retires_reinstates_and_deletes(service: Service) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["registry", *arguments, "--url", service.settings.url])

    assert "is retired" in run("retire", KEY, "1.0.0", "--reason", "x").stdout
    assert "retired" in run("search").stdout
    assert "retired" in run("show", KEY, "1.0.0").stdout
    assert "can be deployed again" in run("reinstate", KEY, "1.0.0", "--reason", "x").stdout
    assert "mldl gc" in run("delete", KEY, "1.0.0", "--reason", "x").stdout
    refused = run("delete", KEY, "1.1.0", "--reason", "x")
    assert (refused.exit_code, "it serves" in refused.stderr) == (5, True)
