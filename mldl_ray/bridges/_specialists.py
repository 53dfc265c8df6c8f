"""The specialists who judge a version: each looks at one thing and votes, with a reason and a confidence. Pure.

Confidence is how far the specialist trusts its own vote, 0–1: from the interval of the figure where there is one, so a
figure measured on few rows speaks softly. Where there is nothing to judge, a specialist abstains and says why.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from pydantic import Field

from contracts.evaluations import Evaluation, Interval
from contracts.records import Alert, Compliance, Policy, TrainedBundle
from contracts.rollouts import Deployment
from contracts.specs import Words
from mldl_ray.evaluation.metrics import METRICS

MAX_ECE = 0.1
MAX_NOISE_LOSS = 0.1
"""Loss of score under noise of a quarter of a deviation that counts as fragile."""
UNMEASURED = 0.5
"""Confidence where a figure comes without an interval."""


class Vote(Words):
    """What one specialist says."""

    specialist: Literal["quality", "calibration", "fairness", "robustness", "cost", "risk"]
    verdict: Literal["for", "against", "abstains"]
    confidence: float = Field(ge=0, le=1)
    reason: str
    blocking: bool = Field(default=False, description="Decides alone when against.")


class Case(NamedTuple):
    """Everything that the specialists look at."""

    bundle: TrainedBundle
    evaluation: Evaluation | None
    stable: TrainedBundle | None
    stable_evaluation: Evaluation | None
    policy: Policy
    fairness_delta_max: float
    compliance: Compliance
    rolled_back: tuple[Deployment, ...] = ()
    alerts: tuple[Alert, ...] = ()


def quality(case: Case) -> Vote:
    """Compare the first metric that both have with that of the version that serves."""
    if case.evaluation is None:
        return Vote(specialist="quality", verdict="abstains", confidence=0, reason="it was never evaluated")
    mine, theirs = case.evaluation, case.stable_evaluation
    name = next((n for n in mine.metrics if n in METRICS and n != "calibration"), None)
    if theirs is None or name is None or name not in theirs.metrics:
        shown = ", ".join(f"{n} {value:.3f}" for n, value in mine.metrics.items()) or "no figures"
        reason = f"nothing serves that it could be compared with; it has {shown}"
        return Vote(specialist="quality", verdict="for" if mine.metrics else "abstains", confidence=0.5, reason=reason)
    better = METRICS[name].higher_is_better
    gain = (mine.metrics[name] - theirs.metrics[name]) * (1 if better else -1)
    sure = _surely_above_zero(gain, _error(mine.intervals.get(name)), _error(theirs.intervals.get(name)))
    told = f"{name} is {mine.metrics[name]:.3f} against {theirs.metrics[name]:.3f} of the version that serves"
    if mine.dataset_digest != theirs.dataset_digest:
        sure, told = 0.5 + (sure - 0.5) / 2, f"{told}, on other rows"
    verdict: Literal["for", "against"] = "for" if sure >= 0.5 else "against"
    return Vote(specialist="quality", verdict=verdict, confidence=round(max(sure, 1 - sure), 3), reason=told)


def calibration(case: Case) -> Vote:
    """Hold the calibration error against the policy's limit, or against 0.1."""
    evaluation = case.evaluation
    ece = None if evaluation is None else _first(evaluation.calibration.ece_debiased, evaluation.calibration.ece)
    if evaluation is None or ece is None:
        reason = "it states no probabilities, or they were not judged"
        return Vote(specialist="calibration", verdict="abstains", confidence=0, reason=reason)
    limit = MAX_ECE if case.policy.max_ece is None else case.policy.max_ece
    return _held_against("calibration", "the calibration error", ece, limit, evaluation.intervals.get("ece_debiased"))


def fairness(case: Case) -> Vote:
    """Hold the largest difference between groups against the policy's limit, or the configured one."""
    evaluation = case.evaluation
    if evaluation is None or evaluation.fairness.delta is None:
        reason = "no sensitive column was named, so no groups were compared"
        return Vote(specialist="fairness", verdict="abstains", confidence=0, reason=reason)
    limit = case.fairness_delta_max if case.policy.fairness_delta_max is None else case.policy.fairness_delta_max
    interval = evaluation.intervals.get("fairness_delta")
    return _held_against("fairness", "the difference between groups", evaluation.fairness.delta, limit, interval)


