"""What has happened: as a page, or as a stream that resumes where it broke off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from contracts.errors import Incompatible, Unavailable
from contracts.events import Event, EventType
from contracts.ports import Journal
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute
from serve.routes import LARGEST, After, Limit

router = APIRouter(tags=["events"], route_class=StrictRoute)
STREAM = "text/event-stream"
LOOK_S = 0.5
HEARTBEAT_S = 10.0
Types = Annotated[list[EventType], Query(description="Only these.")]


@router.get(
    "/events",
    response_model=list[Event],
    responses={200: {"content": {STREAM: {"schema": {"type": "string"}}}, "description": "A page, or a stream."}},
)
async def events(
    request: Request,
    actors: ActorsOf,
    _: Reader,
    after: After = 0,
    limit: Limit = 100,
    types: Types = [],  # noqa: B006  # FastAPI reads the default and copies it for each call
    subject: Annotated[str | None, Query(max_length=300)] = None,
    last_event_id: Annotated[str | None, Header(description="Where a broken stream goes on.")] = None,
) -> Any:
    """List events in order; with ``Accept: text/event-stream``, go on with each new one as it happens."""
    if STREAM not in request.headers.get("accept", ""):
        return await run_in_threadpool(actors.journal.events, after=after, limit=limit, types=types, subject=subject)
    start = after if last_event_id is None else position_of(last_event_id)
    lines = stream(actors.journal, start, types=types, subject=subject)
    return StreamingResponse(lines, media_type=STREAM, headers={"Cache-Control": "no-store"})


def position_of(event_id: str) -> int:
    """Read where a stream broke off.

    Raises:
        Incompatible: It is no id that this stream gave.

    >>> position_of("17")
    17
    """
    if not (event_id.isascii() and event_id.isdigit() and int(event_id[:20]) <= LARGEST):
        raise Incompatible(f"Last-Event-ID {event_id[:100]!r} is no journal position")
    return int(event_id)


async def stream(journal: Journal, after: int, *, types: list[EventType], subject: str | None) -> AsyncIterator[str]:
    """Give events as server-sent events, with a comment when nothing happens; while the journal is away, only those."""
    spoke_s = time.monotonic()
    yield ": welcome\n\n"
    while True:
        try:
            page = await run_in_threadpool(journal.events, after=after, limit=100, types=types, subject=subject)
        except Unavailable:
            page = []
        if page:
            yield "".join(lines(page))
            after, spoke_s = page[-1].position, time.monotonic()
            continue
        if time.monotonic() - spoke_s >= HEARTBEAT_S:
            yield ": still here\n\n"
            spoke_s = time.monotonic()
        await asyncio.sleep(LOOK_S)


def lines(page: list[Event]) -> list[str]:
    """Write events; the last of each append carries the position as its id, so that a resumed stream misses none."""
    last = {event.position: event.id for event in page}
    return [
        (f"id: {event.position}\n" if last[event.position] == event.id else "")
        + f"event: {event.type}\ndata: {event.model_dump_json()}\n\n"
        for event in page
    ]
