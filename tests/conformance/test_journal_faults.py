"""What a journal says, and what it leaves behind, when its database is full, damaged, locked or gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from contracts.errors import Broken, Conflict, Incompatible, Unavailable
from contracts.events import Fact
from contracts.ports import Once, Write
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, SqlJournal, open_journal

Limit = Callable[[int], None]


def thing(key: str, version: int = 0, size: int = 10) -> Write:
    return Write(kind="thing", key=key, expected_version=version, body={"text": "x" * size})


@pytest.fixture
def disk() -> Iterator[Limit]:
    """Limits every SQLite connection made from then on to a number of pages; 0 lifts the limit."""
    limit = {"pages": 0}

    def settle(connection: Any, _: Any) -> None:
        if limit["pages"]:
            connection.execute(f"PRAGMA max_page_count={limit['pages']}")

    event.listen(Engine, "connect", settle)
    yield lambda pages: limit.update(pages=pages)
    event.remove(Engine, "connect", settle)


def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(
    sqlite_url: str, clock: SettableClock, disk: Limit
) -> None:
    disk(60)
    journal = SqlJournal(sqlite_url, clock)
    fact = Fact(type="MLDL_EVALUATED", subject="a")
    written = 0
    with pytest.raises(Unavailable, match="full") as refused:
        for written in range(200):
            journal.append(
                [thing(f"a{written}"), thing(f"b{written}", size=2000)], [fact, fact], actor="ann", reason="x"
            )
    assert refused.value.http_status == 503
    assert 0 < written < 60
    assert journal.position() == written == len(journal.scan("thing")) / 2 == len(journal.events(limit=500)) / 2
    assert journal.verify().ok
    with pytest.raises(Unavailable):
        journal.append([thing("large", size=500_000)], actor="ann", reason="x", once=Once(key="k", digest="d"))
    journal.close()

    disk(0)
    roomier = SqlJournal(sqlite_url, clock)
    assert not roomier.append([thing("large")], actor="ann", reason="x", once=Once(key="k", digest="d")).repeated
    assert roomier.verify().ok
    roomier.close()


def test_a_full_disk_can_still_be_read(sqlite_url: str, clock: SettableClock, disk: Limit) -> None:
    SqlJournal(sqlite_url, clock).close()
    disk(1)
    journal = SqlJournal(sqlite_url, clock)
    with pytest.raises(Unavailable):
        journal.append([thing("a", size=500_000)], actor="ann", reason="x")
    assert journal.read("thing", "a") is None
    journal.close()


def test_a_file_that_is_no_database_is_broken(tmp_path: Path, clock: SettableClock) -> None:
    file = tmp_path / "journal.db"
    file.write_bytes(b"these are notes, not a database" * 100)
    with pytest.raises(Broken, match="not a database"):
        SqlJournal(f"sqlite:///{file}", clock)
    assert file.read_bytes().startswith(b"these are notes")


def test_a_damaged_file_is_found(tmp_path: Path, clock: SettableClock) -> None:
    file = tmp_path / "journal.db"
    journal = SqlJournal(f"sqlite:///{file}", clock)
    for n in range(30):
        journal.append([thing(f"k{n}", size=3000)], actor="ann", reason="x")
    journal.close()
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = b"\x5a" * 9000
    file.write_bytes(bytes(data))
    again = SqlJournal(f"sqlite:///{file}", clock)
    try:
        assert not again.verify().ok
    except Broken as error:
        assert "damaged" in error.message
    again.close()


def test_a_database_that_somebody_holds_is_unavailable_and_nothing_is_written(
    tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mldl_ray.journal._engine._BUSY_MS", 50)
    file = tmp_path / "journal.db"
    journal = SqlJournal(f"sqlite:///{file}", clock)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        journal.append([thing("a")], actor="ann", reason="x")
    assert journal.read("thing", "a") is None
    holder.execute("ROLLBACK")
    holder.close()
    assert journal.append([thing("a")], actor="ann", reason="x").position == 1
    journal.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path, clock: SettableClock) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(Unavailable, match="cannot be made"):
        SqlJournal(f"sqlite:///{tmp_path / 'file' / 'deeper' / 'journal.db'}", clock)


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, clock: SettableClock) -> None:
    with pytest.raises(Unavailable, match="refused"):
        SqlJournal(f"postgresql+psycopg://nobody@/none?host={tmp_path}", clock)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db", "must be sqlite"),
        ("sqlite://", "is a file"),
        ("sqlite:///:memory:", "is a file"),
        ("not a url", "not understood"),
        ("postgresql+nodriver://host/db", "not understood"),
    ],
)
def test_a_url_of_no_supported_database_is_refused(url: str, said: str, clock: SettableClock) -> None:
    with pytest.raises(Incompatible, match=said):
        open_journal(url, clock)


def test_a_refused_url_does_not_show_its_password(clock: SettableClock) -> None:
    with pytest.raises(Incompatible) as refused:
        open_journal("mysql://ann:secret@host/db", clock)
    assert "secret" not in refused.value.message


def test_memory_is_a_url_too(clock: SettableClock) -> None:
    assert isinstance(open_journal("memory:", clock), MemoryJournal)


def test_a_journal_comes_back_as_it_was_left(sqlite_url: str, clock: SettableClock) -> None:
    first = SqlJournal(sqlite_url, clock)
    first.append([thing("a")], [Fact(type="MLDL_EVALUATED", subject="a")], actor="ann", reason="x")
    seen = first.verify(), first.scan("thing"), first.events(pending=True)
    first.close()
    clock.advance(-3600)
    again = SqlJournal(sqlite_url, clock)
    assert (again.verify(), again.scan("thing"), again.events(pending=True)) == seen
    with pytest.raises(Conflict):
        again.append([thing("a")], actor="ann", reason="x")
    assert again.append([thing("a", 1)], actor="ann", reason="x").at_s == seen[1][0].at_s
    again.close()


def test_two_openers_of_one_postgres_extend_one_chain(postgres_url: str, clock: SettableClock) -> None:
    one, other = SqlJournal(postgres_url, clock), SqlJournal(postgres_url, clock)
    for n in range(6):
        (one, other)[n % 2].append([thing("a", n)], actor="ann", reason="x")
    assert one.position() == other.position() == 6
    assert one.verify() == other.verify()
    one.close()
    other.close()
