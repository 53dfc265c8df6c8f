"""How far off confidences surely are, however often one looks. Pure; the counts come from the monitor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

TUNED_FOR = 500 / 4
"""Variance at which the bound is tightest: of 500 labels, each of which adds a quarter at most."""


class ConfidenceBin(NamedTuple):
    """Labelled answers of similar confidence."""

    rows: int
    confidence: float
    """Sum over the rows."""
    right: int


def least_calibration_error(bins: Iterable[ConfidenceBin], alpha: float) -> float:
    """Bound the expected calibration error from below, simultaneously for all sample sizes.

    Right less confidence is a bounded difference, so the bins' sums of it, each with a sign, exceed their expectation
    as a Gaussian of variance rows / 4 would at most. The mixture of that over all signs and over a normal stake is a
    supermartingale; every bin that has rows costs it a factor of two, because its sign was not known before.

    Args:
        bins: Disjoint by confidence; which bin an answer falls into must not depend on its label.
        alpha: Probability that the true error is ever below what is returned.

    Returns:
        In [0, 1]; 0 when nothing is sure.

    Source:
        Robbins (1970) for the normal mixture; Howard, Ramdas, McAuliffe & Sekhon, *Time-uniform, nonparametric,
        nonasymptotic confidence sequences* (Annals of Statistics 2021), for sub-Gaussian differences.

    >>> round(least_calibration_error([ConfidenceBin(10_000, 9_500.0, 8_000)], 0.05), 3)
    0.133
    >>> least_calibration_error([ConfidenceBin(100, 95.0, 90)], 0.05), least_calibration_error([], 0.05)
    (0.0, 0.0)
    """
    filled = [one for one in bins if one.rows]
    rows = sum(one.rows for one in filled)
    if not rows:
        return 0.0
    variance = rows / 4 + TUNED_FOR
    price = math.log(variance / TUNED_FOR) + 2 * (len(filled) * math.log(2) - math.log(alpha))
    sure = sum(abs(one.right - one.confidence) for one in filled) - math.sqrt(variance * price)
    return max(0.0, sure / rows)
