"""Whatever anybody does to the journal's tables behind its back, ``verify`` finds it. On SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from contracts.errors import Broken, MldlError
from contracts.events import Fact
from contracts.ports import Once, Write
from mldl_ray.clock import SettableClock
from mldl_ray.journal import SqlJournal

EDITS = {
    "the time of an append": "UPDATE mldl_appends SET at_s = at_s - 1 WHERE position = 2",
    "the content of an append": "UPDATE mldl_appends SET content = replace(content, 'ann', 'bob') WHERE position = 2",
    "an append's content, no JSON any more": "UPDATE mldl_appends SET content = 'x' WHERE position = 2",
    "the hash of an append": "UPDATE mldl_appends SET hash = repeat('0', 64) WHERE position = 2",
    "the hash of the last append": "UPDATE mldl_appends SET hash = repeat('0', 64) WHERE position = 4",
    "the link to the append before": "UPDATE mldl_appends SET previous_hash = repeat('0', 64) WHERE position = 3",
    "an idempotency key": "UPDATE mldl_appends SET once_key = 'other' WHERE position = 2",
    "the digest of a request": "UPDATE mldl_appends SET once_digest = 'other' WHERE position = 2",
    "an idempotency key, taken away": "UPDATE mldl_appends SET once_key = NULL WHERE position = 2",
    "an idempotency key, given": "UPDATE mldl_appends SET once_key = 'k2', once_digest = 'd' WHERE position = 3",
    "the body of a document": """UPDATE mldl_documents SET body = '{"n":9}' WHERE key = 'a' AND version = 1""",
    "the newest body of a document": """UPDATE mldl_documents SET body = '{"n":9}' WHERE key = 'a' AND version = 2""",
    "a body, withdrawn": "UPDATE mldl_documents SET body = 'null' WHERE key = 'b'",
    "a body, written another way": """UPDATE mldl_documents SET body = '{"n": 1}' WHERE key = 'a' AND version = 1""",
    "the author of a document": "UPDATE mldl_documents SET actor = 'bob' WHERE key = 'b'",
    "the reason of a document": "UPDATE mldl_documents SET reason = 'none' WHERE key = 'b'",
    "the time of a document": "UPDATE mldl_documents SET at_s = at_s + 1 WHERE key = 'b'",
    "the place of a document": "UPDATE mldl_documents SET position = 3 WHERE key = 'b'",
    "the place of a document, beyond the end": "UPDATE mldl_documents SET position = 99 WHERE key = 'b'",
    "the key of a document": "UPDATE mldl_documents SET key = 'bb' WHERE key = 'b'",
    "the kind of a document": "UPDATE mldl_documents SET kind = 'other' WHERE key = 'b'",
    "the version of a document": "UPDATE mldl_documents SET version = 7 WHERE key = 'b'",
    "which version readers are given": "UPDATE mldl_heads SET version = 1 WHERE key = 'a'",
    "whether a document is withdrawn": "UPDATE mldl_heads SET withdrawn = NOT withdrawn WHERE key = 'b'",
    "the key of a head": "UPDATE mldl_heads SET key = 'bb' WHERE key = 'b'",
    "the type of an event": "UPDATE mldl_events SET type = 'MLDL_VIOLATION' WHERE position = 2",
    "the subject of an event": "UPDATE mldl_events SET subject = 'z' WHERE position = 2",
    "the body of an event": "UPDATE mldl_events SET body = replace(body, 'first', 'last') WHERE position = 2",
    "the place of an event": "UPDATE mldl_events SET position = 1 WHERE position = 2 AND ordinal = 0",
    "the number of an event": "UPDATE mldl_events SET ordinal = 5 WHERE position = 2 AND ordinal = 1",
}
REMOVALS = {
    "the first append": "DELETE FROM mldl_appends WHERE position = 1",
    "an append in the middle": "DELETE FROM mldl_appends WHERE position = 3",
    "the last append": "DELETE FROM mldl_appends WHERE position = 4",
    "every append": "DELETE FROM mldl_appends",
    "a version of a document": "DELETE FROM mldl_documents WHERE key = 'a' AND version = 1",
    "the newest version of a document": "DELETE FROM mldl_documents WHERE key = 'a' AND version = 2",
    "the head of a document": "DELETE FROM mldl_heads WHERE key = 'b'",
    "an event": "DELETE FROM mldl_events WHERE position = 2 AND ordinal = 0",
    "the last event of an append": "DELETE FROM mldl_events WHERE position = 2 AND ordinal = 1",
}
ADDITIONS = {
    "an append at the end": """INSERT INTO mldl_appends (position, at_s, content, previous_hash, hash)
        SELECT 5, at_s, content, hash, hash FROM mldl_appends WHERE position = 4""",
    "an append before the beginning": """INSERT INTO mldl_appends (position, at_s, content, previous_hash, hash)
        SELECT 0, at_s, content, hash, hash FROM mldl_appends WHERE position = 1""",
    "a version of a document": """INSERT INTO mldl_documents
        SELECT kind, key, 3, position, at_s, actor, reason, body FROM mldl_documents WHERE key = 'a' AND version = 2""",
    "a document that nobody wrote": """INSERT INTO mldl_documents
        SELECT kind, 'new', 1, 99, at_s, actor, reason, body FROM mldl_documents WHERE key = 'b'""",
    "a head": "INSERT INTO mldl_heads (kind, key, version, withdrawn) SELECT kind, 'new', 1, withdrawn FROM mldl_heads",
    "an event of an append": """INSERT INTO mldl_events
        SELECT position, 2, type, subject, body, delivered FROM mldl_events WHERE position = 2 AND ordinal = 1""",
    "an event of no append": """INSERT INTO mldl_events
        SELECT 99, 0, type, subject, body, delivered FROM mldl_events WHERE position = 2 AND ordinal = 1""",
}
ADDITIONS["a head"] += " WHERE key = 'b'"
EXCHANGES = {
    "two appends": ("mldl_appends", "position", 2, 3),
    "the bodies of two documents": ("mldl_documents", "body", 1, 2),
    "two events": ("mldl_events", "ordinal", 0, 1),
}


def fact(subject: str, said: str) -> Fact:
    return Fact(type="MLDL_EVALUATED", subject=subject, data={"said": said})


class TamperingConformance:
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("a subclass gives the URL of an empty database")

    @pytest.fixture
    def journal(self, url: str, clock: SettableClock) -> Iterator[SqlJournal]:
        """Four appends: documents a (twice), b and c (withdrawn), four events, one idempotency key."""
        journal = SqlJournal(url, clock)
        for writes, facts, once in (
            ([("a", 0, {"n": 1})], [], None),
            ([("a", 1, {"n": 2}), ("b", 0, {"n": 1})], [fact("a", "first"), fact("b", "second")], "k"),
            ([("c", 0, {"n": 1})], [fact("c", "third")], None),
            ([("c", 1, None)], [fact("c", "fourth")], None),
        ):
            clock.advance(1)
            journal.append(
                [Write(kind="thing", key=key, expected_version=version, body=body) for key, version, body in writes],
                facts,
                actor="ann",
                reason="because",
                once=Once(key=once, digest="d") if once else None,
            )
        assert journal.verify().ok
        yield journal
        journal.close()

    @pytest.fixture
    def database(self, url: str) -> Iterator[Engine]:
        engine = create_engine(url)
        yield engine
        engine.dispose()

    @pytest.mark.parametrize("what", EDITS)
    def test_an_edit_is_found(self, journal: SqlJournal, database: Engine, what: str) -> None:
        run(database, EDITS[what])
        assert_found(journal)

    @pytest.mark.parametrize("what", REMOVALS)
    def test_a_removal_is_found(self, journal: SqlJournal, database: Engine, what: str) -> None:
        run(database, REMOVALS[what])
        assert_found(journal)

    @pytest.mark.parametrize("what", ADDITIONS)
    def test_an_addition_is_found(self, journal: SqlJournal, database: Engine, what: str) -> None:
        run(database, ADDITIONS[what])
        assert_found(journal)

    @pytest.mark.parametrize("what", EXCHANGES)
    def test_an_exchange_is_found(self, journal: SqlJournal, database: Engine, what: str) -> None:
        table, column, one, other = EXCHANGES[what]
        if column == "body":
            where = [f"key = 'a' AND version = {n}" for n in (one, other)]
            bodies = [read(database, f"SELECT body FROM {table} WHERE {row}") for row in where]
            for row, body in zip(where, reversed(bodies), strict=True):
                run(database, f"UPDATE {table} SET body = '{body}' WHERE {row}")
        else:
            rows = "position = 2 AND " if table == "mldl_events" else ""
            for before, after in ((one, 1000), (other, one), (1000, other)):
                run(database, f"UPDATE {table} SET {column} = {after} WHERE {rows}{column} = {before}")
        assert_found(journal)

    def test_a_rewritten_append_with_a_right_hash_of_its_own_breaks_the_next_link(
        self, journal: SqlJournal, database: Engine
    ) -> None:
        from mldl_ray.journal import _chain

        with database.connect() as connection:
            row = connection.execute(text("SELECT content, previous_hash FROM mldl_appends WHERE position = 3"))
            content, previous = row.one()
        forged = content.replace("because", "no reason")
        run(
            database,
            "UPDATE mldl_appends SET content = :content, hash = :hash WHERE position = 3",
            content=forged,
            hash=_chain.link(previous, forged),
        )
        run(database, "UPDATE mldl_documents SET reason = 'no reason' WHERE position = 3")
        assert_found(journal)

    def test_the_first_thing_that_does_not_fit_is_named(self, journal: SqlJournal, database: Engine) -> None:
        run(database, EDITS["the body of a document"])
        found = journal.verify()
        assert found.problem == "document thing a 1 was edited after append 1"
        assert found.positions == 1

    def test_a_cut_off_end_shows_against_a_head_that_was_noted(self, journal: SqlJournal, database: Engine) -> None:
        noted = journal.verify()
        for statement in (
            "DELETE FROM mldl_appends WHERE position = 4",
            "DELETE FROM mldl_documents WHERE position = 4",
            "DELETE FROM mldl_events WHERE position = 4",
            "UPDATE mldl_heads SET version = 1, withdrawn = NOT withdrawn WHERE key = 'c'",
        ):
            run(database, statement)
        found = journal.verify()
        assert found.ok  # a shorter journal is whole in itself
        assert (found.positions, found.head) != (noted.positions, noted.head)

    def test_an_append_onto_a_damaged_document_is_refused_as_broken(
        self, journal: SqlJournal, database: Engine
    ) -> None:
        run(database, "DELETE FROM mldl_heads WHERE key = 'b'")
        with pytest.raises(Broken, match="audit verify"):
            journal.append([Write(kind="thing", key="b", expected_version=0, body={})], actor="ann", reason="x")

    def test_a_journal_of_a_newer_schema_is_not_opened_and_not_touched(
        self, journal: SqlJournal, database: Engine, url: str, clock: SettableClock
    ) -> None:
        run(database, "UPDATE mldl_meta SET value = '99'")
        with pytest.raises(Broken, match="schema 99") as refused:
            SqlJournal(url, clock)
        assert refused.value.facts == {"found": "99", "supported": 1}
        assert read(database, "SELECT value FROM mldl_meta") == "99"
        assert journal.verify().ok


class TestSqliteTampering(TamperingConformance):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


class TestPostgresTampering(TamperingConformance):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


def run(database: Engine, statement: str, **values: Any) -> None:
    if database.dialect.name == "sqlite":
        statement = statement.replace("repeat('0', 64)", f"'{'0' * 64}'")
    with database.begin() as connection:
        assert connection.execute(text(statement.replace('":', '"\\:')), values).rowcount > 0


def read(database: Engine, query: str) -> str:
    with database.connect() as connection:
        return str(connection.execute(text(query)).scalar())


def assert_found(journal: SqlJournal) -> None:
    found = journal.verify()
    assert not found.ok
    assert found.problem
    try:  # and whoever goes on reading gets rows or one of our errors
        journal.scan("thing")
        journal.events()
    except MldlError:
        pass
