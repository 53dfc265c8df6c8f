"""One event to one address: its form (CloudEvents), its signature, and what the receiver made of it."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import urllib.parse
from collections.abc import Sequence
from typing import Literal, NamedTuple

import httpx

from contracts.errors import Incompatible
from contracts.events import Event
from contracts.ports import Clock, Published
from contracts.specs import Json

SOURCE = "/mldl"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TIMEOUT_S = 10.0
TIMESTAMP, SIGNATURE = "x-mldl-timestamp", "x-mldl-signature"
LONGEST_URL = 2000
_PASSING = {408, 425, 429}
"""Answers of the 4xx kind that say "later", not "never"."""


class WebhookSink:
    """Post events to one address, one after the other.

    Args:
        client: Posts.
        url: Where to.
        secret: Signs.
        clock: Stamps the signatures.
    """

    def __init__(self, client: httpx.Client, url: str, secret: str, clock: Clock) -> None:
        self._client, self._url, self._secret, self._clock = client, url, secret, clock

    def publish(self, events: Sequence[Event], *, again: int = 0) -> Published:
        """Post until one is not taken."""
        for accepted, event in enumerate(events):
            outcome = send(self._client, self._url, self._secret, event, now_s=self._clock.now_s())
            if outcome.kind != "delivered":
                return Published(accepted=accepted, trouble=outcome.said, refused=outcome.kind == "refused")
        return Published(accepted=len(events))

    def close(self) -> None:
        """The client is shared; whoever made it closes it."""


class Outcome(NamedTuple):
    """What came of one attempt: delivered, refused (trying again changes little), or passing (it may work later)."""

    kind: Literal["delivered", "refused", "passing"]
    said: str


def cloud_event(event: Event) -> Json:
    """Put an event into the form of CloudEvents 1.0, JSON; ``id`` is the same at every attempt.

    >>> event = Event(type="MLDL_DRIFT_ALERT", subject="churn", id="7.0", position=7, at_s=0, actor="m", reason="r")
    >>> cloud_event(event)["time"], cloud_event(event)["sequence"]
    ('1970-01-01T00:00:00+00:00', '000000000007.0')
    """
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": SOURCE,
        "type": event.type,
        "subject": event.subject,
        "time": dt.datetime.fromtimestamp(event.at_s, dt.UTC).isoformat(),
        "datacontenttype": "application/json",
        "sequence": f"{event.position:012d}.{event.id.partition('.')[2]}",
        "actor": event.actor,
        "reason": event.reason,
        "data": event.data,
    }


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a body: HMAC-SHA256 over ``<timestamp>.<body>``, as ``sha256=<hex>``.

    >>> sign("secret", "1", b"{}")[:15]
    'sha256=1122767b'
    """
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"


def genuine(
    secret: str, timestamp: str, body: bytes, signature: str, *, now_s: float, tolerance_s: float = 300
) -> bool:
    """Say whether a received body is ours and recent: what a receiver should ask before it believes anything.

    >>> genuine("secret", "1", b"{}", sign("secret", "1", b"{}"), now_s=60)
    True
    """
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now_s - int(timestamp)) > tolerance_s:
        return False
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())


def send(client: httpx.Client, url: str, secret: str, event: Event, *, now_s: float) -> Outcome:
    """Try once. The body of the answer is not read, and redirects are not followed: the address was agreed upon."""
    body = json.dumps(cloud_event(event), separators=(",", ":"), ensure_ascii=False).encode()
    timestamp = str(int(now_s))
    headers = {
        "content-type": CONTENT_TYPE,
        TIMESTAMP: timestamp,
        SIGNATURE: sign(secret, timestamp, body),
    }
    try:
        with client.stream("POST", url, content=body, headers=headers, timeout=TIMEOUT_S) as answer:
            return _outcome(answer.status_code)
    except httpx.HTTPError as error:
        return Outcome("passing", f"{type(error).__name__}: {error}"[:300])


def check_url(url: str) -> str:
    """Refuse an address that nothing can be posted to.

    Raises:
        Incompatible: Not http or https, no host, or with a password in it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise Incompatible(f"{url[:200]!r} is no URL: {error}") from error
    if not usable or len(url) > LONGEST_URL:
        raise Incompatible(f"{url[:200]!r} cannot receive events; give an http:// or https:// URL", {"url": url[:200]})
    if parts.username or parts.password:
        raise Incompatible("the URL holds a user or a password; events are signed with the secret instead")
    return url


def _outcome(status: int) -> Outcome:
    """Read an answer's status.

    >>> [_outcome(status).kind for status in (204, 400, 302, 429, 503)]
    ['delivered', 'refused', 'refused', 'passing', 'passing']
    """
    said = f"answered {status}"
    if 200 <= status < 300:
        return Outcome("delivered", said)
    return Outcome("passing" if status >= 500 or status in _PASSING else "refused", said)
