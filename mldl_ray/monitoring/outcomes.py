"""What labels said about answers: accuracy and calibration as sums of fixed size. Not here: how labels find answers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from mldl_ray.deployment.miscalibration import ConfidenceBin, least_calibration_error
from mldl_ray.monitoring.promise import error_size

BINS = 15
DRAWS = 200
LEAST_LABELS = 500
"""Below this many labels a calibration error is mostly noise (a perfect model shows 0.04 at 1,000) and is not given."""


def same_value(label: Any, prediction: Any) -> bool:
    """Say whether two JSON scalars are equal: numbers by value, and a boolean is no number.

    >>> same_value(1, 1.0), same_value(True, 1), same_value("1", 1), same_value("a", "a")
    (True, False, False, True)
    """
    if isinstance(label, bool) or isinstance(prediction, bool):
        return label is prediction
    return type(label) in {int, float, str} and type(prediction) in {int, float, str} and bool(label == prediction)


class Outcomes:
    """Labelled answers, added up.

    The score of a classification is the probability of the second of two classes, or of the chosen one of several.
    Which of the two it was is known to whoever reads the figure, so both confidences are binned.
    """

    def __init__(self) -> None:
        self.labelled = self.correct = 0
        self.scored = 0
        self.absolute_error = 0.0
        self.error_sizes: Counter[int] = Counter()  # see ``promise``
        self._bins = np.zeros((2, 3, BINS))  # two or several classes × (rows, confidence, hits) × bin

    def add(self, label: Any, value: Any, score: float | None) -> None:
        """Count one labelled answer and the score it came with."""
        hit = same_value(label, value)
        self.labelled += 1
        self.correct += hit
        if is_number(label) and is_number(value):
            self.absolute_error += abs(label - value)
            self.error_sizes[error_size(abs(label - value))] += 1
        if score is None or not 0 <= score <= 1:
            return
        self.scored += 1
        for place, confidence in enumerate((max(score, 1 - score), score)):
            self._bins[place, :, min(int(confidence * BINS), BINS - 1)] += (1, confidence, hit)

    @property
    def accuracy(self) -> float | None:
        """Share of labelled answers that equalled their label."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def mean_absolute_error(self) -> float | None:
        """Mean distance from the label; for regression."""
        return self.absolute_error / self.labelled if self.labelled else None

    def ece(self, classes: int) -> float | None:
        """Give the calibration error of the predicted class, less the part that sampling alone explains, in [0, 1].

        Equal-width bins; None below ``LEAST_LABELS`` labels.

        Source:
            Naeini, Cooper & Hauskrecht (AAAI 2015) for the sum over bins; Kumar, Liang & Ma (NeurIPS 2019), section 5,
            for the bias of squared gaps.
        """
        return _debiased(self._bins[0 if classes == 2 else 1]) if self.scored >= LEAST_LABELS else None

    def ece_error(self, classes: int) -> float:
        """Give the standard error of ``ece``, from 200 draws of each bin's hits at the rate that was seen.

        Source:
            The parametric bootstrap: Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 6.5.
        """
        rows, confidence, hits = self._bins[0 if classes == 2 else 1]
        rates, random = hits / np.maximum(rows, 1), np.random.default_rng(DRAWS)
        drawn = random.binomial(rows.astype(np.int64), rates, (DRAWS, BINS))
        return float(np.std([_debiased(np.array((rows, confidence, one))) for one in drawn]))

    def sure_ece(self, classes: int | None, alpha: float) -> float | None:
        """Give the calibration error that there surely is, however often one looks; None without scored labels."""
        if not classes or not self.scored:
            return None
        bins = self._bins[0 if classes == 2 else 1].T
        sums = [ConfidenceBin(int(rows), float(confidence), int(hits)) for rows, confidence, hits in bins]
        return least_calibration_error(sums, alpha)

    def plus(self, other: Outcomes) -> Outcomes:
        """Add up two."""
        total = Outcomes()
        for part in (self, other):
            total.labelled += part.labelled
            total.correct += part.correct
            total.scored += part.scored
            total.absolute_error += part.absolute_error
            total.error_sizes.update(part.error_sizes)
            total._bins += part._bins
        return total

    def minus(self, earlier: Outcomes) -> Outcomes:
        """Give what came since an earlier copy of the same sums (``plus`` makes one)."""
        since = Outcomes()
        since.labelled, since.correct = self.labelled - earlier.labelled, self.correct - earlier.correct
        since.scored, since.absolute_error = self.scored - earlier.scored, self.absolute_error - earlier.absolute_error
        since.error_sizes = self.error_sizes - earlier.error_sizes
        since._bins = self._bins - earlier._bins
        return since


def _debiased(bins: Any) -> float:
    rows, confidence, hits = bins[:, bins[0] >= 2]
    if not rows.size:
        return 0.0
    rate = hits / rows
    gap = np.abs(confidence / rows - rate)
    squares, noise = float((rows * gap**2).sum()), float((rows * rate * (1 - rate) / (rows - 1)).sum())
    if squares <= noise:
        return 0.0
    return float((rows * gap).sum() / bins[0].sum()) * math.sqrt(1 - noise / squares)


def is_number(value: Any) -> bool:
    """Say whether a JSON scalar is a number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
