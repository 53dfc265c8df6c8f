"""Which rows learn and which rows judge. Positions only: a split never sees a feature.

Strategies: ``stratified`` keeps every class's share, ``kfold`` draws at random, ``group`` keeps a group's rows
together, ``time`` lets only earlier rows learn. Every strategy gives the same rows for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import CrossValidation
from mldl_ray.training.rows import TrainingRows

Positions = npt.NDArray[np.int64]
Strategy = Literal["stratified", "kfold", "group", "time"]


class Split(NamedTuple):
    """Positions of the rows that learn, and of those that judge."""

    train: Positions
    judge: Positions


def strategy_of(cv: CrossValidation, rows: TrainingRows) -> Strategy:
    """Choose how to split: as asked; else by time, by group, stratified, at random, the first that fits.

    Raises:
        Incompatible: The strategy needs a column or a task that is not there.
    """
    if cv.strategy == "auto":
        if rows.times is not None:
            return "time"
        if rows.groups is not None:
            return "group"
        return "stratified" if rows.positions is not None and cv.stratify else "kfold"
    needs: dict[str, tuple[Any, str]] = {
        "time": (rows.times, "time_column"),
        "group": (rows.groups, "group_column"),
        "stratified": (rows.positions, "a target of classes"),
    }
    have, what = needs.get(cv.strategy, (True, ""))
    if have is None:
        raise Incompatible(f"cv.strategy {cv.strategy!r} needs {what}, which the data reference does not give")
    return cv.strategy


def holdout(rows: TrainingRows, cv: CrossValidation, share: float, seed: int) -> Split:
    """Put rows aside for one use only, by the strategy of the folds; in time, the last ones, after the gap.

    Raises:
        Incompatible: So few rows, groups or rows of a class that one side would be without.
    """
    strategy = strategy_of(cv, rows)
    rng = np.random.default_rng(seed)
    if strategy == "time":
        split = _last(_ordered(rows), _sorted_times(rows), share, cv.gap)
    elif strategy == "group":
        split = _whole_groups(rows, share, rng)
    else:
        split = _drawn(rows, share, rng, stratified=strategy == "stratified")
    _both_sides(split, rows, f"a hold-out of {share:g}")
    return split


def judges(rows: TrainingRows, cv: CrossValidation, share: float, seed: int) -> Split | None:
    """Put a few training rows aside to judge the rounds of early stopping; None when there are too few to do so."""
    try:
        split = holdout(rows, cv.model_copy(update={"gap": 0}), share, seed)
    except Incompatible:
        return None
    if rows.positions is not None:
        known = np.unique(rows.positions[split.train])
        if len(known) < len(np.unique(rows.positions)):
            return None
    return split


def folds(rows: TrainingRows, cv: CrossValidation, seed: int) -> list[Split]:
    """Split the training rows into folds: each judges once.

    In time, without an embargo, folds walk forward: each learns from all rows before its own, less the gap. With an
    embargo they are purged: each learns from the rows on both sides, less the gap before and the embargo after.

    Raises:
        Incompatible: Too few rows, groups or rows of a class; the message says which, and what would do.

    Source:
        Purging and embargo: López de Prado, Advances in Financial Machine Learning (2018), chapter 7.
    """
    strategy = strategy_of(cv, rows)
    if len(rows) < 2 * cv.folds:
        raise Incompatible(f"{len(rows)} training rows are too few for {cv.folds} folds; use fewer folds or more rows")
    if strategy == "time":
        found = list(_purged(rows, cv) if cv.embargo else _forward(rows, cv))
    elif strategy == "group":
        found = list(_grouped(rows, cv, seed))
    else:
        found = list(_shuffled(rows, cv, seed, stratified=strategy == "stratified"))
    for number, split in enumerate(found, start=1):
        _both_sides(split, rows, f"fold {number} of {cv.folds} ({strategy})")
    return found


def _shuffled(rows: TrainingRows, cv: CrossValidation, seed: int, *, stratified: bool) -> Iterator[Split]:
    from sklearn.model_selection import KFold, StratifiedKFold  # noqa: PLC0415  # loads when first used

    if stratified:
        _enough_of_each(rows, cv.folds)
        maker = StratifiedKFold(cv.folds, shuffle=True, random_state=seed)
        pairs = maker.split(np.zeros(len(rows)), rows.positions)
    else:
        pairs = KFold(cv.folds, shuffle=True, random_state=seed).split(np.zeros(len(rows)))
    return (Split(train, judge) for train, judge in pairs)


def _grouped(rows: TrainingRows, cv: CrossValidation, seed: int) -> Iterator[Split]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold  # noqa: PLC0415  # as above

    groups = np.unique(_given(rows.groups), return_inverse=True)[1]
    count = int(groups.max()) + 1
    if count < cv.folds:
        raise Incompatible(
            f"{cv.folds} folds need {cv.folds} groups among the training rows; there are {count}: use fewer folds",
            {"groups": count, "folds": cv.folds},
        )
    stratify = rows.positions is not None and cv.stratify and np.bincount(rows.positions).max() >= cv.folds
    kind = StratifiedGroupKFold if stratify else GroupKFold
    maker = kind(cv.folds, shuffle=True, random_state=seed)
    labels = rows.positions if stratify else np.zeros(len(rows))
    return (Split(train, judge) for train, judge in maker.split(np.zeros(len(rows)), labels, groups))


def _forward(rows: TrainingRows, cv: CrossValidation) -> Iterator[Split]:
    order, times = _ordered(rows), _sorted_times(rows)
    edges = _edges(times, cv.folds + 1, what=f"{cv.folds} folds that walk forward")
    for start, stop in pairwise(edges[1:]):
        yield Split(order[: max(0, start - cv.gap)], order[start:stop])


def _purged(rows: TrainingRows, cv: CrossValidation) -> Iterator[Split]:
    order, times = _ordered(rows), _sorted_times(rows)
    edges = _edges(times, cv.folds, what=f"{cv.folds} purged folds")
    for start, stop in pairwise(edges):
        before, after = order[: max(0, start - cv.gap)], order[stop + cv.embargo :]
        yield Split(np.concatenate([before, after]), order[start:stop])


def _edges(times: npt.NDArray[Any], parts: int, *, what: str) -> list[int]:
    """Cut ordered rows into equal parts, never between two rows of the same moment."""
    wanted = [round(i * len(times) / parts) for i in range(1, parts)]
    edges = [0, *(int(np.searchsorted(times, times[edge], side="left")) for edge in wanted), len(times)]
    if any(stop <= start for start, stop in pairwise(edges)):
        raise Incompatible(f"{what} need more different times; there are {len(np.unique(times))}: use fewer folds")
    return edges


def _last(order: Positions, times: npt.NDArray[Any], share: float, gap: int) -> Split:
    start = int(np.searchsorted(times, times[min(len(times) - 1, round(len(times) * (1 - share)))], side="left"))
    return Split(order[: max(0, start - gap)], order[start:])


def _whole_groups(rows: TrainingRows, share: float, rng: np.random.Generator) -> Split:
    """Take groups in random order until their rows are the share; one group is always left to learn from."""
    names, member = np.unique(_given(rows.groups), return_inverse=True)
    if len(names) < 2:
        raise Incompatible(f"group splits need two groups at least; there is {len(names)}", {"groups": len(names)})
    sizes, order = np.bincount(member), rng.permutation(len(names))
    reached = int(np.searchsorted(np.cumsum(sizes[order]), share * len(rows), side="left")) + 1
    aside = np.isin(member, order[: min(reached, len(names) - 1)])
    return Split(np.flatnonzero(~aside), np.flatnonzero(aside))


def _drawn(rows: TrainingRows, share: float, rng: np.random.Generator, *, stratified: bool) -> Split:
    """Draw rows; stratified, the share of each class, and at least one of each on both sides."""
    labels = rows.positions if stratified and rows.positions is not None else np.zeros(len(rows), dtype=np.int64)
    if stratified:
        _enough_of_each(rows, 2)
    aside = np.zeros(len(rows), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        aside[rng.permutation(members)[:count]] = True
    return Split(np.flatnonzero(~aside), np.flatnonzero(aside))


def _enough_of_each(rows: TrainingRows, least: int) -> None:
    counts = np.bincount(_given(rows.positions))
    rare = [i for i in np.argsort(counts).tolist() if 0 < counts[i] < least]
    if rare:
        label, count = rows.classes[rare[0]], int(counts[rare[0]])
        raise Incompatible(
            f"class {label!r} has {count} row{'s' if count != 1 else ''} to learn from; splitting needs {least} of "
            "each: merge or drop rare classes, give more rows, or use fewer folds",
            {"class": label, "rows": count, "needed": least},
        )


def _both_sides(split: Split, rows: TrainingRows, what: str) -> None:
    if not len(split.train) or not len(split.judge):
        raise Incompatible(f"{what} leaves no rows to {'judge' if len(split.train) else 'learn from'}; give more rows")
    if rows.positions is not None and len(np.unique(rows.positions[split.train])) < 2:
        raise Incompatible(
            f"{what} would learn from one class only; use fewer folds, more rows, or a stratified strategy"
        )


def _ordered(rows: TrainingRows) -> Positions:
    return np.argsort(_given(rows.times), kind="stable")


def _sorted_times(rows: TrainingRows) -> npt.NDArray[Any]:
    return np.sort(_given(rows.times), kind="stable")


def _given(vector: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    assert vector is not None  # strategy_of refused before
    return vector
