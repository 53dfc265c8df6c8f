"""Aliases: those that follow from the state, and own ones moved by compare-and-set; the same wherever asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.aliases import AliasRequest
from contracts.errors import Conflict, Forbidden, Incompatible, NotFound
from contracts.ports import Once, Write
from contracts.records import TrainedBundle
from contracts.rollouts import Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.registry import checkpoint
from mldl_ray.registry.catalog import Catalog
from mldl_ray.registry.index import Index
from mldl_ray.settings import load_settings
from tests.rooms.test_api import KEY, problem
from tests.rooms.test_api import World as Service


class World:
    """A registry with three versions of one model."""

    def __init__(self) -> None:
        self.clock = SettableClock(1000.0)
        self.journal = MemoryJournal(self.clock)
        self.blobs = MemoryBlobs()
        self.registry = Registry(self.journal, self.blobs, EmbeddedGovernance(self.journal, self.clock), self.clock)
        for version in ("1.0.0", "1.1.0", "2.0.0"):
            self.put(version)

    def put(self, version: str, **changes: Any) -> None:
        facts = {"model_key": KEY, "version": version, "artifact_uri": "blobs:x", "validation_hash": "x"}
        bundle = TrainedBundle(**facts, created_at="", **changes)
        self.write("model_version", f"{KEY}@{version}", bundle.model_dump(mode="json"))

    def write(self, kind: str, key: str, body: dict[str, Any] | None) -> int:
        expected = len(self.journal.history(kind, key))
        one = Write(kind=kind, key=key, expected_version=expected, body=body)
        return self.journal.append([one], actor="t", reason="t").position

    def serve(self, stable: str | None, *rollouts: tuple[str, str, str]) -> None:
        """Have the endpoint serve a version, with deployments (id, version, status) going on."""
        for name, version, status in rollouts:
            body = Deployment(
                deployment_id=name,
                model_key=KEY,
                version=version,
                spec=DeploymentSpec(),
                strategy="canary",
                status=status,
                steps=(5.0, 100.0),
                promotion_window_s=1,
                bake_window_s=1,
            )
            self.write("deployment", name, body.model_dump(mode="json"))
        goal = Endpoint(model_key=KEY, stable=stable, salt="s", deployment_ids=tuple(name for name, _, _ in rollouts))
        self.write("endpoint", KEY, goal.model_dump(mode="json"))

    def move(self, version: str, before: str | None = None, alias: str = "champion", **changes: Any) -> Any:
        asked = AliasRequest(version=version, expected_version=before, reason="because")
        return self.registry.move_alias(KEY, alias, asked, by="ana", **changes)

    def leads(self) -> dict[str, str | None]:
        return {one.alias: one.version for one in self.registry.aliases(KEY)}


@pytest.fixture
def world() -> World:
    return World()


# Derived ones


def test_candidate_is_what_goes_through_the_newest_live_rollout(world: World) -> None:
    assert world.leads() == {"latest": "2.0.0", "stable": None, "candidate": None}
    world.serve("1.0.0", ("dep-1", "1.1.0", "canary"), ("dep-2", "2.0.0", "starting"))
    assert world.leads() == {"latest": "2.0.0", "stable": "1.0.0", "candidate": "2.0.0"}
    world.serve("1.0.0", ("dep-1", "1.1.0", "canary"), ("dep-2", "2.0.0", "failed"))
    assert world.leads()["candidate"] == "1.1.0"
    world.serve("1.1.0", ("dep-1", "1.1.0", "baking"))
    assert world.leads() == {"latest": "2.0.0", "stable": "1.1.0", "candidate": None}


def test_candidate_of_a_model_without_a_rollout_is_not_found_and_says_why(world: World) -> None:
    with pytest.raises(NotFound, match="goes through a rollout"):
        Catalog(world.journal).resolve(KEY, "candidate")


@pytest.mark.parametrize("alias", ["latest", "stable", "candidate", "aliases", "1champion", "a.b", "a b", "x" * 65, ""])
def test_name_that_means_something_or_looks_like_a_number_cannot_be_moved(world: World, alias: str) -> None:
    before = world.journal.position()
    with pytest.raises(Incompatible):
        world.move("1.0.0", alias=alias)
    assert world.journal.position() == before


# Own ones


def test_own_alias_is_made_moved_and_removed_and_each_is_an_event_with_who_and_why(world: World) -> None:
    made = world.move("1.0.0")
    assert (made.version, made.moved_by, made.reason, made.at_s, made.derived) == (
        "1.0.0",
        "ana",
        "because",
        1000.0,
        False,
    )
    assert world.move("1.1.0", "1.0.0").version == "1.1.0"
    gone = world.registry.remove_alias(KEY, "champion", expected_version="1.1.0", reason="done", by="bo")
    assert (gone.version, gone.moved_by) == (None, "bo")
    assert "champion" not in world.leads()
    told = [event for event in world.journal.events(limit=99) if event.type == "MLDL_ALIAS_MOVED"]
    assert [(event.data["before"], event.data["version"], event.actor) for event in told] == [
        (None, "1.0.0", "ana"),
        ("1.0.0", "1.1.0", "ana"),
        ("1.1.0", None, "bo"),
    ]
    assert world.move("2.0.0").version == "2.0.0"  # it may be made again


@pytest.mark.parametrize("expected", [None, "1.1.0"])
def test_alias_that_leads_elsewhere_than_expected_stays_and_the_refusal_says_where(
    world: World, expected: str | None
) -> None:
    world.move("1.0.0")
    with pytest.raises(Conflict, match=r"leads to 1\.0\.0") as caught:
        world.move("2.0.0", expected)
    assert caught.value.facts["version"] == "1.0.0"
    with pytest.raises(Conflict):
        world.registry.remove_alias(KEY, "champion", expected_version="1.1.0", reason="x", by="ana")
    assert world.leads()["champion"] == "1.0.0"


def test_of_many_who_move_from_the_same_version_one_succeeds(world: World) -> None:
    world.move("1.0.0")

    def attempt(version: str) -> bool:
        try:
            world.move(version, "1.0.0")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(attempt, ["1.1.0", "2.0.0"] * 8))
    assert sum(done) == 1


def test_same_request_again_gives_the_first_answer_and_writes_nothing(world: World) -> None:
    once = Once(key="k", digest="d")
    first = world.move("1.0.0", once=once)
    position = world.journal.position()
    assert world.move("1.0.0", once=once) == first
    assert world.move("1.0.0", "1.0.0") == first  # it leads there already
    assert world.journal.position() == position


def test_alias_is_moved_to_where_another_leads_now_and_stays_there(world: World) -> None:
    world.serve("1.1.0")
    assert world.move("stable").version == "1.1.0"
    world.serve("2.0.0")
    assert world.leads()["champion"] == "1.1.0"


def test_alias_leads_to_no_version_that_is_absent_or_retired(world: World) -> None:
    with pytest.raises(NotFound, match=r"no version 9\.0\.0"):
        world.move("9.0.0")
    world.put("3.0.0", status="retired")
    with pytest.raises(Conflict, match="retired"):
        world.move("3.0.0")
    with pytest.raises(NotFound, match="no alias champion"):
        world.registry.remove_alias(KEY, "champion", expected_version="1.0.0", reason="x", by="ana")


def test_aliases_of_a_model_that_is_not_registered_are_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="incom"):
        world.registry.aliases("incom")


# Where they are used


def test_alias_stands_for_its_version_wherever_one_is_named(world: World) -> None:
    world.move("1.1.0")
    assert world.registry.view(KEY, "champion").bundle.version == "1.1.0"
    assert Catalog(world.journal).resolve(KEY, "champion") == "1.1.0"
    assert world.registry.compliance(KEY, "champion").reasons
    with pytest.raises(NotFound, match=r"no alias challenger; it has: .* and the aliases: champion"):
        world.registry.view(KEY, "challenger")
    with pytest.raises(Incompatible, match="champion may mean another version tomorrow"):
        world.registry.approve(KEY, "champion", reason="x", by="bo", role="approver")


def test_aliases_are_those_of_their_moment(world: World) -> None:
    world.move("1.0.0")
    world.clock.advance(1000.0)
    world.move("1.1.0", "1.0.0")
    then = {one.alias: one.version for one in world.registry.aliases(KEY, as_of_s=1500.0)}
    assert (then["champion"], world.leads()["champion"]) == ("1.0.0", "1.1.0")
    assert world.registry.view(KEY, "champion", as_of_s=1500.0).bundle.version == "1.0.0"
    with pytest.raises(NotFound):
        world.registry.view(KEY, "champion", as_of_s=500.0)


def test_views_name_the_aliases_of_a_version_searched_or_shown(world: World) -> None:
    world.serve("1.0.0", ("dep-1", "1.1.0", "canary"))
    world.move("1.1.0", alias="b")
    world.move("1.1.0", alias="a")
    found = {view.bundle.version: view.aliases for view in world.registry.search(model_key=KEY)}
    assert found == {"1.0.0": ("stable",), "1.1.0": ("candidate", "a", "b"), "2.0.0": ("latest",)}
    assert world.registry.view(KEY, "1.1.0").aliases == found["1.1.0"]
    assert [view.aliases for view in world.registry.search(model_key=KEY, as_of_s=1000.0)] == list(found.values())


def test_index_from_its_file_knows_the_aliases(world: World, tmp_path: Path) -> None:
    world.serve("1.0.0", ("dep-1", "1.1.0", "canary"))
    world.move("1.1.0")
    index = Index()
    index.follow(world.journal)
    checkpoint.save(index, tmp_path)
    again = checkpoint.load(tmp_path, world.journal)
    world.move("2.0.0", "1.1.0")
    world.write("deployment", "dep-1", world.journal.history("deployment", "dep-1")[0].body | {"status": "failed"})  # type: ignore[operator]  # it has a body
    for one in (index, again):
        one.follow(world.journal)
        assert one.aliases(KEY) == {"latest": "2.0.0", "stable": "1.0.0", "candidate": None, "champion": "2.0.0"}


def test_rollback_to_a_snapshot_gives_aliases_back(world: World) -> None:
    world.move("1.0.0")
    store = SnapshotStore(world.journal, world.blobs, world.clock)
    snapshot = store.export(reason="before", by="ana")
    world.move("1.1.0", "1.0.0")
    world.move("2.0.0", alias="challenger")
    store.restore(snapshot.snapshot_id, reason="back", by="ana")
    assert world.leads() == {"latest": "2.0.0", "stable": None, "candidate": None, "champion": "1.0.0"}
    assert world.registry.search(model_key=KEY, limit=1)[0].aliases == ("champion",)


# Over HTTP


@pytest.fixture
def service(tmp_path: Path, free_port: int) -> Iterator[Service]:
    with Service(load_settings({}, home=tmp_path, port=free_port)) as found:
        for version in ("1.0.0", "1.1.0"):
            found.registered(version)
        yield found


def test_client_moves_an_alias_and_deploys_by_it(service: Service) -> None:
    client = service.client(acting_as="ana")
    client.set_policy({"approvals_required": 0}, reason="test")
    client.move_alias(KEY, "champion", "1.0.0", reason="the first")
    with pytest.raises(Conflict, match=r"leads to 1\.0\.0"):
        client.move_alias(KEY, "champion", "1.1.0", reason="mine")
    assert client.move_alias(KEY, "champion", "1.1.0", expected_version="1.0.0", reason="better").moved_by == "ana"
    deployed = client.deployment(client.deploy(KEY, "champion").deployment_id)
    assert deployed.version == "1.1.0"
    assert client.version(KEY, "champion").aliases == ("latest", "candidate", "champion")
    assert client.remove_alias(KEY, "champion", expected_version="1.1.0", reason="done").version is None
    assert [one.alias for one in client.aliases(KEY)] == ["latest", "stable", "candidate"]
    assert client.audit(kind="MLDL_ALIAS_MOVED")[-1].reason == "done"


def test_refusals_over_http_have_their_status(service: Service) -> None:
    path, body = f"/registry/{KEY}/aliases/champion", {"version": "1.0.0", "reason": "x"}
    assert service.raw("PUT", path, json=body).status_code == 200
    problem(service.raw("PUT", path, json=body | {"version": "1.1.0"}), 409, "conflict")
    problem(service.raw("PUT", path, json={"version": "1.0.0"}), 422, "incompatible")
    problem(service.raw("PUT", f"/registry/{KEY}/aliases/stable", json=body), 422, "incompatible")
    problem(service.raw("DELETE", path), 422, "incompatible")
    problem(service.raw("DELETE", f"{path}?expected_version=1.1.0&reason=x"), 409, "conflict")
    problem(service.raw("GET", "/registry/nothing/aliases"), 404, "not_found")


@pytest.mark.parametrize("role", ["viewer", "approver", "deployer"])
def test_only_who_registers_moves_aliases(service: Service, role: Any) -> None:
    other = service.client(key=service.client().create_key("kim", role).secret)
    with pytest.raises(Forbidden):
        other.move_alias(KEY, "champion", "1.0.0", reason="x")
    assert [one.alias for one in other.aliases(KEY)] == ["latest", "stable", "candidate"]


def test_command_lists_moves_and_removes_and_its_exit_code_tells_a_lost_race(service: Service) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["alias", *arguments, "--url", service.settings.url])

    assert run("move", KEY, "champion", "1.0.0", "--reason", "the first").exit_code == 0
    lost = run("move", KEY, "champion", "1.1.0", "--reason", "mine")
    assert (lost.exit_code, "leads to 1.0.0" in lost.stderr) == (5, True)
    assert run("move", KEY, "champion", "latest", "--from", "1.0.0", "--reason", "better").exit_code == 0
    listed = run("list", KEY)
    assert "champion   1.1.0" in listed.stdout
    assert "candidate  nowhere" in listed.stdout
    assert run("remove", KEY, "champion", "--from", "1.1.0", "--reason", "done").exit_code == 0
    assert "champion" not in run("list", KEY).stdout
