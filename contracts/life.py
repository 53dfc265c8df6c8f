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


class CollectRequest(Words):
    """What may be freed; nothing is unless ``dry_run`` is false."""

    dry_run: bool = Field(default=True, description="Only say what would be freed.")
    grace_s: float = Field(
        default=86_400.0,
        ge=600.0,
        le=31_536_000.0,
        description="Files stored, or stored again, within so many seconds are spared: they may be named soon.",
    )
    reason: str = Field(default="", max_length=2000, description="Why; needed unless it is a dry run.")


class Collected(Words):
    """What a garbage collection found, and freed unless it was a dry run."""

    dry_run: bool
    position: int = Field(description="Of the journal: whatever it names there, or did at a snapshot, is needed.")
    stored: int = Field(description="Files that there were.")
    needed: int = Field(description="Of them, those that something names.")
    spared: int = Field(description="Of the others, those too young to judge.")
    freed: int = Field(description="Files that were freed, or would be.")
    freed_bytes: int
    unreadable: tuple[str, ...] = Field(
        default=(),
        description="Manifests of versions or jobs that cannot be read; while there is one, nothing is freed.",
    )
