"""What a person is shown of drift: bars that add up, outliers that squeeze nothing, words that say the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.drift import ColumnDrift
from mldl_ray.monitoring.drift import compare
from mldl_ray.monitoring.joint import Joint
from mldl_ray.monitoring.pictures import BARS, MOST_CATEGORIES, in_words, pictured
from mldl_ray.monitoring.reference import Reference

RANDOM = np.random.default_rng(3)


def shown(then: Sequence[Any], now: Sequence[Any] | None, name: str = "f.x") -> ColumnDrift:
    reference = Reference.of(pa.table({name: then}))
    window = pa.table({name: now}) if now is not None else None
    return pictured(name, reference.columns[name], window, None, 0.0)


def test_ranges_hold_every_row_that_has_a_value() -> None:
    column = shown([*RANDOM.normal(40, 10, 500), None], [*RANDOM.normal(60, 10, 300), None, None])
    assert (column.kind, len(column.bars)) == ("numeric", BARS)
    assert sum(bar.reference for bar in column.bars) == pytest.approx(1)
    assert sum(bar.live or 0 for bar in column.bars) == pytest.approx(1)
    assert [column.reference_missing, column.live_missing] == pytest.approx([1 / 501, 2 / 302])


def test_one_outlier_does_not_squeeze_the_rest_into_one_bar() -> None:
    column = shown([*RANDOM.normal(0, 1, 1000), 1e9, float("inf")], None)
    assert column.high is not None and column.high < 10
    assert max(bar.reference for bar in column.bars) < 0.3
    assert [bar.live for bar in column.bars] == [None] * BARS


@pytest.mark.parametrize("value", [0.0, 7.0, -1e12])
def test_a_column_of_one_value_is_one_bar(value: float) -> None:
    column = shown([value] * 50, [value] * 10)
    assert max(bar.reference for bar in column.bars) == max(bar.live or 0 for bar in column.bars) == 1


def test_a_column_that_callers_leave_out_is_missing_throughout() -> None:
    reference = Reference.of(pa.table({"f.x": [1.0, 2.0]}))
    column = pictured("f.x", reference.columns["f.x"], pa.table({"f.y": [1.0]}), None, 0.0)
    assert (column.live_missing, {bar.live for bar in column.bars}) == (1.0, {0.0})


def test_many_categories_are_shown_by_their_share_and_the_rest_together() -> None:
    column = shown([f"w{i}" for i in range(100)] + ["often"] * 100, ["new"] * 30 + ["often"] * 10)
    assert [bar.label for bar in column.bars[:2]] == ["often", "new"]
    assert (len(column.bars), column.bars[-1].label) == (MOST_CATEGORIES + 1, "90 others")
    assert sum(bar.reference for bar in column.bars) == pytest.approx(1)
    assert (column.bars[1].reference, column.bars[1].live) == (0.0, 0.75)


def test_the_verdict_is_said_in_words() -> None:
    reference = Reference.of(pa.table({"f.age": RANDOM.normal(40, 10, 500), "f.sex": ["f", "m"] * 250}))
    same = pa.table({"f.age": RANDOM.normal(40, 10, 300), "f.sex": ["f", "m"] * 150})
    older = same.set_column(0, "f.age", pa.array(RANDOM.normal(60, 10, 300)))
    steady, moved = compare(reference, same, 0.01), compare(reference, older, 0.01)
    assert in_words(steady, None, 0, 300).startswith("No column moved by more than chance explains")
    assert "would have to be 0.005 or less" in in_words(steady, None, 0, 300)
    assert in_words(moved, None, 0, 300).startswith("1 of 2 columns moved: mean of age 4")
    joint = Joint(0.1, 0.002, ("age", "sex"), 300)
    assert "age, sex tell live from held-out rows" in in_words(steady, joint, 0, 300)


def test_a_feature_called_as_the_answer_is_keeps_its_own_picture() -> None:
    reference = Reference.of(pa.table({"f.score": ["a", "b"] * 50, "score": [0.1, 0.9] * 50}))
    verdict = compare(reference, pa.table({"f.score": ["a", "c"] * 50, "score": [0.1, 0.9] * 50}), 0.01)
    assert verdict.names == ("f.score", "score")
    assert [shift.column for shift in verdict.shifts] == ["score", "score"]
