"""Drift of whole rows, which no column shows alone: found, named, and no false alarm without it."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa

from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.collector import Full
from mldl_ray.monitoring.drift import compare
from mldl_ray.monitoring.joint import compare_jointly
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.watch import DriftWatch, Due


def rows(random: np.random.Generator, count: int, correlation: float) -> pa.Table:
    """Draw two correlated numbers, one that has nothing to do with them, and a category."""
    a, b = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], count).T
    words = random.choice(["x", "y", "z"], count)
    return pa.table({"f.a": a, "f.b": b, "f.c": random.normal(size=count), "f.word": words})


def test_a_correlation_that_turned_is_found_although_no_column_moved_and_its_columns_are_named() -> None:
    random = np.random.default_rng(0)
    reference, window = Reference.of(rows(random, 1500, 0.8)), rows(random, 600, -0.8)
    assert not compare(reference, window, 0.01).drifted
    found = compare_jointly(reference, window, 0.01)
    assert found is not None
    assert found.p <= 1 / 500
    assert set(found.columns) == {"a", "b"}


def test_the_p_value_without_drift_is_no_smaller_than_chance() -> None:
    random = np.random.default_rng(1)
    found = []
    for _ in range(60):
        joint = compare_jointly(Reference.of(rows(random, 100, 0.5)), rows(random, 60, 0.5), 0.0)
        assert joint is not None
        found.append(joint.p)
    assert np.mean(np.array(found) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / 60)


def test_too_few_rows_are_not_compared() -> None:
    random = np.random.default_rng(2)
    assert compare_jointly(Reference.of(rows(random, 100, 0.5)), rows(random, 10, 0.5), 0.05) is None


def test_a_column_that_never_came_is_the_one_that_is_named() -> None:
    random = np.random.default_rng(3)
    reference, window = Reference.of(rows(random, 500, 0.5)), rows(random, 300, 0.5).drop_columns(["f.c"])
    found = compare_jointly(reference, window, 0.05)
    assert found is not None
    assert found.columns == ("c",)


def batch() -> Batch:
    """Make the one row that makes a version known to the watch."""
    table = pa.table(
        {
            "request_id": ["r"],
            "key": ["k"],
            "at_s": [1.0],
            "latency_ms": [1.0],
            "status": pa.array([200], pa.int16()),
            "role": ["stable"],
            "prediction": ["0"],
            "score": [0.5],
        }
    )
    facts = {"model_key": "m", "version": "1", "epoch": "1", "share": "0", "deployment_id": "", "lost": "0"}
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.replace_schema_metadata(facts).schema) as writer:
        writer.write_table(table.replace_schema_metadata(facts))
    return Batch.parse(sink.getvalue())


def due(window: pa.Table, span_s: float) -> Due:
    return Due(("m", "1"), Full(window, window.num_rows, span_s))


def watched(reference: Reference, window_rows: int) -> DriftWatch:
    watch = DriftWatch(lambda _: reference, window_rows=window_rows, false_alarms_per_month=1.0)
    watch.add(batch(), 0.0)
    return watch


def test_the_watch_alerts_for_rows_that_moved_together_and_says_by_which_columns() -> None:
    random = np.random.default_rng(4)
    watch = watched(Reference.of(rows(random, 1500, 0.8)), 500)
    want = watch.judge(due(rows(random, 500, -0.8), 2 * 86_400.0), 0.0)
    assert want is not None
    assert want.severity == "warning"
    assert "moved together although no column did alone; a classifier tells them apart by" in want.message
    assert {one["column"] for one in want.evidence["columns"]} == {"a", "b"}
    assert want.evidence["p"] <= want.evidence["alpha"] <= 0.025


def test_a_joint_test_waits_until_the_budget_saved_is_enough_for_it() -> None:
    random = np.random.default_rng(5)
    watch = watched(Reference.of(rows(random, 300, 0.5)), 100)
    a_shift_s = 8 * 3600.0  # half of its budget is 1/180 of a false alarm, so five of them allow a test at 0.025
    for _ in range(10):
        watch.judge(due(rows(random, 100, 0.5), a_shift_s), 0.0)
    assert watch.state(("m", "1"))["windows_tested_jointly"] == 2
