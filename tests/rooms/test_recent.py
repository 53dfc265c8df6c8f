"""What stable answered lately is remembered within bounds, and handed out as callers would send it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.records import TrainedBundle
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.recent import Recents, recent_rows

KEY, STABLE = "m", "1.0.0"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def batch(ages: list[float | None], *, version: str = STABLE, role: str = "stable", **columns: Any) -> Batch:
    count = len(ages)
    values: dict[str, Any] = {
        "request_id": [str(i) for i in range(count)],
        "key": ["k"] * count,
        "at_s": [1.0] * count,
        "latency_ms": [1.0] * count,
        "status": pa.array([200] * count, pa.int16()),
        "role": [role] * count,
        "prediction": ['"yes"'] * count,
        "score": [0.5] * count,
        "f.age": pa.array(ages, pa.float64()),
    }
    facts = {"model_key": KEY, "version": version, "epoch": "1", "share": "0", "deployment_id": "", "lost": "0"}
    table = pa.table(values | columns).replace_schema_metadata(facts)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Batch.parse(sink.getvalue())


def bundle(example: pa.Table, digest: str = "sha256:" + "0" * 64) -> TrainedBundle:
    return TrainedBundle(
        model_key=KEY,
        version=STABLE,
        artifact_uri=f"blobs:{digest}",
        validation_hash=digest,
        created_at="now",
        input_schema=InputSchema.of(example).to_json(),
    )


AGE = bundle(pa.table({"age": [1.0]}))


def ages(recents: Recents, limit: int = 100) -> list[Any]:
    found = recent_rows(recents.latest(KEY, STABLE), AGE, MemoryBlobs(), limit)
    return [row.record["age"] for row in found.rows]


def test_distinct_rows_come_the_latest_first() -> None:
    recents = Recents()
    recents.add(batch([1, 2]))
    recents.add(batch([2, 3]))
    assert ages(recents) == [3, 2, 1]
    assert ages(recents, limit=2) == [3, 2]


def test_rows_come_with_the_answer_that_stable_gave() -> None:
    recents = Recents()
    recents.add(batch([1, 2], prediction=['"no"', '"yes"'], score=[0.25, 0.75]))
    found = recent_rows(recents.latest(KEY, STABLE), AGE, MemoryBlobs(), 10)
    assert found.source == "traffic"
    assert [(row.prediction, row.score) for row in found.rows] == [("yes", 0.75), ("no", 0.25)]


def test_what_a_candidate_answered_or_stable_refused_is_not_kept() -> None:
    recents = Recents()
    recents.add(batch([1], role="candidate"))
    recents.add(batch([2], role="shadow"))
    recents.add(batch([3, 4], status=pa.array([500, 200], pa.int16())))
    assert ages(recents) == [4]


def test_only_the_latest_rows_of_a_version_are_kept() -> None:
    recents = Recents(most_rows=4)
    for start in range(0, 40, 2):
        recents.add(batch([start, start + 1]))
    assert ages(recents) == [39, 38, 37, 36]
    recents.add(batch([float(age) for age in range(100, 200)]))
    assert ages(recents) == [199, 198, 197, 196]


def test_the_version_longest_unheard_of_is_forgotten_when_there_is_too_much() -> None:
    recents = Recents(most_bytes=6000)
    recents.add(batch([1.0]))
    for version in range(10):
        recents.add(batch([2.0] * 50, version=f"2.0.{version}"))
    assert recents.latest(KEY, STABLE) == []
    assert recents.latest(KEY, "2.0.9")


def test_missing_values_and_times_are_as_a_caller_sends_them() -> None:
    example = pa.table({"age": [1.0], "at": pa.array([MOMENT]), "word": ["a"], "flag": [True]})
    recents = Recents()
    recents.add(batch([None], **{"f.at": pa.array([MOMENT]), "f.word": ["b"], "f.flag": [False]}))
    (row,) = recent_rows(recents.latest(KEY, STABLE), bundle(example), MemoryBlobs(), 10).rows
    assert row.record == {"age": None, "at": "2026-01-02T03:04:05+00:00", "word": "b", "flag": False}


def stored(blobs: MemoryBlobs, tmp_path: Any, table: pa.Table, example: pa.Table) -> TrainedBundle:
    pq.write_table(table, tmp_path / "reference.parquet")
    return bundle(example, store_artifact(blobs, tmp_path, {"family": "lr"}))


def test_without_traffic_the_held_out_rows_stand_in(tmp_path: Any) -> None:
    blobs = MemoryBlobs()
    held_out = pa.table({"f.age": [7.0, 8.0], "f.unused": ["x", "y"], "score": [0.1, 0.9]})
    found = recent_rows([], stored(blobs, tmp_path, held_out, pa.table({"age": [1.0]})), blobs, 1)
    assert (found.source, found.why) == ("reference", "no requests to 1.0.0 lately")
    assert [(row.record, row.prediction, row.score) for row in found.rows] == [({"age": 7.0}, None, 0.1)]


def test_series_are_taken_from_the_held_out_rows_because_telemetry_has_none(tmp_path: Any) -> None:
    blobs, recents = MemoryBlobs(), Recents()
    recents.add(batch([1.0]))
    example = pa.table({"wave": [[1.0, 2.0]]})
    held_out = pa.table({"f.wave": [[3.0, float("nan")]], "score": [0.1]})
    found = recent_rows(recents.latest(KEY, STABLE), stored(blobs, tmp_path, held_out, example), blobs, 10)
    assert (found.source, found.why) == ("reference", "series that callers send to 1.0.0 are not kept")
    assert found.rows[0].record == {"wave": [3.0, None]}


@pytest.mark.parametrize("missing", ["artifact", "file"])
def test_without_either_there_is_nothing_and_the_reason_is_given(tmp_path: Any, missing: str) -> None:
    blobs, known = MemoryBlobs(), AGE
    if missing == "file":
        (tmp_path / "note.txt").write_text("x")
        known = bundle(pa.table({"age": [1.0]}), store_artifact(blobs, tmp_path, {"family": "lr"}))
    found = recent_rows([], known, blobs, 10)
    assert (found.source, found.rows) == ("none", ())
    assert found.why.startswith("no requests to 1.0.0 lately, and ")
