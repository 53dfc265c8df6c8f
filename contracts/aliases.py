"""Names that lead to a version: those that follow from the state, and own ones that people move."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.specs import Reason, Words

ALIAS_PATTERN = r"^[A-Za-z][A-Za-z0-9_\-]{0,63}$"
AliasName = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]
LATEST, STABLE, CANDIDATE = "latest", "stable", "candidate"
DERIVED = (LATEST, STABLE, CANDIDATE)
"""The highest number; what the endpoint serves; what goes through the newest rollout. Nobody moves these by hand."""
RESERVED = frozenset({*DERIVED, "aliases"})
"""Names that nobody may give: they mean something already."""


class Alias(Words):
    """An own alias: the version that it leads to."""

    model_key: str
    alias: str
    version: str


class AliasRequest(Words):
    """Where an alias shall lead, and from where: compare-and-set."""

    version: str = Field(min_length=1, max_length=64, description="A number, or an alias as it leads now.")
    expected_version: str | None = Field(
        default=None,
        max_length=64,
        description="The number that the alias leads to now; absent: the alias does not exist yet.",
    )
    reason: Reason


class AliasView(Words):
    """An alias and where it leads."""

    model_key: str
    alias: str
    version: str | None = Field(description="Absent: it leads nowhere.")
    derived: bool = Field(default=False, description="It follows from the state; nobody moves it.")
    moved_by: str | None = None
    reason: str | None = None
    at_s: float | None = Field(default=None, description="When it was moved there, Unix seconds.")
