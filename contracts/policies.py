"""What a policy asks for, and what governance answers: whether an act may be done, by which rule, value and bound."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from contracts.access import Role
from contracts.retraining import Retraining
from contracts.specs import ModelKey, Name, Reason, Words

GovernedAct = Literal["register", "deploy", "promote", "rollback"]
CardPart = Literal["intervals", "calibration", "fairness", "robustness", "influence", "dataset"]
LONGEST_EXCEPTION_S = 30 * 86_400.0
"""No policy can let an exception last longer than this."""


class Freeze(Words):
    """A time in which versions may not move; a rollback always may."""

    name: Name
    start: AwareDatetime = Field(description="With its offset from UTC, as in 2026-12-24T00:00:00+01:00.")
    end: AwareDatetime
    repeats: Literal["daily", "weekly"] | None = Field(
        default=None, description="Again after each day or week, at the same offset from UTC; once when absent."
    )
    acts: tuple[Literal["register", "deploy", "promote"], ...] = Field(default=("deploy", "promote"), min_length=1)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        lasts_s = (self.end - self.start).total_seconds()
        if lasts_s <= 0:
            raise ValueError(f"freeze {self.name} must end after it starts")
        if self.repeats is not None and lasts_s >= PERIOD_S[self.repeats]:
            raise ValueError(f"freeze {self.name} repeats {self.repeats} and would never end")
        return self


PERIOD_S = {"daily": 86_400.0, "weekly": 604_800.0}


class DataBounds(Words):
    """What the rows that a version learned from must keep, by their record."""

    min_rows: int | None = Field(default=None, ge=1)
    max_missing_share: float | None = Field(default=None, ge=0, le=1, description="Of the worst column.")
    max_age_s: float | None = Field(default=None, gt=0, description="Seconds since the dataset was registered.")


class Policy(Words):
    """What must hold before a version may be registered, deployed or promoted."""

    name: str = "default"
    approvals_required: int = Field(default=1, ge=0)
    approval_ttl_s: float | None = None
    author_may_approve: bool = False
    metric_bounds: dict[str, float] = Field(default_factory=dict, description="Metric → least value of its bound.")
    fairness_delta_max: float | None = None
    max_ece: float | None = None
    stable_margin: float | None = Field(
        default=None, ge=0, description="Most that a version may be worse than stable, in the compared metric's unit."
    )
    approvals_by_role: dict[Role, int] = Field(
        default_factory=dict, description="Role → how many of the approvals must be its holders'."
    )
    key_maker_may_approve: bool = Field(
        default=False,
        description="Count approvals under the name of somebody for whom an author of the version made a key.",
    )
    max_noise_sensitivity: float | None = Field(default=None, description="Most score that noise may cost.")
    adversarial_bounds: dict[str, float] = Field(
        default_factory=dict, description="Size of an attack (eps, as the card shows it) → least accuracy, or most mae."
    )
    max_cost_units: float | None = Field(default=None, ge=0, description="Most that training may have cost.")
    data: DataBounds = DataBounds()
    card_requires: tuple[CardPart, ...] = Field(default=(), description="Parts that its model card must have.")
    families: tuple[str, ...] | None = Field(default=None, description="Those allowed; any when absent.")
    licences: tuple[str, ...] | None = Field(
        default=None, description="Those allowed, as tags licence:<SPDX name> say them; any, or none, when absent."
    )
    freezes: tuple[Freeze, ...] = ()
    asked_at_registration: tuple[str, ...] = Field(
        default=("families", "licences", "max_cost_units", "data", "card_requires"),
        description="Fields that a version must meet already to be registered; its deployment asks for all.",
    )
    exception_max_s: float = Field(
        default=7 * 86_400.0,
        ge=0,
        le=LONGEST_EXCEPTION_S,
        description="Longest life of an exception, seconds; 0: none.",
    )
    retrain_on: Retraining | None = Field(
        default=None, description="When drift has what serves trained again; never when absent."
    )


class PolicyFinding(Words):
    """One rule that does not hold."""

    rule: str = Field(description="The policy's field, as in metric_bounds.auroc.")
    value: Any = Field(default=None, description="What was found; none where nothing was measured.")
    bound: Any = Field(default=None, description="What the policy asks for.")
    sentence: str


class ExceptedFinding(PolicyFinding):
    """One rule that does not hold, and the exception by which that is let pass for now."""

    exception_id: str


class Compliance(Words):
    """Whether the policy lets a version do something, and everything that speaks against it."""

    allowed: bool
    reasons: tuple[str, ...] = ()
    act: GovernedAct = "deploy"
    findings: tuple[PolicyFinding, ...] = Field(
        default=(), description="What speaks against it; of a rollback, which is always allowed, a warning."
    )
    excepted: tuple[ExceptedFinding, ...] = Field(default=(), description="What an exception lets pass.")


class PolicyException(Words):
    """A rule that need not hold for one version's bytes for a while."""

    exception_id: str
    model_key: str
    version: str
    rule: str
    reason: str
    granted_by: str
    at_s: float
    expires_at_s: float
    validation_hash: str
    ended_by: str | None = Field(default=None, description="Who took it back before its time.")
    active: bool = Field(default=True, description="Whether it counts at the moment of the answer.")


class ExceptionRequest(Words):
    """An exception to grant."""

    model_key: ModelKey
    version: str = Field(min_length=1, max_length=64, description="An exact number.")
    rule: str = Field(min_length=1, max_length=200, description="As findings name it.")
    lasts_s: float = Field(gt=0, le=LONGEST_EXCEPTION_S, description="Seconds, no more than the policy's bound.")
    reason: Reason


class PolicyVersion(Words):
    """The policy as it was set once."""

    number: int
    policy: Policy
    set_by: str
    reason: str
    at_s: float


class DryRunRequest(Words):
    """A policy to hold the past against."""

    policy: Policy
    limit: int = Field(default=500, ge=1, le=5000, description="Most registrations, and most deployments; the newest.")


class WouldRefuse(Words):
    """Something that was done and that a policy would have refused then."""

    act: GovernedAct
    model_key: str
    version: str
    at_s: float
    by: str
    deployment_id: str | None = None
    findings: tuple[PolicyFinding, ...]


class DryRun(Words):
    """What a policy would have refused, had it been in force."""

    registrations: int = Field(description="How many were looked at.")
    deployments: int = Field(description="How many were looked at.")
    refused: tuple[WouldRefuse, ...] = ()
    by_rule: dict[str, int] = Field(default_factory=dict, description="Rule → how many it would have refused.")
    left_out: int = Field(default=0, description="Older ones, beyond the limit.")
    changed: tuple[str, ...] = Field(default=(), description="Fields in which it differs from the policy in force.")
