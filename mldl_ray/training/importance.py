"""How much of a search's ups and downs each setting explains by itself. Pure; nothing is fitted.

A setting that works only together with another is not found, and a search that looks harder where it is good leaves
its settings entangled. Both are said where this is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.records import Job, TrialRecord
from mldl_ray.training.history import axes_of

LEAST_TRIALS = 10
"""Of fewer trials the shares are mostly chance."""
ROWS_PER_BIN = 5
MOST_BINS = 6
SHUFFLES = 200

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """What one setting explains: of the variance of the ranks of scores, in [0, 1]."""

    axis: str
    share: float
    chance: float  # what 95 of 100 settings without any effect stay below


def importance(job: Job) -> list[Share]:
    """Rank the settings by what each explains; none when there are too few trials, or all scored the same.

    Trials are compared on the steps that all of them took, so that those that were stopped early count as well.

    Source:
        Kruskal & Wallis 1952, on bins of equally many trials; corrected for chance as Kelley's epsilon squared (1935).
    """
    trials, scores = comparable(job)
    if len(trials) < LEAST_TRIALS or np.ptp(scores) == 0:
        return []
    ranks, rng = _ranks(scores), np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(ranks) for _ in range(SHUFFLES)])
    shares = []
    for axis in axes_of(trials):
        bins = binned([trial.config.get(axis) for trial in trials])
        if bins.max(initial=0) > 0:
            by_chance = [explained(bins, row) for row in shuffled]
            shares.append(Share(axis, explained(bins, ranks), float(np.quantile(by_chance, 0.95))))
    return sorted(shares, key=lambda share: -share.share)


def comparable(job: Job) -> tuple[list[TrialRecord], Doubles]:
    """Give the trials that can be compared, and their scores on the steps that all of them took."""
    scored = [trial for trial in job.trials if trial.status != "failed" and trial.score is not None]
    stepped = [trial for trial in scored if trial.fold_scores]
    common = min((len(trial.fold_scores) for trial in stepped), default=0)
    if len(stepped) < len(scored) or not common:
        whole = [trial for trial in scored if trial.status == "completed"]
        return whole, np.array([trial.score for trial in whole], dtype=np.float64)
    grows = job.job.hpo.strategy == "hyperband"  # a step is then a rung, and the last one says it
    firsts = [trial.fold_scores[common - 1 : common] if grows else trial.fold_scores[:common] for trial in stepped]
    return stepped, np.array([np.mean(scores) for scores in firsts])


def explained(bins: npt.NDArray[np.int64], values: Doubles) -> float:
    """Give the share of the variance of values that lies between bins, corrected for chance, in [0, 1].

    >>> explained(np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 2.0, 2.0]))
    1.0
    """
    n, k = len(values), int(bins.max()) + 1
    whole = float(((values - values.mean()) ** 2).sum())
    if n <= k or whole == 0:
        return 0.0
    counts = np.bincount(bins, minlength=k)
    means = np.bincount(bins, weights=values, minlength=k) / np.maximum(counts, 1)
    between = float((counts * (means - values.mean()) ** 2).sum())
    return max(0.0, 1 - (1 - between / whole) * (n - 1) / (n - k))


def binned(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Put the values of a setting into bins: one per value where they are few, else equally many trials in each.

    A trial that does not have the setting is in a bin of its own.

    >>> binned(["a", "b", None, "a"]).tolist()
    [0, 1, 2, 0]
    """
    bins = np.zeros(len(values), dtype=np.int64)
    there = np.array([value is not None for value in values])
    given = [value for value in values if value is not None]
    if given:
        bins[there] = _of_numbers(given) if _numeric(given) else _of_words([repr(value) for value in given])
    bins[~there] = bins.max() + 1
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _of_words(words: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.unique(np.array(words), return_inverse=True)[1].astype(np.int64)


def _of_numbers(values: Sequence[float]) -> npt.NDArray[np.int64]:
    numbers = np.array(values, dtype=np.float64)
    most = max(2, min(MOST_BINS, len(numbers) // ROWS_PER_BIN))
    if len(np.unique(numbers)) <= most:
        return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    inner = np.quantile(numbers, np.linspace(0, 1, most + 1)[1:-1])
    return np.searchsorted(np.unique(inner), numbers, side="right").astype(np.int64)


def _ranks(scores: Doubles) -> Doubles:
    """Rank with ties in the middle, so that one wild score is one rank and no more."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(middle[places], dtype=np.float64)
