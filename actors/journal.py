"""The journal as an actor, and its client.

What survives a restart: everything; the actor holds only an open database. With SQLite it is the file's one opener, so
it is pinned to the node that holds the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from actors.directory import Remote
from contracts.errors import Unavailable
from contracts.events import Event, EventType, Fact
from contracts.ports import Append, Document, Once, Receipt, Seal, Verification, Write
from mldl_ray.clock import SystemClock
from mldl_ray.journal import open_journal

T = TypeVar("T")
PATIENCE_S = 10.0
PAUSE_S = 0.2
CALL_TIMEOUT_S = 10.0
"""Of any call but ``verify``: all are a matter of milliseconds, and a caller over HTTP waits for the answer."""


class JournalActor:
    """The port's verbs, over the store that a URL names."""

    def __init__(self, url: str) -> None:
        self._store = open_journal(url, SystemClock())

    def append(
        self, writes: Sequence[Write], facts: Sequence[Fact], actor: str, reason: str, once: Once | None
    ) -> Receipt:
        """Write all of it, or nothing."""
        return self._store.append(writes, facts, actor=actor, reason=reason, once=once)

    def read(self, kind: str, key: str, as_of: int | None) -> Document | None:
        """Give a document."""
        return self._store.read(kind, key, as_of=as_of)

    def scan(self, kind: str, options: dict[str, Any]) -> list[Document]:
        """List documents."""
        return self._store.scan(kind, **options)

    def changes(self, kinds: Sequence[str], after: int, limit: int) -> list[Document]:
        """List what was written after a position."""
        return self._store.changes(kinds, after=after, limit=limit)

    def pick(self, kind: str, keys: Sequence[str], as_of: int | None) -> list[Document]:
        """Give several documents."""
        return self._store.pick(kind, keys, as_of=as_of)

    def history(self, kind: str, key: str) -> list[Document]:
        """List every version of a document."""
        return self._store.history(kind, key)

    def events(self, options: dict[str, Any]) -> list[Event]:
        """List events."""
        return self._store.events(**options)

    def delivered(self, ids: Sequence[str]) -> None:
        """Take events out of the outbox."""
        self._store.delivered(ids)

    def position(self, at_s: float | None) -> int:
        """Give the last position."""
        return self._store.position(at_s=at_s)

    def seal(self, kinds: Sequence[str], as_of: int | None) -> Seal:
        """Give the chain's hash."""
        return self._store.seal(kinds, as_of=as_of)

    def appends(self, options: dict[str, Any]) -> list[Append]:
        """List appends."""
        return self._store.appends(**options)

    def verify(self) -> Verification:
        """Recompute the hash chain."""
        return self._store.verify()


class RemoteJournal:
    """The same port for everyone else, over the actor; can be sent to other processes.

    A read waits up to ``PATIENCE_S`` for an actor that is restarting. An append does so only with an idempotency key:
    without one, nobody could tell whether the lost call had run.
    """

    def __init__(self) -> None:
        self._actor = Remote("journal", CALL_TIMEOUT_S)

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

        def call() -> Receipt:
            found: Receipt = self._actor.append(list(writes), list(facts), actor, reason, once)
            return found

        return call() if once is None else _patiently(call)

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        """Give a document."""
        found: Document | None = _patiently(lambda: self._actor.read(kind, key, as_of))
        return found

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
        """List documents."""
        options = {"prefix": prefix, "after": after, "limit": limit, "as_of": as_of, "withdrawn": withdrawn}
        return _patiently(lambda: self._actor.scan(kind, options))

    def changes(self, kinds: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Document]:
        """List what was written after a position."""
        return _patiently(lambda: self._actor.changes(list(kinds), after, limit))

    def pick(self, kind: str, keys: Sequence[str], *, as_of: int | None = None) -> list[Document]:
        """Give several documents."""
        return _patiently(lambda: self._actor.pick(kind, list(keys), as_of))

    def history(self, kind: str, key: str) -> list[Document]:
        """List every version of a document."""
        return _patiently(lambda: self._actor.history(kind, key))

    def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        types: Iterable[EventType] = (),
        subject: str | None = None,
        pending: bool = False,
    ) -> list[Event]:
        """List events."""
        options = {"after": after, "limit": limit, "types": tuple(types), "subject": subject, "pending": pending}
        return _patiently(lambda: self._actor.events(options))

    def delivered(self, ids: Sequence[str]) -> None:
        """Take events out of the outbox; doing so twice is the same."""
        _patiently(lambda: self._actor.delivered(list(ids)))

    def position(self, *, at_s: float | None = None) -> int:
        """Give the last position."""
        found: int = _patiently(lambda: self._actor.position(at_s))
        return found

    def seal(self, kinds: Sequence[str] = (), *, as_of: int | None = None) -> Seal:
        """Give the chain's hash."""
        found: Seal = _patiently(lambda: self._actor.seal(list(kinds), as_of))
        return found

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
        """List appends."""
        options: dict[str, Any] = {"after": after, "limit": limit, "actor": actor, "kind": kind, "subject": subject}
        options |= {"since_s": since_s, "until_s": until_s, "before": before}
        return _patiently(lambda: self._actor.appends(options))

    def verify(self) -> Verification:
        """Recompute the hash chain."""
        found: Verification = _patiently(Remote("journal").verify)
        return found


def _patiently(call: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_S)
