"""What each step of a feature view does, and what was known when: the point-in-time join."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import TypeAdapter

from contracts.errors import Incompatible
from contracts.features import FeatureColumn, FeatureView, Join, Step
from contracts.specs import Json
from mldl_ray.features.history import History
from mldl_ray.features.kinds import canonical, kinds_of
from mldl_ray.features.steps import applied, kinds_after
from mldl_ray.features.view import Transformer, checked

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
A = FeatureColumn(name="a", kind="numeric")
STEP: TypeAdapter[Any] = TypeAdapter(Step)


def made(step: Json, **columns: Any) -> Json:
    """Apply one step, following the kinds as a registration does; give what there is then."""
    table = pa.table(columns)
    kinds = kinds_of(table)
    known = STEP.validate_python(step)
    after = kinds_after(kinds, known)
    done = applied(canonical(table, kinds), known)
    assert list(after) == done.column_names
    assert kinds_of(done) == after
    found: Json = done.to_pydict()
    return found


@pytest.mark.parametrize(
    ("step", "columns", "expected"),
    [
        ({"op": "select", "columns": ["b", "a"]}, {"a": [1.0], "b": ["x"]}, {"b": ["x"], "a": [1.0]}),
        ({"op": "rename", "columns": {"a": "z"}}, {"a": [1.0], "b": ["x"]}, {"z": [1.0], "b": ["x"]}),
        (
            {"op": "cast", "column": "a", "to": "numeric"},
            {"a": [" +1e2", "2", "x", None]},
            {"a": [100.0, 2.0, None, None]},
        ),
        ({"op": "cast", "column": "a", "to": "categorical"}, {"a": [3.0, 0.5, None]}, {"a": ["3", "0.5", None]}),
        ({"op": "cast", "column": "a", "to": "numeric"}, {"a": [True, None]}, {"a": [1.0, None]}),
        ({"op": "cast", "column": "a", "to": "boolean"}, {"a": [0.0, 2.0, None]}, {"a": [False, True, None]}),
        ({"op": "cast", "column": "a", "to": "numeric"}, {"a": [START]}, {"a": [START.timestamp()]}),
        ({"op": "cast", "column": "a", "to": "datetime"}, {"a": [START.timestamp(), 1e300]}, {"a": [START, None]}),
        ({"op": "fill", "column": "a", "value": 7}, {"a": [None, 1.0, math.nan]}, {"a": [7.0, 1.0, 7.0]}),
        ({"op": "fill", "column": "a", "value": "?"}, {"a": [None, "x"]}, {"a": ["?", "x"]}),
        (
            {"op": "clip", "column": "a", "low": 0, "high": 5},
            {"a": [-1.0, 3.0, 9.0, None]},
            {"a": [0.0, 3.0, 5.0, None]},
        ),
        ({"op": "log1p", "column": "a"}, {"a": [0.0, -1.0, None]}, {"a": [0.0, None, None]}),
        ({"op": "log1p", "column": "a", "into": "b"}, {"a": [0.0]}, {"a": [0.0], "b": [0.0]}),
        (
            {"op": "ratio", "numerator": "a", "denominator": "b", "into": "c"},
            {"a": [1.0, 1.0, 0.0, None], "b": [2.0, 0.0, 0.0, 1.0]},
            {"a": [1.0, 1.0, 0.0, None], "b": [2.0, 0.0, 0.0, 1.0], "c": [0.5, None, None, None]},
        ),
        (
            {"op": "bucket", "column": "a", "edges": [0, 10]},
            {"a": [-1.0, 0.0, 9.9, 10.0, None]},
            {"a": ["0", "1", "1", "2", None]},
        ),
        (
            {"op": "one_of", "column": "a", "values": ["x", "y"], "other": "else"},
            {"a": ["x", "z", None, "y"]},
            {"a": ["x", "else", None, "y"]},
        ),
        (
            {"op": "one_of", "column": "a", "values": ["x"], "into": "b"},
            {"a": ["x", "z"]},
            {"a": ["x", "z"], "b": ["x", None]},
        ),
        (
            {"op": "date_parts", "column": "a", "parts": ["weekday", "hour"]},
            {"a": [dt.datetime(2026, 1, 5, 23, tzinfo=dt.UTC), None]},
            {"a_weekday": [0.0, None], "a_hour": [23.0, None]},
        ),
    ],
)
def test_what_each_step_makes(step: Json, columns: Json, expected: Json) -> None:
    assert made(step, **columns) == expected


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"op": "clip", "column": "z", "low": 0}, "there is no column 'z'; there are: n, t, d"),
        ({"op": "clip", "column": "t", "low": 0}, "column 't' is categorical; it takes numeric"),
        ({"op": "ratio", "numerator": "n", "denominator": "n", "into": "t"}, "there is a column 't' already"),
        ({"op": "rename", "columns": {"n": "t"}}, "two columns would be called 't'"),
        ({"op": "cast", "column": "t", "to": "datetime"}, "categorical column 't' cannot be read as datetime"),
        ({"op": "fill", "column": "n", "value": "x"}, "'x' is no value of the numeric column 'n'"),
        ({"op": "fill", "column": "t", "statistic": "mean"}, "column 't' is categorical; it takes numeric"),
        ({"op": "one_of", "column": "n", "values": ["x"]}, "column 'n' is numeric; it takes categorical"),
        ({"op": "date_parts", "column": "n"}, "column 'n' is numeric; it takes datetime"),
        ({"op": "select", "columns": ["n", "n"]}, "a column is named twice"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_by_name(step: Json, said: str) -> None:
    kinds: Any = {"n": "numeric", "t": "categorical", "d": "datetime"}
    with pytest.raises(Incompatible, match=said):
        kinds_after(kinds, STEP.validate_python(step))


@pytest.mark.parametrize(
    "step",
    [
        {"op": "eval", "code": "1"},
        {"op": "fill", "column": "a"},
        {"op": "fill", "column": "a", "value": 1, "statistic": "mean"},
        {"op": "clip", "column": "a", "low": 2, "high": 1},
        {"op": "bucket", "column": "a", "edges": [2, 1]},
    ],
)
def test_a_step_that_is_none_is_refused_when_it_is_read(step: Json) -> None:
    with pytest.raises(ValueError, match="validation error"):
        STEP.validate_python(step)


def history(**options: Any) -> History:
    rows = pa.table(
        {
            "who": ["a", "a", "b", "a", None],
            "at": [START + dt.timedelta(days=n) for n in (10, 0, 5, 10, 0)],
            "balance": [10.0, 1.0, 5.0, 11.0, 99.0],
        }
    )
    return History.of(Join(dataset_id="accounts", key="who", time="at", columns=("balance",), **options), rows)


def asked(*rows: tuple[str | None, int | None]) -> pa.Table:
    table = pa.table(
        {
            "who": pa.array([who for who, _ in rows], pa.string()),
            "at": pa.array(
                [None if day is None else START + dt.timedelta(days=day) for _, day in rows], pa.timestamp("us", "UTC")
            ),
        }
    )  # fmt: skip
    return canonical(table, kinds_of(table))


def test_only_what_was_known_by_then_is_joined() -> None:
    found = history().joined(
        asked(("a", -1), ("a", 0), ("a", 9), ("a", 10), ("b", 99), ("c", 99), (None, 5), ("a", None))
    )
    assert found["balance"].to_pylist() == [None, 1.0, 1.0, 11.0, 5.0, None, None, None]


def test_nothing_of_the_future_changes_what_is_joined() -> None:
    rng = np.random.default_rng(3)
    whole = pa.table(
        {
            "who": rng.choice(["a", "b", "c"], 200),
            "at": rng.integers(0, 50, 200).astype(float),
            "balance": rng.normal(size=200),
        }
    )
    join = Join(dataset_id="accounts", key="who", time="at", columns=("balance",))
    questions = pa.table({"who": ["a", "b", "c"] * 17, "at": [float(n) for n in range(51)]})
    found = History.of(join, whole).joined(questions)["balance"].to_pylist()
    for number, question in enumerate(questions.to_pylist()):
        past = whole.filter(pc.less_equal(whole["at"], question["at"]))
        assert found[number] == History.of(join, past).joined(questions.slice(number, 1))["balance"][0].as_py()


def test_what_is_too_old_is_missing_and_a_prefix_names_the_columns() -> None:
    found = history(max_age=3 * 86_400.0, prefix="acc_").joined(asked(("a", 3), ("a", 4)))
    assert found["acc_balance"].to_pylist() == [1.0, None]


def test_a_join_that_does_not_fit_is_refused_by_name() -> None:
    inputs: Any = {"who": "numeric", "at": "datetime"}
    known = history()
    with pytest.raises(Incompatible, match="column 'who' is numeric here and categorical in accounts"):
        checked(inputs, [], known.join, known)
    with pytest.raises(Incompatible, match="callers send no column 'at'"):
        checked({"who": "categorical"}, [], known.join, known)
    with pytest.raises(Incompatible, match="there is a column 'balance' already; give a prefix"):
        checked({"who": "categorical", "at": "datetime", "balance": "numeric"}, [], known.join, known)
    with pytest.raises(Incompatible, match="has no column 'cash'"):
        History.of(Join(dataset_id="accounts", key="who", time="at", columns=("cash",)), known.rows)


def test_a_view_without_steps_or_join_passes_columns_on() -> None:
    view = FeatureView(name="v", version="1", dataset_id="d", dataset_version="1", inputs=(A,), outputs=(A,))
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    kept = Transformer(view)
    assert kept.apply(kept.inputs(table)).to_pydict() == {"a": [1.0, 2.0]}
