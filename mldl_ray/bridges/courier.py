"""One receiver's courier: carries events from its offset in the journal to its sink, in order, at least once.

How far it is (its offset) and what it gave up on (dead letters) are documents; everything else here may be lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

from contracts.errors import Conflict, MldlError
from contracts.events import Event, EventType
from contracts.ports import Clock, EventSink, Journal, Published, Write
from contracts.specs import Json
from mldl_ray.bridges._webhooks import cloud_event

log = logging.getLogger(__name__)

OFFSET, DEAD_LETTER = "subscription_offset", "dead_letter"
PAGE = 200
REFUSED_TRIES = 3
LONGEST_PAUSE_S = 60.0
ACTOR = "mesh"


class Receiver(NamedTuple):
    """To whom a courier goes."""

    name: str
    to: str
    sink: EventSink
    types: tuple[EventType, ...] = ()
    batch: int = 1
    """Most events handed over at once."""
    patience_s: float | None = None
    """How long one that is away is waited for before events become dead letters; None: for ever."""


class Courier:
    """Serve one receiver; one thread at a time calls ``run``."""

    def __init__(self, journal: Journal, clock: Clock, receiver: Receiver) -> None:
        self._journal, self._clock, self.receiver = journal, clock, receiver
        document = journal.read(OFFSET, receiver.name)
        body = (document.body or {}) if document is not None else {}
        self.position, self._again = int(body.get("position", 0)), int(body.get("again", 0))
        self._version = document.version if document is not None else len(journal.history(OFFSET, receiver.name))
        self._sent: set[str] = set()
        self._tries = 0
        self._not_before_s = 0.0
        self.failing_since_s: float | None = None
        self.error: str | None = None
        self.stopped = threading.Event()
        self.outdated = False
        """The offset was set by someone else; whoever made this courier makes a new one."""

    def pausing(self) -> bool:
        """Say whether the receiver failed so lately that it is not tried again yet."""
        return self._clock.now_s() < self._not_before_s

    def run(self) -> None:
        """Carry until nothing is left, the receiver fails, or somebody stops it."""
        try:
            while not self.stopped.is_set() and (page := self._page()):
                if not self._deliver(page):
                    return
        except Conflict:
            self.outdated = True
        except MldlError as error:
            log.warning("events for %s wait: %s", self.receiver.to, error)

    def _page(self) -> list[Event]:
        return self._journal.events(after=self.position, limit=PAGE, types=self.receiver.types)

    def _deliver(self, page: list[Event]) -> bool:
        """Hand over a page; False: stopped at one that has to wait. Progress is kept either way."""
        left = [event for event in page if event.id not in self._sent]
        while left and not self.stopped.is_set():
            dealt_with = self._try(left[: self.receiver.batch])
            self._sent.update(event.id for event in left[:dealt_with])
            left = left[dealt_with:]
            if not dealt_with:
                break
        self._keep(_reached(page, self._sent, self.position))
        return not left

    def _try(self, batch: Sequence[Event]) -> int:
        """Hand over a batch; give how many, from the first, are dealt with: delivered, or dead letters."""
        outcome = self.receiver.sink.publish(batch, again=self._again)
        if outcome.accepted:
            self._tries, self.failing_since_s, self.error = 0, None, None
        if outcome.accepted >= len(batch):
            return len(batch)
        now_s = self._clock.now_s()
        self._tries, self.error = self._tries + 1, outcome.trouble
        self.failing_since_s = now_s if self.failing_since_s is None else self.failing_since_s
        if self._hopeless(outcome, now_s):
            self._bury(batch[outcome.accepted])
            self._tries = 0
            return outcome.accepted + 1
        self._not_before_s = now_s + pause_s(self._tries)
        return outcome.accepted

    def _hopeless(self, outcome: Published, now_s: float) -> bool:
        """Say whether to give up on an event: refused three times, or nothing got through for too long."""
        if outcome.refused:
            return self._tries >= REFUSED_TRIES
        patience_s = self.receiver.patience_s
        return (
            patience_s is not None and self.failing_since_s is not None and now_s - self.failing_since_s >= patience_s
        )

    def _bury(self, event: Event) -> None:
        key = letter_key(self.receiver.name, event.id)
        past = self._journal.history(DEAD_LETTER, key)
        body: Json = {
            "subscription_id": self.receiver.name,
            "url": self.receiver.to,
            "event": cloud_event(event),
            "tries": self._tries,
            "failing_since_s": self.failing_since_s,
            "error": self.error,
        }
        write = Write(kind=DEAD_LETTER, key=key, expected_version=len(past), body=body)
        self._journal.append([write], actor=ACTOR, reason=f"{self.receiver.to} {self.error}")

    def _keep(self, reached: int) -> None:
        if reached == self.position:
            return
        body = {"position": reached, "again": self._again}
        write = Write(kind=OFFSET, key=self.receiver.name, expected_version=self._version, body=body)
        self._journal.append([write], actor=ACTOR, reason="delivered")
        self._version += 1
        self.position = reached
        self._sent = {event_id for event_id in self._sent if int(event_id.partition(".")[0]) > reached}


def pause_s(tries: int) -> float:
    """Give the seconds to wait after so many failed attempts: doubling, a minute at most.

    >>> [pause_s(tries) for tries in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 60.0]
    """
    return min(LONGEST_PAUSE_S, 2.0 ** (min(tries, 10) - 1))


def letter_key(receiver: str, event_id: str) -> str:
    """Name the dead letter of an event.

    >>> letter_key("sub-1", "7.0")
    'sub-1@7.0'
    """
    return f"{receiver}@{event_id}"


def _reached(page: Sequence[Event], sent: set[str], position: int) -> int:
    """Give the last position up to which every event of a page was sent; its last append is whole."""
    for event, following in zip(page, [*page[1:], None], strict=True):
        if event.id not in sent:
            return position
        if following is None or following.position != event.position:
            position = event.position
    return position
