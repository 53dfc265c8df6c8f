"""How far stated confidence is from observed accuracy: the figures, and the bins that they are made in.

Not here: making probabilities better (``calibration``), and how sure the figures are (``_bootstrap``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

BINS = 15
_TINY = 1e-12


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Measure how far stated confidence is from observed accuracy, in bins of equal width.

    The figure that people expect, and one that is never 0 by chance alone: a perfectly calibrated model gets about 0.12
    from 100 rows and 0.04 from 1,000. ``debiased_calibration_error`` takes that away.

    Args:
        confidence: Probability of the predicted class, shape ``(n,)``, in [0, 1].
        correct: Whether that class was right, shape ``(n,)``, 0 or 1.
        bins: Number of bins of equal width over [0, 1]; bins without rows count nothing.

    Returns:
        Mean gap weighted by rows, in [0, 1]; 0 is perfectly calibrated.

    Raises:
        Incompatible: The shapes differ, there are no rows, or values are outside [0, 1].

    Source:
        Naeini, Cooper & Hauskrecht (AAAI 2015).

    >>> expected_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0])
    0.0
    >>> round(expected_calibration_error([0.9, 0.9, 0.3], [1, 0, 0]), 4)
    0.3667
    """
    p, hit = _checked_pairs(confidence, correct, bins)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=p - hit, minlength=bins)
    return _tidy(float(np.abs(gaps).sum() / len(p)))


def debiased_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Measure the same in bins of equal mass, less the part that sampling alone explains.

    On average a bin's squared gap is too large by the variance of its hit rate; without that part the sum of squares is
    unbiased. The plain figure is scaled by the root of the share of the squares that remains, which keeps its unit.

    Args:
        confidence: Probability of the predicted class, shape ``(n,)``, in [0, 1].
        correct: Whether that class was right, shape ``(n,)``, 0 or 1.
        bins: Number of bins of equal mass; fewer where that would leave fewer than two rows in one.

    Returns:
        A gap in [0, 1]; 0 when sampling explains all of it. Below four rows there is no telling, and it is 0.

    Raises:
        Incompatible: As ``expected_calibration_error``.

    Source:
        Kumar, Liang & Ma (NeurIPS 2019), section 5, for the unbiased squares.

    >>> debiased_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0])
    0.0
    >>> round(debiased_calibration_error([0.9] * 1000, [1, 0] * 500, bins=1), 4)
    0.3997
    """
    p, hit = _checked_pairs(confidence, correct, bins)
    edges = np.linspace(0, len(p), max(1, min(bins, len(p) // 2)) + 1).astype(np.int64)
    order, rows = np.argsort(p, kind="stable"), np.diff(edges)
    if rows.min() < 2:
        return 0.0
    rate = np.add.reduceat(hit[order], edges[:-1]) / rows
    gap = np.abs(np.add.reduceat(p[order], edges[:-1]) / rows - rate)
    squares = float((rows * gap**2).sum())
    noise = float((rows * rate * (1 - rate) / (rows - 1)).sum())
    if squares <= noise:
        return 0.0
    return _tidy(float((rows * gap).sum() / len(p)) * float(np.sqrt(1 - noise / squares)))


def top_label(proba: Doubles, truth: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Give each row's confidence in its predicted class, and whether that class was right (0 or 1).

    >>> top_label(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1]))
    (array([0.8, 0.6]), array([1., 0.]))
    """
    return proba.max(axis=1), (proba.argmax(axis=1) == truth).astype(np.float64)


class Binned(NamedTuple):
    """What lies in each bin, for many weightings of the same rows at once; shape ``(b, bins)`` each."""

    rows: Doubles  # mass, which counts as rows
    stated: Doubles  # sum of stated probabilities
    right: Doubles  # mass of rows that it came true for


def binned(p: Doubles, hit: Doubles, place: Places, mass: Doubles) -> Binned:
    """Sum rows by bin.

    Args:
        p: Stated probability of each row, ``(n,)``.
        hit: Whether it came true, ``(n,)``, 0 or 1.
        place: The bin of each row, ``(n,)``.
        mass: The weight of each row in each weighting, ``(b, n)``.
    """
    inside = (place[:, None] == np.arange(place.max() + 1)).astype(np.float64)
    return Binned(mass @ inside, mass @ (p[:, None] * inside), mass @ (hit[:, None] * inside))


def equal_width(p: Doubles, bins: int = BINS) -> Places:
    """Give each row's bin among bins of equal width over [0, 1]."""
    return np.minimum((p * bins).astype(np.int64), bins - 1)


def equal_mass(p: Doubles, bins: int = BINS) -> Places:
    """Give each row's bin among bins of equally many rows, two at least."""
    edges = np.linspace(0, len(p), max(1, min(bins, len(p) // 2)) + 1).astype(np.int64)
    place = np.empty(len(p), dtype=np.int64)
    place[np.argsort(p, kind="stable")] = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    return place


def plain_error(bins: Binned) -> Doubles:
    """Give the mean gap, weighted by rows, of each weighting; shape ``(b,)``."""
    return np.asarray(np.abs(bins.stated - bins.right).sum(axis=1) / bins.rows.sum(axis=1))


def debiased_error(bins: Binned) -> Doubles:
    """Give the same less what sampling explains, see ``debiased_calibration_error``; shape ``(b,)``.

    A bin of fewer than two rows cannot tell its own noise and takes no part in the correction.
    """
    told = bins.rows >= 2
    rate = np.divide(bins.right, bins.rows, out=np.zeros_like(bins.rows), where=told)
    gap = np.divide(bins.stated, bins.rows, out=np.zeros_like(bins.rows), where=told) - rate
    squares = (bins.rows * gap**2).sum(axis=1)
    noise = np.divide(bins.rows * rate * (1 - rate), bins.rows - 1, out=np.zeros_like(rate), where=told).sum(axis=1)
    left = 1 - np.divide(noise, squares, out=np.ones_like(noise), where=squares > 0)
    return np.asarray(plain_error(bins) * np.sqrt(np.maximum(0.0, left)))


def _checked_pairs(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int) -> tuple[Doubles, Doubles]:
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if p.ndim != 1 or p.shape != hit.shape or len(p) == 0:
        raise Incompatible(f"confidence and correct must be vectors of one length ≥ 1, got {p.shape} and {hit.shape}")
    if bins < 1:
        raise Incompatible(f"bins must be at least 1, got {bins}")
    for what, values in (("confidence", p), ("correct", hit)):
        if not ((values >= 0) & (values <= 1)).all():
            raise Incompatible(f"{what} must lie in [0, 1], got {values.min()} to {values.max()}")
    return p, hit


def _tidy(value: float) -> float:
    return 0.0 if value < _TINY else value  # 0.8 − 4/5 is 1e-17 in doubles
