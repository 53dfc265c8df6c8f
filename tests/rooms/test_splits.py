"""Which rows learn and which judge: nothing leaks, and what cannot be split is refused with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Incompatible
from contracts.specs import CrossValidation
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.splits import folds, holdout, judges, strategy_of


def rows(y: list[Any], *, groups: list[Any] | None = None, times: list[float] | None = None) -> TrainingRows:
    task: Any = "regression" if isinstance(y[0], float) else "classification"
    return TrainingRows.of_arrays(
        np.arange(len(y), dtype=float)[:, None],
        y,
        task,
        groups=None if groups is None else np.array(groups),
        times=None if times is None else np.array(times),
    )


def cv(**parts: object) -> CrossValidation:
    return CrossValidation.model_validate({"folds": 3} | parts)


@settings(deadline=None)  # scikit-learn loads in the first example
@given(st.integers(6, 60), st.integers(0, 5), st.sampled_from(["stratified", "kfold", "group", "time"]))
def test_every_fold_learns_and_judges_from_different_rows(n: int, seed: int, strategy: str) -> None:
    table = rows([i % 2 for i in range(n)], groups=[i % 6 for i in range(n)], times=[float(i) for i in range(n)])
    try:
        found = folds(table, cv(strategy=strategy), seed)
    except Incompatible:
        return
    assert len(found) == 3
    judged = np.concatenate([split.judge for split in found])
    assert len(judged) == len(set(judged.tolist()))
    for split in found:
        assert not set(split.train.tolist()) & set(split.judge.tolist())
        assert len(split.train)
        assert len(split.judge)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    table = rows([0, 1] * 20)
    one, two, other = (holdout(table, cv(), 0.25, seed).judge.tolist() for seed in (1, 1, 2))
    assert one == two != other


def test_stratified_splits_keep_every_class_share() -> None:
    table = rows(["common"] * 90 + ["rare"] * 10)
    split = holdout(table, cv(), 0.2, 0)
    assert (table.y[split.judge] == "rare").sum() == 2
    for fold in folds(table, cv(folds=5), 0):
        assert (table.y[fold.judge] == "rare").sum() == 2


def test_groups_are_never_on_both_sides() -> None:
    groups = [f"g{i // 4}" for i in range(40)]
    table = rows([i % 2 for i in range(40)], groups=groups)
    for split in [holdout(table, cv(), 0.3, 0), *folds(table, cv(), 0)]:
        assert not set(table.groups[split.train]) & set(table.groups[split.judge])  # type: ignore[index]


def test_in_time_only_earlier_rows_learn_and_the_gap_is_left_out() -> None:
    times = [float(i) for i in np.random.default_rng(0).permutation(60)]
    table = rows([i % 2 for i in range(60)], times=times)
    assert strategy_of(cv(), table) == "time"
    for split in [holdout(table, cv(gap=4), 0.2, 0), *folds(table, cv(gap=4), 0)]:
        learned, judged = np.array(times)[split.train], np.array(times)[split.judge]
        assert learned.max() + 4 < judged.min()
    assert max(len(split.train) for split in folds(table, cv(), 0)) == 45


def test_with_an_embargo_rows_on_both_sides_learn_but_not_those_next_to_the_judged() -> None:
    table = rows([i % 2 for i in range(60)], times=[float(i) for i in range(60)])
    middle = folds(table, cv(strategy="time", gap=2, embargo=5), 0)[1]
    assert middle.judge.tolist() == list(range(20, 40))
    assert middle.train.tolist() == [*range(18), *range(45, 60)]


def test_rows_of_one_moment_are_never_on_both_sides() -> None:
    times = [float(i // 7) for i in range(70)]
    table = rows([i % 2 for i in range(70)], times=times)
    for split in [holdout(table, cv(), 0.2, 0), *folds(table, cv(), 0)]:
        assert not set(np.array(times)[split.train]) & set(np.array(times)[split.judge])


def test_rare_classes_are_refused_by_name_and_count() -> None:
    with pytest.raises(Incompatible, match="class 'rare' has 2 rows to learn from") as refused:
        folds(rows(["common"] * 50 + ["rare"] * 2), cv(), 0)
    assert refused.value.facts == {"class": "rare", "rows": 2, "needed": 3}
    with pytest.raises(Incompatible, match="class 'rare' has 1 row"):
        holdout(rows(["common"] * 50 + ["rare"]), cv(), 0.2, 0)


def test_too_few_groups_rows_or_times_are_refused() -> None:
    with pytest.raises(Incompatible, match="need 3 groups"):
        folds(rows([0, 1] * 10, groups=["a", "b"] * 10), cv(), 0)
    with pytest.raises(Incompatible, match="two groups at least"):
        holdout(rows([0, 1] * 10, groups=["a"] * 20), cv(), 0.2, 0)
    with pytest.raises(Incompatible, match="too few for 3 folds"):
        folds(rows([0, 1, 0, 1]), cv(), 0)
    with pytest.raises(Incompatible, match="need 4 different times at least; there are 2"):
        folds(rows([0, 1] * 10, times=[1.0] * 10 + [2.0] * 10), cv(), 0)


def test_a_fold_that_would_learn_one_class_only_is_refused() -> None:
    with pytest.raises(Incompatible, match="learn from one class only"):
        folds(rows([0] * 30 + [1] * 30, times=[float(i) for i in range(60)]), cv(), 0)


@pytest.mark.parametrize(("strategy", "needs"), [("time", "time_column"), ("group", "group_column")])
def test_a_strategy_without_its_column_is_refused(strategy: str, needs: str) -> None:
    with pytest.raises(Incompatible, match=needs):
        folds(rows([0, 1] * 10), cv(strategy=strategy), 0)
    with pytest.raises(Incompatible, match="a target of classes"):
        folds(rows([0.5, 1.5] * 10), cv(strategy="stratified"), 0)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"gap": 2}, "cv.gap is for folds in time, and these are stratified"),
        ({"embargo": 2, "strategy": "kfold"}, "cv.embargo is for folds in time, and these are kfold"),
        ({"window": "rolling"}, "cv.window is for folds in time"),
    ],
)
def test_what_only_folds_in_time_have_is_refused_elsewhere(parts: dict[str, object], complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        folds(rows([0, 1] * 20), cv(**parts), 0)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"repeats": 2}, "rows in time are cut in one way only"),
        ({"embargo": 1, "window": "rolling"}, "give one of the two"),
        ({"gap": 10}, "a gap of 10 rows leaves the first of 3 folds nothing to learn from: 10 rows come before"),
    ],
)
def test_what_folds_in_time_cannot_give_is_refused_with_its_reason(parts: dict[str, object], complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        folds(rows([0, 1] * 20, times=[float(i) for i in range(40)]), cv(**parts), 0)


def test_a_seed_of_any_size_splits() -> None:
    for strategy in ("stratified", "kfold", "group"):
        table = rows([0, 1] * 20, groups=[i // 4 for i in range(40)])
        assert len(folds(table, cv(strategy=strategy), 2**70)) == 3


def test_rows_for_early_stopping_are_left_out_where_there_are_too_few() -> None:
    assert judges(rows([0, 1]), cv(), 0.1, 0) is None
    aside = judges(rows([0, 1] * 50), cv(), 0.1, 0)
    assert aside is not None
    assert len(aside.judge) == 10
