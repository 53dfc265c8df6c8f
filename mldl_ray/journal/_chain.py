"""The hash chain and the checks before an append: pure, shared by every store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from contracts.errors import Conflict, Incompatible, Refused
from contracts.events import Event, Fact
from contracts.ports import Once, Write

GENESIS = "0" * 64


def canonical(value: Any) -> str:
    """Write JSON in the one form that is hashed: sorted keys, no spaces, no NaN.

    >>> canonical({"b": 1, "a": [None, 1.5]})
    '{"a":[null,1.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """Hash a text (sha256, hex)."""
    return hashlib.sha256(text.encode()).hexdigest()


def link(previous: str, content: str) -> str:
    """Give the hash of an append that follows ``previous``."""
    return digest(f"{previous}\n{content}")


def bodies(writes: Sequence[Write], facts: Sequence[Fact]) -> list[str]:
    """Check what is to be appended; give each document's body as canonical JSON (``null`` withdraws).

    Raises:
        Refused: Nothing to write, or one document twice.
        Incompatible: A body or an event is not JSON (NaN is not).
    """
    if not writes and not facts:
        raise Refused("nothing to append: give at least one document or one event")
    seen: set[tuple[str, str]] = set()
    for write in writes:
        if (write.kind, write.key) in seen:
            raise Refused(f"{write.kind} {write.key} is written twice in one append", {"key": write.key})
        seen.add((write.kind, write.key))
    try:
        for fact in facts:
            canonical(fact.data)
        return [canonical(write.body) for write in writes]
    except (TypeError, ValueError) as error:
        raise Incompatible(f"a document must be JSON: {error}") from error


def content_of(
    *,
    position: int,
    at_s: float,
    actor: str,
    reason: str,
    once: Once | None,
    documents: Sequence[tuple[str, str, int, str]],
    events: Sequence[Event],
) -> str:
    """Describe an append in full: what the chain protects. ``documents``: kind, key, version, digest of the body."""
    return canonical(
        {
            "position": position,
            "at_s": at_s,
            "actor": actor,
            "reason": reason,
            "once": once.model_dump() if once else None,
            "documents": [list(document) for document in documents],
            "events": [event.model_dump() for event in events],
        }
    )


def stale(kind: str, key: str, expected: int, found: int) -> Conflict:
    """Tell a writer that the document moved on."""
    return Conflict(
        f"{kind} {key} is at version {found}, not at {expected}: somebody changed it; read it again and decide again",
        {"kind": kind, "key": key, "expected_version": expected, "found_version": found},
    )


def other_request(once: Once) -> Conflict:
    """Tell a caller that the key was used for something else."""
    return Conflict(
        f"idempotency key {once.key} was used for a different request; use a new key for a new request",
        {"idempotency_key": once.key},
    )


def numbered(facts: Sequence[Fact], position: int, at_s: float, actor: str, reason: str) -> list[Event]:
    """Give facts their place: the id is ``<position>.<ordinal>``, unique and in order."""
    return [
        Event(
            **fact.model_dump(),
            id=f"{position}.{ordinal}",
            position=position,
            at_s=at_s,
            actor=actor,
            reason=reason,
        )
        for ordinal, fact in enumerate(facts)
    ]
