"""Groups dealt out over folds: none is cut, and folds hold like shares of the rows of every class. Arrays only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
_STIR = (0.5, 1.5)  # how far a draw may move a group ahead of larger ones, as factors of its size


def dealt(members: Positions, labels: Positions, folds: int, rng: np.random.Generator) -> Positions:
    """Give each row the fold that judges it.

    Groups are dealt out one by one, the large and the lopsided ones about first, each to the fold where the classes
    then differ least between the folds. The order is stirred, so that another draw gives other folds.

    Args:
        members: The group of each row, 0 to g - 1, each of them there; g is at least ``folds``.
        labels: The class of each row, or zeros, where only sizes count.
        folds: How many; none stays empty.
        rng: Draws.

    Source:
        The greedy rule of scikit-learn's ``StratifiedGroupKFold``, there without the stirring.

    >>> dealt(np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, dtype=int), 3, np.random.default_rng(0)).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    groups = int(members.max()) + 1
    counts = np.zeros((groups, int(labels.max()) + 1))
    np.add.at(counts, (members, labels), 1)
    shares = counts / counts.sum(axis=0).clip(min=1)
    # with one class this is its size; with more, how much the group pulls the classes apart and how large it is
    order = np.argsort(-np.linalg.norm(shares, axis=1) * rng.uniform(*_STIR, groups), kind="stable")
    held, fold_of = np.zeros((folds, counts.shape[1])), np.empty(groups, dtype=np.int64)
    for done, group in enumerate(order.tolist()):
        left = groups - done
        must_fill = left <= folds and left <= int((held.sum(axis=1) == 0).sum())
        fold_of[group] = fold = _best(held, shares[group], must_fill=must_fill)
        held[fold] += shares[group]
    return fold_of[members]


def _best(held: npt.NDArray[np.float64], share: npt.NDArray[np.float64], *, must_fill: bool) -> int:
    """Choose the fold for which the sum of squared shares grows least: the one with least of what the group has."""
    cost = held @ share
    size = held.sum(axis=1)
    if must_fill:
        cost = np.where(size == 0, cost, np.inf)
    return int(np.lexsort((size, cost))[0])
