"""Moments to go back to."""

from __future__ import annotations

import logging
import threading
import time

from actors.directory import Remote
from actors.journal import RemoteJournal
from actors.loading import Loading
from actors.snapshot_store import SnapshotStore
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)
TICK_S = 5.0
MONITOR_TIMEOUT_S = 2.0


class SnapshotsResident(Versioned, SnapshotStore):
    """Moments to go back to; taken by the timetable too."""

    def __init__(self, settings: Settings) -> None:
        live = Remote("monitor", MONITOR_TIMEOUT_S).live
        blobs = open_blobs(settings.artifact_uri)
        super().__init__(RemoteJournal(), blobs, SystemClock(), settings.mldl, live, Loading(blobs))
        threading.Thread(target=self._tick_for_ever, name="snapshots-tick", daemon=True).start()

    def _tick_for_ever(self) -> None:
        while True:
            time.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # nobody waits for a tick: what failed is logged, and the next one tries again
                log.exception("a tick of the snapshots failed")
