"""What going back to a snapshot would do to whom: files that are not there, requests, schemas, approvals, feedback."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Words


class Trouble(Words):
    """A stored file of a version that would come back or serve, and what is wrong with it."""

    target: str = Field(description="`<model_key>@<version>`.")
    file: str = Field(
        description="Its name in the manifest; `manifest` for that itself, `model` where it all is there."
    )
    digest: str
    problem: Literal["gone", "damaged", "does not load"]
    detail: str = Field(default="", description="What loading it said.")


class Affected(Words):
    """An endpoint whose callers would notice, by the live figures of this moment."""

    model_key: str
    before: str | None
    after: str | None
    requests_per_minute: float = Field(description="All that it answers now, whatever the version.")


class SchemaBreak(Words):
    """An endpoint whose callers could not go on as they are, and why, column by column."""

    model_key: str
    before: str
    after: str
    columns: tuple[str, ...] = Field(description="A sentence for each column that breaks.")


class FeedbackLost(Words):
    """Labels that came for a version and would no longer speak for what serves; the history keeps them."""

    model_key: str
    version: str
    labels: int
