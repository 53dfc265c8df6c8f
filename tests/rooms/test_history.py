"""Telemetry on disk: what a kill costs, what is deleted when, and what private columns become."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from mldl_ray.monitoring.history import History
from mldl_ray.settings import MonitoringDefaults
from serve.recorder import Privacy, Recorder
from tests.rooms.test_monitor_actor import KEY, Scene
from tests.rooms.test_recorder import GROUP, SCHEMA, Monitor, seen

DAY_S = 86_400.0
FOR_EVER = """
import sys
from pathlib import Path
from tests.rooms.test_monitor_actor import Scene
scene = Scene(Path(sys.argv[1]), "mldl: {monitoring: {history_flush_s: 0.5}}")
sent = 0
while True:
    scene.send(10)
    sent += 10
    print(sent, flush=True)
"""


def rows_on_disk(home: Path) -> int:
    files = [str(path) for path in (home / "history").rglob("*.parquet")]
    return int(ds.dataset(files, format="parquet").count_rows()) if files else 0


def test_a_monitor_killed_midway_loses_no_more_than_its_last_flush_interval(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", FOR_EVER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    ) as process:
        assert process.stdout is not None
        sent = 0
        while sent < 500:
            sent = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        sent = max([sent, *(int(line) for line in process.stdout.read().split())])
    # ten rows are a tenth of a second of its clock; a batch may have been taken and not yet been told of
    assert sent - 60 <= rows_on_disk(tmp_path) <= sent + 10
    tables = [ds.dataset(str(path), format="parquet").to_table() for path in tmp_path.rglob("history/**/*.parquet")]
    ids = pa.concat_tables(tables)["request_id"]
    assert len(pc.unique(ids)) == len(ids)


def test_rows_wait_for_the_flush_interval_though_no_more_come(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(10)
    assert rows_on_disk(tmp_path) == 0
    scene.clock.advance(10)
    scene.monitor.tick()
    assert rows_on_disk(tmp_path) == 10


def written(scene: Scene, folder: Path, days: int, **limits: Any) -> list[str]:
    history = History(folder, **limits)
    for _ in range(days):
        (folder / KEY / "day=x").mkdir(parents=True, exist_ok=True)
        name = f"1.0.0-{int(scene.clock.now_s() * 1000)}-abcdef01.parquet"
        (folder / KEY / "day=x" / name).write_bytes(b"x" * 1000)
        scene.clock.advance(DAY_S)
    history.flush_if_due(scene.clock.now_s())
    return sorted(path.name for path in folder.rglob("*.parquet"))


def test_files_that_are_too_old_are_deleted(tmp_path: Path) -> None:
    assert len(written(Scene(tmp_path), tmp_path / "h", 10, keep_s=3.5 * DAY_S)) == 3


def test_the_oldest_files_go_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    names = written(scene, tmp_path / "h", 10, max_bytes=4500)
    assert len(names) == 4
    assert float(names[0].split("-")[1]) / 1000 == pytest.approx(scene.clock.now_s() - 4 * DAY_S)


def test_nothing_is_deleted_without_limits_and_empty_days_go(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert len(written(scene, tmp_path / "h", 10)) == 10
    assert History(tmp_path / "h", keep_s=1.0).sweep(scene.clock.now_s()) == 10_000
    assert list((tmp_path / "h" / KEY).iterdir()) == []


def sent(privacy: Privacy) -> pa.Table:
    async def play() -> pa.Table:
        monitor = Monitor()
        recorder = Recorder("m", monitor.take, flush_s=1, most_rows=10, privacy=privacy)
        recorder.describe("1.0.0", SCHEMA)
        for sex in ("m", "f", "m", None):
            recorder.add(GROUP, seen("r", (30, sex, 1, "2024-03-15T14:30:22Z")))
        await recorder.flush()
        return monitor.tables[0]

    return asyncio.run(play())


def test_a_dropped_column_does_not_leave_and_a_masked_one_only_as_hashes() -> None:
    table = sent(Privacy.of(MonitoringDefaults(masked=("sex",), dropped=("age",), mask_key="k")))
    assert not {"f.age", "m.age", "f.sex"} & set(table.column_names)
    hashes = table["m.sex"].to_pylist()
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[3] is None
    assert len(hashes[0]) == 32
    assert table["f.member"].to_pylist() == [True] * 4


def test_another_key_gives_other_hashes_and_a_column_in_both_is_dropped() -> None:
    first, second = (sent(Privacy.of(MonitoringDefaults(masked=("sex",), mask_key=key))) for key in ("k", "other"))
    assert first["m.sex"][0] != second["m.sex"][0]
    both = sent(Privacy.of(MonitoringDefaults(masked=("sex",), dropped=("sex",))))
    assert "m.sex" not in both.column_names


def test_masked_columns_are_kept_in_the_history_and_raise_no_drift(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "mldl: {monitoring: {window_rows: 100, masked: [age]}}")
    masked = scene.batch(300)
    table = pa.ipc.open_stream(masked).read_all()
    table = table.rename_columns(["m.age" if name == "f.age" else name for name in table.column_names])
    table = table.set_column(table.column_names.index("m.age"), "m.age", pa.array(["ab"] * 300))
    table = table.replace_schema_metadata(pa.ipc.open_stream(masked).schema.metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    scene.monitor.ingest(sink.getvalue().to_pybytes())
    scene.monitor.flush()
    (path,) = tmp_path.rglob("history/**/*.parquet")
    assert ds.dataset(str(path), format="parquet").to_table()["m.age"].to_pylist() == ["ab"] * 300
    assert not {cause for cause in scene.causes() if cause.startswith("drift")}
