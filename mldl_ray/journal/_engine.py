"""Opening the database of a journal: which drivers, and how a connection of each must be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from contracts.errors import Incompatible, Unavailable

_BUSY_MS = 30_000


def open_engine(url: str) -> Engine:
    """Make the engine that a URL names.

    Raises:
        Incompatible: Not a URL of a supported database, or its driver is not installed.
        Unavailable: The file's folder cannot be made.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(url, parsed.database)
        if parsed.get_backend_name() == "postgresql":
            # Each statement must see what was committed while it waited for the lock, whatever the server's default.
            return create_engine(url, pool_pre_ping=True, pool_size=8, isolation_level="READ COMMITTED")
    except (ArgumentError, NoSuchModuleError) as error:
        raise Incompatible(f"journal URL {url!r} is not understood: {error}") from error
    except ModuleNotFoundError as error:
        raise Incompatible(
            f"the journal's driver {error.name} is not installed: pip install 'mldl-ray[postgres]'"
        ) from error
    raise Incompatible(f"journal URL {parsed.render_as_string()} must be sqlite:///… or postgresql+psycopg://…")


def _open_sqlite(url: str, database: str | None) -> Engine:
    if not database or database == ":memory:":
        raise Incompatible("an SQLite journal is a file: sqlite:///path; for one in memory use memory:")
    try:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the journal's folder {Path(database).parent} cannot be made: {error.strerror}") from error
    engine = create_engine(url, isolation_level=None, connect_args={"timeout": _BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say BEGIN IMMEDIATE
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
