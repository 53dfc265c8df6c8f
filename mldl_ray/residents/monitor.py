"""Live figures, drift, alerts."""

from __future__ import annotations

from actors.journal import RemoteJournal
from actors.monitor import Monitor
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class MonitorResident(Versioned, Monitor):
    """Live figures, drift, alerts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())
