"""Training again on drift: what a policy asks for, and what came of it for one alert."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Budget, JobSpec, ModelKey, Words


class Retraining(Words):
    """Train what serves again once it has drifted. What comes of it is a candidate; nothing deploys it by itself."""

    drift: Literal["warning", "critical"] = Field(default="critical", description="Least severity of a drift alert.")
    cooldown_s: float = Field(
        default=86_400.0, ge=60, description="Seconds from one such job of a model to its next at the soonest."
    )
    budget: Budget = Field(
        default=Budget(max_seconds=3600), description="Caps of each such job; where the version's own is less, that."
    )
    models: tuple[ModelKey, ...] | None = Field(default=None, description="Those that it is for; all when absent.")
    new_rows_only: bool = Field(
        default=False, description="Wait until its dataset has a newer version than the one that it learned from."
    )


Outcome = Literal["begun", "submitted", "refused"]


class Retrained(Words):
    """What the policy had done about a drift alert."""

    outcome: Outcome = Field(description="Begun: it is about to be submitted. Refused: there will be no job.")
    job_id: str | None = Field(default=None, description="The job that trains again; none when refused.")
    at_s: float
    why: str


class RetrainingRecord(Retrained):
    """The latest job that drift had a model trained by: from it the next one's cooldown counts."""

    model_key: str
    version: str = Field(description="The one that served and drifted.")
    alert_id: str
    spec: JobSpec
