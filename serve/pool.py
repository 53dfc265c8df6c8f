"""The pool: replicas that hold the stable versions of many small models in one process, as a Serve deployment.

What is one model's own is in ``pooled``. Here is what the process has once: one long poll for news of all models, one
loop that ships telemetry, one that says what has drained. Requests come in by ``pool_door``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayError, RayTaskError

from actors.directory import handle, unwrap
from actors.journal import RemoteJournal
from contracts.errors import Broken, Unavailable
from contracts.routing import PoolNews, PoolReport, RouteTable
from mldl_ray.blobs import open_blobs
from mldl_ray.settings import Settings
from serve.bodies import Bodies
from serve.pool_door import Door
from serve.pooled import Pooled
from serve.shortcut import open_shortcut
from serve.traffic import DRAIN_LOOK_S, FIRST_TABLE_TIMEOUT_S, LEAVE_S, RETRY_S

log = logging.getLogger(__name__)
LOADS_AT_ONCE = 2


class Pool:
    """Ready when every model of its first news is applied or refused; from then on it follows the manager."""

    def __init__(self, settings: Settings, replica_id: str) -> None:
        self._settings, self._replica_id = settings, replica_id
        self._blobs = open_blobs(settings.artifact_uri)
        self._bodies = Bodies()
        self._models: dict[str, Pooled] = {}
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self._applying: dict[str, asyncio.Task[None]] = {}
        self._manager: Any = None
        self._monitor: Any = None
        self._door = Door(self._models, replica_id, RemoteJournal())
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Apply the first tables, the manager's or those on disk, then follow in the background."""
        self._take(await self._first())
        await asyncio.gather(*self._applying.values())
        loops = [self._follow(), self._report_drained(), self._flush()]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        open_shortcut(self._door)

    async def stop(self) -> None:
        """Tell the manager that this replica is no more."""
        for task in [*self._tasks, *self._applying.values()]:
            task.cancel()
        for model in self._models.values():
            model.close()
        try:
            await asyncio.wait_for(self._tell("leave_pool", self._replica_id), LEAVE_S)
        except (Unavailable, RayError, TimeoutError) as error:
            log.info("left without a word: %s", error)

    def asgi(self) -> Door:
        """Give the app that answers requests."""
        return self._door

    async def check_health(self) -> None:
        """Fail when a loop that must run for ever has ended; Serve then replaces the replica.

        Raises:
            Broken: One has.
        """
        for task in self._tasks:
            if task.done():
                raise Broken(f"a loop of the pool ended: {task.exception()}")

    async def _first(self) -> PoolNews:
        deadline = asyncio.get_running_loop().time() + FIRST_TABLE_TIMEOUT_S
        while True:
            try:
                news: PoolNews = await self._tell("watch_pool", self._replica_id, {})
                return news
            except (Unavailable, RayError) as error:
                log.warning("no route tables for the pool yet: %s", error)
                await asyncio.sleep(RETRY_S)
            if asyncio.get_running_loop().time() > deadline and (kept := self._on_disk()):
                return PoolNews(tables=kept)

    def _on_disk(self) -> tuple[RouteTable, ...]:
        files = (self._settings.home / "endpoints").glob("*/routes.json")
        found = [RouteTable.model_validate_json(file.read_text(encoding="utf-8")) for file in files]
        return tuple(table for table in found if table.route == "shared")

    async def _follow(self) -> None:
        while True:
            try:
                self._take(await self._tell("watch_pool", self._replica_id, self._report()))
            except (Unavailable, RayError) as error:
                log.warning("the deployment manager is away (%s); keeping every table", error)
                await asyncio.sleep(RETRY_S)

    def _report(self) -> dict[str, PoolReport]:
        return {key: model.report() for key, model in self._models.items()}

    def _take(self, news: PoolNews) -> None:
        """Begin to do what the news asks for; a model that takes long or fails keeps nobody else waiting."""
        for key in news.gone:
            if (model := self._models.pop(key, None)) is not None:
                model.close(forget=True)
        for table in news.tables:
            model = self._models.get(table.model_key)
            if model is None:
                model = self._models[table.model_key] = Pooled(
                    table.model_key, self._replica_id, self._settings, self._blobs, self._send, self._bodies
                )
            model.want(table)
        for key, model in self._models.items():
            if model.behind and (key not in self._applying or self._applying[key].done()):
                self._applying[key] = asyncio.create_task(self._apply(model))

    async def _apply(self, model: Pooled) -> None:
        while model.behind:
            async with self._loads:
                wanted = await model.apply()
            try:
                if model.refused:
                    await self._tell("refuse", model.model_key, wanted.epoch, model.trouble)
                elif not model.trouble:
                    said = model.report()
                    await self._tell("acknowledge", model.model_key, self._replica_id, said.applied, said.drained)
            except (Unavailable, RayError) as error:  # the next report says it again
                log.info("%s: not told: %s", model.model_key, error)
            if model.trouble:
                return

    async def _report_drained(self) -> None:
        """Say as soon as a model has nothing in flight to versions that its table no longer names, for ever."""
        told: dict[str, int] = {}
        while True:
            await asyncio.sleep(DRAIN_LOOK_S)
            for key, model in list(self._models.items()):
                said = model.report()
                if said.applied < 0 or told.get(key) == said.applied or not said.drained:
                    continue
                try:
                    await self._tell("acknowledge", key, self._replica_id, said.applied, True)
                    told[key] = said.applied
                except (Unavailable, RayError):
                    await asyncio.sleep(RETRY_S)

    async def _flush(self) -> None:
        """Ship the telemetry of all models, for ever."""
        while True:
            await asyncio.sleep(self._settings.mldl.monitoring.flush_s)
            for model in list(self._models.values()):
                try:
                    await model.recorder.flush()
                except Unavailable as error:
                    log.info("telemetry waits: %s", error)
                    break
                except Exception:  # telemetry must never end the loop that carries it; what failed is logged
                    log.exception("a telemetry batch of %s failed", model.model_key)

    async def _tell(self, verb: str, *said: Any) -> Any:
        try:
            if self._manager is None:
                self._manager = await asyncio.to_thread(handle, "deployments")
            return await getattr(self._manager, verb).remote(*said)
        except RayTaskError as error:
            raise Unavailable(str(unwrap(error, "deployments"))) from error
        except RayError:
            self._manager = None
            raise

    async def _send(self, tables: Sequence[bytes]) -> None:
        try:
            if self._monitor is None:
                self._monitor = await asyncio.to_thread(handle, "monitor")
            await self._monitor.ingest.remote(*tables)
        except RayTaskError as error:
            raise unwrap(error, "monitor") from error
        except RayError as error:
            self._monitor = None
            raise Unavailable(f"the monitor does not answer: {error}") from error
