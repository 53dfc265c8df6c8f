"""One model in the pool: its table, its versions, its requests and its telemetry, apart from its neighbours'."""

from __future__ import annotations

import asyncio
import logging

from contracts.errors import Broken, MldlError, Unavailable
from contracts.ports import Blobs
from contracts.routing import PoolReport, RouteTable
from mldl_ray.settings import Settings
from serve.bodies import Bodies
from serve.predict import Predictor
from serve.recorder import Privacy, Recorder, Send
from serve.slots import ModelSlots
from serve.traffic import Traffic

log = logging.getLogger(__name__)
SHADOW_WORKERS = 4
TELEMETRY_PART = 10
"""A model of a pool keeps one tenth of the telemetry rows that an endpoint of its own may keep."""


class Pooled:
    """What a replica of the pool holds of one model."""

    def __init__(
        self, model_key: str, replica_id: str, settings: Settings, blobs: Blobs, send: Send, bodies: Bodies
    ) -> None:
        self.model_key = model_key
        defaults = settings.mldl.monitoring
        rows = max(100, defaults.buffer_rows // TELEMETRY_PART)
        self.recorder = Recorder(
            model_key, send, flush_s=defaults.flush_s, most_rows=rows, privacy=Privacy.of(defaults)
        )
        self._disk = settings.home / "endpoints" / model_key / "routes.json"
        self._slots = ModelSlots(blobs, settings.home / "cache")
        self._traffic = Traffic(model_key, replica_id, self._slots, self.recorder, self._disk)
        self.predictor = Predictor(model_key, self._traffic, self.recorder, bodies)
        self._shadows: list[asyncio.Task[None]] = []
        self._wanted: RouteTable | None = None
        self._applied, self._closed = -1, False
        self.trouble = ""
        self.refused = False

    @property
    def ready(self) -> bool:
        """Whether it has a table to answer by."""
        return self._applied >= 0

    @property
    def behind(self) -> bool:
        """Whether a newer table waits than the one tried last, or one whose trouble may have passed."""
        return self._wanted is not None and not self._closed and self._applied < self._wanted.epoch

    @property
    def table(self) -> RouteTable:
        """The table that it answers by, once it is ready."""
        return self._traffic.routes.table

    def want(self, table: RouteTable) -> None:
        """Take note of a newer table."""
        if self._wanted is None or table.epoch > self._wanted.epoch:
            self._wanted = table

    def report(self) -> PoolReport:
        """Say what the manager wants to know of it."""
        drained = self._applied < 0 or self._traffic.drained()
        given = self._wanted.epoch if self._wanted is not None else -1
        return PoolReport(applied=self._applied, tried=given, drained=drained)

    async def apply(self) -> RouteTable:
        """Apply the table that waits, or keep the one before and say in ``trouble`` what is wrong with it."""
        table = self._wanted
        assert table is not None  # behind says so
        try:
            await self._traffic.apply(table)
        except Unavailable as error:  # passes by itself: tried again at the next news
            log.warning("the table of %s waits: %s", self.model_key, error)
            self.trouble, self.refused = str(error), False
        except MldlError as error:
            log.error("epoch %s of %s not applied: %s", table.epoch, self.model_key, error)
            self.trouble, self.refused = str(error), True
        except Exception as error:  # whatever is wrong with one model must not reach its neighbours
            log.exception("epoch %s of %s not applied", table.epoch, self.model_key)
            self.trouble, self.refused = str(Broken(f"{type(error).__name__}: {error}")), True
        else:
            self.trouble, self.refused, self._applied = "", False, table.epoch
            if self._closed:
                self._slots.keep(set())
            elif table.shadow is not None and not self._shadows:
                self._shadows = [asyncio.create_task(self.predictor.answer_shadows()) for _ in range(SHADOW_WORKERS)]
        return table

    def close(self, *, forget: bool = False) -> None:
        """Let go of every version. ``forget``: a replica that starts from disk is not to serve it either."""
        self._closed = True
        for task in self._shadows:
            task.cancel()
        self._slots.keep(set())
        if forget:
            self._disk.unlink(missing_ok=True)
