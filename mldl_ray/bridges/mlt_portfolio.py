"""In which order to try what was tried elsewhere: a few configurations that together suit whatever the data resemble.

The best of one search owes much to its folds, so it is not copied: what all searches say of a configuration counts.
Pure. Not here: how alike data are, and where experience is kept (``mlt``).

Source:
    Scores as normal quantiles within a search: Salinas, Shen & Perrone, "A quantile-based approach for hyperparameter
    transfer learning" (ICML 2020). A portfolio chosen greedily: Feurer et al., "Auto-sklearn 2.0" (JMLR 2022); that is
    within 1 − 1/e of the best one, as each further member adds less: Nemhauser, Wolsey & Fisher (1978).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.specs import Json

Doubles = npt.NDArray[np.float64]

LEAST = 5
"""Configurations of a search below which its scores say too little of how a setting matters."""
VIEWS = 16
"""Guesses at what the data at hand are like; each takes some of the searches to be of such data."""
TREES = 16
"""Of the forest that tells, by one guess, how good a configuration is."""
REACH = 1.0
"""The distance at which a search's word has fallen to 0.6 of what it is for the same data."""


@dataclass(frozen=True)
class Tried:
    """One search: its configurations with their gains (more is better), and how far its data are from those at hand."""

    distance: float
    configs: tuple[Json, ...]
    gains: tuple[float, ...]


def portfolio(searches: Sequence[Tried], candidates: Sequence[Json], *, most: int, seed: int = 0) -> list[int]:
    """Choose configurations one by one, each to add most to those before it, over all guesses at what the data are.

    Args:
        searches: What was learned; those with fewer than ``LEAST`` configurations are not listened to.
        candidates: What may be tried.
        most: How many to choose.
        seed: Of the guesses; the same one chooses the same.

    Returns:
        Places in ``candidates``, in the order in which to try them; empty when no search says enough.

    >>> said = Tried(0.0, tuple({"depth": n} for n in range(8)), tuple(float(-abs(n - 3)) for n in range(8)))
    >>> portfolio([said], [{"depth": 7}, {"depth": 3}, {"depth": 0}], most=1)
    [1]
    """
    heard = [search for search in searches if len(search.configs) >= LEAST]
    if not heard or not candidates:
        return []
    return greedy(_views(heard, candidates, seed), most)


def greedy(gains: Doubles, most: int) -> list[int]:
    """Choose columns so that the mean over rows of the best chosen one is as high as choosing one by one makes it.

    Args:
        gains: Shape ``(views, candidates)``.
        most: How many columns to choose.

    >>> greedy(np.array([[3.0, 2.9, 0.0], [0.0, 0.1, 1.0]]), 2)
    [0, 2]
    """
    chosen: list[int] = []
    best = np.full(gains.shape[0], -np.inf)
    left = np.ones(gains.shape[1], dtype=bool)
    for _ in range(min(most, gains.shape[1])):
        with_each = np.maximum(gains, best[:, None]).mean(axis=0)
        # where none adds anything any more, the one that is best by itself
        order = np.lexsort((-gains.mean(axis=0), -np.round(with_each, 9)))
        place = int(next(i for i in order if left[i]))
        chosen.append(place)
        left[place] = False
        best = np.maximum(best, gains[:, place])
    return chosen


def as_quantiles(gains: Sequence[float]) -> Doubles:
    """Turn gains into normal quantiles of their ranks, so that searches on easy and hard data can be compared.

    >>> as_quantiles([0.9, 0.1, 0.5]).round(3).tolist()
    [0.674, -0.674, 0.0]
    """
    values = np.asarray(gains, dtype=np.float64)
    below = (values[:, None] > values[None, :]).sum(axis=1)
    same = (values[:, None] == values[None, :]).sum(axis=1)
    ranks = below + (same + 1) / 2
    return np.array([NormalDist().inv_cdf(rank / (len(values) + 1)) for rank in ranks])


def nearness(distance: float) -> float:
    """Give how much a search's word counts: 1 for the same data, less the further away they are.

    >>> nearness(0.0), round(nearness(1.0), 3)
    (1.0, 0.607)
    """
    return math.exp(-0.5 * (distance / REACH) ** 2)


def _views(searches: Sequence[Tried], candidates: Sequence[Json], seed: int) -> Doubles:
    """Give, for each guess at what the data are like, how good each candidate would be; shape (views, candidates)."""
    from sklearn.ensemble import ExtraTreesRegressor  # noqa: PLC0415  # slow to load, and only a search's start needs it

    every = _numbers([config for search in searches for config in search.configs], candidates)
    asked = every[-len(candidates) :]
    z = np.concatenate([as_quantiles(search.gains) for search in searches])
    owner = np.repeat(np.arange(len(searches)), [len(search.configs) for search in searches])
    rng = np.random.default_rng(seed)
    weights = np.array([nearness(search.distance) for search in searches]) + 1e-9
    found = np.empty((VIEWS, len(candidates)))
    for view in range(VIEWS):
        times = rng.multinomial(len(searches), weights / weights.sum())
        counted = times[owner]
        used = counted > 0
        leaf = math.isqrt(int(used.sum()))  # were it 1, a configuration would keep the luck of its one trial
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=leaf, random_state=seed * VIEWS + view)
        forest.fit(every[: len(z)][used], z[used], sample_weight=counted[used])
        found[view] = forest.predict(asked)
    return found


def _numbers(configs: Sequence[Json], candidates: Sequence[Json]) -> Doubles:
    """Give configurations as rows of numbers: each setting by its place among all values, so that units do not matter.

    A setting that a configuration does not have comes before all values.
    """
    rows = [*configs, *candidates]
    columns = [_column([row.get(name) for row in rows]) for name in sorted({name for row in rows for name in row})]
    return np.column_stack([np.zeros(len(rows)), *columns])  # a column of its own where nothing is set at all


def _column(values: Sequence[Any]) -> Doubles:
    there = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        there = [repr(value) for value in there]
        values = [None if value is None else repr(value) for value in values]
    place = {value: float(n) for n, value in enumerate(sorted(set(there)))}
    return np.array([-1.0 if value is None else place[value] for value in values])
