"""What a version's held-out rows promise about its labelled answers: how often they are wrong, at most. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv

MISS = 0.01
"""Chance that a version is truly worse than what its held-out rows are taken to promise."""
FAR = 0.9
"""Of values: an answer counts as wrong when it is further off than this share of the held-out ones."""
_STEP = math.log(1.05)
_MOST_SIZE = 1_000


class Promise(NamedTuple):
    """How often held-out answers were wrong. ``far``: of values, what counts as wrong; None for classes."""

    rate: float
    at_most: float
    rows: int
    far: float | None = None

    def wrong(self, labelled: int, correct: int, sizes: Mapping[int, int]) -> int:
        """Count the wrong ones among labelled answers; a value is wrong only when it surely is, to 5%."""
        if self.far is None:
            return labelled - correct
        least = error_size(self.far)
        return sum(count for size, count in sizes.items() if size > least)


def promise_of(losses: Any, *, values: bool) -> Promise | None:
    """Read the promise off held-out losses: 0 or 1 each, or distances of values; None without any.

    Source:
        Clopper & Pearson (1934). For values: the chance that a new error exceeds the k-th largest of m is
        Beta(k, m - k + 1) by order statistics, which bounds it in the same way.

    >>> promise = promise_of([0, 0, 0, 1] * 100, values=False)
    >>> round(promise.rate, 2), round(promise.at_most, 2)
    (0.25, 0.3)
    """
    losses = np.asarray(losses, dtype=np.float64)
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        return None
    far = float(np.quantile(losses, FAR, method="higher")) if values else None
    wrong = int((losses > (0.5 if far is None else far)).sum())
    rows = len(losses)
    at_most = 1.0 if wrong == rows else float(betaincinv(wrong + 1, rows - wrong, 1 - MISS))
    return Promise(wrong / rows, at_most, rows, far)


def error_size(error: float) -> int:
    """Give the size of an error in steps of 5%: what is counted, because every single error would be too much to keep.

    >>> error_size(1.0), error_size(1.06), error_size(0.0)
    (0, 1, -1000)
    """
    if error <= 0:
        return -_MOST_SIZE
    return max(-_MOST_SIZE, min(_MOST_SIZE, math.floor(math.log(error) / _STEP)))
