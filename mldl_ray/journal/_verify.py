"""Does every row of the store still say what the chain of appends says?

Not here: whether an event was delivered, which changes; and the last appends, cut off whole together with all of their
parts. Whoever must notice that keeps the ``head`` and the number of ``positions`` of an earlier verification elsewhere.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select, tuple_

from contracts.ports import Verification
from mldl_ray.journal import _chain
from mldl_ray.journal._schema import appends, documents, events, heads

PAGE: Final = 100
"""Appends compared at a time: bodies may be large, and all of a page's are in memory at once."""
_ORDER: Final = {
    appends.name: (appends.c.position,),
    documents.name: (documents.c.position,),
    events.name: (events.c.position, events.c.ordinal),
}


def verify_rows(connection: Connection) -> Verification:
    """Walk the chain from its beginning; name the first thing that does not fit."""
    head, positions = _chain.GENESIS, 0
    for head, positions, problem in _walk(connection):
        if problem:
            return Verification(ok=False, positions=positions, head=head, problem=problem)
    problem = _surplus(connection, positions)
    return Verification(ok=problem is None, positions=positions, head=head, problem=problem)


def _walk(connection: Connection) -> Iterator[tuple[str, int, str | None]]:
    previous, number = _chain.GENESIS, 0
    while page := _rows(connection, appends, appends.c.position > number, limit=PAGE):
        span = number + 1, page[-1].position
        written = _by_position(_rows(connection, documents, documents.c.position.between(*span)))
        recorded = _by_position(_rows(connection, events, events.c.position.between(*span)))
        for row in page:
            number += 1
            problem = _link_problem(row, number, previous) or _parts_problem(
                number, json.loads(row.content), written[number], recorded[number]
            )
            previous = row.hash
            yield previous, number, problem


def _rows(connection: Connection, table: Table, where: ColumnElement[bool], limit: int | None = None) -> list[Row[Any]]:
    return list(connection.execute(select(table).where(where).order_by(*_ORDER[table.name]).limit(limit)).all())


def _by_position(rows: list[Row[Any]]) -> defaultdict[int, list[Row[Any]]]:
    found: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.position].append(row)
    return found


def _link_problem(row: Any, number: int, previous: str) -> str | None:
    if row.position != number:
        return f"append {number} is missing; the next one found is {row.position}"
    if row.previous_hash != previous or _chain.link(previous, row.content) != row.hash:
        return f"append {number} was edited, or does not follow from the one before it"
    content = json.loads(row.content)
    once = content["once"]
    columns = (row.once_key, row.once_digest) if row.once_key else None
    if content["at_s"] != row.at_s or columns != ((once["key"], once["digest"]) if once else None):
        return f"append {number} was edited: its time or idempotency key differs from its content"
    return None


def _parts_problem(number: int, content: Any, written: list[Row[Any]], recorded: list[Row[Any]]) -> str | None:
    found = {(row.kind, row.key, row.version): row for row in written}
    said = {(kind, key, version): body for kind, key, version, body in content["documents"]}
    if found.keys() != said.keys():
        return f"append {number} wrote documents {sorted(said)}, the store has {sorted(found)}"
    for name, row in found.items():
        same = (row.at_s, row.actor, row.reason) == (content["at_s"], content["actor"], content["reason"])
        if not same or _chain.digest(row.body) != said[name]:
            return f"document {' '.join(map(str, name))} was edited after append {number}"
    bodies = [(row.ordinal, row.body) for row in recorded]
    if bodies != [(ordinal, _chain.canonical(event)) for ordinal, event in enumerate(content["events"])]:
        return f"events of append {number} were edited, added or removed"
    if any(
        (row.type, row.subject) != (json.loads(row.body)["type"], json.loads(row.body)["subject"]) for row in recorded
    ):
        return f"events of append {number} were edited: type or subject differs from the body"
    return None


def _surplus(connection: Connection, positions: int) -> str | None:
    for table in (appends, documents, events):
        beyond = connection.execute(select(func.count()).where(~table.c.position.between(1, positions))).scalar()
        if beyond:
            return f"{beyond} rows of {table.name} belong to no append"
    names = documents.c.kind, documents.c.key
    newest = select(*names, func.max(documents.c.version).label("version")).group_by(*names).subquery()
    same = tuple_(*names, documents.c.version) == tuple_(newest.c.kind, newest.c.key, newest.c.version)
    latest = select(*names, documents.c.version, documents.c.body == "null").join(newest, same)
    truth = {(kind, key): (version, bool(gone)) for kind, key, version, gone in connection.execute(latest)}
    shown = {(row.kind, row.key): (row.version, row.withdrawn) for row in connection.execute(select(heads))}
    if truth != shown:
        differ = sorted(name for name in truth.keys() | shown.keys() if truth.get(name) != shown.get(name))
        return f"the newest version of {' '.join(differ[0])} is not the one that readers are given"
    return None
