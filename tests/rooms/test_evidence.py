"""The tests behind a rollout: exact values, false alarms when one looks at every request, and power."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mldl_ray.deployment.evidence import Split, harm_e_value, quantile_bounds, quantile_estimate, rate_bounds

ALPHA = 0.05
RUNS = 1000
ODDS = [1.0 + 0.25 * 1.6**step for step in range(12)]


def allowed(alpha: float, runs: int = RUNS) -> float:
    """The share of alarms that a rate of alpha stays under in all but one of a thousand simulations."""
    return float(stats.binom.ppf(0.999, runs, alpha)) / runs


# harm


def test_a_harm_e_value_is_the_mean_of_the_likelihood_ratios() -> None:
    def ratio(odds: float) -> float:
        w, v = 0.05, 0.5
        first = (odds / (1 - w + odds * w)) ** 3 * (1 / (1 - w + odds * w)) ** 2
        return first * (odds / (1 - v + odds * v)) ** 1 * (1 / (1 - v + odds * v)) ** 4

    expected = sum(map(ratio, ODDS)) / len(ODDS)
    assert harm_e_value([Split(0.05, 3, 2), Split(0.5, 1, 4)]) == pytest.approx(expected, rel=1e-12)


def test_without_anything_bad_there_is_no_evidence() -> None:
    assert harm_e_value([]) == 1
    assert harm_e_value([Split(0.05, 0, 0), Split(0.25, 0, 0)]) == 1


def test_the_next_event_changes_the_e_value_by_one_on_average_when_the_arms_are_alike() -> None:
    for share in (0.05, 0.25, 0.5):
        for candidate, stable in ((0, 0), (2, 10), (7, 3)):
            here = harm_e_value([Split(share, candidate, stable)])
            on_average = share * harm_e_value([Split(share, candidate + 1, stable)])
            on_average += (1 - share) * harm_e_value([Split(share, candidate, stable + 1)])
            assert on_average == pytest.approx(here, rel=1e-9)


@settings(deadline=None)
@given(st.floats(0.01, 0.98), st.integers(0, 50), st.integers(0, 50))
def test_a_larger_share_never_makes_harm_more_evident(share: float, candidate: int, stable: int) -> None:
    one, other = (harm_e_value([Split(w, candidate, stable)]) for w in (share, share + 0.01))
    assert other <= one * (1 + 1e-9)


def test_a_million_errors_neither_overflow_nor_vanish() -> None:
    assert math.isfinite(harm_e_value([Split(0.05, 1_000_000, 0)]))
    assert harm_e_value([Split(0.05, 1_000_000, 0)]) > 1e300
    assert harm_e_value([Split(0.5, 0, 1_000_000)]) == 0


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_equal_arms_are_rarely_called_harmful_however_often_one_looks(share: float) -> None:
    events = 300
    table = np.zeros((events + 1, events + 1))
    for total in range(events + 1):
        for candidate in range(min(total, int(total * share + 8 * math.sqrt(total) + 8)) + 1):
            table[total, candidate] = harm_e_value([Split(share, candidate, total - candidate)])
    theirs = (np.random.default_rng(1).random((RUNS, events)) < share).cumsum(axis=1)
    highest = table[np.arange(1, events + 1), theirs].max(axis=1)
    assert (highest >= 1 / ALPHA).mean() <= allowed(ALPHA)


@pytest.mark.parametrize(("share", "requests"), [(0.5, 4_000), (0.05, 24_000)])
def test_ten_percent_errors_against_five_are_found(share: float, requests: int) -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        candidate = rng.binomial(rng.binomial(requests, share), 0.10)
        stable = rng.binomial(requests - int(requests * share), 0.05)
        found += harm_e_value([Split(share, int(candidate), int(stable))]) >= 1 / 0.0125
    assert found >= 95


# rates


def test_a_rate_is_bounded_where_the_mixture_is_twenty_times_as_likely() -> None:
    bad, total = 7, 120
    mixture, _ = integrate.quad(lambda p: stats.beta(0.5, 0.5).pdf(p) * p**bad * (1 - p) ** (total - bad), 0, 1)
    bounds = rate_bounds(bad, total, 0.05)
    for edge in bounds:
        assert mixture / (edge**bad * (1 - edge) ** (total - bad)) == pytest.approx(20, rel=1e-3)
    assert bounds.low < bad / total < bounds.high


def test_how_many_requests_without_an_error_show_a_rate_below_two_percent() -> None:
    assert rate_bounds(0, 356, 0.025).high > 0.02
    assert rate_bounds(0, 357, 0.025).high <= 0.02


def test_the_ends_of_a_rate_are_reached_when_nothing_speaks_against_them() -> None:
    assert rate_bounds(0, 50, 0.05).low == 0
    assert rate_bounds(50, 50, 0.05).high == 1
    assert rate_bounds(0, 0, 0.05) == (0, 1)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.001, 0.05, 0.3]))
def test_a_rates_bounds_hold_its_estimate_and_narrow_with_alpha(bad: int, more: int, alpha: float) -> None:
    wide, narrow = rate_bounds(bad, bad + more, alpha), rate_bounds(bad, bad + more, alpha * 2)
    estimate = float(Fraction(bad, bad + more))
    assert 0 <= wide.low <= narrow.low <= estimate <= narrow.high <= wide.high <= 1


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_a_true_rate_is_rarely_ever_outside_its_bounds_however_often_one_looks(rate: float) -> None:
    looks = 200
    outside = np.zeros((looks + 1, looks + 1), dtype=bool)
    for total in range(1, looks + 1):
        spread = 8 * math.sqrt(total * rate * (1 - rate)) + 8
        for bad in range(max(0, int(total * rate - spread)), min(total, int(total * rate + spread)) + 1):
            bounds = rate_bounds(bad, total, ALPHA)
            outside[total, bad] = not bounds.low <= rate <= bounds.high
    counts = (np.random.default_rng(3).random((RUNS, looks)) < rate).cumsum(axis=1)
    assert outside[np.arange(1, looks + 1), counts].any(axis=1).mean() <= allowed(ALPHA)


# quantiles


def test_a_quantile_estimate_is_the_edge_of_the_bin_that_holds_it() -> None:
    edges = [1.0, 2.0, 3.0]
    assert quantile_estimate([95, 5, 0, 0], edges, 0.95) == 1
    assert quantile_estimate([94, 6, 0, 0], edges, 0.95) == 2
    assert quantile_estimate([0, 0, 0, 9], edges, 0.95) == 3
    assert quantile_estimate([0, 0, 0, 0], edges, 0.95) == 0


def test_an_empty_histogram_bounds_nothing() -> None:
    assert quantile_bounds([0, 0, 0], [1.0, 2.0], 0.95, 0.05) == (0, math.inf)


def test_slow_answers_beyond_the_last_edge_are_surely_above_it() -> None:
    assert quantile_bounds([0, 0, 500], [1.0, 2.0], 0.95, 0.05) == (2.0, math.inf)


def test_a_quantiles_bounds_close_in_on_it() -> None:
    edges = [float(i) for i in range(1, 101)]
    widths = []
    for scale in (1, 10, 100, 1000):
        bounds = quantile_bounds([scale] * 100 + [0], edges, 0.95, 0.05)
        assert bounds.low <= 95 <= bounds.high
        widths.append(bounds.high - bounds.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] <= 2


def test_a_true_quantile_is_rarely_ever_outside_its_bounds_however_often_one_looks() -> None:
    runs, looks, edges = 300, 150, [0.5, 0.9, 0.95, 0.99]
    values = np.random.default_rng(4).random((runs, looks))
    outside = 0
    for row in np.searchsorted(edges, values):
        counts = [0] * (len(edges) + 1)
        for place in row:
            counts[place] += 1
            bounds = quantile_bounds(counts, edges, 0.95, ALPHA)
            if not bounds.low <= 0.95 <= bounds.high:
                outside += 1
                break
    assert outside / runs <= allowed(ALPHA, runs)
