"""Tests on counts that stay valid however often one looks. Pure; what they lead to is decided in ``decide``.

Each is a nonnegative supermartingale under its null hypothesis (or the set of nulls that such a one has not
rejected), so by Ville's inequality the chance that it *ever* reaches 1/alpha is at most alpha. Looking at every request
costs nothing.

Sources: Ville (1939); Robbins, *Statistical methods related to the law of the iterated logarithm* (1970), for the beta
mixture; Howard & Ramdas, *Sequential estimation of quantiles* (Bernoulli 2022); Lindon & Malek, *Anytime-valid
inference for multinomial count data* (NeurIPS 2022, arXiv:2011.03567), for "an error is the candidate's with
probability w".
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

ODDS = tuple(1.0 + 0.25 * 1.6**step for step in range(12))
"""Odds ratios that the harm test bets on, 1.25 to 45, each with the same stake."""

_PRIOR = 0.5  # Jeffreys
_LOG_PI = math.log(math.pi)  # B(1/2, 1/2) is pi


class Split(NamedTuple):
    """Something bad that happened ``candidate`` + ``stable`` times while the candidate had ``share`` of the chances."""

    share: float
    candidate: int
    stable: int


class Bounds(NamedTuple):
    """A confidence sequence's interval now."""

    low: float
    high: float


def harm_e_value(splits: Iterable[Split]) -> float:
    """Measure the evidence that bad events are the candidate's more often than its share.

    If both arms are alike, a bad event is the candidate's with probability equal to its share, whatever the load does.
    Against that, each odds ratio θ > 1 is a bet; their average over ``ODDS`` is the answer. Shares may change between
    splits (the steps of a canary); their likelihood ratios multiply.

    ``share`` must be at least the probability that a request is the candidate's: a larger one only makes the test more
    careful, because each factor falls as the share rises. So callers pass the larger of the intended and the observed
    one.

    Args:
        splits: One per epoch of the route table.

    Returns:
        An e-value: reject "no harm" at level alpha when it reaches 1/alpha.

    >>> harm_e_value([Split(0.05, 0, 10)]) < 1
    True
    >>> round(harm_e_value([Split(0.05, 4, 0)])) > 20
    True
    """
    splits = [split for split in splits if split.candidate + split.stable]
    logs = [
        sum(
            split.candidate * math.log(odds)
            - (split.candidate + split.stable) * math.log(1 - split.share + odds * split.share)
            for split in splits
        )
        for odds in ODDS
    ]
    top = max(logs)
    return math.exp(min(top, 700.0)) * sum(math.exp(log - top) for log in logs) / len(logs)


@lru_cache(maxsize=8192)  # pure, and a judge that looks again mostly sees the same counts
def rate_bounds(bad: int, total: int, alpha: float) -> Bounds:
    """Bound a rate, simultaneously for all sample sizes.

    The rates p for which the beta mixture over all rates is less than 1/alpha times as likely as p itself.

    Args:
        bad: Events counted.
        total: Chances for one.
        alpha: Probability that the true rate is ever outside.

    Returns:
        Interval within [0, 1]; all of it when there is nothing counted.

    >>> rate_bounds(0, 300, 0.05).high < 0.03
    True
    >>> rate_bounds(0, 0, 0.05)
    Bounds(low=0.0, high=1.0)
    """
    if not total:
        return Bounds(0.0, 1.0)
    mixture = _log_mixture(bad, total)
    limit = math.log(1 / alpha)
    mean = bad / total

    def outside(rate: float) -> bool:
        likelihood = _xlog(bad, rate) + _xlog(total - bad, 1 - rate)
        return bool(mixture - likelihood > limit)

    low = _edge(outside, mean, 0.0) if bad else 0.0
    high = _edge(outside, mean, 1.0) if bad < total else 1.0
    return Bounds(low, high)


def quantile_bounds(counts: Sequence[int], edges: Sequence[float], quantile: float, alpha: float) -> Bounds:
    """Bound a quantile from a histogram, simultaneously for all sample sizes.

    The number of values at or below the true quantile is a Bernoulli(quantile) count; the edges whose count that
    does not contradict are the interval (Howard & Ramdas 2022, with the beta mixture as boundary).

    Args:
        counts: Per bin, one more than there are edges; the last is above every edge.
        edges: Upper edges of the bins, rising.
        quantile: In (0, 1).
        alpha: Probability that the true quantile is ever outside.

    Returns:
        Interval in the edges' unit; ``inf`` above the last edge, 0 below the first.

    >>> quantile_bounds([0, 1000, 0], [1.0, 2.0], 0.95, 0.05)
    Bounds(low=1.0, high=2.0)
    """
    below = list(accumulate(counts))
    few, many = _plain_counts(below[-1], quantile, alpha)
    edge_below = bisect_left(below, few + 1, hi=len(edges)) - 1
    edge_above = bisect_left(below, many, hi=len(edges))
    low = edges[edge_below] if edge_below >= 0 else 0.0
    return Bounds(low, edges[edge_above] if edge_above < len(edges) else math.inf)


def quantile_estimate(counts: Sequence[int], edges: Sequence[float], quantile: float) -> float:
    """Read a quantile off a histogram: the upper edge of the bin that holds it; NaN-free, 0 when empty.

    >>> quantile_estimate([0, 3, 1, 0], [1.0, 2.0, 3.0], 0.5)
    2.0
    """
    below = list(accumulate(counts))
    if not below or not below[-1]:
        return 0.0
    place = bisect_left(below, quantile * below[-1])
    return edges[min(place, len(edges) - 1)]


@lru_cache(maxsize=8192)
def _plain_counts(total: int, quantile: float, alpha: float) -> tuple[int, int]:
    """Give the most and the fewest of ``total`` values below a quantile that are surprisingly few and many.

    Without any so few it is -1, without any so many total + 1. Surprise grows away from the mean, so bisection finds
    both.
    """
    mean = quantile * total
    few = bisect_left(range(math.ceil(mean)), True, key=lambda below: not _surprise(below, total, quantile, alpha)) - 1
    start = math.floor(mean) + 1
    above = range(start, total + 1)
    return few, start + bisect_left(above, True, key=lambda below: _surprise(below, total, quantile, alpha))


def _surprise(below: int, total: int, quantile: float, alpha: float) -> bool:
    mixture = _log_mixture(below, total)
    likelihood = _xlog(below, quantile) + _xlog(total - below, 1 - quantile)
    return bool(mixture - likelihood > math.log(1 / alpha))


def _log_mixture(bad: int, total: int) -> float:
    """Give the log of B(bad + 1/2, total - bad + 1/2) / B(1/2, 1/2)."""
    return math.lgamma(bad + _PRIOR) + math.lgamma(total - bad + _PRIOR) - math.lgamma(total + 1) - _LOG_PI


def _xlog(count: int, rate: float) -> float:
    if not count:
        return 0.0
    return count * math.log(rate) if rate > 0 else -math.inf


def _edge(outside: Callable[[float], bool], inside: float, far: float) -> float:
    """Find where ``outside`` turns true between a rate inside and the far end, by bisection to 1e-7."""
    if not outside(far):
        return far
    near = inside
    while abs(far - near) > 1e-7:
        middle = (near + far) / 2
        near, far = (near, middle) if outside(middle) else (middle, far)
    return far
