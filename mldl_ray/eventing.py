"""The client's verbs of events: read, follow, send to others, send again; and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from contracts.events import Event
from contracts.http import AuditEntry, WebhookRequest, WebhookView
from contracts.mesh import ConsumerView, DeadLetter, Redelivered, RedeliverRequest, ReplayEventsRequest
from contracts.ports import Verification
from contracts.specs import Json
from mldl_ray.wire import Caller, in_path, parsed, read


class Eventing(Caller):
    """What has happened, and who is told."""

    def events(
        self, *, after: int = 0, limit: int = 100, types: Iterable[str] = (), subject: str | None = None
    ) -> list[Event]:
        """List events in order; go on with ``after`` = the last one's position."""
        return self._get(list[Event], "/events", after=after, limit=limit, types=list(types), subject=subject)

    def follow(self, *, after: int = 0, types: Iterable[str] = (), subject: str | None = None) -> Iterator[Event]:
        """Give events as they happen, for ever."""
        query = {"types": list(types)} | ({} if subject is None else {"subject": subject})
        return self._transport.events(after, query)

    def consumers(self) -> list[ConsumerView]:
        """List everyone that events are sent to: how far each is, and what holds it up."""
        return self._get(list[ConsumerView], "/events/consumers")

    def replay_events(self, consumer: str, *, after: int, reason: str) -> ConsumerView:
        """Send a consumer everything after a journal position again (0: from the beginning)."""
        body = read(ReplayEventsRequest, {"after": after, "reason": reason})
        return self._post(ConsumerView, f"/events/consumers/{in_path(consumer)}/replay", body)

    def dead_letters(self, *, consumer: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """List events that could not be delivered, newest first."""
        return self._get(list[DeadLetter], "/events/dead-letters", consumer=consumer, limit=limit)

    def redeliver(self, consumer: str, event_id: str | None = None, *, reason: str) -> Redelivered:
        """Send dead letters again: one, or the first hundred of a consumer."""
        body = read(RedeliverRequest, {"consumer": consumer, "event_id": event_id, "reason": reason})
        return self._post(Redelivered, "/events/dead-letters/redeliver", body)

    def subscribe(self, url: str, *, secret: str, types: Iterable[str] = ()) -> WebhookView:
        """Have events posted to an address, signed with the secret."""
        body = read(WebhookRequest, {"url": url, "secret": secret, "types": tuple(types)})
        return self._post(WebhookView, "/webhooks", body)

    def webhooks(self) -> list[WebhookView]:
        """List who gets which events."""
        return self._get(list[WebhookView], "/webhooks")

    def unsubscribe(self, subscription_id: str, *, reason: str) -> None:
        """Post no more events to an address."""
        self._transport.call("DELETE", f"/webhooks/{in_path(subscription_id)}", query={"reason": reason})

    def audit(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        subject: str | None = None,
        actor: str | None = None,
        kind: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
    ) -> list[AuditEntry]:
        """List who did what, when and why.

        Args:
            after: Only after this journal position.
            limit: About so many; the last change is told whole.
            subject: What it is about: a model_key, job_id, deployment_id…
            actor: Who did it.
            kind: A type of event, or a kind of document.
            since_s: Unix seconds, included.
            until_s: Unix seconds, included.
        """
        query: Json = {"after": after, "limit": limit, "subject": subject, "actor": actor, "kind": kind}
        query |= {"since_s": since_s, "until_s": until_s}
        return parsed(list[AuditEntry], self._transport.call("GET", "/audit", query=query))

    def audit_export(self, *, after: int = 0, until: int | None = None) -> Iterator[str]:
        """Give the whole chain as JSON lines, for an auditor; ``mldl audit check`` checks them."""
        return self._transport.lines("/audit/export", {"after": after} | ({} if until is None else {"until": until}))

    def audit_verify(self) -> Verification:
        """Have the hash chain of the whole journal recomputed."""
        return self._get(Verification, "/audit/verify")
