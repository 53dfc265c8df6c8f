"""One replica's app on bare uvicorn, without Ray: what a part of it costs or gives shows beside the app without it.

``python -m bench.peers.replica_app folder 8000 batched|unbatched|seen``, where the folder holds a saved version.
``batched`` and ``unbatched`` tell nobody of their answers. ``seen`` is ``batched`` with all of the telemetry: every row
goes to a real monitor in a process of its own, as it does to its actor.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow.parquet as pq
import uvicorn
from starlette.types import Receive, Scope, Send

from bench.ingest import KEY, VERSION, monitor
from contracts.routing import Arm, RouteTable
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.serving_form import ServingModel
from mldl_ray.settings import MonitoringDefaults
from serve.predict import Predictor
from serve.recorder import Group, Recorder
from serve.slots import ModelSlots
from serve.traffic import Lane, Routes, Traffic

ROWS, REFERENCE = "rows.json", "telemetry.parquet"


class Told:
    """A monitor in another process; a batch is told when the monitor has counted it."""

    def __init__(self, folder: Path) -> None:
        self._connection, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        context.Process(target=_listen, args=(there, folder / REFERENCE), daemon=True).start()

    async def __call__(self, tables: Sequence[bytes]) -> None:
        """Send a batch and wait for the word that it is counted."""
        await asyncio.to_thread(self._tell, tables)

    def _tell(self, tables: Sequence[bytes]) -> None:
        self._connection.send(list(tables))
        self._connection.recv()


class App:
    """The replica's app, which begins to flush with the first request: then there is a loop."""

    def __init__(self, predictor: Predictor, recorder: Recorder) -> None:
        self._predictor, self._recorder = predictor, recorder
        self._flushing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._recorder.run())
        await self._predictor(scope, receive, send)


def build(folder: Path, mode: str) -> App:
    """Load the version and build its app; without a pace nothing is shared."""
    model = ServingModel.load(folder)
    if mode != "unbatched":
        model.warm_up(json.loads((folder / ROWS).read_text(encoding="utf-8")))
        print(f"pace: {model.pace}, pays: {model.pace and model.pace.pays}", flush=True)
    arm = Arm(version=VERSION, manifest="sha256:0", share=1)
    table = RouteTable(model_key=KEY, epoch=0, salt="", arms=(arm,))
    defaults = MonitoringDefaults()
    recorder = Recorder(KEY, _nowhere, flush_s=defaults.flush_s, most_rows=0)
    if mode == "seen":
        recorder = Recorder(KEY, Told(folder), flush_s=defaults.flush_s, most_rows=defaults.buffer_rows)
        recorder.describe(arm.version, model.schema)
    traffic = Traffic(KEY, "bench", ModelSlots(MemoryBlobs(), folder), recorder, folder / "routes.json")
    traffic.routes = Routes(table, {arm.version: Lane(arm, Group(arm.version, "stable", 0, 1, ""), model=model)}, None)
    return App(Predictor(KEY, traffic, recorder), recorder)


async def _nowhere(tables: Sequence[bytes]) -> None:
    """Take telemetry that nobody reads."""


def _listen(connection: Connection, reference: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as home:
        counting = monitor(Path(home), pq.read_table(reference))
        while True:
            counting.ingest(*connection.recv())
            connection.send(None)


if __name__ == "__main__":
    _, name, port, mode = sys.argv
    uvicorn.run(
        build(Path(name), mode), host="127.0.0.1", port=int(port), lifespan="off", access_log=False, log_level="warning"
    )
