"""When to stop one configuration, and when to stop a search. Pure: they see scores, never a model.

Both rules for a configuration compare it with others on the very same rows, and decide from records alone, so that a
search that is taken up again decides as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Protocol

CHANCE = 0.05
LEAST_RIVALS = 3
REDUCTION = 3


class Rule(Protocol):
    """Says whether a configuration may go on, by its gains so far and those of the finished ones (more is better)."""

    def keeps(self, mine: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Say whether another step is worth it."""
        ...


@dataclass(frozen=True)
class Race:
    """Stop a configuration that has little chance left to beat the best one over all folds.

    All configurations meet the same folds, so the difference to the best one on the same fold is free of what makes
    folds differ. Its spread is taken from the finished ones. The chance that the mean difference over all folds ends
    above zero, given the first k, is that of a normal prediction under a flat prior.

    Source:
        Stochastic curtailment: Lan, Simon & Halperin (Sequential Analysis, 1982). Racing over folds: Maron & Moore
        (NIPS 1993).

    >>> finished = [[0.90, 0.80, 0.85], [0.89, 0.78, 0.84], [0.87, 0.78, 0.83]]
    >>> Race(3).keeps([0.70], finished), Race(3).keeps([0.896], finished)
    (False, True)
    """

    folds: int

    def keeps(self, mine: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Say whether the best one can still be beaten."""
        whole = [other for other in others if len(other) == self.folds]
        k = len(mine)
        if k == 0 or k >= self.folds or len(whole) < LEAST_RIVALS:
            return True
        best = max(whole, key=fmean)
        behind = fmean(m - b for m, b in zip(mine, best, strict=False))
        spread = _spread(best, whole)
        if behind >= 0 or spread == 0.0:
            return behind >= 0
        left = spread * math.sqrt((self.folds - k) / (self.folds * k))
        return NormalDist().cdf(behind / left) >= CHANCE


def _spread(best: Sequence[float], whole: Sequence[Sequence[float]]) -> float:
    """Pool the spread of the differences to the best one over the folds; the best one itself has none."""
    spreads = [stdev([m - b for m, b in zip(other, best, strict=True)]) for other in whole if other is not best]
    return math.sqrt(fmean(spread**2 for spread in spreads))


@dataclass(frozen=True)
class Halving:
    """Let only the best third of those that reached a rung go on to the next, as they come.

    Source:
        Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020): ASHA, in its stopping form.

    >>> Halving(3).keeps([0.5], [[0.9, 0.9], [0.8], [0.4]]), Halving(3).keeps([0.95], [[0.9, 0.9], [0.8], [0.4]])
    (False, True)
    """

    rungs: int

    def keeps(self, mine: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Say whether it is among the best third at its latest rung."""
        k = len(mine)
        if k == 0 or k >= self.rungs:
            return True
        there = sorted([other[k - 1] for other in others if len(other) >= k] + [mine[-1]], reverse=True)
        return mine[-1] >= there[max(1, math.ceil(len(there) / REDUCTION)) - 1]


def rungs(most: int, least: int = 1) -> tuple[int, ...]:
    """Give how much of a resource each rung hands out: a ninth, a third, all of it.

    >>> rungs(300)
    (33, 100, 300)
    >>> rungs(4, least=3)
    (4,)
    """
    steps = [most // REDUCTION**power for power in (2, 1, 0)]
    return tuple(dict.fromkeys(step for step in steps if step >= least and step > 0)) or (most,)


AHEAD = 4
"""A configuration is proposed, and raced, by what came of those so many places before it and earlier. Up to so many
are thus at work at a time, and what is tried, stopped and found does not depend on how many really are."""


def ahead_of(workers: int) -> int:
    """Give how far a search may be ahead of what it knows: more only where more are to work at a time.

    >>> ahead_of(1), ahead_of(4), ahead_of(16)
    (4, 4, 16)
    """
    return max(AHEAD, workers)


def plateaued(gains: Sequence[float], patience: int, tolerance: float = 1e-4) -> bool:
    """Say whether the last ``patience`` finished configurations have not improved on what was best before them.

    Args:
        gains: In the order in which they ended; more is better, −∞ for one that did not get to its end.
        patience: How many must fail to improve.
        tolerance: What counts as none, relative to the best.

    >>> plateaued([0.1, 0.9, 0.8, 0.7], patience=2), plateaued([0.1, 0.9, 0.8, 0.95], patience=2)
    (True, False)
    """
    if len(gains) <= patience:
        return False
    before = max(gains[:-patience])
    if before == -math.inf:
        return False
    return max(gains[-patience:]) <= before + tolerance * abs(before)


def patience_of(trials: int) -> int:
    """Give how many configurations without progress end a search: half of it, and never fewer than twenty.

    >>> patience_of(50), patience_of(6)
    (25, 20)
    """
    return max(20, trials // 2)
