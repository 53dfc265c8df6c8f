"""Canaries beside each other, hold and resume over real HTTP: answers, roles, idempotency, what readers see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.errors import Conflict, Forbidden, MldlError
from contracts.rollouts import Endpoint
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.rooms.test_api import KEY, World, problem


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    with World(load_settings({}, home=tmp_path, port=free_port)) as found:
        found.client().set_policy({"approvals_required": 0}, reason="test")
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            found.registered(version)
        serving = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
        found.journal.append([write("endpoint", KEY, 0, serving)], actor="t", reason="t")
        yield found


def test_a_rollout_is_held_and_resumed_with_who_and_why(world: World) -> None:
    client = world.client(acting_as="ann")
    asked = client.deploy(KEY, "1.1.0").deployment_id
    held = client.hold(asked, reason="support calls")
    assert held.held is not None
    assert (held.held.by, held.held.reason, held.history[-1].reason) == ("ann", "support calls", "held: support calls")
    with pytest.raises(Conflict, match="ann holds"):
        client.hold(asked, reason="again")
    resumed = client.resume(asked, reason="it was the network")
    assert (resumed.held, resumed.history[-1].actor) == (None, "ann")
    with pytest.raises(Conflict, match="nobody holds"):
        client.resume(asked, reason="again")
    told = [event.type for event in world.journal.events(subject=asked)]
    assert told[-2:] == ["MLDL_DEPLOYMENT_HELD", "MLDL_DEPLOYMENT_RESUMED"]


def test_the_same_hold_sent_twice_is_answered_alike_and_written_once(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    body, headers = {"deployment_id": asked, "reason": "x"}, {"Idempotency-Key": "k1"}
    first = world.raw("POST", "/canary/hold", json=body, headers=headers)
    position = world.journal.position()
    again = world.raw("POST", "/canary/hold", json=body, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert world.journal.position() == position


@pytest.mark.parametrize("verb", ["hold", "resume"])
def test_a_hold_needs_a_reason_and_a_deployment_that_is_there(world: World, verb: str) -> None:
    path = f"/canary/{verb}"
    problem(world.raw("POST", path, json={"deployment_id": "dep-none"}), 422, "incompatible")
    problem(world.raw("POST", path, json={"deployment_id": "dep-none", "reason": "x"}), 404, "not_found")


@pytest.mark.parametrize("role", ["viewer", "trainer", "approver"])
def test_only_a_deployer_holds_and_resumes(world: World, role: str) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    other = world.client(key=world.client().create_key("kim", role).secret)  # type: ignore[arg-type]  # parametrized
    for act in (other.hold, other.resume):
        with pytest.raises(Forbidden):
            act(asked, reason="x")


def test_one_more_canary_comes_beside_only_when_asked_to(world: World) -> None:
    client = world.client()
    first = client.deploy(KEY, "1.1.0").deployment_id
    with pytest.raises(Conflict, match="beside"):
        client.deploy(KEY, "1.2.0")
    second = client.deploy(KEY, "1.2.0", {"beside": True}).deployment_id
    (endpoint,) = client.endpoints()
    assert endpoint.deployment_ids == (first, second)


def test_a_readers_traffic_counts_all_that_go_on_now(world: World) -> None:
    client = world.client()
    names = [client.deploy(KEY, version, {"beside": True}).deployment_id for version in ("1.1.0", "1.2.0")]
    for name, pct in zip(names, (5.0, 25.0), strict=True):
        document = world.journal.read("deployment", name)
        assert document is not None and document.body is not None
        canary = document.body | {"status": "canary", "steps": [pct, 100], "candidate_app": f"a-{name}"}
        changed = write("deployment", name, document.version, client.deployment(name)).model_copy(
            update={"body": canary}
        )
        world.journal.append([changed], actor="t", reason="t")
    for name in names:
        assert client.deployment(name).traffic == {"1.0.0": 0.7, "1.1.0": 0.05, "1.2.0": 0.25}


def test_a_shadow_that_asks_to_be_beside_is_refused_with_the_reason(world: World) -> None:
    with pytest.raises((ValidationError, MldlError), match="runs alone"):
        world.client().deploy(KEY, "1.1.0", {"beside": True, "strategy": "shadow"})
