"""What the intelligence bridge says about what to train; it advises, and nobody has to follow."""

from __future__ import annotations

from pydantic import Field

from contracts.specs import Words


class FamilyVote(Words):
    """What one specialist says about families."""

    specialist: str
    family: str | None = Field(default=None, description="None: it abstains.")
    confidence: float = Field(ge=0, le=1)
    reason: str


class FamilyAdvice(Words):
    """Which family to train on some data, and why."""

    family: str
    confidence: float = Field(ge=0, le=1, description="Its share of all confidence that was voted with.")
    why: str
    votes: tuple[FamilyVote, ...]
    ranking: tuple[str, ...] = Field(description="Every family that got a vote, the best first.")
