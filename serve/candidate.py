"""One version in a process of its own, under an app name that is never used twice. It can crash, leak or hang alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import Incompatible
from mldl_ray.blobs import open_blobs
from serve.slots import load_version


class Candidate:
    """Answers endpoints over a handle, in bytes of JSON: ``{predictions, probabilities, scores, rows, took_ms}``.

    A refusal is an answer too (``{refused: message, facts}``), because Serve would wrap an exception in its own.
    """

    def __init__(self, artifact_uri: str, cache: str, manifest: str) -> None:
        self._model = load_version(open_blobs(artifact_uri), Path(cache), manifest)
        self._schema = orjson.dumps(self._model.schema.to_json())

    async def schema(self) -> bytes:
        """Describe the columns that the version takes."""
        return self._schema

    async def predict(self, body: bytes) -> bytes:
        """Answer the inputs of one request."""
        inputs = orjson.loads(body)
        if len(inputs) > INLINE_ROWS:
            return await asyncio.to_thread(self._answer, inputs)
        return self._answer(inputs)

    def _answer(self, inputs: Any) -> bytes:
        began = time.perf_counter()
        try:
            answer = self._model.predict(inputs)
        except Incompatible as error:
            return orjson.dumps({"refused": error.message, "facts": error.facts})
        return orjson.dumps(
            {
                "predictions": answer.predictions,
                "probabilities": answer.probabilities,
                "scores": answer.scores,
                "rows": answer.rows,
                "took_ms": (time.perf_counter() - began) * 1000,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )


INLINE_ROWS = 64
"""Requests of more rows leave the event loop, so that small ones do not wait behind them."""
