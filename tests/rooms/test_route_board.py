"""Where replicas wait for route tables: nobody misses one, and the manager knows who has applied what."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from actors import route_board
from actors.route_board import DEAD_AFTER_S, RouteBoard
from contracts.routing import Arm, RouteTable
from mldl_ray.clock import SettableClock


def table(epoch: int, model_key: str = "m") -> RouteTable:
    arms = (Arm(version="1.0.0", manifest="sha256:1", share=1),)
    return RouteTable(model_key=model_key, epoch=epoch, salt="s", arms=arms)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def board(clock: SettableClock) -> RouteBoard:
    return RouteBoard(clock.now_s)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


async def until(holds: Callable[[], bool]) -> None:
    """Let the other tasks go on until something holds."""
    while not holds():
        await asyncio.sleep(0)


def test_a_newer_table_is_shown_and_an_older_or_the_same_one_is_not(board: RouteBoard) -> None:
    assert board.table("m") is None
    assert [board.publish(table(epoch)) for epoch in (2, 1, 2, 3)] == [True, False, False, True]
    assert board.table("m") == table(3)
    assert board.table("other") is None


def test_a_replica_that_is_behind_gets_the_table_at_once(board: RouteBoard) -> None:
    async def story() -> None:
        board.publish(table(3))
        assert await board.watch("m", "r1", 0, True) == table(3)
        assert await board.watch("m", "r1", 2, True) == table(3)

    run(story())


def test_every_waiting_replica_gets_a_new_table(board: RouteBoard) -> None:
    async def story() -> None:
        board.publish(table(1))
        waiting = [asyncio.create_task(board.watch("m", f"r{n}", 1, True)) for n in range(20)]
        await until(lambda: len(board.live("m")) == 20)
        assert not any(task.done() for task in waiting)
        board.publish(table(2))
        assert await asyncio.gather(*waiting) == [table(2)] * 20

    run(story())


def test_a_table_of_another_endpoint_wakes_nobody(board: RouteBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_board, "PARK_S", 0.05)

    async def story() -> None:
        waiting = asyncio.create_task(board.watch("m", "r1", 0, True))
        await until(lambda: bool(board.live("m")))
        board.publish(table(9, "other"))
        assert await waiting is None

    run(story())


def test_without_news_a_replica_is_sent_away_to_ask_again(board: RouteBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_board, "PARK_S", 0.01)

    async def story() -> None:
        board.publish(table(4))
        assert await board.watch("m", "r1", 4, True) is None
        assert await board.watch("unknown", "r1", 0, True) is None

    run(story())


def test_tables_published_from_other_threads_reach_every_replica_in_order(board: RouteBoard) -> None:
    last, seen = 200, dict[str, list[int]]()

    async def replica(name: str) -> None:
        epochs = seen.setdefault(name, [0])
        while epochs[-1] < last:
            found = await board.watch("m", name, epochs[-1], True)
            assert found is not None
            epochs.append(found.epoch)

    async def story() -> None:
        replicas = [asyncio.create_task(replica(f"r{n}")) for n in range(5)]
        publishers = [
            threading.Thread(target=lambda first=first: [board.publish(table(n)) for n in range(first, last + 1, 2)])
            for first in (1, 2)
        ]
        for publisher in publishers:
            publisher.start()
        await asyncio.gather(*replicas)
        for publisher in publishers:
            publisher.join()

    run(story())
    assert all(epochs == sorted(set(epochs)) for epochs in seen.values())


def test_an_epoch_is_applied_when_every_live_replica_says_so(board: RouteBoard) -> None:
    assert not board.applied("m", 1)  # nobody there is not everybody
    board.acknowledge("m", "r1", 2, True)
    board.acknowledge("m", "r2", 1, True)
    assert board.applied("m", 1)
    assert not board.applied("m", 2)
    board.acknowledge("m", "r2", 2, False)
    assert board.applied("m", 2)
    assert not board.applied("m", 2, drained=True)
    board.acknowledge("m", "r2", 2, True)
    assert board.applied("m", 2, drained=True)


def test_a_replica_that_fell_silent_holds_nobody_up(board: RouteBoard, clock: SettableClock) -> None:
    board.acknowledge("m", "gone", 1, False)
    clock.advance(DEAD_AFTER_S - 1)
    board.acknowledge("m", "here", 2, True)
    assert not board.applied("m", 2)
    clock.advance(2)
    assert len(board.live("m")) == 1
    assert board.applied("m", 2, drained=True)


def test_a_waiting_replica_outlives_its_own_silence() -> None:
    assert route_board.PARK_S * 2 < DEAD_AFTER_S


def test_waiting_for_an_epoch_ends_with_the_last_acknowledgement(board: RouteBoard) -> None:
    async def story() -> None:
        for name in ("r1", "r2"):
            board.acknowledge("m", name, 1, True)
        waiting = asyncio.create_task(board.wait_applied("m", 2))
        board.acknowledge("m", "r1", 2, True)
        await asyncio.sleep(0)
        assert not waiting.done()
        board.acknowledge("m", "r2", 2, True)
        assert await waiting

    run(story())


def test_waiting_for_an_epoch_that_is_applied_already_returns_at_once(board: RouteBoard) -> None:
    async def story() -> None:
        board.acknowledge("m", "r1", 5, True)
        assert await board.wait_applied("m", 5, timeout_s=60)

    run(story())


def test_waiting_for_an_epoch_gives_up_when_told_and_says_so(board: RouteBoard) -> None:
    async def story() -> None:
        assert not await board.wait_applied("m", 1, timeout_s=0.02)
        assert not await board.wait_applied("m", 1, timeout_s=0)

    run(story())


def test_a_replica_that_goes_away_while_waiting_leaves_nothing_behind(board: RouteBoard) -> None:
    async def story() -> None:
        waiting = asyncio.create_task(board.watch("m", "r1", 0, True))
        await until(lambda: bool(board.live("m")))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(story())
    assert board.publish(table(1))  # and its loop, closed by now, is not woken
