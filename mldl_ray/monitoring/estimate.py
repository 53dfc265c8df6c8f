"""Accuracy without labels, from how confident answers were: true where the version is calibrated on this traffic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from contracts.specs import Json

Z = 1.96
ASSUMPTION = "the version is calibrated on this traffic: of answers with confidence c, the share c is right"


class Confidences:
    """Add up confidences of answers, in a fixed size.

    >>> seen = Confidences()
    >>> seen.add(np.array([0.9, 0.1, 0.8, float("nan")]))
    >>> estimate = seen.accuracy(classes=2)
    >>> round(estimate["estimate"], 3), estimate["rows"]
    (0.867, 3)
    >>> seen.accuracy(classes=None) is None
    True
    """

    def __init__(self) -> None:
        self._sums = np.zeros((2, 3))  # two or several classes x (rows, sum of c, sum of c(1-c))

    def add(self, scores: Any) -> None:
        """Count scores: of two classes the second's probability, of several the chosen one's; others are left out."""
        scores = scores[(scores >= 0) & (scores <= 1)]  # false for NaN too
        for place, confidence in enumerate((np.maximum(scores, 1 - scores), scores)):
            self._sums[place] += (len(scores), confidence.sum(), (confidence * (1 - confidence)).sum())

    def plus(self, other: Confidences) -> Confidences:
        """Add up two."""
        total = Confidences()
        total._sums = self._sums + other._sums
        return total

    def accuracy(self, classes: int | None) -> Json | None:
        """Estimate the accuracy of all answers, with a 95% interval for what labels would show; None without scores.

        Source:
            Average confidence: Guillory et al., Predicting with confidence on unseen distributions (ICCV 2021); the
            interval is the normal one of a sum of independent answers, each right with its confidence.
        """
        rows, total, variance = self._sums[0 if classes == 2 else 1].tolist()
        if not classes or not rows:
            return None
        estimate, half = total / rows, Z * math.sqrt(variance) / rows
        return {
            "estimate": estimate,
            "low": max(0.0, estimate - half),
            "high": min(1.0, estimate + half),
            "rows": int(rows),
            "assumption": ASSUMPTION,
        }