def robustness(case: Case) -> Vote:
    """Hold what the score loses under noise against 0.1."""
    evaluation = case.evaluation
    if evaluation is None or evaluation.robustness.noise_sensitivity is None:
        reason = "it was not judged on disturbed rows"
        return Vote(specialist="robustness", verdict="abstains", confidence=0, reason=reason)
    loss = evaluation.robustness.noise_sensitivity
    return _held_against("robustness", "the loss of score under noise", loss, MAX_NOISE_LOSS, None)


def cost(case: Case) -> Vote:
    """Hold the price of training against what was allowed, and look at how it will be served."""
    spent, spec = case.bundle.cost.cost_units, case.bundle.spec
    allowed = spec.constraints.cost_units if spec is not None else None
    if allowed is not None and spent > allowed:
        reason = f"training cost {spent:.4g} cost units; {allowed:.4g} were allowed"
        return Vote(specialist="cost", verdict="against", confidence=0.9, reason=reason)
    form = case.bundle.serving_form
    if form is not None and form.kind == "native":
        reason = f"it is served by its own library, which is slower: {form.why_native or 'it was not compiled'}"
        return Vote(specialist="cost", verdict="against", confidence=0.3, reason=reason)
    reason = f"training cost {spent:.4g} cost units, and it is served compiled" if form else f"it cost {spent:.4g}"
    return Vote(specialist="cost", verdict="for", confidence=0.6, reason=reason)


def risk(case: Case) -> Vote:
    """Look for what speaks against any deployment: the policy, a rollback before, an open alert, broken callers."""
    if not case.compliance.allowed:
        return _no(f"the policy does not allow it: {'; '.join(case.compliance.reasons)}", 0.99, blocking=True)
    if case.rolled_back:
        last = case.rolled_back[-1]
        why = last.history[-1].reason if last.history else "for a reason not recorded"
        return _no(f"it was rolled back before ({last.deployment_id}): {why}", 0.95, blocking=True)
    if critical := [alert for alert in case.alerts if alert.severity == "critical"]:
        return _no(f"a critical alert is open: {critical[0].message}", 0.8)
    if case.stable is not None and _major(case.bundle) != _major(case.stable):
        words = f"it is a new major version ({case.bundle.version} after {case.stable.version})"
        return _no(f"{words}: callers may have to change first", 0.6)
    reason = "the policy allows it, it was never rolled back, and no critical alert is open"
    return Vote(specialist="risk", verdict="for", confidence=0.7, reason=reason)


SPECIALISTS = (quality, calibration, fairness, robustness, cost, risk)


def _no(reason: str, confidence: float, *, blocking: bool = False) -> Vote:
    return Vote(specialist="risk", verdict="against", confidence=confidence, reason=reason, blocking=blocking)


def _held_against(
    name: Literal["calibration", "fairness", "robustness"],
    title: str,
    value: float,
    limit: float,
    interval: Interval | None,
) -> Vote:
    sure = _surely_above_zero(limit - value, _error(interval), 0.0) if interval else None
    verdict: Literal["for", "against"] = "for" if value <= limit else "against"
    confidence = UNMEASURED if sure is None else max(sure, 1 - sure)
    reason = f"{title} is {value:.3f}; the limit is {limit:g}"
    return Vote(specialist=name, verdict=verdict, confidence=round(confidence, 3), reason=reason)


def _surely_above_zero(gain: float, *errors: float | None) -> float:
    """Give the probability that a gain is above 0, by the normal curve; a half when its error is not known.

    >>> round(_surely_above_zero(0.0196, 0.01), 3)
    0.975
    """
    known = [error for error in errors if error is not None]
    spread = math.hypot(*known)
    if len(known) < len(errors) or (spread == 0 and gain == 0):
        return 0.5 + math.copysign(0.1, gain) if gain else 0.5
    return 0.5 * (1 + math.erf(gain / (spread * math.sqrt(2)))) if spread else float(gain > 0)


def _error(interval: Interval | None) -> float | None:
    """Give the standard error that a 95% interval stands for."""
    return None if interval is None else (interval.high - interval.low) / (2 * 1.96)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _major(bundle: TrainedBundle) -> str:
    return str(bundle.version).partition(".")[0]
