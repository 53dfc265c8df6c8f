"""Which rows learn and which rows judge. Positions only: a split never sees a feature.

Strategies: ``stratified`` keeps every class's share, ``kfold`` draws at random, ``group`` keeps a group's rows
together (``group_splits``), ``time`` lets only earlier rows learn (``time_splits``). Every strategy gives the same rows
for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import CrossValidation
from mldl_ray.training.group_splits import dealt
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.time_splits import forward, last, purged

Positions = npt.NDArray[np.int64]
Strategy = Literal["stratified", "kfold", "group", "time"]
_REDRAWS = 20
"""How often a repeat that came out as an earlier one is drawn again before it is given up."""


class Split(NamedTuple):
    """Positions of the rows that learn, and of those that judge."""

    train: Positions
    judge: Positions


def strategy_of(cv: CrossValidation, rows: TrainingRows) -> Strategy:
    """Choose how to split: as asked; else by time, by group, stratified, at random, the first that fits.

    Raises:
        Incompatible: The strategy needs a column or a task that is not there, or something else was asked for that
            the strategy cannot give.
    """
    strategy = _chosen(cv, rows)
    if strategy == "time":
        _fits_time(cv)
    elif timed := [name for name, said in _only_in_time(cv).items() if said]:
        raise Incompatible(
            f"cv.{timed[0]} is for folds in time, and these are {strategy}: name a time_column, or leave it out",
            {"field": f"cv.{timed[0]}", "strategy": strategy},
        )
    return strategy


def _only_in_time(cv: CrossValidation) -> dict[str, bool]:
    return {"gap": cv.gap > 0, "embargo": cv.embargo > 0, "window": cv.window != "expanding"}


def _fits_time(cv: CrossValidation) -> None:
    if cv.repeats > 1:
        raise Incompatible(
            f"cv.repeats is {cv.repeats}, but rows in time are cut in one way only: leave it at 1, and use more folds",
            {"field": "cv.repeats"},
        )
    if cv.embargo and cv.window == "rolling":
        raise Incompatible(
            "cv.embargo lets rows on both sides of the judged ones learn, cv.window 'rolling' the latest before them "
            "only: give one of the two",
            {"field": "cv.window"},
        )


def _chosen(cv: CrossValidation, rows: TrainingRows) -> Strategy:
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
        split = Split(*last(_given(rows.times), share, cv.gap))
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
    """Split the training rows into folds: in each repeat a row judges once, or never where it only comes before others.

    In time, without an embargo, folds walk forward: each learns from the rows before its own, less the gap; from all
    of them, or with a rolling window from the latest, always as many as the first fold has. With an embargo they are
    purged: each learns from the rows on both sides, less the gap before and the embargo after.

    Args:
        rows: What is split.
        cv: How.
        seed: Of the first repeat, whose folds are those of a job without repeats; the others' seeds follow from it.

    Returns:
        ``cv.folds`` splits of the first repeat, then those of the second, and so on; no two repeats are the same.

    Raises:
        Incompatible: Too few rows, groups or rows of a class; the message says which, and what would do.
    """
    strategy = strategy_of(cv, rows)
    if len(rows) < 2 * cv.folds:
        raise Incompatible(f"{len(rows)} training rows are too few for {cv.folds} folds; use fewer folds or more rows")
    found: list[Split] = []
    seen: set[frozenset[bytes]] = set()
    for repeat in range(cv.repeats):
        found += _unlike(seen, rows, cv, strategy, seed, repeat)
    for number, split in enumerate(found):
        repeat, fold = divmod(number, cv.folds)
        within = f", repeat {repeat + 1}" if cv.repeats > 1 else ""
        _both_sides(split, rows, f"fold {fold + 1} of {cv.folds} ({strategy}{within})")
    return found


def _unlike(
    seen: set[frozenset[bytes]], rows: TrainingRows, cv: CrossValidation, strategy: Strategy, seed: int, repeat: int
) -> list[Split]:
    """Draw folds that no earlier repeat has, and note them."""
    for redraw in range(_REDRAWS):
        found = list(_drawn_folds(rows, cv, strategy, _seed_of(seed, repeat, redraw)))
        parts = frozenset(np.sort(split.judge).tobytes() for split in found)
        if parts not in seen:
            seen.add(parts)
            return found
    raise Incompatible(
        f"cv.repeats is {cv.repeats}, but only {len(seen)} different {'way was' if len(seen) == 1 else 'ways were'} "
        f"found to split these rows into {cv.folds} folds ({strategy}): use fewer repeats",
        {"field": "cv.repeats", "found": len(seen)},
    )


def _seed_of(seed: int, repeat: int, redraw: int) -> int:
    """Derive the seed of a draw; the first one's is the job's own."""
    if repeat == redraw == 0 and seed < 2**32:
        return seed
    return int(np.random.SeedSequence([seed, repeat, redraw]).generate_state(1)[0])


def _drawn_folds(rows: TrainingRows, cv: CrossValidation, strategy: Strategy, seed: int) -> Iterator[Split]:
    if strategy == "time":
        times = _given(rows.times)
        if cv.embargo:
            pairs = purged(times, cv.folds, cv.gap, cv.embargo)
        else:
            pairs = forward(times, cv.folds, cv.gap, rolling=cv.window == "rolling")
        return (Split(train, judge) for train, judge in pairs)
    if strategy == "group":
        return _grouped(rows, cv, seed)
    return _shuffled(rows, cv, seed, stratified=strategy == "stratified")


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
    members = np.unique(_given(rows.groups), return_inverse=True)[1]
    count = int(members.max()) + 1
    if count < cv.folds:
        raise Incompatible(
            f"{cv.folds} folds need {cv.folds} groups among the training rows; there {_are(count)}: use fewer folds",
            {"groups": count, "folds": cv.folds},
        )
    labels = rows.positions if rows.positions is not None and cv.stratify else np.zeros(len(rows), dtype=np.int64)
    judged_by = dealt(members, labels, cv.folds, np.random.default_rng(seed))
    return (Split(np.flatnonzero(judged_by != fold), np.flatnonzero(judged_by == fold)) for fold in range(cv.folds))


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


def _are(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"


def _given(vector: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    assert vector is not None  # strategy_of refused before
    return vector
