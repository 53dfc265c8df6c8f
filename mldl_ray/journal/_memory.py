"""The journal in this process's memory: for tests and for scripts that keep nothing.

Readers get copies, so that whoever changes what was read does not change the truth.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from contracts.events import Event, EventType, Fact
from contracts.ports import Append, Clock, Document, Once, Receipt, Seal, Verification, Write
from mldl_ray.journal import _chain
from mldl_ray.journal._appends import Wanted


class _Append(NamedTuple):
    content: str
    previous: str
    hash: str
    at_s: float
    documents: tuple[Document, ...]


class MemoryJournal:
    """Keep everything in dictionaries; nothing survives the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._appends: list[_Append] = []
        self._documents: dict[tuple[str, str], list[Document]] = {}
        self._events: list[Event] = []
        self._pending: dict[str, Event] = {}
        self._once: dict[str, tuple[str, Receipt]] = {}

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
        with self._lock:
            if once is not None and once.key in self._once:
                known, receipt = self._once[once.key]
                if known != once.digest:
                    raise _chain.other_request(once)
                return receipt.model_copy(update={"repeated": True}, deep=True)
            for write in writes:
                found = len(self._documents.get((write.kind, write.key), ()))
                if found != write.expected_version:
                    raise _chain.stale(write.kind, write.key, write.expected_version, found)
            return self._write(writes, texts, facts, actor, reason, once)

    def _write(
        self,
        writes: Sequence[Write],
        texts: Sequence[str],
        facts: Sequence[Fact],
        actor: str,
        reason: str,
        once: Once | None,
    ) -> Receipt:
        position = len(self._appends) + 1
        at_s = max(self._clock.now_s(), self._appends[-1].at_s if self._appends else 0.0)
        events = _chain.numbered(facts, position, at_s, actor, reason)
        documents = tuple(
            Document(
                kind=write.kind,
                key=write.key,
                version=write.expected_version + 1,
                body=json.loads(text),
                position=position,
                at_s=at_s,
                actor=actor,
                reason=reason,
            )
            for write, text in zip(writes, texts, strict=True)
        )
        content = _chain.content_of(
            position=position,
            at_s=at_s,
            actor=actor,
            reason=reason,
            once=once,
            documents=[(d.kind, d.key, d.version, _chain.digest(t)) for d, t in zip(documents, texts, strict=True)],
            events=events,
        )
        previous = self._appends[-1].hash if self._appends else _chain.GENESIS
        self._appends.append(_Append(content, previous, _chain.link(previous, content), at_s, documents))
        for document in documents:
            self._documents.setdefault((document.kind, document.key), []).append(document)
        self._events.extend(events)
        self._pending.update((event.id, event) for event in events)
        receipt = Receipt(position=position, at_s=at_s, documents=documents, events=tuple(events))
        if once is not None:
            self._once[once.key] = (once.digest, receipt)
        return receipt.model_copy(deep=True)

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        """Give a document as it is, or as it was."""
        with self._lock:
            found = self._at(self._documents.get((kind, key), []), as_of)
        return found.model_copy(deep=True) if found is not None and found.body is not None else None

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
        with self._lock:
            keys = sorted(
                key for of_kind, key in self._documents if of_kind == kind and key.startswith(prefix) and key > after
            )
            found = (self._at(self._documents[kind, key], as_of) for key in keys)
            kept = [d for d in found if d is not None and (withdrawn or d.body is not None)]
        return [document.model_copy(deep=True) for document in kept[: max(0, limit)]]

    def changes(self, kinds: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Document]:
        """List what was written to documents of some kinds after a position."""
        wanted, found = set(kinds), list[Document]()
        with self._lock:
            for append in self._appends[max(0, after) :]:
                if len(found) >= limit:
                    break
                found += [document for document in append.documents if document.kind in wanted]
        return [document.model_copy(deep=True) for document in found]

    def pick(self, kind: str, keys: Sequence[str], *, as_of: int | None = None) -> list[Document]:
        """Give several documents as they are, or as they were."""
        found = (self.read(kind, key, as_of=as_of) for key in dict.fromkeys(keys))
        return [document for document in found if document is not None]

    def history(self, kind: str, key: str) -> list[Document]:
        """List every version of a document."""
        with self._lock:
            return [document.model_copy(deep=True) for document in self._documents.get((kind, key), ())]

    def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        types: Iterable[EventType] = (),
        subject: str | None = None,
        pending: bool = False,
    ) -> list[Event]:
        """List events in order."""
        wanted = set(types)
        with self._lock:
            source = list(self._pending.values()) if pending else self._events
            found = [
                event
                for event in source
                if event.position > after
                and (not wanted or event.type in wanted)
                and (subject is None or event.subject == subject)
            ]
        if limit < 1:
            return []
        last = found[limit - 1].position if len(found) > limit else None
        return [event.model_copy(deep=True) for event in found if last is None or event.position <= last]

    def delivered(self, ids: Sequence[str]) -> None:
        """Take events out of the outbox."""
        with self._lock:
            for event_id in ids:
                self._pending.pop(event_id, None)

    def position(self, *, at_s: float | None = None) -> int:
        """Give the last position, at a moment when asked."""
        with self._lock:
            if at_s is None:
                return len(self._appends)
            return sum(1 for append in self._appends if append.at_s <= at_s)

    def seal(self, kinds: Sequence[str] = (), *, as_of: int | None = None) -> Seal:
        """Give the chain's hash at a position."""
        with self._lock:
            position = len(self._appends) if as_of is None else max(0, min(as_of, len(self._appends)))
            head = self._appends[position - 1].hash if position else _chain.GENESIS
            counts = dict.fromkeys(kinds, 0)
            for (kind, _), versions in self._documents.items() if as_of is None else ():
                if kind in counts and versions[-1].body is not None:
                    counts[kind] += 1
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
        with self._lock:
            first = max(0, after)
            last = len(self._appends) if before is None else max(0, before - 1)
            kept = list(enumerate(self._appends[first:last], start=first + 1))
        if before is not None:
            kept.reverse()
        wanted = Wanted(actor, kind, subject, since_s, until_s)
        found = (
            Append(position=position, content=append.content, previous_hash=append.previous, hash=append.hash)
            for position, append in kept
            if wanted.has(json.loads(append.content))
        )
        return list(islice(found, max(0, limit)))

    def verify(self) -> Verification:
        """Recompute the chain."""
        with self._lock:
            previous = _chain.GENESIS
            for number, append in enumerate(self._appends, start=1):
                if append.previous != previous or _chain.link(previous, append.content) != append.hash:
                    problem = f"append {number} does not follow from the one before it"
                    return Verification(ok=False, positions=number, head=previous, problem=problem)
                previous = append.hash
            return Verification(ok=True, positions=len(self._appends), head=previous)

    @staticmethod
    def _at(versions: Sequence[Document], as_of: int | None) -> Document | None:
        reached = [document for document in versions if as_of is None or document.position <= as_of]
        return reached[-1] if reached else None
