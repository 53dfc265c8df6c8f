"""Key figures of the whole system, each with what it means and what it was computed from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Words

KpiGroup = Literal["quality", "operational", "risk"]


class Kpi(Words):
    """One figure."""

    name: str
    group: KpiGroup
    definition: str = Field(description="What is counted or measured, in a sentence.")
    unit: str
    value: float | None = Field(description="None where there is nothing to compute it from; ``why`` says what lacks.")
    by: dict[str, float] = Field(default_factory=dict, description="The same by model_key, severity or cause.")
    window_s: float | None = Field(default=None, description="Seconds back from now; none: as of now.")
    cases: int = Field(default=0, description="Versions, rollouts, rows or events that it was computed from.")
    sources: tuple[str, ...] = Field(description="What it was computed from.")
    why: str | None = Field(default=None, description="Why there is no value.")
