"""Telemetry leaves the replica whole, in order, bounded, with its losses counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from contracts.errors import Incompatible, Unavailable
from contracts.telemetry import FACTS, FIELDS
from mldl_ray.adapters.schema import InputSchema
from serve.recorder import Group, Recorder, Seen

GROUP = Group("1.0.0", "stable", 3, 0.05, "dep-1")
SCHEMA = InputSchema.of(
    pa.table(
        {
            "age": [1.5],
            "sex": ["f"],
            "member": [True],
            "since": pa.array([0], pa.timestamp("us")),
        }
    )
)


class Monitor:
    """Takes batches, or does not."""

    def __init__(self) -> None:
        self.tables: list[pa.Table] = []
        self.error: Exception | None = None

    async def take(self, batch: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.tables.append(pa.ipc.open_stream(batch).read_all())


def seen(name: str, row: Any = (30, "m", 1, "2024-03-15T14:30:22Z"), status: int = 200) -> Seen:
    return Seen(name, "ann", 1.0, 2.0, status, "yes" if status == 200 else None, 0.9 if status == 200 else None, row)


def recorder(monitor: Monitor, most_rows: int = 100) -> Recorder:
    made = Recorder("m", monitor.take, flush_s=1, most_rows=most_rows)
    made.describe("1.0.0", SCHEMA)
    return made


def test_a_batch_has_the_published_columns_and_facts() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    telemetry.add(GROUP, seen("a"))
    telemetry.add(GROUP, seen("b", row=None, status=503))
    asyncio.run(telemetry.flush())
    [table] = monitor.tables
    assert table.column_names == [*FIELDS, "f.age", "f.sex", "f.member", "f.since"]
    assert {name.decode() for name in table.schema.metadata} == set(FACTS)
    assert table["f.age"].to_pylist() == [30.0, None]
    assert table["f.member"].to_pylist() == [True, None]
    assert table["prediction"].to_pylist() == ['"yes"', None]


def test_rows_wait_while_the_monitor_is_away() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    telemetry.add(GROUP, seen("a"))
    monitor.error = Unavailable("restarting")
    with pytest.raises(Unavailable):
        asyncio.run(telemetry.flush())
    monitor.error = None
    telemetry.add(GROUP, seen("b"))
    asyncio.run(telemetry.flush())
    assert [name for table in monitor.tables for name in table["request_id"].to_pylist()] == ["a", "b"]


def test_rows_beyond_the_bound_are_lost_and_counted_once() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor, most_rows=2)
    for name in "abcde":
        telemetry.add(GROUP, seen(name))
    asyncio.run(telemetry.flush())
    telemetry.add(GROUP, seen("f"))
    asyncio.run(telemetry.flush())
    assert [table.schema.metadata[b"lost"] for table in monitor.tables] == [b"3", b"0"]


def test_what_the_monitor_refuses_is_lost_and_not_sent_for_ever() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    monitor.error = Incompatible("garbled")
    telemetry.add(GROUP, seen("a"))
    asyncio.run(telemetry.flush())
    monitor.error = None
    telemetry.add(GROUP, seen("b"))
    asyncio.run(telemetry.flush())
    [table] = monitor.tables
    assert (table["request_id"].to_pylist(), table.schema.metadata[b"lost"]) == (["b"], b"1")


@pytest.mark.parametrize("age", [10**400, -(10**400), 0, None])
def test_any_number_that_the_model_takes_can_be_reported(age: Any) -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    telemetry.add(GROUP, seen("a", row=(age, None, None, None)))
    asyncio.run(telemetry.flush())
    assert monitor.tables[0].num_rows == 1
