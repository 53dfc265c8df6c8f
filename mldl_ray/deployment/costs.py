"""What predictions cost the business, where a spec prices them: mistakes by label and answer, and time to compute.

A prediction's cost is bounded: by the dearest mistake, and by one second of computing. So each part is scaled to
[0, 1] and its mean bounded by betting, for each arm, valid at every look; the parts' bounds add up. Mistakes count each
sticky key once, with its first label by that arm, over all epochs; computing counts requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from contracts.specs import Costs, Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.arms import Arms, latency_counts
from mldl_ray.deployment.betting import mean_bounds
from mldl_ray.deployment.findings import Case, Ground, finding, short

_SECONDS = (*(min(1.0, edge / 1000) for edge in LATENCY_EDGES_MS), 1.0)


class Cost(NamedTuple):
    """Cost per prediction of one arm: estimate and surely held bounds. ``n``: priced answers, or else requests."""

    mean: float
    low: float
    high: float
    n: int


def cost_of(arms: Arms, prices: Costs, alpha: float) -> Cost:
    """Bound an arm's cost per prediction.

    Args:
        arms: Its epochs.
        prices: What a mistake and a second cost.
        alpha: Chance that the true cost is ever outside.
    """
    parts = []
    if prices.largest:
        parts.append(_mistakes(arms, prices, alpha / 2))
    if prices.compute_second:
        counts = latency_counts(arms)
        parts.append(_scaled(_SECONDS, counts, prices.compute_second, alpha / 2))
    n = parts[0].n if parts else 0
    return Cost(sum(p.mean for p in parts), sum(p.low for p in parts), sum(p.high for p in parts), n)


def cost(case: Case, evidence: Json) -> Iterator[Ground]:
    """Test whether a prediction of the candidate surely costs more than stable's, by more than is tolerated."""
    prices = case.deployment.spec.costs
    if prices is None:
        return
    candidate, stable = (
        cost_of(arms, prices, case.alpha / 2) for arms in (case.telemetry.candidate, case.telemetry.stable)
    )
    bound = prices.most_ratio * stable.high + prices.margin
    bad = candidate.low > bound
    words = (
        f"a prediction of the candidate costs {candidate.mean:.4g} (surely above {candidate.low:.4g}), one of stable "
        f"{stable.mean:.4g} (surely below {stable.high:.4g}); {bound:.4g} is tolerated"
    )
    evidence["cost"] = finding(
        "harm" if bad else "no_harm" if candidate.n else "not_observed",
        words,
        statistic=candidate.mean if candidate.n else None,
        bound=bound,
        n=candidate.n,
        n_stable=stable.n,
        low=short(candidate.low),
        high=short(candidate.high),
        stable=short(stable.mean) if stable.n else None,
    )
    if bad and "metric_drop" in case.deployment.spec.guardrails.rollback_on:
        yield Ground("cost", words)


def _mistakes(arms: Arms, prices: Costs, alpha: float) -> Cost:
    table: dict[float, int] = {}
    for arm in arms:
        for label, prediction, count in arm.confusions:
            price = prices.of(label, prediction)
            table[price] = table.get(price, 0) + count
    values = sorted(table)
    scaled = [value / prices.largest for value in values]
    return _scaled(scaled, [table[value] for value in values], prices.largest, alpha)


def _scaled(values: tuple[float, ...] | list[float], counts: list[int], scale: float, alpha: float) -> Cost:
    n = sum(counts)
    bounds = mean_bounds(values, counts, alpha)
    mean = sum(value * count for value, count in zip(values, counts, strict=True)) / n if n else 0.0
    return Cost(mean * scale, bounds.low * scale, bounds.high * scale, n)
