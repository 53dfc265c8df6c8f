"""Mesh, embedded: every event to everyone who subscribed, in order, at least once, as signed CloudEvents.

Each subscription has a document that says how far it is (its offset), and a courier of its own. A receiver that is down
holds up its own courier and nobody else. What it refuses, or cannot take for a day, is kept as a dead letter. Events
leave the outbox once the couriers were woken for them: from then on the offsets, which are in the journal too, are what
remembers who still has to get them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from contracts.errors import Conflict, Incompatible, MldlError, NotFound
from contracts.events import EVENT_TYPES, Event
from contracts.ports import Clock, Journal, Once, Write
from contracts.specs import Json
from mldl_ray.bridges import _webhooks
from mldl_ray.bridges._webhooks import Outcome
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import scan_all

log = logging.getLogger(__name__)

SUBSCRIPTION, OFFSET, DEAD_LETTER = "subscription", "subscription_offset", "dead_letter"
MOST_SUBSCRIPTIONS = 32
SHORTEST_SECRET = 8
PAGE = 100
REFUSED_TRIES = 3
GIVE_UP_S = 86400.0
LONGEST_PAUSE_S = 60.0
ACTOR = "mesh"


@dataclass
class _Courier:
    """How one subscription fares, in this process; what must survive is in its offset document."""

    position: int
    version: int
    sent: set[str] = field(default_factory=set)
    tries: int = 0
    failing_since_s: float | None = None
    not_before_s: float = 0.0
    error: str | None = None
    errand: Future[None] | None = None


class Mesh:
    """Route events to webhooks.

    Args:
        journal: Where events, subscriptions, offsets and dead letters are.
        clock: Stamps signatures, and times the pauses between attempts.
        client: Posts; one with its defaults when absent.
    """

    def __init__(self, journal: Journal, clock: Clock, client: httpx.Client | None = None) -> None:
        self._journal, self._clock = journal, clock
        self._client = client or httpx.Client()
        self._pool = ThreadPoolExecutor(MOST_SUBSCRIPTIONS, thread_name_prefix="webhook")
        self._couriers: dict[str, _Courier] = {}
        self._lock = threading.Lock()

    def subscribe(self, url: str, *, types: Sequence[str] = (), secret: str, by: str, once: Once | None = None) -> Json:
        """Have events posted to an address, from now on.

        Args:
            url: http or https.
            types: Which events; all when empty.
            secret: Shared with the receiver, who checks the signature with it (``_webhooks.genuine``). It is kept in
                the journal, because signing needs it, and never shown again.
            by: Who subscribes.
            once: Makes a repeated call give the first answer.

        Raises:
            Incompatible: Not such a URL, an unknown event type, or a secret that is too short.
            Conflict: There are ``MOST_SUBSCRIPTIONS`` already.
        """
        _check(url, types, secret)
        name = new_id("sub", once)
        body = {"subscription_id": name, "url": url, "types": sorted(set(types)), "secret": secret, "created_by": by}
        known = [document.key for document in scan_all(self._journal, SUBSCRIPTION)]
        if name not in known and len(known) >= MOST_SUBSCRIPTIONS:
            raise Conflict(f"there are {MOST_SUBSCRIPTIONS} subscriptions already; remove one first")
        offset = {"position": self._journal.position()}
        writes = [
            Write(kind=SUBSCRIPTION, key=name, expected_version=0, body=body),
            Write(kind=OFFSET, key=name, expected_version=0, body=offset),
        ]
        receipt = self._journal.append(writes, actor=by, reason=f"events go to {url}", once=once)
        return self._shown(next(d.body or {} for d in receipt.documents if d.kind == SUBSCRIPTION))

    def unsubscribe(self, subscription_id: str, *, by: str, reason: str) -> None:
        """Post no more events to an address.

        Raises:
            NotFound: No such subscription.
        """
        document = self._journal.read(SUBSCRIPTION, subscription_id)
        if document is None:
            raise self._unknown(subscription_id)
        write = Write(kind=SUBSCRIPTION, key=subscription_id, expected_version=document.version, body=None)
        self._journal.append([write], actor=by, reason=reason)

    def replay(self, subscription_id: str, after: int, *, by: str, reason: str) -> None:
        """Post all events after a position again (0: from the beginning).

        Raises:
            NotFound: No such subscription.
        """
        if self._journal.read(SUBSCRIPTION, subscription_id) is None:
            raise self._unknown(subscription_id)
        document = self._journal.read(OFFSET, subscription_id)
        version = document.version if document is not None else 0
        write = Write(kind=OFFSET, key=subscription_id, expected_version=version, body={"position": max(0, after)})
        self._journal.append([write], actor=by, reason=reason)
        with self._lock:
            self._couriers.pop(subscription_id, None)

    def subscriptions(self) -> list[Json]:
        """List who gets what, how far each is, and what holds it up; secrets are not shown."""
        return [self._shown(document.body or {}) for document in scan_all(self._journal, SUBSCRIPTION)]

    def dead_letters(self, limit: int = 100) -> list[Json]:
        """List events that could not be delivered, newest first."""
        found = sorted(scan_all(self._journal, DEAD_LETTER), key=lambda document: -document.position)
        return [document.body or {} for document in found[:limit]]

    def pump(self) -> list[Future[None]]:
        """Send every courier that is not under way or pausing on its errand; returns at once, with the errands.

        Raises:
            Unavailable: The journal cannot be reached; nothing is lost, call again.
        """
        pending = self._journal.events(pending=True, limit=PAGE)
        subscriptions = [document.body or {} for document in scan_all(self._journal, SUBSCRIPTION)]
        errands = [errand for body in subscriptions if (errand := self._start(body)) is not None]
        if pending:
            self._journal.delivered([event.id for event in pending])
        return errands

    def close(self) -> None:
        """Wait for the errands under way and let go of connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _start(self, subscription: Json) -> Future[None] | None:
        courier = self._courier(subscription["subscription_id"])
        busy = courier.errand is not None and not courier.errand.done()
        if busy or self._clock.now_s() < courier.not_before_s:
            return None
        courier.errand = self._pool.submit(self._run, subscription, courier)
        courier.errand.add_done_callback(_log_failure)
        return courier.errand

    def _courier(self, name: str) -> _Courier:
        with self._lock:
            if name not in self._couriers:
                document = self._journal.read(OFFSET, name)
                position = int((document.body or {})["position"]) if document is not None else 0
                self._couriers[name] = _Courier(position, document.version if document is not None else 0)
            return self._couriers[name]

    def _run(self, subscription: Json, courier: _Courier) -> None:
        try:
            while page := self._page(subscription, courier):
                if not self._deliver(subscription, courier, page):
                    return
        except Conflict:  # the offset was set by someone else, for a replay: begin again from there
            with self._lock:
                self._couriers.pop(subscription["subscription_id"], None)
        except MldlError as error:
            log.warning("subscription %s waits: %s", subscription["subscription_id"], error)

    def _page(self, subscription: Json, courier: _Courier) -> list[Event]:
        return self._journal.events(after=courier.position, limit=PAGE, types=subscription["types"])

    def _deliver(self, subscription: Json, courier: _Courier, page: list[Event]) -> bool:
        """Post a page in order; False: stopped at one that has to wait. Progress is kept either way."""
        reached = courier.position
        for event, following in zip(page, [*page[1:], None], strict=True):
            if event.id not in courier.sent and not self._try(subscription, courier, event):
                self._keep(subscription, courier, reached)
                return False
            courier.sent.add(event.id)
            if following is None or following.position != event.position:
                reached = event.position
        self._keep(subscription, courier, reached)
        return True

    def _try(self, subscription: Json, courier: _Courier, event: Event) -> bool:
        """Post one event; True: it is dealt with, delivered or as a dead letter."""
        now_s = self._clock.now_s()
        outcome = _webhooks.send(self._client, subscription["url"], subscription["secret"], event, now_s=now_s)
        if outcome.kind == "delivered":
            courier.tries, courier.failing_since_s, courier.error = 0, None, None
            return True
        courier.tries += 1
        courier.error = outcome.said
        courier.failing_since_s = now_s if courier.failing_since_s is None else courier.failing_since_s
        if _hopeless(outcome, courier, now_s):
            self._bury(subscription, event, courier, outcome)
            courier.tries = 0
            return True
        courier.not_before_s = now_s + pause_s(courier.tries)
        return False

    def _bury(self, subscription: Json, event: Event, courier: _Courier, outcome: Outcome) -> None:
        key = f"{subscription['subscription_id']}@{event.id}"
        past = self._journal.history(DEAD_LETTER, key)
        body = {
            "subscription_id": subscription["subscription_id"],
            "url": subscription["url"],
            "event": _webhooks.cloud_event(event),
            "tries": courier.tries,
            "failing_since_s": courier.failing_since_s,
            "error": outcome.said,
        }
        write = Write(kind=DEAD_LETTER, key=key, expected_version=len(past), body=body)
        self._journal.append([write], actor=ACTOR, reason=f"{subscription['url']} {outcome.said}")

    def _keep(self, subscription: Json, courier: _Courier, reached: int) -> None:
        if reached == courier.position:
            return
        name = subscription["subscription_id"]
        write = Write(kind=OFFSET, key=name, expected_version=courier.version, body={"position": reached})
        self._journal.append([write], actor=ACTOR, reason="delivered")
        courier.version += 1
        courier.position = reached
        courier.sent = {event_id for event_id in courier.sent if int(event_id.partition(".")[0]) > reached}

    def _shown(self, body: Json) -> Json:
        courier = self._courier(body["subscription_id"])
        return {name: value for name, value in body.items() if name != "secret"} | {
            "position": courier.position,
            "failing_since_s": courier.failing_since_s,
            "error": courier.error,
        }

    def _unknown(self, subscription_id: str) -> NotFound:
        known = [document.key for document in scan_all(self._journal, SUBSCRIPTION)]
        there = ", ".join(known) or "none"
        return NotFound(f"there is no subscription {subscription_id}; there is {there}", {"subscriptions": known})


