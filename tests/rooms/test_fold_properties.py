"""What folds keep whatever the rows are: who may learn from whom, in time, in groups, over classes and over repeats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

from contracts.errors import Incompatible
from contracts.specs import CrossValidation
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.splits import Split, folds, holdout

SEEDS = st.integers(0, 2**40)
FOLDS = st.integers(2, 6)
MOMENTS = st.lists(st.integers(-20, 20), min_size=12, max_size=80)  # unsorted, with many rows of one moment
quick = settings(deadline=None, max_examples=60)  # scikit-learn loads in the first example


def rows(*, values: int = 0, labels: Any = None, **parts: Any) -> TrainingRows:
    y: Any = np.arange(values, dtype=float) if labels is None else labels
    parts = {name: np.array(part) for name, part in parts.items()}
    task: Any = "regression" if labels is None else "classification"
    return TrainingRows.of_arrays(np.zeros((len(y), 1)), y, task, **parts)


def cv(**parts: Any) -> CrossValidation:
    return CrossValidation.model_validate(parts)


def split(table: TrainingRows, seed: int = 0, **parts: Any) -> list[Split]:
    """Give the folds; an example that cannot be split is none of those that the fact is about."""
    try:
        return folds(table, cv(**parts), seed)
    except Incompatible:
        assume(False)
        raise


def sets(found: Iterable[Split]) -> list[tuple[list[int], list[int]]]:
    return [(sorted(one.train.tolist()), sorted(one.judge.tolist())) for one in found]


# Time


@quick
@given(MOMENTS, FOLDS, st.integers(0, 8), st.sampled_from(["expanding", "rolling"]))
def test_walking_forward_nothing_is_learned_from_the_judged_moment_the_gap_before_it_or_later(
    moments: list[int], parts: int, gap: int, window: str
) -> None:
    times = np.array(moments)
    ordered = np.sort(times)
    for one in split(rows(values=len(times), times=times), folds=parts, gap=gap, window=window):
        first = int(np.searchsorted(ordered, times[one.judge].min()))  # rows before the first judged one
        assert times[one.train].max() < times[one.judge].min()
        assert times[one.train].max() <= ordered[first - gap - 1]
        assert len(one.train) <= first - gap
        assert len(np.unique(one.train)) == len(one.train)


@quick
@given(MOMENTS, FOLDS, st.integers(0, 6), st.integers(1, 6))
def test_purged_folds_leave_out_the_gap_before_and_the_embargo_after(
    moments: list[int], parts: int, gap: int, embargo: int
) -> None:
    times = np.array(moments)
    rank = np.empty(len(times), dtype=int)
    rank[np.argsort(times, kind="stable")] = np.arange(len(times))
    for one in split(rows(values=len(times), times=times), folds=parts, gap=gap, embargo=embargo):
        judged, learned = rank[one.judge], rank[one.train]
        assert not ((learned >= judged.min() - gap) & (learned <= judged.max() + embargo)).any()
        assert not set(times[one.train]) & set(times[one.judge])
        assert len(learned) == max(0, judged.min() - gap) + max(0, len(times) - 1 - judged.max() - embargo)


@quick
@given(MOMENTS, FOLDS)
def test_rows_in_another_order_are_split_at_the_same_moments(moments: list[int], parts: int) -> None:
    times = np.array(moments)
    mixed = np.random.default_rng(0).permutation(times)
    one, other = (split(rows(values=len(times), times=at), folds=parts) for at in (times, mixed))
    for a, b in zip(one, other, strict=True):
        assert sorted(times[a.train]) == sorted(mixed[b.train])
        assert sorted(times[a.judge]) == sorted(mixed[b.judge])


@quick
@given(MOMENTS, FOLDS)
def test_folds_in_time_are_found_whenever_there_are_moments_enough(moments: list[int], parts: int) -> None:
    assume(len(moments) >= 2 * parts)
    table = rows(values=len(moments), times=moments)
    if len(set(moments)) > parts:
        assert len(folds(table, cv(folds=parts), 0)) == parts
    else:
        with pytest.raises(Incompatible, match=f"need {parts + 1} different times at least"):
            folds(table, cv(folds=parts), 0)


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("window", ["expanding", "rolling"])
def test_folds_in_time_are_those_of_scikit_learn_where_the_rows_divide_evenly(gap: int, window: str) -> None:
    times = np.random.default_rng(0).permutation(60)
    order = np.argsort(times)
    most = None if window == "expanding" else 60 // 5 - gap
    theirs = TimeSeriesSplit(4, gap=gap, max_train_size=most).split(times)
    ours = split(rows(values=60, times=times), folds=4, gap=gap, window=window)
    assert sets(ours) == [(sorted(order[a].tolist()), sorted(order[b].tolist())) for a, b in theirs]


def test_a_rolling_window_learns_from_equally_many_rows_always_the_latest() -> None:
    found = split(rows(values=50, times=range(50)), folds=4, gap=2, window="rolling")
    assert [(one.train.min(), one.train.max()) for one in found] == [(0, 7), (10, 17), (20, 27), (30, 37)]


def test_the_rows_held_out_come_after_all_that_learn_and_after_the_gap() -> None:
    times = np.random.default_rng(1).permutation(50)
    aside = holdout(rows(values=50, times=times), cv(gap=5), 0.2, 0)
    assert times[aside.judge].min() == 40
    assert times[aside.train].max() == 34


# Groups


@quick
@given(st.lists(st.integers(0, 9), min_size=12, max_size=80), FOLDS, SEEDS, st.booleans(), st.integers(1, 3))
def test_groups_never_cross_and_every_row_judges_once_a_repeat(
    groups: list[int], parts: int, seed: int, stratify: bool, repeats: int
) -> None:
    labels = [i % 3 for i in range(len(groups))]
    table = rows(labels=labels, groups=groups)
    found = split(table, seed, folds=parts, strategy="group", stratify=stratify, repeats=repeats)
    member = np.array(groups)
    for one in found:
        assert not set(member[one.train]) & set(member[one.judge])
    for repeat in range(repeats):
        judged = np.concatenate([one.judge for one in found[repeat * parts : (repeat + 1) * parts]])
        assert sorted(judged.tolist()) == list(range(len(groups)))


@quick
@given(st.lists(st.integers(0, 9), min_size=12, max_size=80), FOLDS, SEEDS)
def test_groups_are_split_whenever_there_is_one_for_each_fold(groups: list[int], parts: int, seed: int) -> None:
    assume(len(groups) >= 2 * parts)
    table = rows(values=len(groups), groups=groups)
    if len(set(groups)) >= parts:
        assert all(len(one.judge) for one in folds(table, cv(folds=parts), seed))
    else:
        with pytest.raises(Incompatible, match=f"{parts} folds need {parts} groups"):
            folds(table, cv(folds=parts), seed)


def test_groups_of_one_size_are_dealt_out_as_evenly_as_by_scikit_learn() -> None:
    groups = np.repeat(np.arange(23), 4)
    ours = split(rows(values=92, groups=groups), folds=5)
    theirs = GroupKFold(5, shuffle=True, random_state=0).split(groups, groups=groups)
    assert sorted(len(one.judge) for one in ours) == sorted(len(judge) for _, judge in theirs)


@pytest.mark.parametrize("seed", range(5))
def test_groups_keep_the_shares_of_classes_about_as_well_as_by_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.choice(60, size=600, p=rng.dirichlet(np.ones(60)))
    labels = (rng.random(600) < rng.beta(1, 3, size=60)[groups]).astype(int)

    def spread(pairs: Iterable[tuple[Any, Any]]) -> float:
        counts = np.array([np.bincount(labels[judge], minlength=2) for _, judge in pairs])
        return float((counts / counts.sum(axis=0)).std(axis=0).max())

    theirs = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(groups, labels, groups)
    assert spread(split(rows(labels=labels, groups=groups), seed, folds=5)) < max(0.02, 2 * spread(theirs))


# Classes


@quick
@given(st.lists(st.integers(0, 4), min_size=12, max_size=80), FOLDS, SEEDS, st.integers(1, 3))
def test_stratified_every_class_learns_and_judges_in_every_fold_or_is_named(
    labels: list[int], parts: int, seed: int, repeats: int
) -> None:
    assume(len(labels) >= 2 * parts and len(set(labels)) > 1)
    table = rows(labels=labels)
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() < parts:
        with pytest.raises(Incompatible, match="merge or drop rare classes"):
            folds(table, cv(folds=parts), seed)
        return
    for one in split(table, seed, folds=parts, repeats=repeats):
        judged = np.unique(table.y[one.judge], return_counts=True)[1]
        assert set(table.y[one.train]) == set(table.y[one.judge]) == set(labels)
        assert (np.abs(judged - counts / parts) < 1).all()


def test_stratified_folds_are_those_of_scikit_learn() -> None:
    labels = np.arange(50) % 3
    theirs = StratifiedKFold(4, shuffle=True, random_state=9).split(labels, labels)
    assert sets(split(rows(labels=labels), 9, folds=4)) == [(a.tolist(), b.tolist()) for a, b in theirs]


# Repeats


@quick
@given(SEEDS, st.sampled_from(["stratified", "kfold", "group"]), st.integers(2, 5))
def test_no_two_repeats_are_the_same_and_the_same_seed_gives_the_same_again(
    seed: int, strategy: str, repeats: int
) -> None:
    labels = np.arange(48) % 2
    table = rows(labels=labels, groups=np.arange(48) // 4)
    one, two = (sets(split(table, seed, folds=3, strategy=strategy, repeats=repeats)) for _ in range(2))
    assert one == two
    parts = {frozenset(tuple(judge) for _, judge in one[3 * r : 3 * r + 3]) for r in range(repeats)}
    assert len(parts) == repeats


def test_the_first_repeat_is_what_a_job_without_repeats_gets() -> None:
    for strategy in ("stratified", "kfold", "group"):
        table = rows(labels=np.arange(40) % 2, groups=np.arange(40) // 4)
        alone, repeated = (split(table, 5, folds=4, strategy=strategy, repeats=times) for times in (1, 3))
        assert sets(alone) == sets(repeated[:4])


def test_repeats_that_could_only_be_copies_are_refused_with_how_many_there_are() -> None:
    table = rows(values=30, groups=np.arange(30) // 10)
    with pytest.raises(Incompatible, match="only 1 different way was found") as refused:
        folds(table, cv(folds=3, repeats=2), 0)
    assert refused.value.facts == {"field": "cv.repeats", "found": 1}
