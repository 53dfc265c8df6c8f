"""A shadow's answers beside stable's to the same rows, counted per epoch. How they find each other is in ``answers``.

Each sticky key counts once for what is tested: with its first pair, and with its first labelled pair. All pairs are
counted beside that. Everything is of fixed size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from contracts.rollouts import PAIR_BINS, PairTelemetry
from mldl_ray.monitoring.firsts import Firsts
from mldl_ray.monitoring.outcomes import is_number, same_value


class Side(NamedTuple):
    """One version's answer to a row."""

    value: Any
    score: float | None


class PairCounts:
    """The pairs of one rollout in one epoch.

    Args:
        firsts: The ledger of the rollout's shadow.
        task: Of the shadow's version; decides how answers differ.
    """

    def __init__(self, firsts: Firsts, task: str | None = None) -> None:
        self._firsts, self._values = firsts, task == "regression"
        self.pairs = self.agreeing = self.keys = self.keys_agreeing = 0
        self._shifts, self._errors = (np.zeros(PAIR_BINS, dtype=np.int64) for _ in range(2))
        self._right = np.zeros((2, 2), dtype=np.int64)  # stable wrong or not × shadow wrong or not

    def add(self, stable: Side, shadow: Side, key: int) -> None:
        """Count two answers to one row."""
        same = same_value(stable.value, shadow.value)
        self.pairs += 1
        self.agreeing += same
        if not self._firsts.first("pair", key):
            return
        self.keys += 1
        self.keys_agreeing += same
        if stable.score is not None and shadow.score is not None:
            self._shifts[_bin(self._shift(stable.score, shadow.score))] += 1

    def judge(self, label: Any, stable: Side, shadow: Side, key: int) -> None:
        """Count the label of a pair, if it is its key's first."""
        if not self._firsts.first("labelled pair", key):
            return
        self._right[int(not same_value(label, stable.value)), int(not same_value(label, shadow.value))] += 1
        if self._values and all(is_number(value) for value in (label, stable.value, shadow.value)):
            self._errors[_bin(relative(abs(label - stable.value), abs(label - shadow.value)))] += 1

    def telemetry(self, epoch: int) -> PairTelemetry:
        """Give the counts."""
        (both_right, only_candidate), (only_stable, both_wrong) = self._right.tolist()
        return PairTelemetry(
            epoch=epoch,
            pairs=self.pairs,
            agreeing=self.agreeing,
            keys=self.keys,
            keys_agreeing=self.keys_agreeing,
            shift_counts=tuple(self._shifts.tolist()) if self._shifts.any() else (),
            both_right=both_right,
            only_candidate_wrong=only_candidate,
            only_stable_wrong=only_stable,
            both_wrong=both_wrong,
            error_counts=tuple(self._errors.tolist()) if self._errors.any() else (),
        )

    def _shift(self, stable: float, shadow: float) -> float:
        if not self._values and 0 <= stable <= 1 and 0 <= shadow <= 1:
            return shadow - stable
        return relative(stable, shadow)


def relative(stable: float, shadow: float) -> float:
    """Give the difference of two numbers over the sum of their sizes: in [-1, 1], whatever their unit.

    >>> relative(3.0, 1.0), relative(0.0, 0.0), relative(0.0, 2.0)
    (-0.5, 0.0, 1.0)
    """
    size = abs(stable) + abs(shadow)
    if not size or size == float("inf"):
        return 0.0 if stable == shadow else (1.0 if shadow > stable else -1.0)
    return (shadow - stable) / size


def _bin(difference: float) -> int:
    return round((difference + 1) / 2 * (PAIR_BINS - 1))
