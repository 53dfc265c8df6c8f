"""Service level objectives and silences: what somebody wants to hold, what is left of its budget, who is not told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from contracts.specs import ModelKey, Name, Reason, Words

SloKind = Literal["latency", "availability", "quality", "calibration", "fairness", "freshness", "cost"]
AlertKind = Literal["drift", "slo", "guardrail", "traffic", "data_quality"]
DAY_S = 86_400.0
LONGEST_SILENCE_S = 30 * DAY_S
UNBOUNDED = frozenset({"availability"})
"""Kinds that need no bound: an answer failed or it did not."""


class Slo(Words):
    """An objective: the share of good events that a model keeps over a rolling window.

    Events are answers (latency: good within ``bound`` ms; availability: good unless the version failed; quality without
    a bound: good when equal to the label) or slots of the window's 43,200th part, a minute of thirty days, in which
    there was something to measure (good when the figure is at most ``bound``: quality's mean absolute error,
    calibration's ECE, fairness's sure difference in selection rates, freshness's seconds since the served version was
    made, cost's units per prediction).
    """

    name: Name
    model_key: ModelKey
    kind: SloKind
    objective: float = Field(default=0.99, gt=0, lt=1, description="Share of good events.")
    bound: float | None = Field(default=None, gt=0, description="ms, s, cost units or the figure's own unit.")
    window_s: float = Field(default=30 * DAY_S, ge=DAY_S, le=90 * DAY_S, description="Rolling.")

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.bound is None and self.kind not in UNBOUNDED | {"quality"}:
            raise ValueError(f"an SLO of kind {self.kind} needs a bound")
        if self.bound is not None and self.kind in UNBOUNDED:
            raise ValueError(f"an SLO of kind {self.kind} takes no bound")
        return self

    @property
    def budget(self) -> float:
        """The share of bad events that the objective allows."""
        return 1 - self.objective


class Burn(Words):
    """How fast the budget goes: 1 uses it up exactly at the end of the window. None: no events."""

    severity: Literal["critical", "warning"]
    factor: float = Field(description="Above it over both windows, an alert opens.")
    long_s: float
    short_s: float
    long: float | None
    short: float | None
    bad: int = Field(description="Over the long window.")
    events: int = Field(description="Over the long window.")
    burning: bool


class SloView(Words):
    """An objective and how it stands."""

    slo: Slo
    events: int = Field(description="In the window, as far as it was watched.")
    bad: int
    attained: float | None = Field(description="Share of good events; None without events.")
    budget_left: float = Field(description="Share of the error budget: 1 untouched, 0 used up, negative overspent.")
    burns: tuple[Burn, ...]
    alert_id: str | None = Field(default=None, description="Of its alert that is not resolved.")


class SloRequest(Words):
    """An objective that is new, or replaces the one of its name."""

    slo: Slo
    reason: Reason


class SilenceRequest(Words):
    """Alerts that nobody is to be told of for a while. What is absent matches everything."""

    model_key: ModelKey | None = None
    version: Name | None = None
    kind: AlertKind | None = None
    lasts_s: float = Field(gt=0, le=LONGEST_SILENCE_S)
    reason: Reason


class Silence(Words):
    """A silence: matching alerts open, guard rollouts and are listed, but send no event until it ends."""

    silence_id: str
    model_key: str | None = None
    version: str | None = None
    kind: str | None = None
    starts_at_s: float
    ends_at_s: float
    by: str
    reason: str


class AlertGroup(Words):
    """Unresolved alerts about one version, to be looked at as one."""

    model_key: str
    version: str | None
    severity: Literal["info", "warning", "critical"] = Field(description="The worst of them.")
    opened_at_s: float = Field(description="Of the first.")
    kinds: tuple[str, ...]
    alert_ids: tuple[str, ...] = Field(description="The worst first.")
    message: str = Field(description="Of the worst.")
