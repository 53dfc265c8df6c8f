"""The journal on SQLite or Postgres: one implementation, two dialects.

Writers take turns: SQLite's own write lock, or a transaction-wide advisory lock on Postgres, because each append
extends one chain. Readers never wait for writers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, func, insert, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from contracts.errors import Broken, Incompatible, MldlError, Unavailable
from contracts.events import Event, EventType, Fact
from contracts.ports import Append, Clock, Document, Once, Receipt, Seal, Verification, Write
from mldl_ray.journal import _chain
from mldl_ray.journal._appends import Wanted
from mldl_ray.journal._engine import open_engine
from mldl_ray.journal._rows import document, put
from mldl_ray.journal._schema import SCHEMA_VERSION, appends, documents, events, heads, meta, metadata
from mldl_ray.journal._verify import verify_rows

_ADVISORY_LOCK = 0x6D6C646C  # "mldl": any fixed number that nobody else uses in this database
# Statements that are run often are made once: making one costs several times what running it does.
_ONE = select(documents).where(documents.c.kind == bindparam("of_kind"), documents.c.key == bindparam("of_key"))
_HISTORY = _ONE.order_by(documents.c.version)
_NOW = _ONE.order_by(documents.c.version.desc()).limit(1)
_THEN = _NOW.where(documents.c.position <= bindparam("as_of"))
_LAST = select(func.max(appends.c.position).label("position"))
_TAIL = select(appends.c.position, appends.c.at_s, appends.c.hash).order_by(appends.c.position.desc()).limit(1)
_ADD_APPEND, _ADD_EVENTS = insert(appends), insert(events)
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}


class SqlJournal:
    """Keep the journal in a database. Safe to use from several threads; several processes on Postgres.

    Args:
        url: SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        clock: Stamps the appends; positions never go back in time even if the clock does.

    Raises:
        Incompatible: Not a URL of a supported database, or its driver is not installed.
        Broken: The database was written by a newer release.
        Unavailable: It cannot be reached.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._engine = open_engine(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        try:
            with self._transaction() as connection:
                metadata.create_all(connection)
                _check_schema(connection)
        except MldlError:
            self.close()
            raise

    def append(
        self,
        writes: Sequence[Write],
        facts: Sequence[Fact] = (),
        *,
        actor: str,
        reason: str,
        once: Once | None = None,
    ) -> Receipt:
        """Write all of it, or nothing."""
        texts = _chain.bodies(writes, facts, actor=actor, reason=reason, once=once)
        with self._transaction() as connection:
            if once is not None and (known := self._repeated(connection, once)) is not None:
                return known
            tail = connection.execute(_TAIL).first()
            position, previous = (tail.position + 1, tail.hash) if tail else (1, _chain.GENESIS)
            at_s = max(self._clock.now_s(), tail.at_s if tail else 0.0)
            written = put(connection, writes, texts, position=position, at_s=at_s, actor=actor, reason=reason)
            recorded = _chain.numbered(facts, position, at_s, actor, reason)
            _record(connection, recorded)
            content = _chain.content_of(
                position=position,
                at_s=at_s,
                actor=actor,
                reason=reason,
                once=once,
                documents=[(d.kind, d.key, d.version, _chain.digest(t)) for d, t in zip(written, texts, strict=True)],
                events=recorded,
            )
            row = {
                "position": position,
                "at_s": at_s,
                "once_key": once.key if once else None,
                "once_digest": once.digest if once else None,
                "content": content,
                "previous_hash": previous,
                "hash": _chain.link(previous, content),
            }
            connection.execute(_ADD_APPEND, row)
        return Receipt(position=position, at_s=at_s, documents=tuple(written), events=tuple(recorded))

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        """Give a document as it is, or as it was."""
        given: dict[str, Any] = {"of_kind": kind, "of_key": key}
        row = self._first(_NOW, given) if as_of is None else self._first(_THEN, given | {"as_of": as_of})
        found = document(row) if row is not None else None
        return found if found is not None and found.body is not None else None

    def scan(
        self,
        kind: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        as_of: int | None = None,
        withdrawn: bool = False,
    ) -> list[Document]:
        """List documents of a kind in key order."""
        where = [documents.c.kind == kind, documents.c.key > after]
        if prefix:
            where.append(func.substr(documents.c.key, 1, len(prefix)) == prefix)
            where.append(documents.c.key >= prefix)
        if as_of is None:
            same = (heads.c.kind == documents.c.kind) & (heads.c.key == documents.c.key)
            query = select(documents).join(heads, same & (heads.c.version == documents.c.version)).where(*where)
        else:
            query = _as_it_was(as_of, *where).where(documents.c.kind == kind)
        if not withdrawn:
            query = query.where(documents.c.body != "null")
        return [document(row) for row in self._all(query.order_by(documents.c.key).limit(max(0, limit)))]

    def changes(self, kinds: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Document]:
        """List what was written after a position; the last append of a page is always whole."""
        kind = documents.c.kind + ""  # an expression: SQLite would read all of the kinds by their index, and sort
        query = select(documents).where(documents.c.position > after, kind.in_(list(kinds)))
        ordered = query.order_by(documents.c.position)
        rows = self._all(ordered.limit(max(0, limit)))
        if len(rows) == limit and rows:
            last = rows[-1].position
            rows = [row for row in rows if row.position < last]
            rows += self._all(ordered.where(documents.c.position == last))
        return [document(row) for row in rows]

    def pick(self, kind: str, keys: Sequence[str], *, as_of: int | None = None) -> list[Document]:
        """Give several documents as they are, or as they were."""
        asked = list(dict.fromkeys(keys))
        if as_of is None:
            same = (heads.c.kind == documents.c.kind) & (heads.c.key == documents.c.key)
            query = select(documents).join(heads, same & (heads.c.version == documents.c.version))
            query = query.where(heads.c.kind == kind, heads.c.key.in_(asked), heads.c.withdrawn.is_(False))
        else:
            query = _as_it_was(as_of, documents.c.kind == kind, documents.c.key.in_(asked))
            query = query.where(documents.c.kind == kind, documents.c.body != "null")
        return [document(row) for row in self._all(query)]

    def history(self, kind: str, key: str) -> list[Document]:
        """List every version of a document."""
        return [document(row) for row in self._all(_HISTORY, {"of_kind": kind, "of_key": key})]

    def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        types: Iterable[EventType] = (),
        subject: str | None = None,
        pending: bool = False,
    ) -> list[Event]:
        """List events in order; the last append of a page is always whole."""
        query = select(events.c.position, events.c.body).where(events.c.position > after)
        if wanted := sorted(types):
            query = query.where(events.c.type.in_(wanted))
        if subject is not None:
            query = query.where(events.c.subject == subject)
        if pending:
            query = query.where(events.c.delivered.is_(False))
        ordered = query.order_by(events.c.position, events.c.ordinal)
        rows = self._all(ordered.limit(max(0, limit)))
        if len(rows) == limit and rows:
            last = rows[-1].position
            rows = [row for row in rows if row.position < last]
            rows += self._all(ordered.where(events.c.position == last))
        return [Event.model_validate_json(row.body) for row in rows]

    def delivered(self, ids: Sequence[str]) -> None:
        """Take events out of the outbox."""
        with self._transaction() as connection:
            for position, ordinal in filter(None, map(_chain.ordinal_of, ids)):
                where = (events.c.position == position, events.c.ordinal == ordinal)
                connection.execute(update(events).where(*where).values(delivered=True))

    def position(self, *, at_s: float | None = None) -> int:
        """Give the last position, at a moment when asked."""
        row = self._first(_LAST) if at_s is None else self._first(_LAST.where(appends.c.at_s <= at_s))
        return int(row.position or 0) if row is not None else 0

    def seal(self, kinds: Sequence[str] = (), *, as_of: int | None = None) -> Seal:
        """Give the chain's hash at a position."""
        query = select(appends.c.position, appends.c.hash).order_by(appends.c.position.desc()).limit(1)
        if as_of is not None:
            query = query.where(appends.c.position <= as_of)
        live = select(heads.c.kind, func.count().label("live")).where(
            heads.c.kind.in_(list(kinds)), heads.c.withdrawn.is_(False)
        )
        with self._snapshot() as connection:
            tail = connection.execute(query).first()
            rows = connection.execute(live.group_by(heads.c.kind)).all() if as_of is None and kinds else []
        position, head = (tail.position, tail.hash) if tail else (0, _chain.GENESIS)
        counts = dict.fromkeys(kinds, 0) | {row.kind: int(row.live) for row in rows}
        return Seal(position=position, head=head, counts=counts)

    def appends(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        actor: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
        before: int | None = None,
    ) -> list[Append]:
        """List appends in order."""
        found = self._all(Wanted(actor, kind, subject, since_s, until_s).query(after, limit, before=before))
        return [Append.model_validate(row._asdict()) for row in found]

    def verify(self) -> Verification:
        """Recompute the chain and compare every row of every table with it."""
        with self._snapshot() as connection:
            return verify_rows(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _repeated(self, connection: Connection, once: Once) -> Receipt | None:
        known = connection.execute(
            select(appends.c.position, appends.c.at_s, appends.c.once_digest, appends.c.content).where(
                appends.c.once_key == once.key
            )
        ).first()
        if known is None:
            return None
        if known.once_digest != once.digest:
            raise _chain.other_request(once)
        rows = connection.execute(select(documents).where(documents.c.position == known.position)).all()
        written = {(row.kind, row.key): row for row in rows}
        recorded = connection.execute(
            select(events.c.body).where(events.c.position == known.position).order_by(events.c.ordinal)
        ).all()
        return Receipt(
            position=known.position,
            at_s=known.at_s,
            documents=tuple(document(written[kind, key]) for kind, key, *_ in json.loads(known.content)["documents"]),
            events=tuple(Event.model_validate_json(row.body) for row in recorded),
            repeated=True,
        )

    def _first(self, query: Select[Any], given: dict[str, Any] | None = None) -> Row[Any] | None:
        with self._reading() as connection:
            return connection.execute(query, given).first()

    def _all(self, query: Select[Any], given: dict[str, Any] | None = None) -> list[Row[Any]]:
        with self._reading() as connection:
            return list(connection.execute(query, given).all())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _ours(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Read as of one moment, however long it takes and whoever appends meanwhile."""
        with self._reading() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
                yield connection
            else:
                yield connection.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _ours(), self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            yield connection
            connection.commit()


@contextmanager
def _ours() -> Iterator[None]:
    """Turn a driver's failure into ours; what raised has rolled back."""
    try:
        yield
    except (DataError, UnicodeEncodeError) as error:
        raise Incompatible(f"the journal's database cannot hold that text: {_said(error)}") from error
    except DBAPIError as error:
        if isinstance(error, IntegrityError) or getattr(error.orig, "sqlite_errorname", None) in _DAMAGED:
            raise Broken(f"the journal's database is damaged: {_said(error)}; see mldl audit verify") from error
        raise Unavailable(f"the journal's database refused: {_said(error)}; nothing was written") from error
    except SQLAlchemyError as error:
        raise Unavailable(f"the journal's database cannot be used: {error}") from error


def _as_it_was(as_of: int, *where: ColumnElement[bool]) -> Select[Any]:
    """Ask for the last version of each document of one kind that was there after a position."""
    latest = (
        select(documents.c.key, func.max(documents.c.version).label("version"))
        .where(documents.c.position <= as_of, *where)
        .group_by(documents.c.key)
        .subquery()
    )
    same = (latest.c.key == documents.c.key) & (latest.c.version == documents.c.version)
    return select(documents).join(latest, same)


def _said(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()[0]


def _check_schema(connection: Connection) -> None:
    found = connection.execute(select(meta.c.value).where(meta.c.name == "schema")).scalar()
    if found is None:
        connection.execute(insert(meta).values(name="schema", value=str(SCHEMA_VERSION)))
    elif found != str(SCHEMA_VERSION):
        raise Broken(
            f"the journal has schema {found}, this release reads {SCHEMA_VERSION}; install the release that wrote it",
            {"found": found, "supported": SCHEMA_VERSION},
        )


def _record(connection: Connection, recorded: Sequence[Event]) -> None:
    rows = [
        {
            "position": event.position,
            "ordinal": ordinal,
            "type": event.type,
            "subject": event.subject,
            "body": _chain.canonical(event.model_dump()),
            "delivered": False,
        }
        for ordinal, event in enumerate(recorded)
    ]
    if rows:
        connection.execute(_ADD_EVENTS, rows)
