"""The only opener of the embedded store."""

from __future__ import annotations

from actors.journal import JournalActor
from mldl_ray.residents.versioned import Versioned
from mldl_ray.settings import Settings


class JournalResident(Versioned, JournalActor):
    """The only opener of the embedded store."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.journal_url)
