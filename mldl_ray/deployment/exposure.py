"""How much the next step could spoil in the worst case still plausible, and what is missing to dare it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from contracts.rollouts import Deployment, RolloutTelemetry
from contracts.specs import Json
from mldl_ray.deployment.arms import requests_and_errors
from mldl_ray.deployment.evidence import rate_bounds
from mldl_ray.deployment.findings import Case, finding

MOST_UNITS = 10_000_000


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


def next_share(deployment: Deployment) -> float:
    """Give the share of the sticky keys that the next step would give the candidate."""
    return deployment.steps[min(deployment.step + 1, len(deployment.steps) - 1)] / 100


def exposure_of(telemetry: RolloutTelemetry, deployment: Deployment) -> Exposure:
    """Bound what the next step could spoil of all requests, in the worst case still plausible."""
    requests, errors = requests_and_errors(telemetry.candidate)
    share, alpha = next_share(deployment), deployment.spec.alpha / 2
    least = _least_expected(telemetry, alpha)
    bound = max(0.0, rate_bounds(errors, requests, alpha).high - least)
    budget = deployment.spec.harm_budget
    rate = errors / requests if requests else 0.0
    needed: int | None = requests
    if share * bound > budget:
        needed = fewest(
            lambda total: share * (rate_bounds(round(rate * total), total, alpha).high - least) <= budget,
            at_least=max(requests, 16),
            ever=share * (rate - least) < budget,
        )
    return Exposure(share, bound, share * bound, budget, requests, needed)


def exposure_finding(case: Case, exposure: Exposure) -> Json:
    """Say how far the proof is that the next step spoils little."""
    missing = None if exposure.requests_needed is None else exposure.requests_needed - exposure.requests
    arms = case.telemetry.candidate
    return finding(
        "shown" if exposure.shown else "too_little" if exposure.requests else "not_observed",
        f"at {exposure.next_share:.0%} at most {exposure.worst_case:.2%} of all requests could be spoiled; "
        f"{exposure.budget:.2%} is the budget",
        statistic=exposure.worst_case,
        bound=exposure.budget,
        n=exposure.requests,
        n_stable=requests_and_errors(case.telemetry.stable)[0],
        needed=exposure.requests_needed,
        time_to_decide_s=case.seconds_for(missing, arms[-1].requests if arms else 0),
        next_share=exposure.next_share,
        n_needed=exposure.requests_needed,
    )


def fewest(enough: Callable[[int], bool], *, at_least: int, ever: bool) -> int | None:
    """Find how many units would be enough, to within one in a hundred; None when no number is.

    >>> fewest(lambda n: n >= 78, at_least=16, ever=True)
    78
    """
    if not ever:
        return None
    low = high = at_least
    while not enough(high):
        if high >= MOST_UNITS:
            return None
        low, high = high, 2 * high
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _least_expected(telemetry: RolloutTelemetry, alpha: float) -> float:
    """Bound from below the error rate that the candidate would have as stable: epoch by epoch, as it met them."""
    stable = {arm.epoch: arm for arm in telemetry.stable}
    requests = requests_and_errors(telemetry.candidate)[0]
    least = 0.0
    for arm in telemetry.candidate:
        other = stable.get(arm.epoch)
        if other is not None and other.errors:
            low = rate_bounds(other.errors, other.requests, alpha / len(telemetry.candidate)).low
            least += low * arm.requests / requests if requests else 0.0
    return least
