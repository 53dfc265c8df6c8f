"""Telemetry leaves the replica whole, in order, bounded, with its losses counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from contracts.errors import Incompatible, Unavailable
from contracts.telemetry import FACTS, FIELDS
from mldl_ray.adapters.schema import InputSchema
from serve.recorder import MOST_ROWS_TOGETHER, Group, Recorder, Seen

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
        self.sent: list[tuple[bytes, ...]] = []
        self.error: Exception | None = None

    async def take(self, tables: Sequence[bytes]) -> None:
        self.sent.append(tuple(tables))
        if self.error is not None:
            raise self.error
        self.tables += [pa.ipc.open_stream(table).read_all() for table in tables]


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


def test_both_arms_of_a_rollout_are_told_of_together_however_many_rows_come_meanwhile() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor, most_rows=100_000)
    candidate = GROUP._replace(version="1.1.0", role="candidate")
    telemetry.describe("1.1.0", SCHEMA)

    async def take_and_be_asked_more(tables: Sequence[bytes]) -> None:
        await monitor.take(tables)
        if len(monitor.sent) < 4:  # twenty requests come while a batch is on its way, one of them for the candidate
            for n in range(20):
                telemetry.add(candidate if n == 0 else GROUP, seen(f"{len(monitor.sent)}-{n}"))

    telemetry._send = take_and_be_asked_more
    for n in range(MOST_ROWS_TOGETHER * 2):
        telemetry.add(candidate if n % 20 == 0 else GROUP, seen(str(n)))
    asyncio.run(telemetry.flush())
    for sent in monitor.sent:
        rows = [pa.ipc.open_stream(table).read_all().num_rows for table in sent]
        assert len(rows) == 2
        assert min(rows) * 20 == sum(rows)


def test_rows_that_were_not_heard_of_come_again_as_they_were_though_more_have_come() -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    telemetry.add(GROUP, seen("a"))
    monitor.error = Unavailable("its answer was lost")
    with pytest.raises(Unavailable):
        asyncio.run(telemetry.flush())
    monitor.error = None
    telemetry.add(GROUP, seen("b"))
    asyncio.run(telemetry.flush())
    assert monitor.sent[1] == monitor.sent[0]
    assert [table["request_id"].to_pylist() for table in monitor.tables] == [["a"], ["b"]]


@pytest.mark.parametrize("age", [10**400, -(10**400), 0, None])
def test_any_number_that_the_model_takes_can_be_reported(age: Any) -> None:
    monitor = Monitor()
    telemetry = recorder(monitor)
    telemetry.add(GROUP, seen("a", row=(age, None, None, None)))
    asyncio.run(telemetry.flush())
    assert monitor.tables[0].num_rows == 1


def test_rows_that_come_while_it_sends_wait_for_the_next_flush() -> None:
    monitor = Monitor()

    async def busy(tables: Sequence[bytes]) -> None:
        await monitor.take(tables)
        telemetry.add(GROUP, seen(f"meanwhile {len(monitor.sent)}"))

    telemetry = Recorder("m", busy, flush_s=1, most_rows=100)
    telemetry.describe("1.0.0", SCHEMA)
    telemetry.add(GROUP, seen("a"))
    asyncio.run(telemetry.flush())
    assert [table["request_id"].to_pylist() for table in monitor.tables] == [["a"]]
    asyncio.run(telemetry.flush())
    assert [table["request_id"].to_pylist() for table in monitor.tables] == [["a"], ["meanwhile 1"]]
