"""The six bridges, with the mesh's pump running."""

from __future__ import annotations

from actors.bridges import Bridges
from actors.journal import RemoteJournal
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class BridgesResident(Versioned, Bridges):
    """The six bridges, with the mesh's pump running."""

    def __init__(self, settings: Settings) -> None:
        blobs = open_blobs(settings.artifact_uri)
        super().__init__(settings, RemoteJournal(), blobs, SystemClock(), autostart=True)
