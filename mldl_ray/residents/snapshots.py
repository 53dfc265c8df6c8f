"""Moments to go back to."""

from __future__ import annotations

from actors.directory import Remote
from actors.journal import RemoteJournal
from actors.loading import Loading
from actors.snapshot_store import SnapshotStore
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.ticking import every
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

TICK_S = 5.0
MONITOR_TIMEOUT_S = 2.0


class SnapshotsResident(Versioned, SnapshotStore):
    """Moments to go back to; taken by the timetable too."""

    def __init__(self, settings: Settings) -> None:
        live = Remote("monitor", MONITOR_TIMEOUT_S).live
        blobs = open_blobs(settings.artifact_uri)
        super().__init__(RemoteJournal(), blobs, SystemClock(), settings.mldl, live, Loading(blobs))
        every(TICK_S, self.tick, "snapshots-tick")
