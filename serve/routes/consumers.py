"""Whom events are sent to: offsets, sending again from a position, dead letters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from contracts.mesh import (
    CONSUMER_PATTERN,
    ConsumerView,
    DeadLetter,
    Redelivered,
    RedeliverRequest,
    ReplayEventsRequest,
)
from serve.access import Admin
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import Limit

router = APIRouter(tags=["events"], route_class=StrictRoute)
ConsumerInPath = Annotated[str, Path(pattern=CONSUMER_PATTERN, description="A subscription_id, or a broker's name.")]
OfConsumer = Annotated[str | None, Query(pattern=CONSUMER_PATTERN, description="Only of this one.")]


@router.get("/events/consumers", response_model=list[ConsumerView])
def consumers(actors: ActorsOf, _: Admin) -> Any:
    """List everyone that events are sent to: how far each is, how far behind, and what holds it up."""
    return actors.bridges.consumers()


@router.post("/events/consumers/{consumer}/replay", response_model=ConsumerView)
def replay_events(
    consumer: ConsumerInPath, body: ReplayEventsRequest, actors: ActorsOf, caller: Admin, once: OnceOf
) -> Any:
    """Send a consumer everything after a position again, in order, with the same event ids."""
    return actors.bridges.replay(consumer, body.after, by=caller.name, reason=body.reason, once=once)


@router.get("/events/dead-letters", response_model=list[DeadLetter])
def dead_letters(actors: ActorsOf, _: Admin, consumer: OfConsumer = None, limit: Limit = 100) -> Any:
    """List events that could not be delivered, newest first."""
    return actors.bridges.dead_letters(consumer, limit)


@router.post("/events/dead-letters/redeliver", response_model=Redelivered)
def redeliver(body: RedeliverRequest, actors: ActorsOf, caller: Admin) -> Any:
    """Send dead letters again, now, in order; those that arrive are dead no more."""
    return actors.bridges.redeliver(body.consumer, body.event_id, by=caller.name, reason=body.reason)
