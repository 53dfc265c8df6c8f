"""Attributions for models that offer nothing but their scores. Not here: what a family can compute exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.links import Doubles

ORDERS = 4
"""Orders in which the columns are put in, each also backwards."""
MOST_TURNS = 2048
"""Scores asked for per row; of tables with very many columns, fewer orders are taken."""


def sampled_shapley(
    raw: Callable[[Matrix], Doubles],
    M: Matrix,
    centre: Doubles,
    owners: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    orders: int = ORDERS,
) -> tuple[Doubles, Doubles]:
    """Estimate how much each input column moves each raw score away from that of the average training row.

    Columns are put into the average row one after the other, in some orders; a column's share is the mean of what its
    turn changed. Each order adds up to the score exactly, so the estimate does too; what is estimated is how columns
    that act together divide what they do. The encoded columns of one input column are put in together.

    Args:
        raw: The model, from encoded rows to scores ``(n, outputs)``.
        M: Encoded rows without NaN, ``(n, width)``.
        centre: The average training row, ``(width,)``.
        owners: For each encoded column, the input column that it comes from.
        seed: Of the orders, which are the same for every row.
        orders: How many, each also backwards; fewer, but at least one, where ``MOST_TURNS`` would be passed.

    Returns:
        Attributions ``(n, width, outputs)``, a column's at its first encoded one; and the base ``(outputs,)``.

    Source:
        Castro, Gómez & Tejada (2009), sampling permutations; antithetic pairs: Mitchell et al. (JMLR 2022).

    >>> both = lambda M: M[:, :1] * M[:, 1:]
    >>> values, base = sampled_shapley(both, np.array([[3.0, 2.0]]), np.array([1.0, 1.0]), np.array([0, 1]))
    >>> values[0, :, 0].tolist(), base.tolist()
    ([3.0, 2.0], [1.0])
    """
    groups = [np.flatnonzero(owners == owner) for owner in np.unique(owners)]
    base = raw(centre[None])[0]
    values = np.zeros((*M.shape, len(base)))
    random = np.random.default_rng(seed)
    orders = max(1, min(orders, MOST_TURNS // (2 * len(groups))))
    turns = [order for _ in range(orders) for order in _both_ways(random.permutation(len(groups)))]
    for order in turns:
        row, before = np.tile(centre, (len(M), 1)), np.tile(base, (len(M), 1))
        for group in order:
            row[:, groups[group]] = M[:, groups[group]]
            after = raw(row)
            values[:, groups[group][0]] += (after - before) / len(turns)
            before = after
    return values, base


def _both_ways(order: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return order, order[::-1]
