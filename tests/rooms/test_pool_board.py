"""What a replica of the pool hears of its many models, and what the manager then knows."""

from __future__ import annotations

import asyncio

import pytest

from actors.route_board import RouteBoard
from contracts.errors import Conflict
from contracts.rollouts import Endpoint
from contracts.routing import Arm, PoolReport, RouteTable
from mldl_ray.deployment.density import routed


def table(key: str, epoch: int, route: str = "shared") -> RouteTable:
    arms = (Arm(version="1.0.0", manifest="sha256:1", share=1),)
    return RouteTable.model_validate({"model_key": key, "epoch": epoch, "salt": "s", "arms": arms, "route": route})


def held(epoch: int, tried: int | None = None) -> PoolReport:
    return PoolReport(applied=epoch, tried=epoch if tried is None else tried, drained=True)


@pytest.fixture
def board() -> RouteBoard:
    board = RouteBoard()
    for found in (table("a", 1), table("b", 5), table("alone", 3, "single")):
        board.publish(found)
    return board


def news(board: RouteBoard, models: dict[str, PoolReport], replica: str = "r1") -> tuple[list[str], tuple[str, ...]]:
    found = asyncio.run(asyncio.wait_for(board.watch_pool(replica, models), 10))
    return [one.model_key for one in found.tables], found.gone


def test_a_new_replica_gets_the_tables_of_all_shared_models_in_one_answer(board: RouteBoard) -> None:
    assert news(board, {}) == (["a", "b"], ())


def test_only_the_models_with_newer_tables_are_told(board: RouteBoard) -> None:
    board.publish(table("b", 6))
    assert news(board, {"a": held(1), "b": held(5)}) == (["b"], ())


def test_a_table_that_could_not_be_applied_is_not_sent_again_and_not_counted_as_applied(board: RouteBoard) -> None:
    board.publish(table("b", 6))
    assert news(board, {"a": held(0), "b": held(5, tried=6)}) == (["a"], ())
    assert not board.applied("b", 6)


def test_a_waiting_replica_hears_of_a_new_model_at_once(board: RouteBoard) -> None:
    async def story() -> list[str]:
        waiting = asyncio.create_task(board.watch_pool("r1", {"a": held(1), "b": held(5)}))
        await asyncio.sleep(0)
        board.publish(table("c", 1))
        return [found.model_key for found in (await asyncio.wait_for(waiting, 2)).tables]

    assert asyncio.run(story()) == ["c"]


def test_a_withdrawn_model_is_let_go(board: RouteBoard) -> None:
    board.withdraw("a")
    assert news(board, {"a": held(1), "b": held(5)}) == ([], ("a",))


def test_a_shared_table_is_applied_only_when_every_replica_of_the_pool_has_it(board: RouteBoard) -> None:
    assert not board.applied("a", 1)
    news(board, {"a": held(1)})
    assert board.applied("a", 1)
    news(board, {}, replica="r2")
    assert not board.applied("a", 1)
    board.leave_pool("r2")
    assert board.applied("a", 1)


def test_the_replicas_of_its_own_app_do_not_stand_for_the_pool(board: RouteBoard) -> None:
    board.acknowledge("a", "own", 1, True)
    assert not board.applied("a", 1)


def test_a_refusal_is_of_one_model_and_one_epoch(board: RouteBoard) -> None:
    board.refuse("a", 1, "broken")
    assert [board.refusal("a", 1), board.refusal("a", 2), board.refusal("b", 1)] == ["broken", None, None]


def test_a_model_that_serves_may_move_to_the_pool_and_not_back() -> None:
    alone = Endpoint(model_key="m", salt="s", stable="1.0.0", epoch=4)
    moved = routed(alone, "shared", lambda: 0, 10)
    assert (moved.route, moved.epoch) == ("shared", 5)
    assert routed(moved, None, lambda: 0, 10) == moved
    with pytest.raises(Conflict, match="cannot leave it"):
        routed(moved, "single", lambda: 0, 10)


def test_a_full_pool_refuses_one_more_and_says_what_to_do() -> None:
    with pytest.raises(Conflict, match="route single"):
        routed(Endpoint(model_key="m", salt="s"), "shared", lambda: 10, 10)
