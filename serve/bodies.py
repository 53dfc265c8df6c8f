"""A request's body from the wire, bounded in size, in time, and in what all of them together hold."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from contracts.errors import Incompatible, Overloaded, TooLarge
from serve.problems import TooSlow

LARGEST_BODY_BYTES = 8 * 2**20
MOST_HELD_BYTES = 64 * 2**20
"""Of all requests that are being read or answered; a parsed request takes up to ten times its bytes."""
BODY_TIMEOUT_S = 30.0


class Bodies:
    """Reads bodies for one event loop, and counts what is held until ``release``."""

    def __init__(
        self,
        *,
        largest: int = LARGEST_BODY_BYTES,
        most_held: int = MOST_HELD_BYTES,
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._largest, self._most_held, self._timeout_s = largest, most_held, timeout_s
        self._begun: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self.held_bytes = 0

    async def read(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        """Give the whole body; whoever got it calls ``release`` with its length in the end.

        Raises:
            TooLarge: It is, or says that it will be; it is not read to the end.
            Overloaded: The bodies of all requests together are.
            TooSlow: It did not come in time.
            Incompatible: The caller went away.
        """
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._largest:
            raise self._too_large()
        chunks: list[bytes] = []
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # a coroutine always runs in one
        self._begun[task] = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(self._timeout_s / 4, self._cut_off, loop)
        try:
            await self._chunks(receive, chunks)
        except BaseException as error:  # whatever it was, cancelled included, nothing is held any more
            self.release(sum(map(len, chunks)))
            if isinstance(error, asyncio.CancelledError) and task in self._late:
                task.uncancel()
                raise TooSlow(f"the request did not arrive within {self._timeout_s:g} s; send it faster") from None
            raise
        finally:
            del self._begun[task]
            self._late.discard(task)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _cut_off(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the reading of what began too long ago; one timer for all, because one for each costs more than most."""
        self._watch = loop.call_later(self._timeout_s / 4, self._cut_off, loop) if self._begun else None
        latest = loop.time() - self._timeout_s
        for task, began in self._begun.items():
            if began < latest and task not in self._late:
                self._late.add(task)
                task.cancel()

    async def _chunks(self, receive: Receive, chunks: list[bytes]) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Incompatible("the caller went away before the request was complete")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._largest:
                raise self._too_large()
            if self.held_bytes + len(chunk) > self._most_held:
                raise Overloaded(f"requests of {self._most_held} bytes are being answered already; slow down")
            self.held_bytes += len(chunk)
            chunks.append(chunk)
            more = message.get("more_body", False)

    def release(self, size_bytes: int) -> None:
        """Hold this much less."""
        self.held_bytes -= size_bytes

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request has more than {self._largest} bytes; send fewer rows at a time")
