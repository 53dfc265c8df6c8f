"""Moments to go back to."""

from __future__ import annotations

from actors.journal import RemoteJournal
from actors.snapshot_store import SnapshotStore
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class SnapshotsResident(Versioned, SnapshotStore):
    """Moments to go back to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock(), settings.mldl)
