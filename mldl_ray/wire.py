"""What every verb of the client is made of: values become bodies, answers become values. Not here: the verbs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from contracts.errors import Incompatible, Unavailable
from contracts.specs import DataRef, Json, Words
from mldl_ray.transport import Transport

T = TypeVar("T")
W = TypeVar("W", bound=Words)
LOOK_S = 0.25


class Caller:
    """Send and read contract models over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, kind: type[T], path: str, **query: Any) -> T:
        return parsed(kind, self._transport.call("GET", path, query=query))

    def _post(self, kind: type[T], path: str, body: Words | Json) -> T:
        return parsed(kind, self._transport.call("POST", path, body=body))


def parsed(kind: type[T], response: httpx.Response) -> T:
    """Read an answer.

    Raises:
        Incompatible: It is not what this release expects.
    """
    try:
        return TypeAdapter(kind).validate_json(response.content)
    except ValidationError as error:
        raise Incompatible(
            f"the service speaks another release than this client: {error.errors()[0]['msg']}"
        ) from error


def read(kind: type[W], given: Words | Mapping[str, Any]) -> W:
    """Read a body here, so that a mistake is refused before it travels."""
    values = {name: value for name, value in dict(given).items() if value is not None}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        message = f"{where}: {first['msg'].removeprefix('Value error, ')}; got {first['input']!r:.100}"
        raise Incompatible(message, {"field": where}) from error


def with_path(body: W) -> W:
    """Name a local file by its whole path: the service's working directory is another."""
    data: DataRef | None = body.data  # type: ignore[attr-defined]  # every caller's body has one
    if data is None or data.uri is None or "://" in data.uri:
        return body
    return body.model_copy(
        update={"data": data.model_copy(update={"uri": str(Path(data.uri).expanduser().absolute())})}
    )


def in_path(name: str) -> str:
    """Quote a name for a path.

    >>> in_path("a/b")
    'a%2Fb'
    """
    return quote(str(name), safe="")


def version_path(model_key: str, version: str) -> str:
    """Give the path of a version."""
    return f"/registry/{in_path(model_key)}/{in_path(version)}"


def wait(ask: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Ask until there is an answer.

    Raises:
        Unavailable: There was none within ``timeout_s`` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while (answer := ask()) is None:
        if time.monotonic() > deadline_s:
            raise Unavailable(f"waited {timeout_s:g} s for {what}")
        time.sleep(LOOK_S)
    return answer
