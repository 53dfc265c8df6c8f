"""How many replicas an endpoint has: a goal of its own, which deployments and restarts leave alone."""

from __future__ import annotations

import pytest

from actors.route_board import RouteBoard
from contracts.errors import NotFound
from contracts.ports import Once, endpoint_app
from contracts.routing import Arm, RouteTable
from tests.rooms.test_deployment_manager import KEY, SPEC, World, story

MINE = endpoint_app(KEY)


@story
async def test_an_endpoint_is_scaled_without_a_new_route_table(world: World) -> None:
    await world.served("1.0.0")
    epoch = world.endpoint().epoch
    shown = await world.manager.scale(KEY, 3, by="ann", reason="more traffic")
    await world.manager.turn()
    assert (shown["replicas"], world.serving.replicas[MINE]) == (3, 3)
    assert world.endpoint().epoch == epoch


@story
async def test_scaling_says_who_and_why(world: World) -> None:
    await world.served("1.0.0")
    await world.manager.scale(KEY, 3, by="ann", reason="more traffic")
    (event,) = world.journal.events(types=["MLDL_ENDPOINT_SCALED"])
    assert (event.actor, event.reason, event.subject) == ("ann", "more traffic", KEY)
    assert event.data == {"model_key": KEY, "from": 1, "to": 3}


@story
async def test_scaling_to_the_number_that_there_is_writes_nothing(world: World) -> None:
    await world.served("1.0.0")
    await world.manager.scale(KEY, 2, by="ann", reason="first")
    before = world.journal.position()
    shown = await world.manager.scale(KEY, 2, by="ann", reason="again")
    assert (shown["replicas"], world.journal.position()) == (2, before)


@story
async def test_a_repeated_request_does_not_undo_what_came_after_it(world: World) -> None:
    await world.served("1.0.0")
    first = Once(key="a", digest="d")
    await world.manager.scale(KEY, 3, by="ann", reason="up", once=first)
    await world.manager.scale(KEY, 2, by="bo", reason="down")
    await world.manager.scale(KEY, 3, by="ann", reason="up", once=first)
    assert world.endpoint().replicas == 2


@story
async def test_an_unknown_endpoint_is_not_scaled(world: World) -> None:
    with pytest.raises(NotFound):
        await world.manager.scale("nobody", 2, by="ann", reason="test")


@story
async def test_the_number_stays_through_a_deployment_and_a_restart(world: World) -> None:
    await world.served("1.0.0")
    await world.manager.scale(KEY, 3, by="ann", reason="more traffic")
    await world.served("1.1.0")
    world.start()
    await world.manager.turn()
    assert (world.endpoint().replicas, world.serving.replicas[MINE]) == (3, 3)


@story
async def test_a_deployment_that_names_a_number_changes_it(world: World) -> None:
    await world.served("1.0.0")
    await world.deploy("1.1.0", SPEC.model_copy(update={"replicas": 2}))
    await world.manager.turn()
    assert (world.endpoint().replicas, world.serving.replicas[MINE]) == (2, 2)


def test_a_replica_that_leaves_is_not_waited_for() -> None:
    board = RouteBoard(now_s=lambda: 0.0)
    arm = Arm(version="1", manifest="sha256:a", share=1)
    board.publish(RouteTable(model_key="m", epoch=2, salt="s", arms=(arm,)))
    board.acknowledge("m", "stays", 2, drained=True)
    board.acknowledge("m", "goes", 1, drained=False)
    assert not board.applied("m", 2)
    board.leave("m", "goes")
    assert board.applied("m", 2, drained=True)
