"""What policy does to a rollout that is going on: it holds steps up, and never the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.errors import Conflict, Unavailable
from contracts.policies import Compliance, Policy
from contracts.ports import Write
from contracts.records import Approval
from contracts.rollouts import Deployment
from mldl_ray.bridges._remote import RemoteKernel
from mldl_ray.bridges.governance_remote import RemoteGovernance
from mldl_ray.journal.documents import load, write
from tests.rooms.test_deployment_manager import KEY, World, story

NOBODY = "http://127.0.0.1:9"


def set_policy(world: World, **fields: Any) -> None:
    _, version = load(world.journal, "policy", "default", Policy)
    policy = Policy.model_validate({"approvals_required": 0} | fields)
    world.journal.append([write("policy", "default", version, policy)], actor="cy", reason="test")


def word(world: World, version: str, decision: Any) -> None:
    bundle = world.manager._catalog.bundle(KEY, version)
    position = world.journal.position()
    one = Approval(
        approval_id=f"{KEY}@{version}-{position}",
        model_key=KEY,
        version=version,
        decision=decision,
        by="bo",
        role="approver",
        reason="figures read",
        validation_hash=bundle.validation_hash,
        evaluation_id=bundle.evaluation_id,
        at_s=world.clock.now_s(),
    )
    body = one.model_dump(mode="json")
    written = Write(kind="approval", key=one.approval_id, expected_version=0, body=body)
    world.journal.append([written], actor="bo", reason="test")


async def at_canary(world: World) -> Deployment:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    return await world.settle(asked.deployment_id, until="canary")


async def turned(world: World, deployment_id: str) -> Deployment:
    for _ in range(4):
        await world.manager.turn()
        await world.apply()
    return await world.manager.deployment(deployment_id)


@story
async def test_a_rejection_during_a_rollout_holds_what_the_evidence_would_promote(world: World) -> None:
    going_on = await at_canary(world)
    word(world, "1.1.0", "rejected")
    world.counts.requests = 2000
    world.clock.advance(11)
    found = await turned(world, going_on.deployment_id)
    assert (found.status, found.decisions[-1].verdict, found.decisions[-1].rule) == ("canary", "HOLD", "policy")
    assert "bo rejected it" in found.decisions[-1].why
    violations = world.journal.events(types=["MLDL_VIOLATION"])
    assert [event.data["findings"][0]["rule"] for event in violations] == ["rejected"]
    word(world, "1.1.0", "approved")
    await world.settle(going_on.deployment_id, until="baking")


@story
async def test_a_freeze_holds_a_rollout_until_it_ends(world: World) -> None:
    going_on = await at_canary(world)
    start_s = world.clock.now_s()
    freeze = {"name": "night", "start": _iso(start_s), "end": _iso(start_s + 60)}
    set_policy(world, freezes=[freeze])
    world.counts.requests = 2000
    world.clock.advance(11)
    assert (await turned(world, going_on.deployment_id)).decisions[-1].rule == "policy"
    with pytest.raises(Conflict, match="night: nothing may promote until"):
        await world.manager.promote(going_on.deployment_id, reason="now", by="ann")
    world.clock.advance(60)
    await world.settle(going_on.deployment_id, until="baking")


@story
async def test_harm_takes_a_rollout_back_through_any_freeze(world: World) -> None:
    going_on = await at_canary(world)
    start_s = world.clock.now_s()
    set_policy(world, approvals_required=9, freezes=[{"name": "x", "start": _iso(start_s), "end": _iso(start_s + 1e6)}])
    world.counts.requests, world.counts.errors = 10, 10
    await world.settle(going_on.deployment_id, until="rolled_back")


@story
async def test_while_the_governance_bridge_is_down_nothing_is_deployed_or_promoted_and_a_rollback_is_done(
    world: World,
) -> None:
    going_on = await at_canary(world)
    kernel = RemoteKernel(NOBODY, frozenset({"allowed"}))
    world.manager._governance = RemoteGovernance(world.journal, world.clock, kernel)
    with pytest.raises(Unavailable, match="governance bridge cannot be asked"):
        await world.deploy("1.2.0")
    with pytest.raises(Unavailable, match="nothing may promote"):
        await world.manager.promote(going_on.deployment_id, reason="now", by="ann")
    await world.manager.rollback(going_on.deployment_id, reason="complaints", by="ann")
    await world.settle(going_on.deployment_id, until="rolled_back")
    kernel.close()


@story
async def test_a_rollback_whose_warning_cannot_be_had_is_done_all_the_same(world: World) -> None:
    class Broken(RemoteGovernance):
        def check(self, *args: Any, **more: Any) -> Compliance:
            raise Unavailable("the journal of governance is away")

    going_on = await at_canary(world)
    world.manager._governance = Broken(world.journal, world.clock, RemoteKernel(NOBODY, frozenset()))
    await world.manager.rollback(going_on.deployment_id, reason="complaints", by="ann")
    await world.settle(going_on.deployment_id, until="rolled_back")


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()
