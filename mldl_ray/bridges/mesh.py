"""Mesh, embedded: every event to everyone who subscribed, in order, at least once, as CloudEvents.

Receivers are the addresses of webhooks, which are documents, and brokers, which the configuration names. Each has an
offset, which is a document, and a courier of its own: one that is down holds up its own courier and nobody else. Events
leave the outbox once the couriers were woken for them: from then on the offsets remember who still has to get them.
Not here: how one receiver is served (``courier``), what is done with dead letters (``dead_letters``), the sinks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import httpx

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import EVENT_TYPES
from contracts.ports import Clock, Document, EventSink, Journal, Once, Write
from contracts.specs import Json
from mldl_ray.bridges import _webhooks
from mldl_ray.bridges._webhooks import WebhookSink
from mldl_ray.bridges.courier import DEAD_LETTER, OFFSET, Courier, Receiver
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import scan_all

log = logging.getLogger(__name__)

SUBSCRIPTION = "subscription"
MOST_SUBSCRIPTIONS = 32
SHORTEST_SECRET = 8
OUTBOX_PAGE = 1000
BROKER_BATCH = 200
GIVE_UP_S = 86400.0


class Mesh:
    """Route events to webhooks and brokers.

    Args:
        journal: Where events, subscriptions, offsets and dead letters are.
        clock: Stamps signatures, and times the pauses between attempts.
        client: Posts; one with its defaults when absent.
        brokers: Sinks that get every event from the journal's beginning, by a name that stays.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        client: httpx.Client | None = None,
        *,
        brokers: Mapping[str, EventSink] | None = None,
    ) -> None:
        self._journal, self._clock = journal, clock
        self._client = client or httpx.Client()
        self._brokers = dict(brokers or {})
        self._pool = ThreadPoolExecutor(MOST_SUBSCRIPTIONS + len(self._brokers), thread_name_prefix="courier")
        self._couriers: dict[str, Courier] = {}
        self._errands: dict[str, Future[None]] = {}
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
        self._dismiss(subscription_id)

    def replay(self, receiver: str, after: int, *, by: str, reason: str, once: Once | None = None) -> Json:
        """Send all events after a position again (0: from the beginning).

        Raises:
            NotFound: No such subscription or broker.
            Incompatible: Nothing has happened after that position yet, or it is negative.
        """
        self._known(receiver)
        last = self._journal.position()
        if not 0 <= after <= last:
            raise Incompatible(f"after {after} is no position of this journal; give 0 to {last}", {"after": after})
        document = self._journal.read(OFFSET, receiver)
        past = self._journal.history(OFFSET, receiver)
        again = int((document.body or {}).get("again", 0)) + 1 if document is not None else 1
        body = {"position": after, "again": again}
        write = Write(kind=OFFSET, key=receiver, expected_version=past[-1].version if past else 0, body=body)
        self._journal.append([write], actor=by, reason=reason, once=once)
        self._dismiss(receiver)
        return self.consumer(receiver)

    def subscriptions(self) -> list[Json]:
        """List who gets what by webhook, how far each is, and what holds it up; secrets are not shown."""
        return [self._shown(document.body or {}) for document in scan_all(self._journal, SUBSCRIPTION)]

    def consumers(self) -> list[Json]:
        """List everyone that events are sent to, brokers first: how far each is, how far behind, what holds it up."""
        names = [*self._brokers, *(document.key for document in scan_all(self._journal, SUBSCRIPTION))]
        return [self.consumer(name) for name in names]

    def consumer(self, name: str) -> Json:
        """Show one receiver.

        Raises:
            NotFound: No such subscription or broker.
        """
        courier = self._courier(self._known(name))
        ahead = self._journal.events(after=courier.position, limit=OUTBOX_PAGE, types=courier.receiver.types)
        letters = self._journal.scan(DEAD_LETTER, prefix=f"{name}@", limit=OUTBOX_PAGE)
        return {
            "consumer": name,
            "kind": "broker" if name in self._brokers else "webhook",
            "to": courier.receiver.to,
            "types": list(courier.receiver.types),
            "position": courier.position,
            "waiting": len(ahead),
            "dead_letters": len(letters),
            "failing_since_s": courier.failing_since_s,
            "error": courier.error,
        }

    def trouble(self) -> str | None:
        """Say which broker is not served now; a webhook's trouble is its receiver's own."""
        said = [
            f"{name}: {self._couriers[name].error}"
            for name in self._brokers
            if name in self._couriers and self._couriers[name].error
        ]
        return "; ".join(said) or None

    def receiver(self, name: str) -> Receiver:
        """Give a receiver by its name.

        Raises:
            NotFound: No such subscription or broker.
        """
        return self._known(name)

    def pump(self) -> list[Future[None]]:
        """Send every courier that is not under way or pausing on its errand; returns at once, with the errands.

        Raises:
            Unavailable: The journal cannot be reached; nothing is lost, call again.
        """
        pending = self._journal.events(pending=True, limit=OUTBOX_PAGE)
        receivers = [self._broker(name) for name in self._brokers]
        receivers += [self._webhook(document) for document in scan_all(self._journal, SUBSCRIPTION)]
        for gone in self._couriers.keys() - {receiver.name for receiver in receivers}:
            self._dismiss(gone)
        errands = [errand for receiver in receivers if (errand := self._start(receiver)) is not None]
        if pending:
            self._journal.delivered([event.id for event in pending])
        return errands

    def close(self) -> None:
        """Wait for what is being sent and let go of connections; the rest goes on at the next start."""
        for courier in list(self._couriers.values()):
            courier.stopped.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()
        for sink in self._brokers.values():
            sink.close()

    def _start(self, receiver: Receiver) -> Future[None] | None:
        courier = self._courier(receiver)
        errand = self._errands.get(receiver.name)
        if (errand is not None and not errand.done()) or courier.pausing():
            return None
        errand = self._pool.submit(courier.run)
        errand.add_done_callback(_log_failure)
        self._errands[receiver.name] = errand
        return errand

    def _courier(self, receiver: Receiver) -> Courier:
        with self._lock:
            found = self._couriers.get(receiver.name)
            if found is None or found.outdated:
                found = self._couriers[receiver.name] = Courier(self._journal, self._clock, receiver)
            return found

    def _dismiss(self, name: str) -> None:
        with self._lock:
            courier = self._couriers.pop(name, None)
        if courier is not None:
            courier.stopped.set()

    def _known(self, name: str) -> Receiver:
        if name in self._brokers:
            return self._broker(name)
        document = self._journal.read(SUBSCRIPTION, name)
        if document is None:
            raise self._unknown(name)
        return self._webhook(document)

    def _broker(self, name: str) -> Receiver:
        return Receiver(name, name, self._brokers[name], batch=BROKER_BATCH)

    def _webhook(self, document: Document) -> Receiver:
        body = document.body or {}
        sink = WebhookSink(self._client, body["url"], body["secret"], self._clock)
        return Receiver(document.key, body["url"], sink, tuple(body["types"]), patience_s=GIVE_UP_S)

    def _shown(self, body: Json) -> Json:
        courier = self._courier(self._known(body["subscription_id"]))
        return {name: value for name, value in body.items() if name != "secret"} | {
            "position": courier.position,
            "failing_since_s": courier.failing_since_s,
            "error": courier.error,
        }

    def _unknown(self, name: str) -> NotFound:
        known = [*self._brokers, *(document.key for document in scan_all(self._journal, SUBSCRIPTION))]
        there = ", ".join(known) or "none"
        return NotFound(f"there is no subscription {name}; there is {there}", {"subscriptions": known})


def _check(url: str, types: Sequence[str], secret: str) -> None:
    _webhooks.check_url(url)
    if unknown := sorted(set(types) - set(EVENT_TYPES)):
        raise Incompatible(f"there is no event {unknown[0]!r}; there are: {', '.join(EVENT_TYPES)}", {"types": unknown})
    if len(secret) < SHORTEST_SECRET:
        raise Incompatible(f"the secret has {len(secret)} characters; give at least {SHORTEST_SECRET}")


def _log_failure(errand: Future[None]) -> None:
    if not errand.cancelled() and (error := errand.exception()) is not None:
        log.error("a courier's errand failed", exc_info=error)
