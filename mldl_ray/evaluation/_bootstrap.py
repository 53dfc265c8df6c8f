"""How far a figure would move with other rows: one set of stratified resamples, shared by all figures of an evaluation.

A resample is a vector of how often each row was drawn, so all of them together are a matrix, and a figure of all of
them is arithmetic on it (``_figures``). 6,500 rows and five metrics take about a fifth of a second.

What keeps it cheap: ``RESAMPLES`` draws; of more than ``MOST_ROWS`` rows a stratified part is resampled, and the spread
is narrowed by the root of that part, as it would be by the missing rows (m-out-of-n bootstrap).

Sources: Efron & Tibshirani (1993), chapters 8 and 13; Bickel, Götze & van Zwet (1997) for m out of n; Clopper & Pearson
(1934) for the figures that no resample moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from contracts.evaluations import Interval

Doubles = npt.NDArray[np.float64]

RESAMPLES = 200
MOST_ROWS = 20_000
LEVEL = 0.95
_CELLS = 1_000_000  # of a resample matrix at once: 8 MB, which stays near the processor
_STREAM = 1  # apart from a caller's default_rng(seed), which may have drawn the rows themselves
_FEWEST = 20  # draws of an interval, where some left the figure undefined


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws with replacement within each stratum: the rows drawn from, and how often, ``(draws, kept)``."""

    kept: npt.NDArray[np.int64]
    counts: npt.NDArray[np.uint16]
    rows: int
    smallest: int  # rows of the smallest stratum

    @classmethod
    def draw(cls, strata: npt.NDArray[Any], seed: int, draws: int = RESAMPLES) -> Self:
        """Draw; the same seed gives the same.

        Args:
            strata: The stratum of each row; each keeps its number of rows in every draw, so no class ever vanishes.
            seed: Of the draws.
            draws: How many.
        """
        random = np.random.default_rng([seed, _STREAM])
        groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        smallest = min(len(group) for group in groups)
        if len(strata) > MOST_ROWS:
            share = MOST_ROWS / len(strata)
            groups = [np.sort(random.choice(g, int(np.ceil(len(g) * share)), replace=False)) for g in groups]
        counts = np.hstack([_multiplicities(random, len(group), draws) for group in groups])
        return cls(np.concatenate(groups), counts, len(strata), smallest)

    def figures(self, figure: Callable[[npt.NDArray[np.int64], Doubles], Doubles], mass: Doubles) -> Doubles:
        """Compute a figure of every draw.

        Args:
            figure: Takes the rows drawn from and the mass of each in each draw, ``(b, kept)``; gives ``(b,)``.
            mass: The weight of every row.
        """
        step = max(1, _CELLS // len(self.kept))
        parts = [self.counts[i : i + step] * mass[self.kept] for i in range(0, len(self.counts), step)]
        return np.concatenate([figure(self.kept, part) for part in parts])

    def interval(
        self, value: float, drawn: Doubles, low: float, high: float, *, fewest: int | None = None
    ) -> Interval | None:
        """Give the interval around a figure from its draws, within the figure's own range.

        The draws' spread is moved onto the figure: some figures (a calibration error, a largest difference) grow with
        every resampling, which plain percentiles would mistake for the truth. Where no draw moves a figure between 0
        and 1, as when every row is right, the draws know nothing and the exact binomial bounds over the ``fewest`` rows
        that the figure hangs on (the smallest stratum's when not said) stand in.

        Returns:
            None when too few draws define the figure, or when none moves a figure that has no such range.
        """
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) < _FEWEST:
            return None
        if np.ptp(drawn) < 1e-12 * max(1.0, abs(value)):
            return _binomial(value, fewest or self.smallest) if (low, high) == (0, 1) else None
        spread = (drawn - drawn.mean()) * np.sqrt(len(self.kept) / self.rows)
        below, above = value + np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(value=value, low=max(low, min(below, value)), high=min(high, max(above, value)), level=LEVEL)


def unseen(rows: int) -> float:
    """Give the largest share that something may have which none of so many rows showed (Clopper & Pearson).

    >>> round(unseen(100), 4)
    0.0362
    """
    return float(1 - ((1 - LEVEL) / 2) ** (1 / rows))


def _multiplicities(random: np.random.Generator, rows: int, draws: int) -> npt.NDArray[np.uint16]:
    drawn = random.integers(0, rows, size=(draws, rows), dtype=np.int64)
    drawn += np.arange(draws)[:, None] * rows
    return np.bincount(drawn.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.uint16)


def _binomial(value: float, rows: int) -> Interval:
    hits, tail = value * rows, (1 - LEVEL) / 2
    low = float(betaincinv(hits, rows - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, rows - hits, 1 - tail)) if hits < rows else 1.0
    return Interval(value=value, low=min(low, value), high=max(high, value), level=LEVEL)