def pause_s(tries: int) -> float:
    """Give the seconds to wait after so many failed attempts: doubling, a minute at most.

    >>> [pause_s(tries) for tries in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 60.0]
    """
    return min(LONGEST_PAUSE_S, 2.0 ** (min(tries, 10) - 1))


def _hopeless(outcome: Outcome, courier: _Courier, now_s: float) -> bool:
    """Say whether to give up on an event: refused three times, or nothing got through for a day."""
    if outcome.kind == "refused":
        return courier.tries >= REFUSED_TRIES
    return courier.failing_since_s is not None and now_s - courier.failing_since_s >= GIVE_UP_S


def _check(url: str, types: Sequence[str], secret: str) -> None:
    _webhooks.check_url(url)
    if unknown := sorted(set(types) - set(EVENT_TYPES)):
        raise Incompatible(f"there is no event {unknown[0]!r}; there are: {', '.join(EVENT_TYPES)}", {"types": unknown})
    if len(secret) < SHORTEST_SECRET:
        raise Incompatible(f"the secret has {len(secret)} characters; give at least {SHORTEST_SECRET}")


def _log_failure(errand: Future[None]) -> None:
    if not errand.cancelled() and (error := errand.exception()) is not None:
        log.error("a webhook's errand failed", exc_info=error)
