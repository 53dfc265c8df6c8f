"""Does every row of the store still say what the chain of appends says?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from contracts.ports import Verification
from mldl_ray.journal import _chain
from mldl_ray.journal._schema import appends, documents, events, heads


def verify_rows(connection: Connection) -> Verification:
    """Walk the chain from its beginning; name the first thing that does not fit."""
    head, positions = _chain.GENESIS, 0
    for head, positions, problem in _walk(connection):
        if problem:
            return Verification(ok=False, positions=positions, head=head, problem=problem)
    problem = _surplus(connection, positions)
    return Verification(ok=problem is None, positions=positions, head=head, problem=problem)


def _walk(connection: Connection) -> Iterator[tuple[str, int, str | None]]:
    previous = _chain.GENESIS
    for number, row in enumerate(connection.execute(select(appends).order_by(appends.c.position)), start=1):
        problem = _link_problem(row, number, previous)
        problem = problem or _parts_problem(connection, number, json.loads(row.content))
        previous = row.hash
        yield previous, number, problem


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


def _parts_problem(connection: Connection, number: int, content: Any) -> str | None:
    rows = connection.execute(select(documents).where(documents.c.position == number)).all()
    found = {(row.kind, row.key, row.version): row for row in rows}
    said = {(kind, key, version): body for kind, key, version, body in content["documents"]}
    if found.keys() != said.keys():
        return f"append {number} wrote documents {sorted(said)}, the store has {sorted(found)}"
    for name, row in found.items():
        same = (row.at_s, row.actor, row.reason) == (content["at_s"], content["actor"], content["reason"])
        if not same or _chain.digest(row.body) != said[name]:
            return f"document {' '.join(map(str, name))} was edited after append {number}"
    query = select(events).where(events.c.position == number).order_by(events.c.ordinal)
    recorded = connection.execute(query).all()
    if [row.body for row in recorded] != [_chain.canonical(event) for event in content["events"]]:
        return f"events of append {number} were edited, added or removed"
    if any(
        (row.type, row.subject) != (json.loads(row.body)["type"], json.loads(row.body)["subject"]) for row in recorded
    ):
        return f"events of append {number} were edited: type or subject differs from the body"
    return None


def _surplus(connection: Connection, positions: int) -> str | None:
    for table in (documents, events):
        beyond = connection.execute(select(func.count()).where(~table.c.position.between(1, positions))).scalar()
        if beyond:
            return f"{beyond} rows of {table.name} belong to no append"
    latest = select(documents.c.kind, documents.c.key, func.max(documents.c.version)).group_by(
        documents.c.kind, documents.c.key
    )
    truth = {(kind, key): version for kind, key, version in connection.execute(latest)}
    shown = {(row.kind, row.key): row.version for row in connection.execute(select(heads))}
    if truth != shown:
        differ = sorted(name for name in truth.keys() | shown.keys() if truth.get(name) != shown.get(name))
        return f"the newest version of {' '.join(differ[0])} is not the one that readers are given"
    return None
