"""Events to a stream of NATS JetStream: the broker behind the mesh's port.

One message an event, on the subject ``<prefix>.<type>.<key>``, in the form of a CloudEvent. Its id is the event's,
so that what is sent twice within the stream's window is kept once. Needs ``mldl-ray[nats]``, loaded when first used.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.parse
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from contracts.events import Event
from contracts.ports import Published
from mldl_ray.bridges._webhooks import CONTENT_TYPE, cloud_event

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

T = TypeVar("T")
CONNECT_S, ANSWER_S, PATIENCE_S = 2, 10.0, 30.0
DEDUPLICATION_S = 600.0
OWNER = "mldl-journal"
_MISSING = "NATS needs another package; install it with: pip install 'mldl-ray[nats]'"


class NatsSink:
    """Publish to a stream, which is made when it is not there.

    Args:
        url: ``nats://host:port`` or ``tls://…``, with user and password where the server wants them.
        stream: Its name.
        prefix: Of the subjects.
        journal: Gives the name of the journal whose events these are. Two journals number their events alike, so a
            stream takes those of one only; without a name nothing is checked.
    """

    def __init__(self, url: str, *, stream: str, prefix: str, journal: Callable[[], str] = str) -> None:
        self._url, self._stream, self._prefix, self._journal = url, stream, prefix, journal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._ready: JetStreamContext | None = None
        self._said: str | None = None

    def publish(self, events: Sequence[Event], *, again: int = 0) -> Published:
        """Send all, then wait until the stream has stored them."""
        try:
            import nats  # noqa: F401, PLC0415  # an extra: only who has a broker needs it
        except ImportError:
            return Published(accepted=0, trouble=_MISSING)
        try:
            return self._wait(self._publish(list(events), again))
        except TimeoutError:
            return Published(accepted=0, trouble=f"{self.where}: no answer within {PATIENCE_S:g} s")

    @property
    def where(self) -> str:
        """Name server and stream, without what opens the server."""
        parts = urllib.parse.urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 4222} {self._stream}"

    def close(self) -> None:
        """Close the connection."""
        if self._loop is None or self._thread is None:
            return
        self._wait(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, PATIENCE_S), self._loop).result()

    async def _publish(self, events: list[Event], again: int) -> Published:
        import nats.errors  # noqa: PLC0415  # see publish
        import nats.js.errors  # noqa: PLC0415  # see publish

        accepted = 0
        try:
            stream = self._ready or await self._connect()
            sent = [
                await stream.publish_async(
                    self._subject(event), _body(event), stream=self._stream, headers=_headers(event, before, again)
                )
                for event, before in zip(events, [None, *events], strict=False)
            ]
            for future in sent:
                future.add_done_callback(_heard)
            for future in sent:
                await asyncio.wait_for(asyncio.shield(future), ANSWER_S)
                accepted += 1
        except _Unfit as error:
            return Published(accepted=0, trouble=str(error))
        except nats.errors.MaxPayloadError:
            return await self._without_the_large(events, again)
        except nats.js.errors.APIError as error:
            trouble = f"{self.where}: {error.description}"
            return Published(accepted=accepted, trouble=trouble, refused=error.err_code == _TOO_LARGE)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self._disconnect()
            return Published(accepted=accepted, trouble=f"{self.where}: {self._reason(error)}")
        return Published(accepted=len(events))

    async def _without_the_large(self, events: list[Event], again: int) -> Published:
        """Publish what comes before the first event that the server would not take, and refuse that one."""
        most = self._client.max_payload if self._client is not None else 0
        fits = next(i for i, e in enumerate(events) if len(_body(e)) + _HEADERS_BYTES > most)
        if fits:
            return await self._publish(events[:fits], again)
        return Published(accepted=0, trouble=f"{self.where} takes {most} bytes, this event is larger", refused=True)

    async def _connect(self) -> JetStreamContext:
        import nats  # noqa: PLC0415  # see publish

        await self._disconnect()
        self._client = await nats.connect(
            self._url, name="mldl", connect_timeout=CONNECT_S, allow_reconnect=False, error_cb=self._hear
        )
        stream = self._client.jetstream(timeout=ANSWER_S)
        await self._have_stream(stream)
        self._ready = stream
        return stream

    async def _have_stream(self, stream: JetStreamContext) -> None:
        from nats.js.api import StreamConfig  # noqa: PLC0415  # see publish
        from nats.js.errors import NotFoundError  # noqa: PLC0415  # see publish

        mine = self._journal()
        try:
            known = (await stream.stream_info(self._stream)).config
        except NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=self._stream,
                    subjects=[f"{self._prefix}.>"],
                    duplicate_window=DEDUPLICATION_S,
                    metadata={OWNER: mine} if mine else None,
                )
            )
            return
        owner = (known.metadata or {}).get(OWNER, mine)
        if owner != mine:
            raise _Unfit(f"{self.where} holds the events of another journal ({owner[:12]}…); name another stream")

    async def _disconnect(self) -> None:
        client, self._client, self._ready = self._client, None, None
        if client is not None:
            await client.close()

    async def _hear(self, error: Exception) -> None:
        self._said = str(error) or type(error).__name__

    def _reason(self, error: BaseException) -> str:
        said, self._said = self._said, None
        return f"{type(error).__name__}: {error or said or 'no answer'}"[:300]

    def _subject(self, event: Event) -> str:
        return f"{self._prefix}.{event.type}.{token(event.subject)}"


class _Unfit(Exception):
    """The stream is there but not ours to write to."""


_HEADERS_BYTES = 400
_TOO_LARGE = 10054
"""JetStream's error code: the message exceeds what the stream takes."""


def _heard(answer: asyncio.Future[Any]) -> None:
    """Take note of an answer that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()


def token(text: str) -> str:
    """Write a text so that it is one token of a subject: anything but letters, digits, ``-`` and ``_`` as ``%XX``.

    >>> token("income"), token("a.b c"), token("")
    ('income', 'a%2Eb%20c', '%')
    """
    return urllib.parse.quote(text, safe="").replace(".", "%2E").replace("~", "%7E") or "%"


def _headers(event: Event, before: Event | None, again: int) -> dict[str, str]:
    """Name the message, and the one that it must follow: a batch is stored in order, up to the first that is lost."""
    return {"Content-Type": CONTENT_TYPE, "Nats-Msg-Id": _message_id(event, again)} | (
        {} if before is None else {"Nats-Expected-Last-Msg-Id": _message_id(before, again)}
    )


def _message_id(event: Event, again: int) -> str:
    return f"{event.id}~{again}" if again else event.id


def _body(event: Event) -> bytes:
    return json.dumps(cloud_event(event), separators=(",", ":"), ensure_ascii=False).encode()
