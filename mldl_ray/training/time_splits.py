"""Folds in time, over moments in any order: earlier rows learn, later ones judge. Arrays only; ``splits`` calls this.

Rows are put in order of time first, rows of one moment as they come, and an edge never falls inside a moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible

Positions = npt.NDArray[np.int64]
Times = npt.NDArray[Any]
Pair = tuple[Positions, Positions]


def forward(times: Times, folds: int, gap: int, *, rolling: bool = False) -> Iterator[Pair]:
    """Walk forward: each fold learns from the rows before its own, less the gap.

    Args:
        times: One per row; what sorts in time.
        folds: How many parts judge; the first part of ``folds + 1`` only learns.
        gap: Rows left out before the judged ones.
        rolling: Learn from the latest rows only, as many as the first fold has; otherwise from all.

    Raises:
        Incompatible: Too few different times, or a gap that leaves the first fold nothing to learn from.

    >>> [(learn.tolist(), judge.tolist()) for learn, judge in forward(np.array([3, 1, 2]), 2, 0, rolling=True)]
    [([1], [2]), ([2], [0])]
    """
    order = np.argsort(times, kind="stable")
    edges = edges_of(times[order], folds + 1, what=f"{folds} folds that walk forward")
    width = edges[1] - gap
    if width <= 0:
        raise Incompatible(
            f"a gap of {gap} rows leaves the first of {folds} folds nothing to learn from: {edges[1]} rows come before "
            "the ones that it judges; use a smaller gap, fewer folds or more rows",
            {"gap": gap, "rows": edges[1]},
        )
    for start, stop in pairwise(edges[1:]):
        yield order[start - gap - width if rolling else 0 : start - gap], order[start:stop]


def purged(times: Times, folds: int, gap: int, embargo: int) -> Iterator[Pair]:
    """Learn from the rows on both sides of the judged ones, less the gap before them and the embargo after them.

    Raises:
        Incompatible: Too few different times.

    Source:
        López de Prado, Advances in Financial Machine Learning (2018), chapter 7.

    >>> [(learn.tolist(), judge.tolist()) for learn, judge in purged(np.arange(6), 2, 0, 1)]
    [([4, 5], [0, 1, 2]), ([0, 1, 2], [3, 4, 5])]
    """
    order = np.argsort(times, kind="stable")
    for start, stop in pairwise(edges_of(times[order], folds, what=f"{folds} purged folds")):
        yield np.concatenate([order[: max(0, start - gap)], order[stop + embargo :]]), order[start:stop]


def last(times: Times, share: float, gap: int) -> Pair:
    """Put the last rows aside, a share of all or the whole of their first moment, after a gap.

    >>> [side.tolist() for side in last(np.array([1, 2, 3, 3]), 0.25, 1)]
    [[0], [2, 3]]
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    wanted = min(len(times) - 1, round(len(times) * (1 - share)))
    start = int(np.searchsorted(ordered, ordered[wanted], side="left"))
    return order[: max(0, start - gap)], order[start:]


def edges_of(ordered: Times, parts: int, *, what: str) -> list[int]:
    """Cut ordered rows into parts as equal as whole moments allow.

    Raises:
        Incompatible: Fewer different times than parts.

    >>> edges_of(np.array([1, 1, 1, 2, 3]), 3, what="three parts")
    [0, 3, 4, 5]
    """
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(starts) + 1 < parts:
        raise Incompatible(
            f"{what} need {parts} different times at least; there are {len(starts) + 1}: use fewer folds",
            {"times": len(starts) + 1, "needed": parts},
        )
    edges, at = [0], -1
    for part in range(1, parts):
        wanted = int(np.searchsorted(starts, round(part * len(ordered) / parts), side="right")) - 1
        at = min(max(wanted, at + 1), len(starts) - (parts - part))  # so that every part after it has a moment left
        edges.append(int(starts[at]))
    return [*edges, len(ordered)]
