"""Documents as rows: an append's are written together, in few statements. Not here: transactions and the chain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, tuple_, update

from contracts.ports import Document, Write
from mldl_ray.journal import _chain
from mldl_ray.journal._schema import documents, heads

_ASKED_AT_ONCE = 500
"""Keys in one question; SQLite takes 32,766 values in all."""
_MOVE = (
    update(heads)
    .where(heads.c.kind == bindparam("of_kind"), heads.c.key == bindparam("of_key"))
    .values(version=bindparam("to_version"), withdrawn=bindparam("is_withdrawn"))
)


def put(
    connection: Connection,
    writes: Sequence[Write],
    texts: Sequence[str],
    *,
    position: int,
    at_s: float,
    actor: str,
    reason: str,
) -> list[Document]:
    """Move each document's head from its expected version, then add the new ones.

    Args:
        connection: In a transaction.
        writes: No document twice.
        texts: Their bodies as JSON.
        position: Of the append.
        at_s: When, Unix seconds.
        actor: Who.
        reason: Why.

    Raises:
        Conflict: A document is at another version; the caller's transaction is to be given up.
    """
    if not writes:
        return []
    found = dict(_versions(connection, writes))
    for write in writes:
        if (version := found.get((write.kind, write.key), 0)) != write.expected_version:
            raise _chain.stale(write.kind, write.key, write.expected_version, version)
    _move_heads(connection, writes)
    place = {"position": position, "at_s": at_s, "actor": actor, "reason": reason}
    rows: list[dict[str, Any]] = [
        {"kind": write.kind, "key": write.key, "version": write.expected_version + 1} | place for write in writes
    ]
    connection.execute(insert(documents), [row | {"body": text} for row, text in zip(rows, texts, strict=True)])
    return [Document(**row, body=json.loads(text)) for row, text in zip(rows, texts, strict=True)]


def document(row: Row[Any]) -> Document:
    """Read a row."""
    return Document(
        kind=row.kind,
        key=row.key,
        version=row.version,
        body=json.loads(row.body),
        position=row.position,
        at_s=row.at_s,
        actor=row.actor,
        reason=row.reason,
    )


def _versions(connection: Connection, writes: Sequence[Write]) -> Iterator[tuple[tuple[str, str], int]]:
    for start in range(0, len(writes), _ASKED_AT_ONCE):
        names = [(write.kind, write.key) for write in writes[start : start + _ASKED_AT_ONCE]]
        query = select(heads.c.kind, heads.c.key, heads.c.version)
        for row in connection.execute(query.where(tuple_(heads.c.kind, heads.c.key).in_(names))):
            yield (row.kind, row.key), row.version


def _move_heads(connection: Connection, writes: Sequence[Write]) -> None:
    new = [write for write in writes if not write.expected_version]
    moved = [write for write in writes if write.expected_version]
    if new:
        rows = [{"kind": w.kind, "key": w.key, "version": 1, "withdrawn": w.body is None} for w in new]
        connection.execute(insert(heads), rows)
    if moved:
        goals = [
            {"of_kind": w.kind, "of_key": w.key, "to_version": w.expected_version + 1, "is_withdrawn": w.body is None}
            for w in moved
        ]
        connection.execute(_MOVE, goals)
