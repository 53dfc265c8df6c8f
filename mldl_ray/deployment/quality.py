"""Whether answers are as right as stable's: harm at any time, and the proof of non-inferiority that promotion needs.

A shadow answers the same rows as stable, so its answers are compared pair by pair, which is far sharper: only pairs
where one is right and the other wrong say anything. A canary's arms are compared as groups of people.

Right means equal to the label. Values of a regression hardly ever are, so there arms are compared in pairs only: by
the absolute error of the shadow less that of stable, over the sum of both, which lies in [-1, 1] whatever the unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from contracts.rollouts import PAIR_BINS, Deployment, RolloutTelemetry
from contracts.specs import Json
from mldl_ray.deployment.arms import harm, judged_and_wrong
from mldl_ray.deployment.betting import (
    difference_bounds,
    difference_e_value,
    difference_mean,
    mean_bounds,
    paired_e_value,
)
from mldl_ray.deployment.evidence import Bounds, rate_bounds
from mldl_ray.deployment.exposure import fewest, next_share
from mldl_ray.deployment.findings import Case, Ground, e_finding, finding, short

LEAST_LABELS = 20
"""Labelled keys of each arm from which on labels are taken to come, and promotion asks for a proof from them."""


class Pairs(NamedTuple):
    """All epochs' pairs, added up."""

    pairs: int
    agreeing: int
    keys: int
    keys_agreeing: int
    shifts: list[int]
    both_right: int
    only_candidate_wrong: int
    only_stable_wrong: int
    both_wrong: int
    errors: list[int]

    @property
    def labelled(self) -> int:
        """Keys with a labelled pair."""
        return self.both_right + self.only_candidate_wrong + self.only_stable_wrong + self.both_wrong


class Proof(NamedTuple):
    """How much worse than stable's the answers may still be, as a share of them, and how many labels would do."""

    worst_case: float
    margin: float
    n: int
    n_stable: int
    needed: int | None
    difference: float

    @property
    def shown(self) -> bool:
        """Say whether the next step is safe enough."""
        return self.worst_case <= self.margin


def pairs_of(telemetry: RolloutTelemetry) -> Pairs:
    """Add up the pairs of all epochs."""
    found = telemetry.pairs

    def total(name: str) -> int:
        return sum(getattr(pair, name) for pair in found)

    return Pairs(
        pairs=total("pairs"),
        agreeing=total("agreeing"),
        keys=total("keys"),
        keys_agreeing=total("keys_agreeing"),
        shifts=_added([pair.shift_counts for pair in found]),
        both_right=total("both_right"),
        only_candidate_wrong=total("only_candidate_wrong"),
        only_stable_wrong=total("only_stable_wrong"),
        both_wrong=total("both_wrong"),
        errors=_added([pair.error_counts for pair in found]),
    )


def quality(case: Case, evidence: Json) -> Iterator[Ground]:
    """Test whether answers are wrong more often than stable's."""
    telemetry = case.telemetry
    values = telemetry.task == "regression"
    if telemetry.pairs:
        pairs = pairs_of(telemetry)
        e_value, words = _paired(pairs, values=values)
        n = n_stable = pairs.labelled
        figures = {"paired": True, "pairs": _table(pairs)}
    elif values:
        evidence["quality"] = finding("not_judged", "values are hardly ever equal to labels; only pairs are compared")
        return
    else:
        e_value = harm(telemetry, "wrong", "labelled", ("wrong_keys", "labelled_keys"))
        n, n_stable = (sum(arm.labelled for arm in arms) for arms in (telemetry.candidate, telemetry.stable))
        right, right_stable = (sum(arm.correct for arm in arms) for arms in (telemetry.candidate, telemetry.stable))
        words = f"{right} of {n} labelled answers of the candidate were right"
        words = f"{words} against {right_stable} of {n_stable} of stable"
        figures = {"paired": False, "correct": [right, right_stable]}
    evidence["quality"] = e_finding(case, e_value, words, n, n_stable, **figures)
    if e_value >= 1 / case.alpha and "metric_drop" in case.deployment.spec.guardrails.rollback_on:
        yield Ground("metric_drop", f"{words}; evidence {e_value:.3g} ≥ {1 / case.alpha:.3g}")


def quality_proof(case: Case, evidence: Json) -> Proof | None:
    """Bound how many of all answers the next step may turn wrong; None when quality is not observed."""
    proof = _proof(case)
    if proof is None:
        words = "quality was not observed: too few labels of both arms; the step rests on errors and latency"
        evidence["quality_proof"] = finding("not_observed", words, bound=case.deployment.spec.quality_margin)
        return None
    evidence["quality_proof"] = finding(
        "shown" if proof.shown else "too_little",
        f"at {next_share(case.deployment):.0%} at most {proof.worst_case:.2%} of all answers could turn wrong; "
        f"{proof.margin:.2%} is the margin",
        statistic=proof.worst_case,
        bound=proof.margin,
        n=proof.n,
        n_stable=proof.n_stable,
        needed=proof.needed,
        time_to_decide_s=case.seconds_for(None if proof.needed is None else proof.needed - proof.n, _labels_now(case)),
        difference=short(proof.difference),
    )
    return proof


