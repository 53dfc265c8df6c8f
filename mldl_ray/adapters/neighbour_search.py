"""The nearest of stored points, exactly. Not here: what their answers are worth.

A matrix product finds candidates fast, but rounds by how many rows it is given; so the candidates' distances are taken
again as sums of squared differences, and a row whose candidates might not be enough is searched in full. The result
depends on the point alone, bit for bit, whatever else is asked in the same batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mldl_ray.adapters.links import Doubles

_MORE = 8  # candidates beyond those asked for
_CELLS = 4_000_000  # numbers in one step: 32 MB

Rows = npt.NDArray[np.int64]


def nearest(stored: Doubles, lengths: Doubles, points: Doubles, count: int) -> tuple[Doubles, Rows]:
    """Find each point's nearest stored points; of equally near ones those stored first.

    Args:
        stored: ``(m, width)``, finite, with finite squares.
        lengths: The squared length of each of them, ``(m,)``.
        points: ``(n, width)``, as well.
        count: How many; all of them where fewer are stored.

    Returns:
        Squared distances and positions in ``stored``, ``(n, count)`` each, the nearest first.

    >>> stored = np.array([[0.0], [3.0], [3.0], [9.0]])
    >>> squares, rows = nearest(stored, stored[:, 0] ** 2, np.array([[2.0]]), 2)
    >>> squares.tolist(), rows.tolist()
    ([[1.0, 1.0]], [[1, 2]])
    """
    count = min(count, len(stored))
    squares, rows = np.empty((len(points), count)), np.empty((len(points), count), dtype=np.int64)
    step = max(1, _CELLS // max(len(stored), (count + _MORE) * stored.shape[1]))
    for i in range(0, len(points), step):
        part = slice(i, i + step)
        squares[part], rows[part] = _part(stored, lengths, points[part], count)
    return squares, rows


def _part(stored: Doubles, lengths: Doubles, points: Doubles, count: int) -> tuple[Doubles, Rows]:
    near = (-2 * points) @ stored.T
    near += lengths  # squared distances, less the point's own square
    own = (points**2).sum(axis=1)
    many = min(count + _MORE, len(stored))
    if many == len(stored):
        return _ordered(stored, points, np.broadcast_to(np.arange(many), near.shape), count)
    split = np.argpartition(near, many, axis=1)
    squares, rows = _ordered(stored, points, split[:, :many], count)
    error = 8 * stored.shape[1] * np.finfo(np.float64).eps * (own + lengths.max())
    # No row outside is nearer than the first one outside, but for rounding.
    excluded = np.take_along_axis(near, split[:, many : many + 1], axis=1)[:, 0] + own
    for i in np.flatnonzero(squares[:, -1] + error >= excluded):
        likely = np.flatnonzero(near[i] + own[i] <= squares[i, -1] + error[i])
        squares[i], rows[i] = (found[0] for found in _ordered(stored, points[i : i + 1], likely[None], count))
    return squares, rows


def _ordered(stored: Doubles, points: Doubles, rows: Rows, count: int) -> tuple[Doubles, Rows]:
    """Take the nearest of some candidates per point, by exact distances and then by position."""
    squares = ((points[:, None, :] - stored[rows]) ** 2).sum(axis=2)
    order = np.lexsort((rows, squares), axis=1)[:, :count]
    return np.take_along_axis(squares, order, axis=1), np.take_along_axis(rows, order, axis=1)
