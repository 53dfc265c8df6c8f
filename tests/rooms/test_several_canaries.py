"""The manager with several canaries on one endpoint, a person's hold, a way back that waits for nothing, and rest."""

from __future__ import annotations

import asyncio
import threading

import pytest

from contracts.errors import Conflict
from contracts.ports import AppState, Once, endpoint_app
from contracts.rollouts import Deployment
from contracts.routing import RouteTable
from serve.memory_backend import MemoryServing
from tests.rooms.test_deployment_manager import KEY, SPEC, World, story

BESIDE = SPEC.model_copy(update={"canary_steps": (10.0, 30.0, 100.0), "beside": True})


class Hanging(MemoryServing):
    """Serve that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()
        self.go.set()

    def states(self) -> dict[str, AppState]:
        self.asked.set()
        assert self.go.wait(30)
        return super().states()


async def table(world: World) -> RouteTable:
    shown = await world.manager.watch(KEY, "replica", 0, True)
    assert shown is not None
    return shown


async def two_canaries(world: World) -> tuple[Deployment, Deployment]:
    await world.served("1.0.0")
    first = await world.deploy("1.1.0", BESIDE)
    await world.settle(first.deployment_id, until="canary")
    second = await world.deploy("1.2.0", BESIDE)
    await world.settle(second.deployment_id, until="canary")
    return first, second


@story
async def test_two_canaries_share_an_endpoint_each_with_keys_of_its_own(world: World) -> None:
    first, second = await two_canaries(world)
    shown = await table(world)
    assert [(arm.version, arm.deployment_id, arm.spans) for arm in shown.arms[1:]] == [
        ("1.1.0", first.deployment_id, ((0.0, 0.1),)),
        ("1.2.0", second.deployment_id, ((0.1, 0.2),)),
    ]
    await world.manager.promote(first.deployment_id, reason="go", by="ann")
    assert [arm.spans for arm in (await table(world)).arms[1:]] == [((0.0, 0.1), (0.2, 0.4)), ((0.1, 0.2),)]


@story
async def test_after_a_restart_the_keys_are_where_they_were(world: World) -> None:
    first, _ = await two_canaries(world)
    await world.manager.promote(first.deployment_id, reason="go", by="ann")
    before = await table(world)
    world.start()
    assert await table(world) == before


@story
async def test_one_is_rolled_back_and_the_other_keeps_its_keys_and_wins(world: World) -> None:
    first, second = await two_canaries(world)
    await world.manager.rollback(first.deployment_id, reason="no", by="ann")
    assert [(arm.version, arm.spans) for arm in (await table(world)).arms[1:]] == [("1.2.0", ((0.1, 0.2),))]
    await world.settle(first.deployment_id, until="rolled_back")
    await world.manager.promote(second.deployment_id, to_pct=100, reason="yes", by="ann")
    await world.settle(second.deployment_id, until="baking")
    assert world.endpoint().stable == "1.2.0"


@story
async def test_when_one_is_promoted_by_hand_the_other_ends_superseded_and_its_app_goes(world: World) -> None:
    first, second = await two_canaries(world)
    await world.manager.promote(second.deployment_id, to_pct=100, reason="better", by="ann")
    ended = await world.manager.deployment(first.deployment_id)
    assert (ended.status, ended.history[-1].traffic) == ("superseded", {"1.2.0": 1.0})
    await world.settle(second.deployment_id, until="baking")
    world.clock.advance(6)
    await world.settle(second.deployment_id, until="succeeded")
    for _ in range(4):
        await world.manager.turn()
        await world.apply()
    assert set(world.serving.states()) == {endpoint_app(KEY)}


@story
async def test_a_third_that_does_not_fit_is_refused(world: World) -> None:
    first, _ = await two_canaries(world)
    with pytest.raises(Conflict, match="same version"):
        await world.deploy("1.2.0", BESIDE)
    await world.manager.promote(first.deployment_id, reason="go", by="ann")
    world.register("1.3.0")
    with pytest.raises(Conflict, match="40% is taken"):
        await world.deploy("1.3.0", BESIDE.model_copy(update={"canary_steps": (61.0, 100.0)}))


@story
async def test_a_hold_is_kept_through_a_restart_and_the_same_request_twice_is_one(world: World) -> None:
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    await world.settle(asked.deployment_id, until="canary")
    once = Once(key="k", digest="d")
    held = await world.manager.hold(asked.deployment_id, reason="calls", by="ann", once=once)
    assert await world.manager.hold(asked.deployment_id, reason="calls", by="ann", once=once) == held
    world.start()
    world.counts.requests = 2000
    world.clock.advance(600)
    for _ in range(3):
        await world.apply()
        await world.manager.turn()
    shown = await world.manager.deployment(asked.deployment_id)
    assert (shown.status, shown.step, shown.decisions[-1].rule) == ("canary", 0, "held")
    assert "ann holds it here: calls" in shown.decisions[-1].why
    await world.manager.resume(asked.deployment_id, reason="fixed", by="bob")
    await world.settle(asked.deployment_id, until="baking")
    kinds = [event.type for event in world.journal.events(subject=asked.deployment_id)]
    assert kinds.count("MLDL_DEPLOYMENT_HELD") == kinds.count("MLDL_DEPLOYMENT_RESUMED") == 1


@story
async def test_a_rollback_reaches_replicas_while_a_turn_still_waits_for_serve(world: World) -> None:
    world.serving = Hanging()
    world.start()
    await world.served("1.0.0")
    asked = await world.deploy("1.1.0")
    await world.settle(asked.deployment_id, until="canary")
    epoch = world.endpoint().epoch
    watching = asyncio.create_task(world.manager.watch(KEY, "replica", epoch, True))
    world.serving.go.clear()
    world.serving.asked.clear()
    turning = asyncio.create_task(world.manager.turn())
    try:
        assert await asyncio.to_thread(world.serving.asked.wait, 30)
        back = await world.manager.rollback(asked.deployment_id, reason="complaints", by="ann")
        shown = await asyncio.wait_for(watching, 30)
        assert not turning.done()
    finally:
        world.serving.go.set()
    assert shown is not None
    assert (back.status, shown.epoch, [arm.version for arm in shown.arms]) == ("rolling_back", epoch + 1, ["1.0.0"])
    await turning
    await world.settle(asked.deployment_id, until="rolled_back")


@story
async def test_a_decision_that_was_overtaken_is_taken_again_on_what_is_there_now(world: World) -> None:
    first, second = await two_canaries(world)
    await asyncio.gather(
        world.manager.rollback(first.deployment_id, reason="no", by="ann"),
        world.manager.rollback(second.deployment_id, reason="no", by="bob"),
    )
    assert [arm.version for arm in (await table(world)).arms] == ["1.0.0"]
    await world.settle(first.deployment_id, until="rolled_back")
    await world.settle(second.deployment_id, until="rolled_back")


@story
async def test_at_rest_the_loop_asks_the_journal_and_nobody_else(world: World) -> None:
    await world.served("1.0.0")
    reconciler = world.manager.reconciler
    while await world.manager.turn() or not reconciler.idle():
        await world.apply()
    asked = await world.deploy("1.1.0")
    assert not reconciler.idle()
    await world.settle(asked.deployment_id, until="canary")
    await world.manager.turn()
    assert not reconciler.idle()