def comparison(case: Case, evidence: Json) -> None:
    """Say how far the shadow's answers are from stable's, labels or not."""
    if not case.telemetry.pairs:
        return
    pairs = pairs_of(case.telemetry)
    agreement = rate_bounds(pairs.keys_agreeing, pairs.keys, case.alpha)
    evidence["agreement"] = finding(
        "shown" if pairs.pairs else "not_observed",
        f"the shadow said the same as stable in {pairs.agreeing} of {pairs.pairs} pairs",
        statistic=pairs.agreeing / pairs.pairs if pairs.pairs else None,
        n=pairs.keys,
        n_stable=pairs.keys,
        low=short(agreement.low),
        high=short(agreement.high),
    )
    mean, bounds = difference_mean(pairs.shifts), difference_bounds(pairs.shifts, case.alpha)
    evidence["score_shift"] = finding(
        "not_observed" if mean is None else "shown",
        "no scores to compare" if mean is None else f"the shadow's score is {mean:+.4f} from stable's on average",
        statistic=mean,
        n=sum(pairs.shifts),
        n_stable=sum(pairs.shifts),
        low=short(bounds.low),
        high=short(bounds.high),
    )


def _paired(pairs: Pairs, *, values: bool) -> tuple[float, str]:
    if values:
        mean = difference_mean(pairs.errors) or 0.0
        return difference_e_value(pairs.errors), (
            f"the shadow's absolute error was {mean:+.3f} from stable's, relative to both, in {sum(pairs.errors)} pairs"
        )
    return paired_e_value(pairs.only_candidate_wrong, pairs.only_stable_wrong), (
        f"of {pairs.labelled} labelled pairs only the shadow was wrong in {pairs.only_candidate_wrong}, only stable in "
        f"{pairs.only_stable_wrong}"
    )


def _proof(case: Case) -> Proof | None:
    telemetry, deployment = case.telemetry, case.deployment
    alpha = deployment.spec.alpha / 2
    if telemetry.pairs:
        return _paired_proof(pairs_of(telemetry), deployment, alpha, values=telemetry.task == "regression")
    if telemetry.task == "regression":
        return None
    n, wrong = judged_and_wrong(telemetry.candidate)
    n_stable, wrong_stable = judged_and_wrong(telemetry.stable)
    if min(n, n_stable) < LEAST_LABELS:
        return None
    share, margin = next_share(deployment), deployment.spec.quality_margin
    rate, ratio = wrong / n, n_stable / n
    rate_stable = wrong_stable / n_stable

    def worst(total: int, wrong_of: int, total_stable: int, wrong_of_stable: int) -> float:
        high, low = (
            rate_bounds(wrong_of, total, alpha / 2).high,
            rate_bounds(wrong_of_stable, total_stable, alpha / 2).low,
        )
        return max(0.0, share * (high - low))

    def enough(total: int) -> bool:
        others = round(total * ratio)
        return worst(total, round(rate * total), others, round(rate_stable * others)) <= margin

    now = worst(n, wrong, n_stable, wrong_stable)
    difference = rate - rate_stable
    needed = n if now <= margin else fewest(enough, at_least=n, ever=share * difference < margin)
    return Proof(now, margin, n, n_stable, needed, difference)


def _paired_proof(pairs: Pairs, deployment: Deployment, alpha: float, *, values: bool) -> Proof | None:
    """Bound the mean difference of pairs; ``alpha`` is for one side of it, so both get twice as much."""
    counts = pairs.errors if values else _differences(pairs)
    n = sum(counts)
    if n < LEAST_LABELS:
        return None
    share, margin = next_share(deployment), deployment.spec.quality_margin

    def worst(scale: float) -> float:
        scaled = [round(count * scale) for count in counts]
        return max(0.0, share * _bounds(scaled, 2 * alpha, values=values).high)

    mean = difference_mean(counts) if values else (counts[2] - counts[0]) / n
    now, difference = worst(1.0), mean or 0.0
    needed: int | None = n
    if now > margin:
        needed = fewest(lambda total: worst(total / n) <= margin, at_least=n, ever=share * difference < margin)
    return Proof(now, margin, n, n, needed, difference)


def _bounds(counts: list[int], alpha: float, *, values: bool) -> Bounds:
    if values:
        return difference_bounds(counts, alpha)
    low, high = mean_bounds((0.0, 0.5, 1.0), counts, alpha)
    return Bounds(2 * low - 1, 2 * high - 1)


def _differences(pairs: Pairs) -> list[int]:
    """Count -1, 0 and 1: wrong or not of the candidate, less that of stable."""
    return [pairs.only_stable_wrong, pairs.both_right + pairs.both_wrong, pairs.only_candidate_wrong]


def _labels_now(case: Case) -> int:
    if case.telemetry.pairs:
        return case.telemetry.pairs[-1].labelled
    return judged_and_wrong(case.telemetry.candidate[-1:])[0]


def _table(pairs: Pairs) -> Json:
    return {
        "both_right": pairs.both_right,
        "only_candidate_wrong": pairs.only_candidate_wrong,
        "only_stable_wrong": pairs.only_stable_wrong,
        "both_wrong": pairs.both_wrong,
    }


def _added(histograms: list[tuple[int, ...]]) -> list[int]:
    kept = [counts for counts in histograms if counts]
    return [sum(counts) for counts in zip(*kept, strict=True)] if kept else [0] * PAIR_BINS
