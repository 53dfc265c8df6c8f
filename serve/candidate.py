"""One version in a process of its own, under an app name that is never used twice. It can crash, leak or hang alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import Incompatible
from contracts.specs import Json
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
        """Answer the inputs of one request."""
        return orjson.dumps(await self._answered(orjson.loads(body)), option=_OPTIONS)

    async def predict_many(self, bodies: bytes) -> bytes:
        """Answer a list of requests, each with what ``predict`` gives; one that breaks the model is ``{broken}``."""
        answers = await asyncio.gather(*map(self._answered, orjson.loads(bodies)), return_exceptions=True)
        told = [{"broken": str(one)} if isinstance(one, BaseException) else one for one in answers]
        return orjson.dumps(told, option=_OPTIONS)

    async def _answered(self, inputs: list[Any]) -> Json:
        """Answer one request; ``took_ms`` includes waiting for the model."""
        began = time.perf_counter()
        try:
            answer = await self._runs.predict(self._model, inputs)
        except Incompatible as error:
            return {"refused": error.message, "facts": error.facts}
        return {
            "predictions": answer.predictions,
            "probabilities": answer.probabilities,
            "scores": answer.scores,
            "rows": answer.rows,
            "took_ms": (time.perf_counter() - began) * 1000,
        }


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
