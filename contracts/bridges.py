"""What is said about the six bridges: where each answers, how it is, how often it was asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Words

BridgeName = Literal["governance", "mlt", "intelligence", "memory", "ingress", "mesh"]


class CallCounts(Words):
    """What was asked of one implementation since its process began."""

    calls: int = 0
    failures: int = Field(default=0, description="Of ``calls``, those without an answer, after all attempts.")
    seconds: float = Field(default=0.0, description="All calls together, waiting between attempts included.")
    last_s: float | None = Field(default=None, description="Seconds that the last one took; none before the first.")


class RemoteView(Words):
    """A kernel on another machine that a bridge asks or exchanges with."""

    url: str
    circuit: Literal["closed", "open", "half_open"] = Field(
        description="closed: it is asked; open: it failed in a row and is left alone; half_open: the next one tells."
    )
    trouble: str | None = Field(default=None, description="The last failure, while nothing has gone well since.")
    counts: CallCounts = CallCounts()
    waiting: int | None = Field(default=None, description="Documents that it has yet to be sent (mlt and memory).")


class BridgeView(Words):
    """One bridge."""

    bridge: BridgeName
    status: str = Field(description="`ok`, or why not.")
    embedded: CallCounts = Field(default=CallCounts(), description="What was answered here.")
    remote: RemoteView | None = Field(default=None, description="None where no URL is configured.")
