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

from contracts.routing import RouteTable

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


class RouteBoard:
    """Hold the current table of every endpoint; safe to use from any thread.

    Args:
        now_s: Seconds that only go forward: when a replica was heard of last.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def publish(self, table: RouteTable) -> bool:
        """Show a table if it is newer than the one shown, and wake whoever waits; say whether it was."""
        with self._lock:
            slot = self._slot(table.model_key)
            if slot.table is not None and table.epoch <= slot.table.epoch:
                return False
            slot.table = table
            self._wake(slot)
        return True

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
        return bool(live) and all(r.applied >= epoch and (r.drained or not drained) for r in live)

    def live(self, model_key: str) -> list[_Replica]:
        """List the replicas heard of lately."""
        oldest_s = self._now_s() - DEAD_AFTER_S
        with self._lock:
            slot = self._slot(model_key)
            slot.replicas = {name: replica for name, replica in slot.replicas.items() if replica.seen_s >= oldest_s}
            return list(slot.replicas.values())

    def _slot(self, model_key: str) -> _Slot:
        return self._slots.setdefault(model_key, _Slot())

    @staticmethod
    def _wake(slot: _Slot) -> None:
        for loop, event in slot.waiters:
            loop.call_soon_threadsafe(event.set)
