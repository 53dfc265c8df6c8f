"""Live figures, drift, alerts."""

from __future__ import annotations

import logging
import threading
import time

from actors.directory import Remote
from actors.journal import RemoteJournal
from actors.monitor import Monitor
from actors.retraining import Retrainer
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)
TICK_S = 1.0
RETRAIN_S = 5.0


class MonitorResident(Versioned, Monitor):
    """Live figures, drift, alerts; and what is due though no telemetry comes, training again where policy says so."""

    def __init__(self, settings: Settings) -> None:
        journal, blobs, clock = RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock()
        super().__init__(settings, journal, blobs, clock)
        self._retrainer = Retrainer(journal, blobs, clock, Remote("jobs").submit)
        threading.Thread(target=self._tick_for_ever, name="monitor-tick", daemon=True).start()
        threading.Thread(target=self._retrain_for_ever, name="monitor-retrain", daemon=True).start()

    def _tick_for_ever(self) -> None:
        while True:
            time.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # nobody waits for a tick: what failed is logged, and the next one tries again
                log.exception("a tick of the monitor failed")

    def _retrain_for_ever(self) -> None:
        """Apart from the ticks: taking a job reads and checks its rows, which may last."""
        while True:
            time.sleep(RETRAIN_S)
            try:
                self._retrainer.look()
            except Exception:  # nobody waits for a look: what failed is logged, and the next one tries again
                log.exception("whether to train again could not be decided")
