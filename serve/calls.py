"""What a route is given: the actors to call, and the promise of an idempotency key. Who calls is in ``access``."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, NamedTuple

import orjson
from fastapi import Depends, Header, Request
from fastapi.routing import APIRoute

from contracts.access import Principal
from contracts.errors import Incompatible
from contracts.ports import Journal, Once
from serve.access import caller_of

LARGEST_POSITION = 2**63 - 1


class Actors(NamedTuple):
    """The long-lived actors, each as a plain object; all but the journal have the methods of their class."""

    journal: Journal
    bridges: Any
    registry: Any
    snapshots: Any
    monitor: Any
    jobs: Any
    deployments: Any


def _actors_of(request: Request) -> Actors:
    actors: Actors = request.app.state.actors
    return actors


async def _once_of(
    request: Request,
    caller: Annotated[Principal, Depends(caller_of)],
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=128, description="Calls with the same key are the same request.")
    ] = None,
) -> Once | None:
    if idempotency_key is None:
        return None
    return once_for(
        f"{request.method} {request.url.path} {caller.name} {idempotency_key}",
        await request.body() + request.url.query.encode(),
    )


def once_for(key: str, content: bytes) -> Once:
    """Make the promise of an idempotency key; one that is too long for the journal becomes its digest.

    >>> len(once_for("POST /train ann " + "k" * 300, b"{}").key)
    64
    """
    if len(key) > 255:
        key = hashlib.sha256(key.encode()).hexdigest()
    return Once(key=key, digest=hashlib.sha256(content).hexdigest())


def known_query(request: Request) -> None:
    """Refuse a misspelt query parameter: an error and not a silence.

    Raises:
        Incompatible: The route has no parameter of that name.
    """
    route = request.scope["route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        raise Incompatible(
            f"unknown query parameter {unknown[0]!r}; there are: {', '.join(sorted(known)) or 'none'}",
            {"unknown": unknown, "known": sorted(known)},
        )


class StrictRequest(Request):
    """A request whose JSON is exactly JSON: no NaN, no lone surrogates, no bottomless nesting."""

    async def json(self) -> Any:
        """Read the body."""
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route that reads bodies so."""

    def get_route_handler(self) -> Any:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Any:
            return await handle(StrictRequest(request.scope, request.receive))

        return handler


ActorsOf = Annotated[Actors, Depends(_actors_of)]
OnceOf = Annotated[Once | None, Depends(_once_of)]
