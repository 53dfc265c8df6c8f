"""The bake window: the candidate serves everyone, so it is compared with what stable did before.

Before and after differ in more than the version, so more is tolerated than between arms at one moment, and what is
tolerated is stated. One part of alpha is for all of it: a third each for errors, wrong answers and latency.
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.rollouts import RolloutTelemetry
from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.arms import Arms, judged_and_wrong, latency_counts, requests_and_errors
from mldl_ray.deployment.evidence import quantile_bounds, rate_bounds
from mldl_ray.deployment.findings import Case, Ground, finding
from mldl_ray.deployment.grounds import LATENCY_LEAST_REQUESTS

ERRORS_RATIO, ERRORS_FLOOR = 1.5, 0.01
"""Errors are harmful when their rate is surely above ratio × stable's before + floor."""
WRONG_RATIO, WRONG_FLOOR = 1.2, 0.02
"""The same of wrong answers."""
LATENCY_RATIO, LATENCY_FLOOR_MS = 5.0, 50.0
"""The same of the p95. Load alone moves it far: a burst after a calm canary slows an equal version fourfold."""


def baking(case: Case, evidence: Json) -> Iterator[Ground]:
    """Compare what the candidate does alone with what stable did before."""
    if case.deployment.status != "baking" or not case.telemetry.stable:
        return
    alone, before = _alone(case.telemetry), case.telemetry.stable
    yield from _rate(case, evidence, "errors", requests_and_errors(alone), requests_and_errors(before))
    if "metric_drop" in case.deployment.spec.guardrails.rollback_on and case.telemetry.task != "regression":
        yield from _rate(case, evidence, "wrong answers", judged_and_wrong(alone), judged_and_wrong(before))
    yield from _latency(case, evidence, alone, before)


def _alone(telemetry: RolloutTelemetry) -> Arms:
    """Take the epochs without stable."""
    shared = {arm.epoch for arm in telemetry.stable}
    return tuple(arm for arm in telemetry.candidate if arm.epoch not in shared)


def _rate(case: Case, evidence: Json, what: str, now: tuple[int, int], then: tuple[int, int]) -> Iterator[Ground]:
    ratio, floor = (ERRORS_RATIO, ERRORS_FLOOR) if what == "errors" else (WRONG_RATIO, WRONG_FLOOR)
    low = rate_bounds(now[1], now[0], case.alpha / 6).low
    high = rate_bounds(then[1], then[0], case.alpha / 6).high
    bound = ratio * high + floor
    words = (
        f"since it serves alone {now[1]} of {now[0]} are {what} (surely above {low:.2%}), before {then[1]} of "
        f"{then[0]} (surely below {high:.2%}); {ratio:g} × that + {floor:.0%} is tolerated"
    )
    evidence[f"baking_{'errors' if what == 'errors' else 'quality'}"] = finding(
        "harm" if low > bound else "no_harm" if now[0] else "not_observed",
        words,
        statistic=low,
        bound=bound,
        n=now[0],
        n_stable=then[0],
    )
    if low > bound:
        yield Ground("error_rate" if what == "errors" else "metric_drop", words)


def _latency(case: Case, evidence: Json, alone: Arms, before: Arms) -> Iterator[Ground]:
    now, then = latency_counts(alone), latency_counts(before)
    n, n_stable = sum(now), sum(then)
    low = quantile_bounds(now, LATENCY_EDGES_MS, 0.95, case.alpha / 6).low if n >= LATENCY_LEAST_REQUESTS else 0.0
    high = quantile_bounds(then, LATENCY_EDGES_MS, 0.95, case.alpha / 6).high
    bound = LATENCY_RATIO * high + LATENCY_FLOOR_MS
    words = (
        f"since it serves alone its p95 is surely above {low:.1f} ms, stable's was surely below {high:.1f} ms; "
        f"{LATENCY_RATIO:g} × that + {LATENCY_FLOOR_MS:g} ms is tolerated"
    )
    evidence["baking_latency"] = finding(
        "harm" if low > bound else "no_harm" if n >= LATENCY_LEAST_REQUESTS else "too_little",
        words,
        statistic=low,
        bound=bound,
        n=n,
        n_stable=n_stable,
        needed=LATENCY_LEAST_REQUESTS if n < LATENCY_LEAST_REQUESTS else None,
    )
    if low > bound:
        yield Ground("latency", words)
