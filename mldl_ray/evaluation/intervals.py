"""Intervals around shares and means without resampling: for the many small figures that a bootstrap would be slow for.

Weighted rows count as Kish's effective number of rows, (Σw)² / Σw².

Sources: Wilson (JASA 1927) for shares; Kish, *Survey Sampling* (1965), section 8.2, for the effective number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from contracts.evaluations import Interval

Doubles = npt.NDArray[np.float64]

LEVEL = 0.95


def effective_rows(mass: Doubles) -> float:
    """Give how many rows of equal weight would know as much.

    >>> effective_rows(np.array([1.0, 1.0, 2.0])).__round__(3)
    2.667
    """
    return float(mass.sum() ** 2 / (mass**2).sum())


def of_share(share: float, rows: float) -> Interval:
    """Give Wilson's score interval of a share: within 0 and 1, and honest at both ends.

    Args:
        share: What was seen, 0 to 1.
        rows: Over how many rows, above 0.

    >>> found = of_share(0.0, 30)
    >>> found.low, round(found.high, 3)
    (0.0, 0.114)
    """
    z = float(ndtri((1 + LEVEL) / 2))
    share = min(1.0, max(0.0, share))
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    low = 0.0 if share == 0 else min(share, max(0.0, float(centre - half)))
    high = 1.0 if share == 1 else max(share, min(1.0, float(centre + half)))
    return Interval(value=share, low=low, high=high, level=LEVEL)


def of_mean(values: Doubles, mass: Doubles) -> Interval:
    """Give Student's interval of a weighted mean; two rows or more.

    >>> found = of_mean(np.array([1.0, 2.0, 3.0]), np.ones(3))
    >>> round(found.low, 3), found.value, round(found.high, 3)
    (-0.484, 2.0, 4.484)
    """
    rows = effective_rows(mass)
    mean = float(np.average(values, weights=mass))
    variance = float(np.average((values - mean) ** 2, weights=mass)) / max(rows - 1, 1e-9)
    half = float(stdtrit(max(rows - 1, 1e-9), (1 + LEVEL) / 2)) * float(np.sqrt(variance))
    return Interval(value=mean, low=mean - half, high=mean + half, level=LEVEL)
