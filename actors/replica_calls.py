"""What replicas ask the deployment manager: for newer route tables, and to hear what they have applied.

The manager's own verbs and its loop are in ``deployment_manager``, which is made of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.reconciler import Reconciler
from actors.route_board import RouteBoard
from contracts.routing import PoolNews, PoolReport, RouteTable


class ReplicaCalls:
    """The replicas' side of the manager; needs what its ``__init__`` makes."""

    reconciler: Reconciler
    _board: RouteBoard
    _wake: asyncio.Event
    _published = False

    async def _acting(self, act: Callable[[], Any]) -> Any:
        raise NotImplementedError  # the manager has it

    async def watch(self, model_key: str, replica_id: str, applied_epoch: int, drained: bool) -> RouteTable | None:
        """Wait for a table newer than the applied one; the call is the replica's acknowledgement and sign of life."""
        if self._board.table(model_key) is None:
            await self._acting(self.reconciler.publish)
        heard = self._board.watch(model_key, replica_id, applied_epoch, drained)
        self._wake.set()
        return await heard

    async def acknowledge(self, model_key: str, replica_id: str, applied_epoch: int, drained: bool) -> None:
        """Hear that a replica applied a table or has nothing left in flight, without waiting."""
        self._board.acknowledge(model_key, replica_id, applied_epoch, drained)
        self._wake.set()

    async def leave(self, model_key: str, replica_id: str) -> None:
        """Hear that a replica stops now: nobody needs to wait for it any more."""
        self._board.leave(model_key, replica_id)
        self._wake.set()

    async def watch_pool(self, replica_id: str, models: dict[str, PoolReport]) -> PoolNews:
        """Wait for news of any shared model; one call for all that a replica of the pool holds."""
        if not self._published:  # before that, what is not on the board is not gone
            await self._acting(self.reconciler.publish)
            self._published = True
        heard = self._board.watch_pool(replica_id, models)
        self._wake.set()
        return await heard

    async def refuse(self, model_key: str, epoch: int, why: str) -> None:
        """Hear that the pool cannot apply a model's table; it keeps the one before, and its neighbours theirs."""
        self._board.refuse(model_key, epoch, why)
        self._wake.set()

    async def leave_pool(self, replica_id: str) -> None:
        """Hear that a replica of the pool stops now."""
        self._board.leave_pool(replica_id)
        self._wake.set()

    async def wait_epoch(self, model_key: str, epoch: int, timeout_s: float = 30.0) -> bool:
        """Wait until every live replica has applied an epoch; say whether it came to that."""
        return await self._board.wait_applied(model_key, epoch, timeout_s)
