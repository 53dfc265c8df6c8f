"""The journal: one port (``contracts.ports.Journal``), three stores."""

from contracts.ports import Clock, Journal
from mldl_ray.journal._memory import MemoryJournal
from mldl_ray.journal._sql import SqlJournal

__all__ = ["MemoryJournal", "SqlJournal", "open_journal"]


def open_journal(url: str, clock: Clock) -> Journal:
    """Open the journal that a URL names: ``memory:``, ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Raises:
        Incompatible: The URL is not understood, or its driver is missing.
    """
    return MemoryJournal(clock) if url == "memory:" else SqlJournal(url, clock)
