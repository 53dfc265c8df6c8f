"""The judge of a rollout: telemetry in, PROMOTE, HOLD or ROLLBACK out, with the grounds. Pure.

Harm is looked for at every look, with tests that stay valid while one keeps looking; ``spec.alpha`` is the chance of a
false rollback over the whole rollout, split evenly over ``TESTS``. Absolute guardrails stand beside them. Promotion
needs a proof of its own: that even in the worst case still plausible, the next step spoils no more than
``spec.harm_budget`` of all requests: next share × upper bound of the extra error rate. So a small step needs little
proof and a large one needs more. Too little evidence is HOLD, never a silent pass.

The unit of the harm tests is the sticky key: somebody whose record fails, or is hard to get right, brings it again and
again, and always to the same arm. So each key counts once, with its first error and its first label; where telemetry
does not count that, the evidence is discounted by how often a key came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from contracts.rollouts import ArmTelemetry, Decision, Deployment, RolloutTelemetry
from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.evidence import (
    Split,
    harm_e_value,
    quantile_bounds,
    quantile_estimate,
    rate_bounds,
)

TESTS = ("errors", "latency", "quality", "share")
LATENCY_RATIO, LATENCY_FLOOR_MS = 1.5, 10.0
"""A candidate's p95 is harmful when it is surely above ratio × stable's + floor."""
LATENCY_LEAST_REQUESTS = 50
"""Requests of an epoch before its latency is judged: the first few of a new process are slow, all together."""
SHARE_RATIO, SHARE_FLOOR = 1.5, 0.02
"""An observed share is wrong when it is surely above ratio × intended + floor, or below intended / ratio − floor."""
_MOST_REQUESTS = 10_000_000
CAUSES = {"drift": "drift_spike", "slo": "metric_drop", "guardrail": "violation", "data_quality": "violation"}


class Ground(NamedTuple):
    """A reason to roll back: the rule and one sentence."""

    rule: str
    why: str


class Exposure(NamedTuple):
    """How much the next step could spoil, and what is missing to dare it."""

    next_share: float
    extra_rate_bound: float
    worst_case: float
    budget: float
    requests: int
    requests_needed: int | None

    @property
    def shown(self) -> bool:
        """Say whether the next step is safe enough."""
        return self.worst_case <= self.budget


def decide(telemetry: RolloutTelemetry, deployment: Deployment, now_s: float) -> Decision:
    """Judge one rollout now.

    Args:
        telemetry: Counts of both arms, per epoch, since the rollout began.
        deployment: Its spec, steps and current step.
        now_s: Unix seconds.

    Returns:
        The verdict with its rule, one sentence for the person on call, and the evidence per metric.
    """
    evidence: Json = {}
    grounds = list(_grounds(telemetry, deployment, evidence))
    pct = deployment.steps[min(deployment.step, len(deployment.steps) - 1)]
    if grounds:
        verdict, rule, why = "ROLLBACK", grounds[0].rule, grounds[0].why
    else:
        verdict, rule, why = _advance(telemetry, deployment, now_s, evidence)
    return Decision.model_validate(
        {"verdict": verdict, "rule": rule, "why": why, "at_s": now_s, "step_pct": pct, "evidence": evidence}
    )


def _grounds(telemetry: RolloutTelemetry, deployment: Deployment, evidence: Json) -> Iterator[Ground]:
    alpha = deployment.spec.alpha / len(TESTS)
    yield from _errors_in_a_row(telemetry, deployment)
    yield from _errors(telemetry, alpha, evidence)
    yield from _latency(telemetry, deployment, alpha, evidence)
    yield from _quality(telemetry, deployment, alpha, evidence)
    yield from _share(telemetry, deployment, alpha, evidence)
    yield from _live_guardrails(telemetry, deployment)
    yield from _causes(telemetry, deployment)


def _errors_in_a_row(telemetry: RolloutTelemetry, deployment: Deployment) -> Iterator[Ground]:
    limit = deployment.spec.guardrails.max_consecutive_errors
    row = telemetry.candidate[-1].errors_in_a_row if telemetry.candidate else 0
    if row >= limit:
        yield Ground(
            "max_consecutive_errors",
            f"{row} requests in a row failed on {deployment.version}; at most {limit - 1} are tolerated",
        )


def _errors(telemetry: RolloutTelemetry, alpha: float, evidence: Json) -> Iterator[Ground]:
    candidate, stable = _sums(telemetry.candidate), _sums(telemetry.stable)
    e_value = _harm(telemetry, "errors", "requests", ("error_keys", "keys"))
    evidence["errors"] = {
        "statistic": _short(e_value),
        "bound": 1 / alpha,
        "candidate": {"requests": candidate[0], "errors": candidate[1]},
        "stable": {"requests": stable[0], "errors": stable[1]},
    }
    if e_value >= 1 / alpha:
        yield Ground(
            "error_rate",
            f"{candidate[1]} of {candidate[0]} candidate requests failed against {stable[1]} of {stable[0]} on stable; "
            f"evidence {e_value:.3g} ≥ {1 / alpha:.3g}",
        )


def _latency(telemetry: RolloutTelemetry, deployment: Deployment, alpha: float, evidence: Json) -> Iterator[Ground]:
    """Compare the arms within each epoch, where a busy moment slows both; the k-th epoch may spend alpha / k(k + 1)."""
    theirs, ours = _histogram(telemetry.candidate), _histogram(telemetry.stable)
    evidence["latency_p95_ms"] = {
        "statistic": round(quantile_estimate(theirs, LATENCY_EDGES_MS, 0.95), 3),
        "stable": round(quantile_estimate(ours, LATENCY_EDGES_MS, 0.95), 3),
        "n": [sum(theirs), sum(ours)],
    }
    stable = {arm.epoch: arm for arm in telemetry.stable}
    for k, arm in enumerate(telemetry.candidate, start=1):
        if arm.requests < LATENCY_LEAST_REQUESTS:
            continue
        spent = alpha / 2 / (k * (k + 1))
        low = quantile_bounds(arm.latency_counts, LATENCY_EDGES_MS, 0.95, spent).low
        other = stable.get(arm.epoch)
        high = quantile_bounds(other.latency_counts, LATENCY_EDGES_MS, 0.95, spent).high if other else math.inf
        evidence["latency_p95_ms"] |= {
            "lower_bound": _finite(low),
            "bound": _finite(LATENCY_RATIO * high + LATENCY_FLOOR_MS),
        }
        found = list(_slow(low, high, deployment.spec.guardrails.max_latency_p95_ms))
        yield from found
        if found:
            return


def _slow(low: float, high: float, limit: float | None) -> Iterator[Ground]:
    if low > LATENCY_RATIO * high + LATENCY_FLOOR_MS:
        yield Ground(
            "latency",
            f"the candidate's p95 is surely above {low:.1f} ms, stable's surely below {high:.1f} ms; "
            f"{LATENCY_RATIO:g} × that + {LATENCY_FLOOR_MS:g} ms is tolerated",
        )
    if limit is not None and low > limit:
        yield Ground(
            "max_latency_p95_ms", f"the candidate's p95 is surely above {low:.1f} ms; {limit:g} ms is the limit"
        )


def _quality(telemetry: RolloutTelemetry, deployment: Deployment, alpha: float, evidence: Json) -> Iterator[Ground]:
    e_value = _harm(telemetry, "wrong", "labelled", ("wrong_keys", "labelled_keys"))
    labelled = sum(arm.labelled for arm in telemetry.candidate), sum(arm.labelled for arm in telemetry.stable)
    right = sum(arm.correct for arm in telemetry.candidate), sum(arm.correct for arm in telemetry.stable)
    evidence["quality"] = {"statistic": _short(e_value), "bound": 1 / alpha, "labelled": labelled, "correct": right}
    if e_value >= 1 / alpha and "metric_drop" in deployment.spec.guardrails.rollback_on:
        yield Ground(
            "metric_drop",
            f"{right[0]} of {labelled[0]} labelled answers of the candidate were right against {right[1]} of "
            f"{labelled[1]} of stable; evidence {e_value:.3g} ≥ {1 / alpha:.3g}",
        )


def _share(telemetry: RolloutTelemetry, deployment: Deployment, alpha: float, evidence: Json) -> Iterator[Ground]:
    """Compare the share of sticky keys now with the intended one, in the current epoch; copies have no share."""
    if not telemetry.candidate or not telemetry.stable or deployment.strategy == "shadow":
        return
    candidate = telemetry.candidate[-1]
    stable = next((arm for arm in telemetry.stable if arm.epoch == candidate.epoch), None)
    if stable is None or not 0 < candidate.share < 1:
        return
    seen = rate_bounds(candidate.keys, candidate.keys + stable.keys, alpha)
    intended = candidate.share
    evidence["share"] = {"intended": intended, "low": round(seen.low, 4), "high": round(seen.high, 4)}
    too_much = seen.low > SHARE_RATIO * intended + SHARE_FLOOR
    too_little = seen.high < intended / SHARE_RATIO - SHARE_FLOOR
    if (too_much or too_little) and "violation" in deployment.spec.guardrails.rollback_on:
        yield Ground(
            "share_mismatch",
            f"the candidate has between {seen.low:.1%} and {seen.high:.1%} of the keys; {intended:.1%} was intended",
        )


def _live_guardrails(telemetry: RolloutTelemetry, deployment: Deployment) -> Iterator[Ground]:
    guardrails = deployment.spec.guardrails
    if guardrails.min_calibration is not None and telemetry.ece is not None:
        score = 1 - telemetry.ece
        if score < guardrails.min_calibration:
            yield Ground(
                "min_calibration", f"live calibration is {score:.3f}; {guardrails.min_calibration:g} is the least"
            )
    delta, limit = telemetry.fairness_delta, guardrails.fairness_delta_max
    if delta is not None and limit is not None and delta > limit:
        yield Ground("fairness_delta_max", f"live fairness delta is {delta:.3f}; {limit:g} is the most")


def _causes(telemetry: RolloutTelemetry, deployment: Deployment) -> Iterator[Ground]:
    for kind in telemetry.open_causes:
        cause = CAUSES.get(kind)
        if cause in deployment.spec.guardrails.rollback_on:
            yield Ground(str(cause), f"an alert of kind {kind} is open on {deployment.version}")


def _advance(telemetry: RolloutTelemetry, deployment: Deployment, now_s: float, evidence: Json) -> tuple[str, str, str]:
    exposure = exposure_of(telemetry, deployment)
    evidence["exposure"] = {
        "statistic": round(exposure.worst_case, 5),
        "bound": exposure.budget,
        "next_share": exposure.next_share,
        "n": exposure.requests,
        "n_needed": exposure.requests_needed,
    }
    began_s = now_s if deployment.step_started_s is None else deployment.step_started_s
    left_s = began_s + deployment.promotion_window_s - now_s
    if exposure.shown and (left_s <= 0 or deployment.spec.early_promotion):
        return (
            "PROMOTE",
            "non_inferior",
            f"at {exposure.next_share:.0%} at most {exposure.worst_case:.2%} of all requests could be spoiled; "
            f"{exposure.budget:.2%} is the budget ({exposure.requests} candidate requests seen)",
        )
    if exposure.shown:
        return "HOLD", "window", f"no harm seen; the step ends in {max(0.0, left_s):.0f} s"
    if exposure.requests_needed is None:
        return (
            "HOLD",
            "too_many_errors",
            f"{_sums(telemetry.candidate)[1]} of {exposure.requests} candidate requests failed; going on like that the "
            f"next step ({exposure.next_share:.0%}) would spoil more than the budget of {exposure.budget:.2%}",
        )
    missing = exposure.requests_needed - exposure.requests
    when = _eta(telemetry, deployment, now_s, missing)
    return "HOLD", "too_little_evidence", f"about {missing} more candidate requests are needed{when}"


def exposure_of(telemetry: RolloutTelemetry, deployment: Deployment) -> Exposure:
    """Bound what the next step could spoil of all requests, in the worst case still plausible."""
    requests, errors = _sums(telemetry.candidate)
    following = min(deployment.step + 1, len(deployment.steps) - 1)
    share, alpha = deployment.steps[following] / 100, deployment.spec.alpha / 2
    least = _least_expected(telemetry, alpha)
    bound = max(0.0, rate_bounds(errors, requests, alpha).high - least)
    budget = deployment.spec.harm_budget
    return Exposure(
        share, bound, share * bound, budget, requests, _needed(errors, requests, share, least, budget, alpha)
    )


def _least_expected(telemetry: RolloutTelemetry, alpha: float) -> float:
    """Bound from below the error rate that the candidate would have as stable: epoch by epoch, as it met them."""
    stable = {arm.epoch: arm for arm in telemetry.stable}
    requests = _sums(telemetry.candidate)[0]
    least = 0.0
    for arm in telemetry.candidate:
        other = stable.get(arm.epoch)
        if other is not None and other.errors:
            low = rate_bounds(other.errors, other.requests, alpha / len(telemetry.candidate)).low
            least += low * arm.requests / requests if requests else 0.0
    return least


def _needed(errors: int, requests: int, share: float, least: float, budget: float, alpha: float) -> int | None:
    """Find how many requests would be enough if the candidate went on as it does; None when no number is."""
    rate, total = errors / requests if requests else 0.0, max(requests, 16)
    while total < _MOST_REQUESTS:
        if share * (rate_bounds(round(rate * total), total, alpha).high - least) <= budget:
            return total
        total = int(total * 1.1) + 1
    return None


def _eta(telemetry: RolloutTelemetry, deployment: Deployment, now_s: float, missing: int) -> str:
    began_s = deployment.step_started_s
    recent = telemetry.candidate[-1].requests if telemetry.candidate else 0
    if not recent or began_s is None or now_s <= began_s:
        return "; none has come in this step"
    return f", at this rate in {missing * (now_s - began_s) / recent:.0f} s"


def _harm(telemetry: RolloutTelemetry, bad: str, chances: str, by_key: tuple[str, str]) -> float:
    """Measure the evidence that what is bad is the candidate's more often than its share, key by key where counted."""
    arms = [*telemetry.candidate, *telemetry.stable]
    if all(getattr(arm, name) is not None for arm in arms for name in by_key):
        return harm_e_value(_splits(telemetry, *by_key))
    return math.pow(harm_e_value(_splits(telemetry, bad, chances)), 1 / _repeats(telemetry))


