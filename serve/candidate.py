"""One version in a process of its own, under an app name that is never used twice. It can crash, leak or hang alone."""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from contracts.errors import Incompatible
from mldl_ray.blobs import open_blobs
from serve.batching import Runs
from serve.slots import load_version


class Candidate:
    """Answers endpoints over a handle, in bytes of JSON: ``{predictions, probabilities, scores, rows, took_ms}``.

    A refusal is an answer too (``{refused: message, facts}``), because Serve would wrap an exception in its own.
    """

    def __init__(self, artifact_uri: str, cache: str, manifest: str) -> None:
        self._model = load_version(open_blobs(artifact_uri), Path(cache), manifest)
        self._runs = Runs()
        self._schema = orjson.dumps(self._model.schema.to_json())

    async def schema(self) -> bytes:
        """Describe the columns that the version takes."""
        return self._schema

    async def predict(self, body: bytes) -> bytes:
        """Answer the inputs of one request; ``took_ms`` includes waiting for the model."""
        began = time.perf_counter()
        try:
            answer = await self._runs.predict(self._model, orjson.loads(body))
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
