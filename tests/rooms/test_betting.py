"""Bets on bounded values: exact values, false alarms when one looks at every event, and power."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from contracts.rollouts import PAIR_BINS
from mldl_ray.deployment.betting import (
    STAKES,
    difference_bounds,
    difference_e_value,
    difference_mean,
    mean_bounds,
    mean_e_value,
    paired_e_value,
)
from mldl_ray.deployment.evidence import Split, harm_e_value, quantile_bounds, rate_bounds

ALPHA = 0.05
RUNS = 1000


def allowed(alpha: float, runs: int = RUNS) -> float:
    """The share of alarms that a rate of alpha stays under in all but one of a thousand simulations."""
    return float(stats.binom.ppf(0.999, runs, alpha)) / runs


def test_a_paired_e_value_is_the_mean_of_what_the_gamblers_have() -> None:
    expected = sum((1 + stake) ** 7 * (1 - stake) ** 3 for stake in STAKES) / len(STAKES)
    assert paired_e_value(7, 3) == pytest.approx(expected, rel=1e-12)
    assert paired_e_value(0, 0) == 1


def test_the_next_pair_changes_it_by_nothing_on_average_when_both_are_alike() -> None:
    for only_candidate, only_stable in ((0, 0), (5, 2), (3, 30)):
        here = paired_e_value(only_candidate, only_stable)
        after = paired_e_value(only_candidate + 1, only_stable) + paired_e_value(only_candidate, only_stable + 1)
        assert after / 2 == pytest.approx(here, rel=1e-9)


def test_pairs_of_equal_models_are_rarely_called_worse_however_often_one_looks() -> None:
    known, events = cache(paired_e_value), 300
    worse = (np.random.default_rng(1).random((RUNS, events)) < 0.5).cumsum(axis=1)
    highest = [max(known(int(n), i + 1 - int(n)) for i, n in enumerate(row)) for row in worse]
    assert (np.array(highest) >= 1 / ALPHA).mean() <= allowed(ALPHA)


def test_pairs_show_a_drop_that_groups_of_the_same_size_do_not() -> None:
    assert paired_e_value(30, 10) > 20  # of 1,000 pairs; 100 and 120 wrong in all
    assert harm_e_value([Split(0.5, 120, 100)]) < 20


@pytest.mark.parametrize(("values", "chances"), [((0.0, 0.25, 1.0), (0.8, 0.15, 0.05)), ((0.4, 0.6), (0.5, 0.5))])
def test_a_true_mean_is_rarely_ever_rejected_however_often_one_looks(
    values: tuple[float, ...], chances: tuple[float, ...]
) -> None:
    mean = float(np.dot(values, chances))
    mirrored = tuple(1 - value for value in values)

    @cache
    def highest(counts: tuple[int, ...]) -> float:
        return max(mean_e_value(values, counts, mean), mean_e_value(mirrored, counts, 1 - mean))

    drawn = np.random.default_rng(2).choice(len(values), size=(300, 150), p=chances)
    outside = 0
    for row in drawn:
        counts = np.cumsum(np.eye(len(values), dtype=int)[row], axis=0)
        outside += any(highest(tuple(look)) >= 2 / ALPHA for look in counts.tolist())
    assert outside / 300 <= allowed(ALPHA, 300)


def test_a_means_bounds_are_where_the_gamblers_have_forty_times_their_capital() -> None:
    values, counts = (0.0, 0.3, 1.0), (500, 80, 20)
    low, high = mean_bounds(values, counts, ALPHA)
    assert mean_e_value(values, counts, low) == pytest.approx(2 / ALPHA, rel=0.05)
    mirrored = tuple(1 - value for value in values)
    assert mean_e_value(mirrored, counts, 1 - high) == pytest.approx(2 / ALPHA, rel=0.05)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 60), min_size=3, max_size=3))
def test_a_means_bounds_hold_its_estimate_and_narrow_with_alpha(counts: list[int]) -> None:
    values = (0.0, 0.5, 1.0)
    wide, narrow = mean_bounds(values, counts, 0.01), mean_bounds(values, counts, 0.1)
    estimate = float(np.dot(values, counts)) / sum(counts) if sum(counts) else 0.5
    assert wide.low <= narrow.low <= estimate + 1e-9
    assert estimate - 1e-9 <= narrow.high <= wide.high


def test_bets_bound_a_rate_about_as_well_as_the_mixture_made_for_rates() -> None:
    for total in (100, 1000, 10_000):
        bets = mean_bounds((0.0, 1.0), (round(total * 0.85), round(total * 0.15)), ALPHA)
        made = rate_bounds(round(total * 0.15), total, ALPHA)
        assert bets.high - bets.low < 1.25 * (made.high - made.low)


def test_what_bins_hide_of_a_difference_never_counts_as_evidence() -> None:
    middle, last = PAIR_BINS // 2, PAIR_BINS - 1
    alike = [0] * PAIR_BINS
    alike[middle] = 100_000
    assert difference_e_value(alike) < 1
    assert difference_mean(alike) == 0
    low, high = difference_bounds(alike, ALPHA)
    assert -0.02 < low < 0 < high < 0.02
    worse = [0] * PAIR_BINS
    worse[last] = 10
    assert difference_e_value(worse) > 20
    assert difference_mean([0] * PAIR_BINS) is None


# the vectors that others published, or that another way of computing gives


def test_without_an_error_the_upper_bound_has_a_closed_form() -> None:
    for total in (10, 300, 5000):
        closed = 1 - (ALPHA * special.beta(0.5, total + 0.5) / math.pi) ** (1 / total)
        assert rate_bounds(0, total, ALPHA).high == pytest.approx(closed, abs=1e-6)


def test_a_quantiles_bounds_are_those_of_the_integrated_mixture_at_every_edge() -> None:
    edges, quantile = [float(i) for i in range(1, 41)], 0.95
    counts = [int(n) for n in np.random.default_rng(3).multinomial(600, np.linspace(1, 2, 41) / 61.5)]
    total, below, low, high = sum(counts), 0, 0.0, math.inf

    def surprising(seen: int) -> bool:
        def ratio(p: float) -> float:
            log = seen * math.log(p / quantile) + (total - seen) * math.log((1 - p) / (1 - quantile))
            return float(stats.beta(0.5, 0.5).pdf(p)) * math.exp(log)

        return float(integrate.quad(ratio, 1e-9, 1 - 1e-9, points=[seen / total], limit=200)[0]) > 1 / ALPHA

    for count, edge in zip(counts, edges, strict=False):
        below += count
        if below < 0.8 * total:  # far below: certain, and too small for the integral
            low = edge
            continue
        if surprising(below):
            if below < quantile * total:
                low = edge
            else:
                high = min(high, edge)
    assert quantile_bounds(counts, edges, quantile, ALPHA) == (low, high)
