"""Live figures, drift, alerts."""

from __future__ import annotations

import logging
import threading
import time

from actors.journal import RemoteJournal
from actors.monitor import Monitor
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)
TICK_S = 1.0


class MonitorResident(Versioned, Monitor):
    """Live figures, drift, alerts; and what is due though no telemetry comes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())
        threading.Thread(target=self._tick_for_ever, name="monitor-tick", daemon=True).start()

    def _tick_for_ever(self) -> None:
        while True:
            time.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # nobody waits for a tick: what failed is logged, and the next one tries again
                log.exception("a tick of the monitor failed")
