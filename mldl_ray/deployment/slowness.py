"""Whether slow answers are the candidate's more often than its share: finds a candidate that is only somewhat slower.

Within an epoch both arms meet the same load, so under equality a slow answer is the candidate's with probability equal
to its share, whatever slow means and however the load goes: the same bet as for errors. What is slow is not read off
the data: there is a bet on each of a fixed list of limits, and their average is an e-value too (Vovk & Wang,
*E-values: calibration, combination and applications*, Annals of Statistics 2021). Limits that no person would mind,
those up to stable's p95 + ``SLOW_FLOOR_MS``, count as zero, which only makes the average smaller.

The null is not equality but "at most ``guardrails.max_slow_odds`` times the odds", for which the candidate's share of
the slow answers is at most the tilted one. Each key counts once an epoch: somebody whose requests are large brings them
again and again. The first few slow answers of the candidate are forgiven: its process is new.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from contracts.rollouts import ArmTelemetry
from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.evidence import ODDS, quantile_estimate
from mldl_ray.deployment.findings import Case, Ground, e_finding

SLOW_FLOOR_MS = 10.0
FORGIVEN = 5
_LIMITS = tuple(place for place, edge in enumerate(LATENCY_EDGES_MS) if edge >= SLOW_FLOOR_MS)[::4]
"""Bins above whose upper edge an answer is slow: 10 ms to 60 s, 22% apart."""
Pair = tuple[ArmTelemetry, ArmTelemetry]
Counts = npt.NDArray[np.float64]


def slow_answers(case: Case, evidence: Json) -> Iterator[Ground]:
    """Test whether answers are slow more often than tolerated; copies to a shadow have their own way and are not."""
    odds = case.deployment.spec.guardrails.max_slow_odds
    pairs = list(_pairs(case)) if case.deployment.strategy != "shadow" and odds is not None else []
    if not pairs or odds is None:
        return
    p95_ms = max(quantile_estimate(stable.latency_counts, LATENCY_EDGES_MS, 0.95) for _, stable in pairs)
    e_values = np.where(_limits_ms() > p95_ms + SLOW_FLOOR_MS, e_by_limit(pairs, odds), 0.0)
    e_value, at = float(e_values.mean()), int(e_values.argmax())
    candidate, stable = (sum(float(_slow(pair[arm])[at]) for pair in pairs) for arm in (0, 1))
    n, n_stable = (sum(sum(pair[arm].first_latency_counts or ()) for pair in pairs) for arm in (0, 1))
    words = (
        f"{candidate:.0f} of {n} callers of the candidate waited longer than {_limits_ms()[at]:.0f} ms against "
        f"{stable:.0f} of {n_stable} of stable's; {odds:g} × the odds are tolerated"
    )
    evidence["slow_answers"] = e_finding(case, e_value, words, n, n_stable, limit_ms=round(float(_limits_ms()[at]), 1))
    if e_value >= 1 / case.alpha:
        yield Ground("slow_answers", f"{words}; evidence {e_value:.3g} ≥ {1 / case.alpha:.3g}")


def e_by_limit(pairs: list[Pair], tolerated_odds: float) -> Counts:
    """Give the e-value at each limit: evidence against "slow at most ``tolerated_odds`` times as often, in odds"."""
    odds = np.asarray(ODDS)
    logs = np.zeros((len(_LIMITS), len(odds)))
    for number, (candidate, stable) in enumerate(pairs):
        mine, theirs = _slow(candidate), _slow(stable)
        if number == 0:
            mine = np.maximum(mine - FORGIVEN, 0.0)
        share = tilted(_share(candidate, stable), tolerated_odds)
        logs += mine[:, None] * np.log(odds) - (mine + theirs)[:, None] * np.log1p(share * (odds - 1))
    found: Counts = np.exp(np.minimum(logs, 700.0)).mean(axis=1)
    return found


def tilted(share: float, odds: float) -> float:
    """Give the share of the slow answers that belongs to an arm with ``share`` of all and ``odds`` times the odds.

    >>> tilted(0.5, 1.0), round(tilted(0.5, 3.0), 2)
    (0.5, 0.75)
    """
    return odds * share / (1 - share + odds * share)


def _pairs(case: Case) -> Iterator[Pair]:
    stable = {arm.epoch: arm for arm in case.telemetry.stable}
    for arm in case.telemetry.candidate:
        other = stable.get(arm.epoch)
        if other is not None and 0 < arm.share < 1 and arm.first_latency_counts and other.first_latency_counts:
            yield arm, other


def _share(candidate: ArmTelemetry, stable: ArmTelemetry) -> float:
    """Give the larger of the intended and the observed share: a larger one only makes the test more careful."""
    mine, theirs = sum(candidate.first_latency_counts or ()), sum(stable.first_latency_counts or ())
    observed = mine / (mine + theirs) if mine + theirs else 0.0
    return min(max(candidate.share, observed), 1 - 1e-9)


def _slow(arm: ArmTelemetry) -> Counts:
    """Count the answers above each limit."""
    counts = np.asarray(arm.first_latency_counts, dtype=np.float64)
    above = counts.sum() - np.cumsum(counts)
    found: Counts = above[list(_LIMITS)]
    return found


def _limits_ms() -> Counts:
    return np.asarray([LATENCY_EDGES_MS[place] for place in _LIMITS])
