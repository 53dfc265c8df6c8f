"""What rows a job accepts, and what it says about the others."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from contracts.specs import DataRef, Task
from mldl_ray.training.rows import TrainingRows

TABLE = pa.table(
    {
        "age": [30, 41, 52, 28],
        "sex": ["f", "m", None, "m"],
        "shop": ["a", "a", "b", "b"],
        "day": [dt.date(2024, 1, day) for day in (4, 3, 2, 1)],
        "weight": [1.0, 2.0, 1.0, 0.0],
        "bought": ["yes", "no", "yes", "no"],
        "spent": [1.5, 0.0, 3.25, 0.5],
    }
)


def rows(task: Task = "classification", table: pa.Table = TABLE, **roles: object) -> TrainingRows:
    ref = DataRef.model_validate({"uri": "shop.parquet", "target": "bought"} | roles)
    return TrainingRows.of(table, ref, task)


def test_sensitive_columns_stay_features_and_excluded_ones_do_not() -> None:
    found = rows(sensitive=("sex",), exclude=("spent",))
    assert found.features.column_names == ["age", "sex", "shop", "day", "weight"]
    assert found.sensitive == {"sex": ("f", "m", "missing", "m")}
    assert "sex" not in rows(sensitive=("sex",), exclude=("sex", "spent")).features.column_names


def test_columns_with_another_role_are_no_features_unless_named() -> None:
    roles = {"group_column": "shop", "time_column": "day", "weight_column": "weight"}
    assert rows(**roles).features.column_names == ["age", "sex", "spent"]
    assert rows(**roles, features=("age", "shop")).features.column_names == ["age", "shop"]


def test_the_target_is_never_a_feature() -> None:
    assert rows(features=("age", "bought")).features.column_names == ["age"]


def test_classes_become_positions_and_values_become_doubles() -> None:
    classes = rows()
    assert classes.classes == ("no", "yes")
    assert classes.positions is not None
    assert classes.positions.tolist() == [1, 0, 1, 0]
    assert classes.y.tolist() == ["yes", "no", "yes", "no"]
    values = rows("regression", target="spent")
    assert values.positions is None
    assert values.y.dtype == np.float64


def test_taking_rows_takes_everything_about_them() -> None:
    some = rows(sensitive=("sex",), weight_column="weight", time_column="day").take(np.array([2, 0]))
    assert some.features["age"].to_pylist() == [52, 30]
    assert some.y.tolist() == ["yes", "yes"]
    assert some.classes == ("no", "yes")
    assert some.sensitive["sex"] == ("missing", "f")
    assert some.weights is not None
    assert some.weights.tolist() == [1.0, 1.0]
    assert some.times is not None
    assert some.times[0] < some.times[1]


def test_default_sensitive_columns_count_only_when_they_are_there_and_none_is_named() -> None:
    ref = DataRef(uri="x", target="bought")
    found = TrainingRows.of(TABLE, ref, "classification", default_sensitive=("sex", "region"))
    assert set(found.sensitive) == {"sex"}
    named = ref.model_copy(update={"sensitive": ("shop",)})
    assert set(TrainingRows.of(TABLE, named, "classification", default_sensitive=("sex",)).sensitive) == {"shop"}


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        ({"target": "sold"}, "target names column 'sold'"),
        ({"sensitive": ("gender",)}, "sensitive names column 'gender'"),
        ({"time_column": "hour"}, "time_column names column 'hour'"),
        ({"group_column": "firm"}, "group_column names column 'firm'"),
        ({"weight_column": "mass"}, "weight_column names column 'mass'"),
        ({"features": ("height",)}, "features names column 'height'"),
        ({"exclude": ("height",)}, "exclude names column 'height'"),
        ({"time_column": "sex"}, "time_column 'sex' has type string"),
        ({"weight_column": "sex"}, "missing in 1 of 4"),
        ({"weight_column": "shop"}, "not numeric"),
        ({"features": ("bought",)}, "no feature columns are left"),
    ],
)
def test_roles_that_do_not_fit_are_refused_by_name(roles: dict[str, object], complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        rows(**roles)


def test_rows_without_a_target_are_refused_with_their_count() -> None:
    table = TABLE.set_column(5, "bought", pa.array(["yes", None, "no", None]))
    with pytest.raises(Incompatible, match="missing in 2 of 4 rows") as refused:
        rows(table=table)
    assert refused.value.facts == {"missing": 2, "rows": 4}


def test_one_class_no_rows_and_empty_features_are_refused() -> None:
    with pytest.raises(Incompatible, match="one class only"):
        rows(table=TABLE.set_column(5, "bought", pa.array(["yes"] * 4)))
    with pytest.raises(Incompatible, match="no rows"):
        rows(table=TABLE.slice(0, 0))
    empty = pa.table({"a": [None, float("nan")], "bought": ["yes", "no"]})
    with pytest.raises(Incompatible, match="every feature column is empty"):
        rows(table=empty)


def test_features_and_target_given_apart_must_have_one_length() -> None:
    with pytest.raises(Incompatible, match="X has 2 rows but y has 3"):
        TrainingRows.of_arrays([[1.0], [2.0]], [0, 1, 1], "classification")


@pytest.mark.parametrize("role", ["target", "time_column", "group_column", "weight_column"])
def test_a_column_without_a_name_is_refused_as_any_unknown_one(role: str) -> None:
    ref = DataRef(**{"uri": "x", "target": "y"} | {role: ""})
    with pytest.raises(Incompatible, match=f"{role} names column ''"):
        TrainingRows.of(pa.table({"a": [1.0, 2.0], "y": [0, 1]}), ref, "classification")
