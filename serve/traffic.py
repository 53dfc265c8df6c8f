"""The route table as one replica applies it: pulled from the deployment manager, made ready, swapped by one reference.

The replica keeps its table while the manager is away, and on disk, so that it also starts without one. It acknowledges
a table by asking for the next, and says when nothing is in flight any more to a version that the table no longer names.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from actors.directory import handle
from contracts.errors import MldlError, Unavailable
from contracts.routing import Arm, RouteTable
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.serving_form import ServingModel
from serve.recorder import Group, Recorder
from serve.slots import ModelSlots

log = logging.getLogger(__name__)
FIRST_TABLE_TIMEOUT_S = 20.0
RETRY_S = 0.5
DRAIN_LOOK_S = 0.05
LEAVE_S = 1.0
SHADOW_SHARE = 0.5
"""Both see the same requests, so under equality a failure is the shadow's with probability one half."""


class Lane(NamedTuple):
    """One version as requests reach it: in this process, or over a handle to its app; and how its rows are filed."""

    arm: Arm
    group: Group
    model: ServingModel | None = None
    handle: Any = None


class Routes(NamedTuple):
    """A table with everything that a request needs of it, made before the swap."""

    table: RouteTable
    lanes: dict[str, Lane]
    shadow: Lane | None

    @property
    def stable(self) -> Lane:
        """The lane in this process."""
        return self.lanes[self.table.stable.version]

    def choose(self, sticky_key: str) -> Lane:
        """Choose the lane of a sticky key."""
        return self.lanes[self.table.choose(sticky_key).version]


class Traffic:
    """Follow the deployment manager. ``routes`` is the current table; take it once per request."""

    def __init__(self, model_key: str, replica_id: str, slots: ModelSlots, recorder: Recorder, disk: Path) -> None:
        self._model_key, self._replica_id = model_key, replica_id
        self._slots, self._recorder, self._disk = slots, recorder, disk
        self._manager: Any = None
        self.in_flight: Counter[str] = Counter()
        self.routes: Routes

    async def start(self) -> None:
        """Get and apply the first table; the replica is not healthy before that.

        Raises:
            Unavailable: The manager does not answer, and there is no table on disk.
        """
        deadline = asyncio.get_running_loop().time() + FIRST_TABLE_TIMEOUT_S
        table = None
        while table is None:
            try:
                table = await self._ask(epoch=-1, drained=True)
            except (Unavailable, RayError) as error:
                self._manager = None
                log.warning("no route table for %s yet: %s", self._model_key, error)
                await asyncio.sleep(RETRY_S)
            if table is None and asyncio.get_running_loop().time() > deadline:
                table = self.from_disk()
        await self.apply(table)

    async def follow(self) -> None:
        """Apply every newer table, for ever."""
        while True:
            try:
                current = self.routes.table
                newer = await self._ask(current.epoch, self.drained())
                if newer is not None and newer.epoch > current.epoch:
                    await self.apply(newer)
            except MldlError as error:  # the version cannot be loaded: not acknowledged, so the manager goes back
                log.error("route table of %s not applied: %s", self._model_key, error)
                await asyncio.sleep(RETRY_S)
            except RayError as error:
                self._manager = None
                log.warning("the deployment manager is away (%s); keeping epoch %s", error, self.routes.table.epoch)
                await asyncio.sleep(RETRY_S)

    async def report_drained(self) -> None:
        """Say as soon as nothing is in flight to versions that the table no longer names, for ever."""
        told = -1
        while True:
            await asyncio.sleep(DRAIN_LOOK_S)
            epoch = self.routes.table.epoch
            if epoch == told or not self.drained():
                continue
            try:
                await (await self._handle()).acknowledge.remote(self._model_key, self._replica_id, epoch, True)
                told = epoch
            except (Unavailable, RayError):
                self._manager = None
                await asyncio.sleep(RETRY_S)

    async def leave(self) -> None:
        """Say that this replica stops, if the manager is there to hear it."""
        try:
            await asyncio.wait_for((await self._handle()).leave.remote(self._model_key, self._replica_id), LEAVE_S)
        except (Unavailable, RayError, TimeoutError) as error:
            log.info("left without a word: %s", error)

    def drained(self) -> bool:
        """Say whether nothing is in flight any more to versions that the table no longer names."""
        named = {lane.arm.app for lane in self.routes.lanes.values()}
        named.add(self.routes.shadow.arm.app if self.routes.shadow else None)
        return not any(count for app, count in self.in_flight.items() if app not in named)

    async def _ask(self, epoch: int, drained: bool) -> RouteTable | None:
        manager = await self._handle()
        table: RouteTable | None = await manager.watch.remote(self._model_key, self._replica_id, epoch, drained)
        return table

    async def _handle(self) -> Any:
        if self._manager is None:
            self._manager = await asyncio.to_thread(handle, "deployments")
        return self._manager

    async def apply(self, table: RouteTable) -> None:
        """Make a table ready, then swap it in. Nothing of the old one is let go before."""
        local = (table.stable, *table.warm)
        for arm in local:
            model = await asyncio.to_thread(self._slots.load, arm.manifest)
            self._recorder.describe(arm.version, model.schema)
        lanes = {arm.version: await self._lane(table, arm, "candidate" if arm.app else "stable") for arm in table.arms}
        shadow = await self._lane(table, table.shadow, "shadow") if table.shadow else None
        self.routes = Routes(table, lanes, shadow)
        self._slots.keep({arm.manifest for arm in local})
        await asyncio.to_thread(self._to_disk, table)
        log.info("epoch %s of %s applied", table.epoch, self._model_key)

    async def _lane(self, table: RouteTable, arm: Arm, role: str) -> Lane:
        group = Group(arm.version, role, table.epoch, _share(table, arm), _rollouts(table, arm))
        if arm.app is None:
            return Lane(arm, group, model=self._slots.get(arm.manifest))
        found = await asyncio.to_thread(ray_serve.get_app_handle, arm.app)
        found = found.options(stream=False)
        if not self._recorder.knows(arm.version):
            try:
                described = await found.schema.remote()
                self._recorder.describe(arm.version, InputSchema.model_validate_json(described))
            except (RayError, RayServeException) as error:  # requests will tell; they are answered by stable
                log.warning("candidate %s does not describe itself: %s", arm.app, error)
        return Lane(arm, group, handle=found)

    def _to_disk(self, table: RouteTable) -> None:
        self._disk.parent.mkdir(parents=True, exist_ok=True)
        aside = self._disk.with_suffix(f".{self._replica_id}")
        aside.write_text(table.model_dump_json(), encoding="utf-8")
        aside.replace(self._disk)

    def from_disk(self) -> RouteTable:
        """Give the table that was applied last on this machine.

        Raises:
            Unavailable: There is none.
        """
        if not self._disk.exists():
            raise Unavailable(f"no route table for {self._model_key}: the deployment manager does not answer")
        return RouteTable.model_validate_json(self._disk.read_text(encoding="utf-8"))


def _share(table: RouteTable, arm: Arm) -> float:
    """Give what a candidate gets of the requests that it and stable answer together; for stable, all candidates."""
    if table.shadow is not None:
        return SHADOW_SHARE
    mine = arm.share if arm.app else sum(other.share for other in table.arms[1:])
    return min(1.0, mine / (mine + table.stable.share)) if mine else 0.0


def _rollouts(table: RouteTable, arm: Arm) -> str:
    return (arm.deployment_id or "") if arm.app else ",".join(table.deployment_ids)
