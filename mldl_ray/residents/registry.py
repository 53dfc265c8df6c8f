"""Versions, approvals, policies."""

from __future__ import annotations

from actors.journal import RemoteJournal
from actors.registry import Registry
from mldl_ray.blobs import open_blobs
from mldl_ray.bridges.governance_remote import open_governance
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class RegistryResident(Versioned, Registry):
    """Versions, approvals, policies."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        governance = open_governance(settings, journal, clock)
        super().__init__(journal, open_blobs(settings.artifact_uri), governance, clock, settings.home / "index")
