"""Events that a receiver refused or could not take for too long: kept, listed, and sent again when a person says so."""

from __future__ import annotations

import datetime as dt

from contracts.errors import NotFound
from contracts.events import Event
from contracts.ports import Document, Journal, Write
from contracts.specs import Json
from mldl_ray.bridges.courier import DEAD_LETTER, letter_key
from mldl_ray.bridges.mesh import Mesh
from mldl_ray.journal.documents import scan_all

MOST_AT_ONCE = 100


def dead_letters(journal: Journal, receiver: str | None = None, limit: int = 100) -> list[Json]:
    """List events that could not be delivered, newest first."""
    prefix = "" if receiver is None else f"{receiver}@"
    found = sorted(scan_all(journal, DEAD_LETTER, prefix=prefix), key=lambda document: -document.position)
    return [_shown(document.body or {}) for document in found[:limit]]


def redeliver(
    journal: Journal, mesh: Mesh, receiver: str, event_id: str | None = None, *, by: str, reason: str
) -> Json:
    """Send dead letters again, now, in the order of their events; those that arrive are dead no more.

    Args:
        journal: Where they are.
        mesh: Knows the receiver.
        receiver: A subscription or a broker.
        event_id: Which; all of the receiver's, ``MOST_AT_ONCE`` at most, when absent.
        by: Who says so.
        reason: Why.

    Returns:
        ``{consumer, delivered: [event ids], left, error}``; it ends at the first that fails again.

    Raises:
        NotFound: No such receiver or dead letter.
    """
    to = mesh.receiver(receiver)
    letters = sorted(_letters(journal, receiver, event_id), key=lambda letter: _place(letter.body or {}))
    delivered: list[str] = []
    error: str | None = None
    for letter in letters[:MOST_AT_ONCE]:
        event = event_of(letter.body or {})
        outcome = to.sink.publish([event])
        if outcome.accepted == 0:
            error = outcome.trouble
            break
        gone = Write(kind=DEAD_LETTER, key=letter.key, expected_version=letter.version, body=None)
        journal.append([gone], actor=by, reason=reason)
        delivered.append(event.id)
    return {"consumer": receiver, "delivered": delivered, "left": len(letters) - len(delivered), "error": error}


def event_of(letter: Json) -> Event:
    """Read the event of a dead letter back from its form as a CloudEvent."""
    told = letter["event"]
    return Event(
        type=told["type"],
        subject=told["subject"],
        data=told["data"],
        id=told["id"],
        position=int(told["sequence"].partition(".")[0]),
        at_s=dt.datetime.fromisoformat(told["time"]).timestamp(),
        actor=told["actor"],
        reason=told["reason"],
    )


def _shown(letter: Json) -> Json:
    told = {name: letter[name] for name in ("event", "tries", "failing_since_s", "error")}
    return {"consumer": letter["subscription_id"], "to": letter["url"]} | told


def _letters(journal: Journal, receiver: str, event_id: str | None) -> list[Document]:
    if event_id is None:
        return list(scan_all(journal, DEAD_LETTER, prefix=f"{receiver}@"))
    found = journal.read(DEAD_LETTER, letter_key(receiver, event_id))
    if found is None:
        raise NotFound(f"{receiver} has no dead letter of event {event_id}; mldl events dead-letters lists them")
    return [found]


def _place(letter: Json) -> tuple[int, int]:
    position, _, ordinal = letter["event"]["id"].partition(".")
    return int(position), int(ordinal)
