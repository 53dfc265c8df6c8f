"""The figures of one scenario under one judge, from the outcomes of its deployments."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from scipy.stats import beta

from bench.rollouts.outcome import Outcome
from contracts.specs import Json


def figures(outcomes: Sequence[Outcome], *, equal: bool) -> Json:
    """Put together rates with their 95% intervals, and medians of what the deployments that count took.

    For an equal candidate a rollback is false and what counts is the way to all traffic; for a harmful one a rollback
    is a detection, and what counts is how late it came and whom it cost.
    """
    back = [one for one in outcomes if one.verdict == "rolled_back"]
    through = [one for one in outcomes if one.verdict == "promoted"]
    found: Json = {"runs": len(outcomes), "looks": sum(one.looks for one in outcomes)}
    found |= _rate("false_rollback" if equal else "detection", len(back), len(outcomes))
    found |= _rate("promotion", len(through), len(outcomes))
    if equal:
        found |= {"promotion_s": _median(through, lambda one: one.at_s)}
    else:
        found |= {
            "delay_requests": _median(back, lambda one: one.candidate_requests),
            "delay_s": _median(back, lambda one: one.at_s),
            "harmed": _median(outcomes, lambda one: one.harmed),
            "harmed_mean": round(statistics.fmean(one.harmed for one in outcomes), 1),
        }
    return found | {"rules": dict(Counter(one.rule for one in back))}


def interval(events: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a rate by simulation: Clopper & Pearson (Biometrika 1934).

    >>> [round(bound, 4) for bound in interval(0, 1000)]
    [0.0, 0.0037]
    """
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, events, runs - events + 1)) if events else 0.0
    high = float(beta.ppf(1 - tail, events + 1, runs - events)) if events < runs else 1.0
    return low, high


def _rate(name: str, events: int, runs: int) -> Json:
    return {name: round(events / runs, 4), f"{name}_interval": [round(bound, 4) for bound in interval(events, runs)]}


def _median(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> float | None:
    return round(statistics.median(of(one) for one in outcomes), 1) if outcomes else None
