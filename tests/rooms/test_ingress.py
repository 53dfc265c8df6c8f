"""Data quality: what is found, how grave it is, and what is left alone."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from contracts.specs import Json
from mldl_ray.bridges._statistics import describe
from mldl_ray.bridges.ingress import Finding, inspect, worst

NOW = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
RNG = np.random.default_rng(0)


def table(rows: int = 400, **columns: object) -> pa.Table:
    made: dict[str, object] = {
        "id": [float(n) for n in RNG.random(rows)],
        "age": (20 + np.arange(rows) % 60).astype(float),
        "city": [("Bern", "Uri", "Chur")[n % 3] for n in range(rows)],
        "at": [NOW - dt.timedelta(hours=n) for n in range(rows)],
    }
    return pa.table(made | columns)


def look(rows: pa.Table, reference: pa.Table | None = None) -> list[Finding]:
    known: dict[str, Json] | None = None if reference is None else describe(reference)
    return inspect(rows, known, now_s=NOW.timestamp(), time_column="at")


def test_rows_like_those_before_raise_nothing_but_that_they_are_not_newer() -> None:
    found = look(table(), table().set_column(0, "id", pa.array(np.linspace(0, 1, 400))))
    assert [(finding.check, finding.severity) for finding in found] == [("freshness", "info")]


def test_a_missing_column_and_a_changed_kind_are_critical_and_a_new_one_is_told() -> None:
    found = look(table(age=["x"] * 400, extra=[1, 2] * 200).drop_columns(["city"]), table())
    told = {(f.column, f.severity) for f in found if f.check == "schema"}
    assert told == {("city", "critical"), ("age", "critical"), ("extra", "info")}
    assert worst(found) == "critical"


def test_values_outside_what_was_seen_are_graded_by_their_share() -> None:
    few, many = np.full(400, 30.0), np.full(400, 30.0)
    few[:10], many[:200] = 500.0, 500.0
    few[-1] = many[-1] = 31.0
    assert [f.severity for f in look(table(age=few), table()) if f.check == "range" and f.column == "age"] == [
        "warning"
    ]
    [found] = [f for f in look(table(age=many), table()) if f.check == "range" and f.column == "age"]
    assert found.severity == "critical"
    assert found.message == "200 of 400 values of 'age' are outside 20 to 79, the range seen before"


def test_categories_never_seen_before_are_named() -> None:
    found = look(table(city=["Genf", "Bern"] * 200), table())
    [unseen] = [f for f in found if f.column == "city"]
    assert (unseen.severity, unseen.evidence["values"]) == ("critical", ["Genf"])


def test_a_column_that_goes_missing_is_noticed_but_not_on_a_handful_of_rows() -> None:
    holes = [None, *[40.0, 41.0, 42.0]] * 100
    [found] = [f for f in look(table(age=holes), table()) if f.check == "missing"]
    assert (found.severity, found.evidence["share"]) == ("critical", 0.25)
    few = table(rows=4, age=[None, 40.0, 41.0, 42.0])
    assert [f for f in look(few, table()) if f.check == "missing"] == []


def test_copies_of_rows_are_counted() -> None:
    rows = table(rows=100)
    found = look(pa.concat_tables([rows, rows.slice(0, 50)]))
    [copies] = [f for f in found if f.check == "duplicates"]
    assert (copies.severity, copies.evidence["share"]) == ("critical", 50 / 150)


def test_old_rows_and_rows_from_the_future_are_told() -> None:
    old = table(at=[NOW - dt.timedelta(days=90 + n) for n in range(400)])
    ahead = table(at=[NOW + dt.timedelta(days=n) for n in range(400)])
    [aged] = [f for f in look(old) if f.check == "freshness"]
    [early] = [f for f in look(ahead) if f.check == "freshness"]
    assert aged.message.startswith("the newest row is 90 days old")
    assert early.message.endswith("which is yet to come")


def test_columns_without_values_with_one_value_infinite_or_all_different_are_told_without_a_reference() -> None:
    rows = table(
        empty=pa.nulls(400, pa.float64()), same=["x"] * 400, endless=[float("inf"), 1.0] * 200,
        name=[f"person {n}" for n in range(400)],
    )  # fmt: skip
    told = {f.column: f.severity for f in look(rows)}
    assert told == {"empty": "warning", "same": "info", "endless": "critical", "name": "warning"}


def test_nothing_found_is_ok() -> None:
    assert worst([]) == "ok"
