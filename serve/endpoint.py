"""The endpoint of one model_key, as a Serve deployment: its replicas hold stable in-process and apply route tables."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.exceptions import RayError, RayTaskError

from actors.directory import handle, unwrap
from contracts.errors import Broken, Unavailable
from mldl_ray.blobs import open_blobs
from mldl_ray.settings import Settings
from serve.predict import Predictor
from serve.recorder import Privacy, Recorder
from serve.shortcut import open_shortcut
from serve.slots import ModelSlots
from serve.traffic import Traffic

SHADOW_WORKERS = 8


class Endpoint:
    """Ready when its first route table is applied; from then on it follows the deployment manager."""

    def __init__(self, settings: Settings, model_key: str, replica_id: str) -> None:
        folder = Path(settings.home) / "endpoints" / model_key
        self._slots = ModelSlots(open_blobs(settings.artifact_uri), Path(settings.home) / "cache")
        defaults = settings.mldl.monitoring
        self._monitor: Any = None
        self._recorder = Recorder(
            model_key,
            self._send,
            flush_s=defaults.flush_s,
            most_rows=defaults.buffer_rows,
            privacy=Privacy.of(defaults),
        )
        self._traffic = Traffic(model_key, replica_id, self._slots, self._recorder, folder / "routes.json")
        self._predictor = Predictor(model_key, self._traffic, self._recorder)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Apply the first route table, then follow the manager in the background."""
        await self._traffic.start()
        shadows = [self._predictor.answer_shadows() for _ in range(SHADOW_WORKERS)]
        loops = [self._traffic.follow(), self._traffic.report_drained(), self._recorder.run(), *shadows]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        open_shortcut(self._predictor)
        gc.collect()
        gc.freeze()  # what is here stays; looking through it again would halt requests for tens of milliseconds

    async def stop(self) -> None:
        """Tell the manager that this replica is no more; a rollout then need not wait for its silence to be noticed."""
        for task in self._tasks:
            task.cancel()
        await self._traffic.leave()

    def asgi(self) -> Predictor:
        """Give the app that answers requests."""
        return self._predictor

    async def check_health(self) -> None:
        """Fail when a loop that must run for ever has ended; Serve then replaces the replica.

        Raises:
            Broken: One has.
        """
        for task in self._tasks:
            if task.done():
                raise Broken(f"a loop of the endpoint ended: {task.exception()}")

    async def _send(self, tables: Sequence[bytes]) -> None:
        """Hand tables to the monitor. What it refuses would be refused again, so that is not kept."""
        try:
            if self._monitor is None:
                self._monitor = await asyncio.to_thread(handle, "monitor")
            await self._monitor.ingest.remote(*tables)
        except RayTaskError as error:
            raise unwrap(error, "monitor") from error
        except RayError as error:
            self._monitor = None
            raise Unavailable(f"the monitor does not answer: {error}") from error
