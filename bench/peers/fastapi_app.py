"""Bare FastAPI on uvicorn, one process: what one writes in an afternoon. No auth, no telemetry, no versions.

``python -m bench.peers.fastapi_app lr data.parquet 8000``
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.peers.pipelines import answer, fitted, frame_of


class Rows(BaseModel):
    """Rows of numbers, in the order of training."""

    inputs: list[list[float]]


class Records(BaseModel):
    """Records by column name."""

    inputs: list[dict[str, Any]]


def build(workload: str, file: str) -> FastAPI:
    """Build the app around a fitted pipeline."""
    app, pipeline = FastAPI(), fitted(workload, file)

    async def lr(rows: Rows) -> dict[str, Any]:
        return answer(pipeline, np.asarray(rows.inputs))

    async def adult(records: Records) -> dict[str, Any]:
        return answer(pipeline, frame_of(records.inputs))

    app.post("/predict")(lr if workload == "lr" else adult)
    return app


if __name__ == "__main__":
    _, name, data, port = sys.argv
    uvicorn.run(build(name, data), host="127.0.0.1", port=int(port), workers=1, access_log=False, log_level="warning")
