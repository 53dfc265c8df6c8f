"""Words of the mesh's HTTP surface: who events are sent to, how far each is, and what could not be delivered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.events import EventType
from contracts.specs import Json, Words

CONSUMER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"


class ConsumerView(Words):
    """Somebody that events are sent to: a webhook or a broker, its offset, and what holds it up."""

    consumer: str = Field(description="The webhook's subscription_id, or the broker's name.")
    kind: Literal["webhook", "broker"]
    to: str
    types: tuple[EventType, ...] = Field(description="Only these; all when empty.")
    position: int = Field(description="Everything up to this journal position was delivered, or is a dead letter.")
    waiting: int = Field(description="Events after that; at most 1000 are counted.")
    dead_letters: int = Field(description="Events given up on; at most 1000 are counted.")
    failing_since_s: float | None = Field(default=None, description="Unix seconds.")
    error: str | None = None


class ReplayEventsRequest(Words):
    """Send everything after a position again."""

    after: int = Field(ge=0, le=2**63 - 1, description="Journal position; 0: from the beginning.")
    reason: str = Field(min_length=1, max_length=2000)


class DeadLetter(Words):
    """An event that a consumer refused, or could not take for too long."""

    consumer: str
    to: str
    event: Json = Field(description="As a CloudEvent.")
    tries: int
    failing_since_s: float | None
    error: str | None


class RedeliverRequest(Words):
    """Send dead letters again."""

    consumer: str = Field(pattern=CONSUMER_PATTERN)
    event_id: str | None = Field(
        default=None, pattern=r"^[0-9]{1,18}\.[0-9]{1,9}$", description="Absent: the consumer's first hundred."
    )
    reason: str = Field(min_length=1, max_length=2000)


class Redelivered(Words):
    """What came of it; it ends at the first that fails again."""

    consumer: str
    delivered: tuple[str, ...] = Field(description="Ids of the events that arrived.")
    left: int = Field(description="Dead letters that remain of those asked for.")
    error: str | None = Field(default=None, description="Why the next one did not.")
