"""Bets on the mean of bounded values: paired differences and costs. Anytime-valid, from counts that add up.

A gambler who stakes a fixed part of the wealth on every value being above a mean cannot expect to win while it is not,
so the wealth is an e-process; several gamblers with different stakes, averaged, are one too. With fixed stakes the
wealth depends on how often each value came and not on the order, so that counts are enough.

Sources: Waudby-Smith & Ramdas, *Estimating means of bounded random variables by betting* (JRSS-B 2023), section 4 for
the capital process and the confidence sequence that it gives by inversion, here with a mixture over fixed bets (their
grid) in place of predictable ones; Ville (1939).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from contracts.rollouts import PAIR_BINS
from mldl_ray.deployment.evidence import Bounds

STAKES = tuple(0.95 * 0.6**step for step in range(14))
"""Parts of the wealth that the gamblers lose on a value of 0: 0.95 down to 0.0012, each with the same capital."""
_STAKES = np.array(STAKES)[:, None]
_PRECISION = 1e-5


def mean_e_value(values: Sequence[float], counts: Sequence[int], mean: float) -> float:
    """Measure the evidence that values in [0, 1] have a mean above ``mean``.

    Args:
        values: The values that there can be, each in [0, 1].
        counts: How often each came.
        mean: In (0, 1): the largest mean under the null hypothesis.

    Returns:
        An e-value: reject at level alpha when it reaches 1/alpha.

    >>> mean_e_value([0, 0.5, 1], [0, 90, 10], 0.5) > 20
    True
    >>> mean_e_value([0, 1], [0, 0], 0.5)
    1.0
    """
    return math.exp(min(700.0, _log_e(np.asarray(values, float), np.asarray(counts, float), mean)))


def paired_e_value(only_candidate: int, only_stable: int) -> float:
    """Measure the evidence that of two answers to the same row the candidate's is wrong more often than stable's.

    Each pair is a bet on wrong (1) or right (0) of the candidate less that of stable; pairs where both are right or
    both wrong change nothing.

    Args:
        only_candidate: Pairs where only the candidate was wrong.
        only_stable: Pairs where only stable was.

    >>> paired_e_value(20, 2) > 20 > paired_e_value(11, 11)
    True
    """
    return mean_e_value((0.0, 1.0), (only_stable, only_candidate), 0.5)


def mean_bounds(values: Sequence[float], counts: Sequence[int], alpha: float) -> Bounds:
    """Bound the mean of values in [0, 1], simultaneously for all sample sizes.

    Args:
        values: The values that there can be, each in [0, 1].
        counts: How often each came.
        alpha: Probability that the true mean is ever outside; half of it for each side.

    >>> low, high = mean_bounds([0, 0.25, 1], [800, 150, 50], 0.05)
    >>> low < 0.0875 < high and high - low < 0.06
    True
    """
    kept = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    return _mean_bounds(tuple(kept), alpha)


def difference_bounds(counts: Sequence[int], alpha: float) -> Bounds:
    """Bound the mean of paired differences in [-1, 1] from their histogram (``PAIR_BINS`` bins, read at the middles).

    >>> difference_bounds([0] * 201, 0.05)
    Bounds(low=-1.0, high=1.0)
    """
    last = PAIR_BINS - 1
    found = mean_bounds([place / last for place in range(PAIR_BINS)], counts, alpha)
    slack = 1 / last if any(counts) else 0.0  # a value is half a bin from its middle at most
    return Bounds(max(-1.0, 2 * found.low - 1 - slack), min(1.0, 2 * found.high - 1 + slack))


def difference_e_value(counts: Sequence[int]) -> float:
    """Measure the evidence that paired differences in [-1, 1] have a mean above 0, less what their bins may hide."""
    last = PAIR_BINS - 1
    return mean_e_value([place / last for place in range(PAIR_BINS)], counts, 0.5 + 0.5 / last)


def difference_mean(counts: Sequence[int]) -> float | None:
    """Give the mean of paired differences from their histogram; None when there are none."""
    total = sum(counts)
    return sum(n * (2 * i / (PAIR_BINS - 1) - 1) for i, n in enumerate(counts) if n) / total if total else None


@lru_cache(maxsize=2048)
def _mean_bounds(kept: tuple[tuple[float, int], ...], alpha: float) -> Bounds:
    if not kept:
        return Bounds(0.0, 1.0)
    values, counts = np.array([v for v, _ in kept], float), np.array([n for _, n in kept], float)
    mean, limit = float((values * counts).sum() / counts.sum()), math.log(2 / alpha)
    return Bounds(_lowest(values, counts, mean, limit), 1 - _lowest(1 - values, counts, 1 - mean, limit))


def _lowest(values: Any, counts: Any, mean: float, limit: float) -> float:
    """Find the smallest mean that is not rejected, by bisection; the evidence against one grows as that falls."""
    low, high = 0.0, mean
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if _log_e(values, counts, middle) >= limit else (low, middle)
    return low


def _log_e(values: Any, counts: Any, mean: float) -> float:
    logs = np.log1p(_STAKES * (values / mean - 1)) @ counts
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))
