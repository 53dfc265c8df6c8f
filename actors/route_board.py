"""Where replicas wait for route tables, and where the manager sees who has applied which.

A replica's call is three things at once: a long poll for a newer table, the acknowledgement of the one it applied, and
its sign of life. Nothing here survives a restart; replicas call again within seconds and the board is full again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.routing import PoolNews, PoolReport, RouteTable

PARK_S = 5.0
DEAD_AFTER_S = 12.0


@dataclass
class _Replica:
    seen_s: float
    applied: int
    drained: bool


@dataclass
class _Slot:
    table: RouteTable | None = None
    replicas: dict[str, _Replica] = field(default_factory=dict)
    waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=set)
    refused: tuple[int, str] | None = None


class RouteBoard:
    """Hold the current table of every endpoint; safe to use from any thread.

    Args:
        now_s: Seconds that only go forward: when a replica was heard of last.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._pool: dict[str, float] = {}
        self._pool_waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def publish(self, table: RouteTable) -> bool:
        """Show a table if it is newer than the one shown, and wake whoever waits; say whether it was."""
        with self._lock:
            slot = self._slot(table.model_key)
            if slot.table is not None and table.epoch <= slot.table.epoch:
                return False
            slot.table = table
            self._wake(slot)
            if table.route == "shared":
                self._wake_all(self._pool_waiters)
        return True

    def withdraw(self, model_key: str) -> None:
        """Have the pool let go of a model, if it holds it."""
        with self._lock:
            slot = self._slot(model_key)
            if slot.table is not None:
                slot.table, slot.refused = None, None
                slot.replicas.clear()
                self._wake_all(self._pool_waiters)

    def shared(self) -> set[str]:
        """Name the models whose table is for the pool."""
        with self._lock:
            return {key for key, slot in self._slots.items() if slot.table is not None and slot.table.route == "shared"}

    def refuse(self, model_key: str, epoch: int, why: str) -> None:
        """Note that a replica of the pool cannot apply a table; its neighbours are not concerned."""
        with self._lock:
            slot = self._slot(model_key)
            slot.refused = (epoch, why)
            self._wake(slot)

    def refusal(self, model_key: str, epoch: int) -> str | None:
        """Say why the table of an epoch cannot be applied; None while nobody said so."""
        with self._lock:
            refused = self._slot(model_key).refused
        return refused[1] if refused is not None and refused[0] == epoch else None

    async def watch_pool(self, replica_id: str, models: dict[str, PoolReport]) -> PoolNews:
        """Wait for any news of any shared model, ``PARK_S`` at most; acknowledges what the replica applied."""
        self._hear_pool(replica_id, models)
        deadline = time.monotonic() + PARK_S
        while True:
            waiter = (asyncio.get_running_loop(), asyncio.Event())
            with self._lock:
                news = self._news(models)
                left_s = deadline - time.monotonic()
                if news.tables or news.gone or left_s <= 0:
                    return news
                self._pool_waiters.add(waiter)
            try:
                await asyncio.wait_for(waiter[1].wait(), left_s)
            except TimeoutError:
                continue
            finally:
                with self._lock:
                    self._pool_waiters.discard(waiter)

    def leave_pool(self, replica_id: str) -> None:
        """Forget a replica of the pool that stops."""
        with self._lock:
            self._pool.pop(replica_id, None)
            for slot in self._slots.values():
                if slot.replicas.pop(replica_id, None) is not None:
                    self._wake(slot)

    def _hear_pool(self, replica_id: str, models: dict[str, PoolReport]) -> None:
        with self._lock:
            now_s = self._pool[replica_id] = self._now_s()
            for key, said in models.items():
                slot = self._slots.get(key)
                if slot is not None:
                    slot.replicas[replica_id] = _Replica(now_s, said.applied, said.drained)
                    self._wake(slot)

    def _news(self, models: dict[str, PoolReport]) -> PoolNews:
        shown = {key: slot.table for key, slot in self._slots.items() if slot.table is not None}
        tables = [table for table in shown.values() if table.route == "shared"]
        newer = [
            table for table in tables if table.model_key not in models or table.epoch > models[table.model_key].tried
        ]
        held = {table.model_key for table in tables}
        return PoolNews(tables=tuple(newer), gone=tuple(sorted(set(models) - held)))

    def table(self, model_key: str) -> RouteTable | None:
        """Give the table shown now."""
        with self._lock:
            return self._slot(model_key).table

    def acknowledge(self, model_key: str, replica_id: str, applied_epoch: int, drained: bool) -> _Slot:
        """Note what a replica has applied, and that it lives; wake whoever waits for that."""
        with self._lock:
            slot = self._slot(model_key)
            slot.replicas[replica_id] = _Replica(self._now_s(), applied_epoch, drained)
            self._wake(slot)
        return slot

    def leave(self, model_key: str, replica_id: str) -> None:
        """Forget a replica that stops, and wake whoever waits for it. A killed one is forgotten by its silence."""
        with self._lock:
            slot = self._slot(model_key)
            slot.replicas.pop(replica_id, None)
            self._wake(slot)

    async def watch(self, model_key: str, replica_id: str, applied_epoch: int, drained: bool) -> RouteTable | None:
        """Wait for a table newer than ``applied_epoch``, ``PARK_S`` at most; None when there is none."""
        slot = self.acknowledge(model_key, replica_id, applied_epoch, drained)
        deadline = time.monotonic() + PARK_S
        while (left_s := deadline - time.monotonic()) > 0:
            event = asyncio.Event()
            waiter = (asyncio.get_running_loop(), event)
            with self._lock:
                if slot.table is not None and slot.table.epoch > applied_epoch:
                    return slot.table
                slot.waiters.add(waiter)
            try:
                await asyncio.wait_for(event.wait(), left_s)
            except TimeoutError:
                break
            finally:
                with self._lock:
                    slot.waiters.discard(waiter)
        with self._lock:
            newer = slot.table is not None and slot.table.epoch > applied_epoch
            return slot.table if newer else None

    async def wait_applied(self, model_key: str, epoch: int, timeout_s: float = 30.0) -> bool:
        """Wait until every live replica has applied an epoch; say whether it came to that."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            event = asyncio.Event()
            waiter = (asyncio.get_running_loop(), event)
            with self._lock:
                self._slot(model_key).waiters.add(waiter)
            try:
                if self.applied(model_key, epoch):
                    return True
                await asyncio.wait_for(event.wait(), min(left_s, 1.0))
            except TimeoutError:
                continue
            finally:
                with self._lock:
                    self._slot(model_key).waiters.discard(waiter)
        return self.applied(model_key, epoch)

    def applied(self, model_key: str, epoch: int, *, drained: bool = False) -> bool:
        """Say whether there are live replicas and all have applied an epoch (and have nothing else in flight)."""
        live = self.live(model_key)
        if not self._pooled(model_key):
            return False
        return bool(live) and all(r.applied >= epoch and (r.drained or not drained) for r in live)

    def live(self, model_key: str) -> list[_Replica]:
        """List the replicas heard of lately."""
        oldest_s = self._now_s() - DEAD_AFTER_S
        with self._lock:
            slot = self._slot(model_key)
            slot.replicas = {name: replica for name, replica in slot.replicas.items() if replica.seen_s >= oldest_s}
            live = list(slot.replicas.values())
            if slot.table is not None and slot.table.route == "shared":  # who has not heard of it has not applied it
                silent = [
                    name for name, seen_s in self._pool.items() if seen_s >= oldest_s and name not in slot.replicas
                ]
                live += [_Replica(self._pool[name], -1, drained=False) for name in silent]
            return live

    def _pooled(self, model_key: str) -> bool:
        """Say whether a shared model's pool lives; of the others that is not asked."""
        oldest_s = self._now_s() - DEAD_AFTER_S
        with self._lock:
            self._pool = {name: seen_s for name, seen_s in self._pool.items() if seen_s >= oldest_s}
            table = self._slot(model_key).table
            return table is None or table.route == "single" or bool(self._pool)

    def _slot(self, model_key: str) -> _Slot:
        return self._slots.setdefault(model_key, _Slot())

    @classmethod
    def _wake(cls, slot: _Slot) -> None:
        cls._wake_all(slot.waiters)

    @staticmethod
    def _wake_all(waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, event in waiters:
            loop.call_soon_threadsafe(event.set)