def _repeats(telemetry: RolloutTelemetry) -> float:
    """Estimate how often a key came, at least 1; the root of an e-value by it allows for errors that come in groups."""
    keys: dict[int, int] = {}
    for arm in (*telemetry.candidate, *telemetry.stable):
        keys[arm.epoch] = keys.get(arm.epoch, 0) + arm.keys
    most = max(keys.values(), default=0)
    requests = sum(arm.requests for arm in (*telemetry.candidate, *telemetry.stable))
    return max(1.0, requests / most) if most else 1.0


def _splits(telemetry: RolloutTelemetry, bad: str, chances: str) -> list[Split]:
    stable = {arm.epoch: arm for arm in telemetry.stable}
    found = []
    for arm in telemetry.candidate:
        other = stable.get(arm.epoch)
        if other is None or not 0 < arm.share < 1:
            continue
        mine, theirs = _count(arm, chances), _count(other, chances)
        observed = mine / (mine + theirs) if mine + theirs else 0.0
        found.append(Split(max(arm.share, observed), _count(arm, bad), _count(other, bad)))
    return found


def _count(arm: ArmTelemetry, name: str) -> int:
    return arm.labelled - arm.correct if name == "wrong" else int(getattr(arm, name))


def _sums(arms: tuple[ArmTelemetry, ...]) -> tuple[int, int]:
    return sum(arm.requests for arm in arms), sum(arm.errors for arm in arms)


def _histogram(arms: tuple[ArmTelemetry, ...]) -> list[int]:
    if not arms:
        return [0] * (len(LATENCY_EDGES_MS) + 1)
    return [sum(counts) for counts in zip(*(arm.latency_counts for arm in arms), strict=True)]


def _finite(value: float) -> float | None:
    return round(value, 3) if value not in {float("inf"), float("-inf")} else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
