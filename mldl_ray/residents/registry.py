"""Versions, approvals, policies."""

from __future__ import annotations

from actors.journal import RemoteJournal
from actors.registry import Registry
from mldl_ray.blobs import open_blobs
from mldl_ray.bridges.governance_remote import open_governance
from mldl_ray.clock import SystemClock
from mldl_ray.residents.ticking import every
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

CATCH_UP_S = 2.0


class RegistryResident(Versioned, Registry):
    """Versions, approvals, policies; what others wrote is taken in before anybody asks."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        governance = open_governance(settings, journal, clock)
        super().__init__(journal, open_blobs(settings.artifact_uri), governance, clock, settings.home / "index")
        every(CATCH_UP_S, self.catch_up, "registry-catch-up", at_once=True)
