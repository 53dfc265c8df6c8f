"""One replica's app on bare uvicorn, without Ray, with runs shared between callers or not: what batching alone does.

``python -m bench.peers.replica_app folder 8000 batched|unbatched``, where the folder holds a saved version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from contracts.routing import Arm, RouteTable
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.serving_form import ServingModel
from serve.predict import Predictor
from serve.recorder import Group, Recorder
from serve.slots import ModelSlots
from serve.traffic import Lane, Routes, Traffic

ROWS = "rows.json"


def build(folder: Path, *, batched: bool) -> Predictor:
    """Load the version and build its app; without a pace nothing is shared."""
    model = ServingModel.load(folder)
    if batched:
        model.warm_up([list(row.values()) for row in json.loads((folder / ROWS).read_text(encoding="utf-8"))])
        print(f"pace: {model.pace}, pays: {model.pace and model.pace.pays}", flush=True)
    arm = Arm(version="1.0.0", manifest="sha256:0", share=1)
    table = RouteTable(model_key="m", epoch=0, salt="", arms=(arm,))
    recorder = Recorder("m", _nowhere, flush_s=1, most_rows=0)
    traffic = Traffic("m", "bench", ModelSlots(MemoryBlobs(), folder), recorder, folder / "routes.json")
    traffic.routes = Routes(table, {arm.version: Lane(arm, Group(arm.version, "stable", 0, 1, ""), model=model)}, None)
    return Predictor("m", traffic, recorder)


async def _nowhere(tables: Sequence[bytes]) -> None:
    """Take telemetry that nobody reads."""


if __name__ == "__main__":
    _, name, port, mode = sys.argv
    app = build(Path(name), batched=mode == "batched")
    uvicorn.run(app, host="127.0.0.1", port=int(port), lifespan="off", access_log=False, log_level="warning")
