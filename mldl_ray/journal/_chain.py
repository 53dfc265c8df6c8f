"""The hash chain and the checks before an append: pure, shared by every store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from contracts.errors import Conflict, Incompatible, Refused
from contracts.events import Event, Fact
from contracts.ports import Once, Write

GENESIS = "0" * 64
LONGEST_KIND, LONGEST_KEY = 60, 400
_EVENT_ID = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")


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


def bodies(writes: Sequence[Write], facts: Sequence[Fact], *, actor: str, reason: str, once: Once | None) -> list[str]:
    """Check what is to be appended; give each document's body as canonical JSON (``null`` withdraws).

    Raises:
        Refused: Nothing to write, or one document twice.
        Incompatible: A body or an event is not JSON (NaN is not), or a text that no database keeps.
    """
    if not writes and not facts:
        raise Refused("nothing to append: give at least one document or one event")
    seen: set[tuple[str, str]] = set()
    for write in writes:
        if (write.kind, write.key) in seen:
            raise Refused(f"{write.kind} {write.key} is written twice in one append", {"key": write.key})
        seen.add((write.kind, write.key))
        _check_text("kind", write.kind, LONGEST_KIND)
        _check_text("key", write.key, LONGEST_KEY)
    for name, text in _texts(facts, actor, reason, once):
        _check_text(name, text)
    try:
        for fact in facts:
            canonical(fact.data).encode()
        texts = [canonical(write.body) for write in writes]
        for text in texts:
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Incompatible(f"a document must be JSON: {error}") from error
    return texts


def _texts(facts: Sequence[Fact], actor: str, reason: str, once: Once | None) -> Iterator[tuple[str, str]]:
    yield from (("actor", actor), ("reason", reason))
    yield from (("subject", fact.subject) for fact in facts)
    if once is not None:
        yield from (("idempotency key", once.key), ("digest of the request", once.digest))


def _check_text(name: str, text: str, longest: int | None = None) -> None:
    """Refuse what one of the stores cannot keep, so that all of them refuse the same."""
    if longest is not None and len(text) > longest:
        raise Incompatible(f"the {name} has {len(text)} characters, at most {longest} are kept: {text[:40]!r}…")
    if not is_text(text):
        raise Incompatible(f"the {name} {text[:40]!r} holds a NUL or half of a surrogate pair; send plain text")


def is_text(text: str) -> bool:
    r"""Say whether a database can keep a text: no NUL, no half of a surrogate pair.

    >>> is_text("né"), is_text("a\0b"), is_text("\ud800")
    (True, False, False)
    """
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


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


def ordinal_of(event_id: str) -> tuple[int, int] | None:
    """Take an event's id apart; None when it is no such id.

    >>> ordinal_of("12.0"), ordinal_of("12"), ordinal_of("a.b")
    ((12, 0), None, None)
    """
    found = _EVENT_ID.fullmatch(event_id)
    return (int(found[1]), int(found[2])) if found else None


def numbered(facts: Sequence[Fact], position: int, at_s: float, actor: str, reason: str) -> list[Event]:
    """Give facts their place: the id is ``<position>.<ordinal>``, unique and in order; data as it will be read."""
    return [
        Event(
            type=fact.type,
            subject=fact.subject,
            data=json.loads(canonical(fact.data)),
            id=f"{position}.{ordinal}",
            position=position,
            at_s=at_s,
            actor=actor,
            reason=reason,
        )
        for ordinal, fact in enumerate(facts)
    ]
