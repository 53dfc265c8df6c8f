"""What becomes of versions that are not wanted any more, and of the stored files that nothing needs."""

from __future__ import annotations

from pydantic import Field

from contracts.specs import Words


class Deletion(Words):
    """What stays of a deleted version: that there was one, who deleted it, when and why."""

    model_key: str
    version: str
    validation_hash: str
    job_id: str | None = Field(default=None, description="That had trained it.")
    deleted_by: str
    reason: str
    at_s: float = Field(description="Unix seconds.")
