"""Versions, approvals, policies."""

from __future__ import annotations

import logging
import threading
import time

from actors.journal import RemoteJournal
from actors.registry import Registry
from mldl_ray.blobs import open_blobs
from mldl_ray.bridges.governance_remote import open_governance
from mldl_ray.clock import SystemClock
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)
CATCH_UP_S = 2.0


class RegistryResident(Versioned, Registry):
    """Versions, approvals, policies; what others wrote is taken in before anybody asks."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        governance = open_governance(settings, journal, clock)
        super().__init__(journal, open_blobs(settings.artifact_uri), governance, clock, settings.home / "index")
        threading.Thread(target=self._catch_up_for_ever, name="registry-catch-up", daemon=True).start()

    def _catch_up_for_ever(self) -> None:
        while True:
            try:
                self.catch_up()
            except Exception:  # nobody waits for it: what failed is logged, and whoever asks tries again
                log.exception("the index of versions could not be brought up to date")
            time.sleep(CATCH_UP_S)
