"""The control plane as one FastAPI app. Its routes call actors and know no rules."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import (
    Broken,
    Conflict,
    Forbidden,
    Incompatible,
    MldlError,
    NotFound,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from contracts.http import Problem
from mldl_ray.settings import Settings
from serve.calls import Actors, known_query
from serve.console import install as install_console
from serve.console.door import failed, is_page
from serve.probes import Probes
from serve.problems import PROBLEM, MethodNotAllowed, problem
from serve.routes import (
    aliases,
    audit,
    bridges,
    consumers,
    datasets,
    deployments,
    events,
    families,
    feature_views,
    health,
    jobs,
    keys,
    kpis,
    life,
    lineage,
    monitoring,
    policy,
    quality,
    registry,
    served,
    snapshots,
)

__all__ = ["BASE", "Actors", "build_app"]

BASE = "/api/mldl/v1"
LARGEST_BODY_BYTES = 8 * 2**20
DESCRIPTION = """The model lifecycle on Ray: define → train → evaluate → register → deploy → monitor → rollback.

Every change takes an `Idempotency-Key`: the same request again gives the first answer. Errors are
`application/problem+json` with a stable `code`."""
log = logging.getLogger(__name__)
_ROUTES = (
    health,
    families,
    jobs,
    aliases,  # before the registry, whose versions could have that name
    registry,
    lineage,
    life,
    served,
    policy,
    deployments,
    snapshots,
    monitoring,
    kpis,
    datasets,
    feature_views,
    quality,
    bridges,
    events,
    consumers,
    keys,
    audit,
)
_BY_STATUS: dict[int, type[MldlError]] = {
    400: Incompatible,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: TooLarge,
    422: Incompatible,
    503: Unavailable,
}


def build_app(actors: Actors, settings: Settings) -> FastAPI:
    """Build the app; paths are full (``/api/mldl/v1/…``), documentation is at ``/api/mldl/v1/docs``.

    Args:
        actors: Whom the routes call.
        settings: Decides whether keys are required.
    """
    app = FastAPI(
        title="MLDL on Ray",
        version=version("mldl-ray"),
        description=DESCRIPTION,
        docs_url=f"{BASE}/docs",
        redoc_url=None,
        openapi_url=f"{BASE}/openapi.json",
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(known_query)],
        responses={"default": {"description": "An error.", "content": {PROBLEM: {"schema": _ref(Problem)}}}},
    )
    app.state.actors, app.state.settings, app.state.probes = actors, settings, Probes()
    for room in _ROUTES:
        app.include_router(room.router, prefix=BASE)
    install_console(app)
    app.add_exception_handler(MldlError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_status)
    app.add_middleware(_Door)
    _complete(app)
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, MldlError)  # Starlette calls this for nothing else
    if isinstance(error, Broken):
        log.error("%s %s", request.method, request.url.path, exc_info=error)
    return problem(error, request.url.path)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # Starlette calls this for nothing else
    found = [_finding(item) for item in error.errors()]
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    message = f"{first['where']}: {first['problem']}; got {first['value']}{more}"
    return problem(Incompatible(message, {"errors": found[:20]}), request.url.path)


def _finding(item: dict[str, Any]) -> dict[str, str]:
    if item["type"] == "json_invalid":
        where, byte = item["loc"][0], item["loc"][1]
        return {
            "where": where,
            "problem": f"this is not JSON ({item['ctx']['error']})",
            "value": f"something else at byte {byte}",
        }
    no_object = item["type"] in {"model_attributes_type", "model_type", "dict_type"}
    return {
        "where": ".".join(str(part) for part in item["loc"]),
        "problem": "this must be a JSON object" if no_object else item["msg"].removeprefix("Value error, "),
        "value": repr(item.get("input"))[:100],
    }


def _by_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # Starlette calls this for nothing else
    detail = str(error.detail)
    if error.status_code == 404 and is_page(request.url.path):
        detail = f"there is no page at {request.url.path}"
    elif error.status_code == 404:
        detail = f"there is nothing at {request.url.path}; {BASE}/docs lists what there is"
    if error.status_code == 405:
        detail = f"{request.url.path} does not take {request.method}; {BASE}/docs lists what it takes"
    answer = _said(_BY_STATUS.get(error.status_code, Refused)(detail), request.url.path)
    answer.headers.update(error.headers or {})
    return answer


def _said(error: MldlError, path: str) -> Response:
    """Say an error to whom it concerns: a person at the console, or a program."""
    return failed(error) if is_page(path) else problem(error, path)


class _Door:
    """The outermost layer: bounds what is read of a body, and turns a bug into a problem without its insides."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read_bytes, answered = 0, False

        async def bounded() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > LARGEST_BODY_BYTES:
                raise HTTPException(413, f"the body is larger than {LARGEST_BODY_BYTES // 2**20} MiB")
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, bounded, noted)
        except Exception:  # the last line: whatever it is, it is logged here and the caller gets a 500
            log.exception("%s %s", scope["method"], scope["path"])
            if not answered:
                text = "something failed here that should not; the service's log has the details"
                await _said(Broken(text), scope["path"])(scope, receive, send)


def _ref(model: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _complete(app: FastAPI) -> None:
    """Have the OpenAPI document hold the schemas that no route here reads or returns."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = generate()["components"]["schemas"]
            for model in (Problem, *deployments.SCHEMAS):
                schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents
