"""F1, AUROC and RMSE of labelled answers with 95% intervals, from sums of fixed size. Not here: calibration.

Every interval treats labelled answers as independent draws of the traffic, and is for one look at it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from contracts.specs import Json
from mldl_ray.evaluation.intervals import of_share
from mldl_ray.monitoring.estimate import Z

MOST_CELLS = 4096
"""Pairs of label and prediction that are told apart: 64 classes squared. With more, there is no F1."""
MOST_RANKED = 2
"""Labels whose scores are kept: an AUROC is of two classes."""
SCORE_BINS = 512
_KIND: Final = {bool: "boolean", str: "text", int: "number", float: "number"}
Vector = npt.NDArray[np.float64]
Value = tuple[str, Any]


class Quality:
    """Labelled answers, added up by what they were and should have been."""

    def __init__(self) -> None:
        self._cells: Counter[tuple[Value, Value]] = Counter()
        self._scores: dict[Value, Vector] = {}
        self._too_many = False
        self._distances = np.zeros(3)  # numbers, sum of squared errors, sum of their squares

    def add(self, label: Any, value: Any, score: float | None) -> None:
        """Count one labelled answer and the score it came with."""
        truth, answer = _value(label), _value(value)
        if truth[0] == answer[0] == "number":
            distance = float(label - value)
            square = distance * distance  # infinite where ``**`` would raise
            self._distances += (1, square, square * square)
        self._cell((truth, answer), 1)
        if score is not None and 0 <= score <= 1 and (truth in self._scores or len(self._scores) <= MOST_RANKED):
            place = min(int(score * SCORE_BINS), SCORE_BINS - 1)
            self._scores.setdefault(truth, np.zeros(SCORE_BINS))[place] += 1

    def plus(self, other: Quality) -> Quality:
        """Add up two."""
        total = Quality()
        for part in (self, other):
            total._too_many |= part._too_many
            total._distances += part._distances
            for cell, count in part._cells.items():
                total._cell(cell, count)
            for label, counts in part._scores.items():
                total._scores[label] = total._scores.get(label, 0) + counts
        return total

    def f1(self, last_class: Any) -> Json | None:
        """Give the F1 of ``last_class`` with its interval; None where it was neither true nor answered."""
        if self._too_many:
            return None
        positive = _value(last_class)
        met = sum(count for cell, count in self._cells.items() if positive in cell)
        return positive_f1(self._cells[positive, positive], met)

    def f1_macro(self) -> Json | None:
        """Give the macro-averaged F1 with its interval; None without labels, or of more classes than are told apart."""
        if self._too_many or not self._cells:
            return None
        names = {name: place for place, name in enumerate(dict.fromkeys(one for cell in self._cells for one in cell))}
        matrix = np.zeros((len(names), len(names)))
        for (truth, answer), count in self._cells.items():
            matrix[names[truth], names[answer]] = count
        return macro_f1(matrix)

    def auroc(self, last_class: Any) -> Json | None:
        """Give the AUROC of two classes, whose score is the probability of ``last_class``; None until both were met."""
        positive = self._scores.get(_value(last_class))
        others = [counts for label, counts in self._scores.items() if label != _value(last_class)]
        return None if positive is None or len(others) != 1 else delong(positive, others[0])

    def rmse(self) -> Json | None:
        """Give the root of the mean squared error; None without numbers."""
        return root_mean_square(*self._distances.tolist())

    def _cell(self, cell: tuple[Value, Value], count: int) -> None:
        if cell in self._cells or len(self._cells) < MOST_CELLS:
            self._cells[cell] += count
        else:
            self._too_many = True


def wilson(part: int, whole: int) -> Json | None:
    """Give a share with Wilson's score interval; None of nothing.

    Source:
        The example is of Newcombe (Statistics in Medicine 1998), table I.

    >>> found = wilson(81, 263)
    >>> round(found["estimate"], 4), round(found["low"], 4), round(found["high"], 4)
    (0.308, 0.2553, 0.3662)
    """
    if not whole:
        return None
    found = of_share(part / whole, whole)
    return _figure(found.value, found.low, found.high, whole, "Wilson")


def positive_f1(both: int, either: int) -> Json | None:
    """Give the F1 of one class: of ``either`` rows, true or answered so, ``both`` were both; None of no rows.

    F1 is 2J / (1 + J) of the share J of those rows, and rises with it, so Wilson's bounds of J are turned into its own.

    >>> round((positive_f1(30, 60) or {})["estimate"], 4)
    0.6667
    """
    share = wilson(both, either)
    if share is None:
        return None
    estimate, low, high = (2 * share[name] / (1 + share[name]) for name in ("estimate", "low", "high"))
    return _figure(estimate, low, high, either, "Wilson, of the Jaccard index")


def macro_f1(matrix: Vector) -> Json:
    """Give the mean of the classes' F1 from counts (truth × answer), with the delta method's interval.

    Source:
        Takahashi et al. (Applied Intelligence 2022), Confidence interval for micro-averaged F1 and macro-averaged F1.

    >>> round(macro_f1(np.array([[30.0, 10.0], [20.0, 40.0]]))["estimate"], 4)
    0.697
    """
    rows = matrix.sum()
    shares = matrix / rows
    sums = shares.sum(axis=0) + shares.sum(axis=1)
    each = 2 * np.diag(shares) / sums
    slope = -((each / sums)[:, None] + (each / sums)[None, :])
    np.fill_diagonal(slope, 2 * (1 - each) / sums)
    slope /= len(matrix)
    variance = float((shares * slope**2).sum() - (shares * slope).sum() ** 2) / float(rows)
    estimate, half = float(each.mean()), Z * math.sqrt(max(0.0, variance))
    sure = wilson(int(matrix.trace()), int(rows)) if half < 1e-9 else None
    low, high = (sure["low"], sure["high"]) if sure else (estimate - half, estimate + half)
    return _figure(estimate, max(0.0, low), min(1.0, high), int(rows), "delta method")


def delong(positive: Vector, negative: Vector) -> Json | None:
    """Give the area under the ROC curve from counts per bin of score, ties by half, with DeLong's interval.

    The interval is made on the logit, so that it stays within 0 and 1. None below two of either class. Scores in one
    bin of 1/512 are ties.

    Source:
        DeLong, DeLong & Clarke-Pearson (Biometrics 1988); logit: Pepe, The Statistical Evaluation of Medical Tests
        (2003), section 5.2.

    >>> delong(np.array([0.0, 0.0, 5.0]), np.array([5.0, 0.0, 0.0]))["estimate"]
    1.0
    >>> delong(np.array([3.0, 3.0]), np.array([3.0, 3.0]))["estimate"]
    0.5
    """
    ups, downs = float(positive.sum()), float(negative.sum())
    if ups < 2 or downs < 2:
        return None
    beaten = (np.cumsum(negative) - negative / 2) / downs
    beating = 1 - (np.cumsum(positive) - positive / 2) / ups
    area = float(positive @ beaten) / ups
    spread = float(positive @ (beaten - area) ** 2) / (ups - 1) / ups
    spread += float(negative @ (beating - area) ** 2) / (downs - 1) / downs
    rows = int(ups + downs)
    if not 0 < area < 1 or spread == 0:  # nothing varies: as many independent pairs as there are of the rarer class
        sure = wilson(round(area * min(ups, downs)), int(min(ups, downs))) or {}
        return _figure(area, sure["low"], sure["high"], rows, "Wilson, of disjoint pairs")
    logit, half = math.log(area / (1 - area)), Z * math.sqrt(spread) / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-max(-700.0, min(700.0, at)))) for at in (logit - half, logit + half))
    return _figure(area, low, high, rows, "DeLong on the logit")


def root_mean_square(rows: float, squares: float, fourths: float) -> Json | None:
    """Give the root mean squared error from sums of squared errors and of their squares; interval of the mean, rooted.

    >>> root_mean_square(4, 4.0, 4.0)
    {'estimate': 1.0, 'low': 1.0, 'high': 1.0, 'rows': 4, 'interval': 'normal, of the mean square'}
    >>> root_mean_square(0, 0.0, 0.0) is None
    True
    """
    if not rows or not math.isfinite(fourths):
        return None
    mean = squares / rows
    half = Z * math.sqrt(max(0.0, fourths / rows - mean * mean) / rows)
    low, high = math.sqrt(max(0.0, mean - half)), math.sqrt(mean + half)
    return _figure(math.sqrt(mean), low, high, int(rows), "normal, of the mean square")


def _figure(estimate: float, low: float, high: float, rows: int, interval: str) -> Json:
    return {"estimate": estimate, "low": low, "high": high, "rows": rows, "interval": interval}


def _value(value: Any) -> Value:
    """Tell values apart as ``outcomes.same_value`` does: 1 is 1.0, and True is neither."""
    return _KIND.get(type(value), "other"), value if type(value) in _KIND else None
