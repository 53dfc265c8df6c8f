"""Counting: streams, distinct keys, labels, drift windows; each within its bounds."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.monitoring.answers import Answer, Answers
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.collector import Collector
from mldl_ray.monitoring.distinct import DistinctKeys
from mldl_ray.monitoring.firsts import MOST_KEYS, Firsts, Ledgers
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.rollouts import Rollouts
from mldl_ray.monitoring.window import BINS, Window, histogram, quantile_ms


def batch(keys: list[str], *, ids: list[str] | None = None, at_s: list[float] | None = None, **facts: Any) -> Batch:
    count = len(keys)
    columns = {
        "request_id": pa.array(ids or [f"r{i}" for i in range(count)], pa.string()),
        "key": pa.array(keys, pa.string()),
        "at_s": pa.array(at_s or [float(i) for i in range(count)], pa.float64()),
        "latency_ms": pa.array([1.0] * count, pa.float64()),
        "status": pa.array(facts.pop("status", [200] * count), pa.int16()),
        "role": pa.array(["stable"] * count, pa.string()),
        "prediction": pa.array(["0"] * count, pa.string()),
        "score": pa.array([0.5] * count, pa.float64()),
        "f.x": facts.pop("x", pa.array(range(count))),
    }
    metadata = {"model_key": "m", "version": "1", "epoch": 1, "share": 0.1, "deployment_id": "d", "lost": 0} | facts
    table = pa.table(columns).replace_schema_metadata({name: str(value) for name, value in metadata.items()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Batch.parse(sink.getvalue())


# Streams


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_a_quantile_from_the_histogram_is_within_five_percent(quantile: float) -> None:
    values = np.random.default_rng(0).lognormal(2, 1, 20_000)
    exact = float(np.quantile(values, quantile))
    assert exact * 0.99 <= (quantile_ms(histogram(values), quantile) or 0) <= exact * 1.06


def test_a_latency_above_every_edge_is_counted_above() -> None:
    counts = histogram(np.array([LATENCY_EDGES_MS[-1] * 2, LATENCY_EDGES_MS[-1], LATENCY_EDGES_MS[0]]))
    assert (counts[0], counts[-2], counts[-1], len(counts)) == (1, 1, 1, BINS)


def test_a_steady_stream_shows_its_rate_from_the_first_seconds_on() -> None:
    window = Window(1000.0)
    for tick in range(1200):
        window.add(1000 + tick * 0.25, np.full(50, 2.0), errors=0)
        if tick >= 8:
            assert window.recent(1000 + tick * 0.25).qps == pytest.approx(200, rel=0.15)


def test_a_minute_later_the_last_minute_is_empty_and_the_totals_remain() -> None:
    window = Window(0.0)
    window.add(0.0, np.full(10, 2.0), errors=3)
    assert window.recent(66.0).requests == 0
    assert (window.requests, window.errors) == (10, 3)


def test_a_stream_has_the_same_size_after_a_day() -> None:
    window = Window(0.0)
    for second in range(0, 86_400, 7):
        window.add(float(second), np.array([1.0]), errors=0)
    assert len(window._slots) <= 13


# Keys and arms


def test_distinct_keys_are_exact_when_few_and_within_five_percent_when_many() -> None:
    keys = DistinctKeys()
    for start in range(0, 4000, 100):
        keys.add(f"k{i}" for i in range(start, start + 150))
    assert keys.count == 4050
    keys.add(f"k{i}" for i in range(100_000))
    keys.add(f"k{i}" for i in range(100_000))
    assert keys.count == pytest.approx(100_000, rel=0.07)


def test_the_arms_longest_unheard_of_go_first() -> None:
    rollouts = Rollouts(most_arms=3)
    first = rollouts.counted(batch(["k"], epoch=1), "stable")[0]
    for epoch in (2, 3):
        rollouts.counted(batch(["k"], epoch=epoch), "stable")
    assert rollouts.counted(batch(["k"], epoch=1), "stable")[0] is first
    rollouts.counted(batch(["k"], epoch=4), "stable")
    assert rollouts.counted(batch(["k"], epoch=1), "stable")[0] is first
    assert len(rollouts._arms) == 3


def test_a_rollout_with_too_many_keys_or_too_many_rollouts_says_that_keys_are_not_counted() -> None:
    firsts = Firsts()
    assert sum(firsts.error(key) for key in range(MOST_KEYS + 10)) == MOST_KEYS + 1
    assert firsts.full
    ledgers = Ledgers(most=2)
    first = ledgers.of("d1", shadow=False)
    assert ledgers.of("d1", shadow=True) is not first
    ledgers.of("d2", shadow=False)
    assert first.full


# Labels


def test_only_the_last_answers_are_remembered() -> None:
    answers, sums = Answers(most=100), Outcomes()
    for i in range(250):
        answers.remember(f"r{i}", Answer(1, 0.5, sums))
    assert len(answers) == 100
    assert answers.label("r149", 1) is None
    assert answers.label("r150", 1) is True


def test_labels_that_wait_are_bounded_too() -> None:
    answers, sums = Answers(most_waiting=10), Outcomes()
    for i in range(20):
        answers.label(f"r{i}", 1)
    for i in range(20):
        answers.remember(f"r{i}", Answer(1, 0.5, sums))
    assert sums.labelled == 10


@pytest.mark.parametrize(("classes", "gap"), [(2, 0.0), (3, 0.6)])
def test_confidence_is_read_as_the_number_of_classes_says(classes: int, gap: float) -> None:
    outcomes = Outcomes()
    for i in range(1000):  # a score of 0.2: class 0 with 0.8 of two classes, or the chosen one of several with 0.2
        outcomes.add(0, 0 if i % 5 else 1, 0.2)
    assert outcomes.ece(classes) == pytest.approx(gap, abs=0.01)


def test_the_calibration_error_of_honest_answers_is_near_zero() -> None:
    random = np.random.default_rng(1)
    outcomes = Outcomes()
    for score in random.random(2000).tolist():
        outcomes.add(int(random.random() < score), int(score > 0.5), score)
    assert (outcomes.ece(2) or 0) < 0.02


def test_a_mean_absolute_error_is_of_numbers() -> None:
    outcomes = Outcomes()
    outcomes.add(3, 2.5, 2.5)
    outcomes.add(1.0, 2.5, 2.5)
    assert outcomes.mean_absolute_error == 1.0


# Drift windows


def test_a_window_is_full_with_enough_different_keys() -> None:
    collector = Collector(100)
    keys = [f"k{i % 150}" for i in range(300)]
    full = collector.add(batch(keys))
    assert [(window.table.num_rows, window.seen) for window in full] == [(100, 100), (100, 100), (100, 100)]
    assert full[1].table["f.x"].to_pylist() == list(range(100, 200))


def test_a_key_counts_once_in_a_window() -> None:
    collector = Collector(100)
    full = collector.add(batch([f"k{i % 60}" for i in range(400)]))
    assert [(window.table.num_rows, window.seen) for window in full] == [(60, 400)]


def test_rows_of_one_request_are_different_units_under_one_key() -> None:
    collector = Collector(100)
    ids = [f"r#{i}" for i in range(100)]
    assert len(collector.add(batch(["k"] * 100, ids=ids))) == 1
    assert collector.add(batch(["k"] * 100)) == []


def test_a_window_covers_the_time_since_the_one_before() -> None:
    collector = Collector(50)
    times = [float(i) for i in range(100)]
    first, second = collector.add(batch([f"k{i}" for i in range(100)], at_s=times))
    assert (first.span_s, second.span_s) == (49.0, 50.0)


def test_clocks_that_go_back_never_make_time_negative() -> None:
    collector = Collector(50)
    times = [1000.0 - i for i in range(100)]
    assert all(full.span_s >= 0 for full in collector.add(batch([f"k{i}" for i in range(100)], at_s=times)))


def test_a_column_that_changes_its_type_between_batches_is_joined_as_text() -> None:
    collector = Collector(60)
    for number, values in enumerate((pa.array(range(20)), pa.array(["a"] * 20), pa.nulls(20))):
        full = collector.add(batch([f"k{number}-{i}" for i in range(20)], x=values))
    assert full[0].table["f.x"].to_pylist() == [*map(str, range(20)), *["a"] * 20, *[None] * 20]


def test_failed_and_refused_rows_are_left_out_of_a_window() -> None:
    collector = Collector(50)
    assert collector.add(batch([f"k{i}" for i in range(60)], status=[500, 422] * 30)) == []
    assert collector.units == 0
