"""Training jobs, each in a process of its own."""

from __future__ import annotations

from actors.jobs import Jobs
from actors.journal import RemoteJournal
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class JobsResident(Versioned, Jobs):
    """Training jobs, each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())
