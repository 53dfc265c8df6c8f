"""Documents as rows: an append's are written together, in few statements. Not here: transactions and the chain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from contracts.ports import Document, Write
from mldl_ray.journal import _chain
from mldl_ray.journal._schema import documents, heads

# Statements are made once: making one costs several times what running it does.
_VERSION = select(heads.c.version).where(heads.c.kind == bindparam("of_kind"), heads.c.key == bindparam("of_key"))
_ADD_HEADS, _ADD_DOCUMENTS = insert(heads), insert(documents)
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
    for write in writes:
        found = connection.execute(_VERSION, {"of_kind": write.kind, "of_key": write.key}).scalar() or 0
        if found != write.expected_version:
            raise _chain.stale(write.kind, write.key, write.expected_version, found)
    _move_heads(connection, writes)
    place = {"position": position, "at_s": at_s, "actor": actor, "reason": reason}
    rows: list[dict[str, Any]] = [
        {"kind": write.kind, "key": write.key, "version": write.expected_version + 1} | place for write in writes
    ]
    connection.execute(_ADD_DOCUMENTS, [row | {"body": text} for row, text in zip(rows, texts, strict=True)])
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


def _move_heads(connection: Connection, writes: Sequence[Write]) -> None:
    new = [write for write in writes if not write.expected_version]
    moved = [write for write in writes if write.expected_version]
    if new:
        rows = [{"kind": w.kind, "key": w.key, "version": 1, "withdrawn": w.body is None} for w in new]
        connection.execute(_ADD_HEADS, rows)
    if moved:
        goals = [
            {"of_kind": w.kind, "of_key": w.key, "to_version": w.expected_version + 1, "is_withdrawn": w.body is None}
            for w in moved
        ]
        connection.execute(_MOVE, goals)
