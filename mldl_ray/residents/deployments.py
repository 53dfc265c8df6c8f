"""Desired traffic made actual, with the reconcile loop running."""

from __future__ import annotations

import os

from actors.deployment_manager import DeploymentManager
from actors.directory import Remote
from actors.journal import RemoteJournal
from mldl_ray.bridges.governance_remote import open_governance
from mldl_ray.clock import SystemClock
from mldl_ray.compose import CODE_VERSION
from mldl_ray.settings import Settings
from serve.backend import RayServeBackend


class DeploymentsResident(DeploymentManager):
    """Desired traffic made actual, with the reconcile loop running."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        governance = open_governance(settings, journal, clock)
        backend = RayServeBackend(settings)
        super().__init__(settings, journal, backend, Remote("monitor"), governance, clock, autostart=True)

    async def code_version(self) -> str:
        """Say which release this actor runs."""
        return CODE_VERSION

    async def pid(self) -> int:
        """Give the process that runs this actor now."""
        return os.getpid()
