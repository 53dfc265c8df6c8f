"""The pool's door: finds the model of a request, and answers for those that the pool does not hold. Plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from contracts.errors import MldlError, NotFound, Unavailable
from contracts.ports import Journal
from serve.pooled import Pooled
from serve.predict import answer_lifespan, authorise
from serve.problems import MethodNotAllowed, problem

PREDICT_PREFIX = "/api/mldl/v1/predict"
POOL = b"x-mldl-pool"
"""On what the pool says itself, not for a model: how its reach is proven."""
MOST_LOOKING = 8
"""Questions to the journal at once, each in a thread; while it is away they take seconds, and models need some too."""


class Door:
    """An ASGI app over the models of one replica, which somebody else brings and takes away."""

    def __init__(self, models: Mapping[str, Pooled], replica_id: str, journal: Journal) -> None:
        self._models, self._replica_id, self._journal = models, replica_id, journal
        self._looking = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its model."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        key = scope["path"].removeprefix(PREDICT_PREFIX).strip("/")
        model = self._models.get(key)
        if model is not None and model.ready:
            await model.predictor(scope, receive, send)
            return
        response = problem(await self._unserved(key, scope), scope["path"])
        response.headers[POOL.decode()] = self._replica_id
        await response(scope, receive, send)

    async def _unserved(self, key: str, scope: Scope) -> MldlError:
        """Say why nothing answers, as the control plane would, which the pool's prefix hides."""
        if scope["method"] != "POST":
            return MethodNotAllowed(f"{scope['method']} is not answered here; POST {{inputs: [...]}}")
        if (refusal := self._stranger(scope)) is not None:
            return refusal
        model = self._models.get(key)
        if model is not None and model.trouble:
            return Unavailable(f"{key} cannot be loaded: {model.trouble}", {"model_key": key})
        return await self._not_held(key)

    async def _not_held(self, key: str) -> MldlError:
        if self._looking >= MOST_LOOKING:
            return Unavailable(f"whether {key} serves cannot be said now; try again in a moment", {"model_key": key})
        self._looking += 1
        try:
            document = await asyncio.to_thread(self._journal.read, "endpoint", key)
        except MldlError as error:
            return error
        finally:
            self._looking -= 1
        if document is not None and document.body is not None and document.body.get("stable"):
            return Unavailable(f"the endpoint of {key} is starting; try again in a moment", {"model_key": key})
        return NotFound(f"no version of {key} serves; register one, then POST /deploy", {"model_key": key})

    def _stranger(self, scope: Scope) -> MldlError | None:
        """Say who may not ask: every table carries the same keys."""
        known = next((model.table for model in self._models.values() if model.ready), None)
        try:
            if known is not None:
                authorise(known, dict(scope["headers"]))
        except MldlError as error:
            return error
        return None
