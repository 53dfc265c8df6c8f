"""The hot path: one HTTP request to predictions. Plain ASGI; what can be done before a request is done in ``traffic``.

A candidate never fails a request: whatever it does wrong, stable answers instead, and the failure counts against the
candidate. What stable refuses is the caller's mistake, and counts against nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from starlette.types import Receive, Scope, Send

from contracts.errors import (
    Broken,
    Forbidden,
    Incompatible,
    MldlError,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
)
from contracts.routing import RouteTable
from mldl_ray.serving_form import ServingModel
from serve.batching import INLINE_ROWS, Runs
from serve.bodies import Bodies
from serve.problems import MethodNotAllowed, TooSlow, problem
from serve.recorder import Recorder, Seen
from serve.traffic import Lane, Routes, Traffic

log = logging.getLogger(__name__)
MOST_ROWS = 10_000
MOST_AT_ONCE = 512
CANDIDATE_TIMEOUT_S = 2.0
SHADOW_QUEUE, SHADOW_ROWS = 256, MOST_ROWS
"""Requests, and rows of them together, that wait for a shadow at most."""
SHADOW_TOGETHER = 32
"""Copies that travel to the shadow in one call."""
SHADOW_BUSY = 0.05
"""Share of its time that a replica spends on what the shadow answered; what that is too little for is dropped."""
EPOCH = b"x-mldl-epoch"
"""On every answer, refusals included, so that it is always clear that the endpoint itself spoke, and by which table."""
_FIELDS = {"inputs", "keys"}
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Part(NamedTuple):
    """Rows of one request that one version answered."""

    version: str
    predictions: list[Any]
    probabilities: list[list[float]] | None
    scores: list[float]
    rows: list[list[Any]]
    way_ms: float = 0.0  # to the candidate's process and back; a version loses it when it is promoted


class Asked(NamedTuple):
    """A request, read and checked as far as that goes without a model."""

    inputs: list[Any]
    keys: list[str] | None
    key: str
    request_id: str
    began: float
    places: list[int] | None = None  # of these inputs in the request, where it was divided between versions


class Predictor:
    """An ASGI app that answers ``POST /``."""

    def __init__(self, model_key: str, traffic: Traffic, recorder: Recorder, bodies: Bodies | None = None) -> None:
        self._model_key, self._traffic, self._recorder = model_key, traffic, recorder
        self._bodies = bodies or Bodies()
        self._at_once = 0
        self._runs = Runs()
        self._shadows: asyncio.Queue[tuple[Lane, Asked]] = asyncio.Queue(SHADOW_QUEUE)
        self._shadow_rows, self._shadow_rest_until = 0, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; the lifespan protocol is accepted and means nothing here."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        try:
            status, body, headers = await self._answered(scope, receive)
        except MldlError as error:
            status, body, headers = self._refusal(error, scope)
        except Exception as error:  # a defect of ours: a problem for the caller, the rest in the log
            log.exception("a request to %s failed", self._model_key)
            status, body, headers = self._refusal(Broken(f"the request failed: {type(error).__name__}"), scope)
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, error: MldlError, scope: Scope) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        response = problem(error, scope["path"])
        headers = [header for header in response.raw_headers if header[0] != b"content-length"]
        headers.append((EPOCH, str(self._traffic.routes.table.epoch).encode()))
        if isinstance(error, TooLarge | TooSlow):
            headers.append((b"connection", b"close"))  # nobody reads the rest of the request
        return response.status_code, bytes(response.body), headers

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        began = time.perf_counter()
        routes = self._traffic.routes
        headers = dict(scope["headers"])
        if scope["path"].rstrip("/").rpartition("/")[2] != self._model_key:
            raise NotFound(f"there is nothing at {scope['path']}")
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} is not answered here; POST {{inputs: [...]}}")
        authorise(routes.table, headers)
        body = await self._bodies.read(receive, headers)
        self._at_once += 1  # not before: who sends slowly takes no place that others need
        try:
            if self._at_once > MOST_AT_ONCE:
                raise Overloaded(f"{MOST_AT_ONCE} requests are being answered already; slow down")
            asked = _read(body, headers, began)
            parts = await self._parts(routes, asked)
            return 200, _written(asked, parts), _headers(routes, parts)
        finally:
            self._at_once -= 1
            self._bodies.release(len(body))

    async def _parts(self, routes: Routes, asked: Asked) -> list[tuple[list[int] | None, Part]]:
        """Answer every row; with keys of their own, rows may go to different versions."""
        if asked.keys is None:
            return [(None, await self._by_lane(routes, routes.choose(asked.key), asked))]
        chosen: dict[str, list[int]] = {}
        for place, key in enumerate(asked.keys):
            chosen.setdefault(routes.choose(key).arm.version, []).append(place)
        parts: list[tuple[list[int] | None, Part]] = []
        for version, places in chosen.items():
            keys = asked.keys
            inputs = [asked.inputs[place] for place in places]
            some = asked._replace(inputs=inputs, keys=[keys[place] for place in places], places=places)
            parts.append((places, await self._by_lane(routes, routes.lanes[version], some)))
        return parts

    async def _by_lane(self, routes: Routes, lane: Lane, asked: Asked) -> Part:
        if lane.model is not None:
            return await self._by_stable(routes, lane, lane.model, asked)
        part, status = await self._by_candidate(lane, asked)
        if part is not None:
            self._record(lane, asked, part)
            return part
        stable = routes.stable
        assert stable.model is not None  # stable lives in this process, by construction
        instead = await self._by_stable(routes, stable, stable.model, asked, counted=False)
        self._record_failure(lane, asked, status)
        return instead

    async def _by_stable(
        self, routes: Routes, lane: Lane, model: ServingModel, asked: Asked, *, counted: bool = True
    ) -> Part:
        try:
            answer = await self._runs.predict(model, asked.inputs)
        except Broken:
            if counted:
                self._record_failure(lane, asked, Broken.http_status)
            raise
        part = Part(lane.arm.version, answer.predictions, answer.probabilities, answer.scores, answer.rows)
        if counted:
            self._record(lane, asked, part)
        if routes.shadow is not None:
            self._copy(routes.shadow, asked)
        return part

    async def _by_candidate(self, lane: Lane, asked: Asked) -> tuple[Part | None, int]:
        """Ask the candidate's app; give its answer, or none and the status that it would have had."""
        sent = time.perf_counter()
        body, status = await self._called(lane, "predict", asked.inputs)
        return (None, status) if body is None else _part_of(lane, orjson.loads(body), sent)

    async def _called(self, lane: Lane, verb: str, asked: Any) -> tuple[bytes | None, int]:
        app = str(lane.arm.app)
        self._traffic.in_flight[app] += 1
        try:
            call = getattr(lane.handle, verb).remote(orjson.dumps(asked))
            return await asyncio.wait_for(call, CANDIDATE_TIMEOUT_S), 200
        except TimeoutError:
            return None, 504
        except Exception as error:  # noqa: BLE001  # whatever a candidate does wrong is the candidate's, and must not reach the caller
            log.info("candidate %s failed a request: %s: %s", app, type(error).__name__, error)
            return None, 500
        finally:
            self._traffic.in_flight[app] -= 1

    def _copy(self, lane: Lane, asked: Asked) -> None:
        rows = len(asked.inputs)
        if self._shadows.full() or self._shadow_rows + rows > SHADOW_ROWS:
            self._recorder.lose(rows)
            return
        self._shadow_rows += rows
        self._shadows.put_nowait((lane, asked))

    async def answer_shadows(self) -> None:
        """Send copies to the shadow, some at a time, for ever; several of these run side by side."""
        while True:
            lane, first = await self._shadows.get()
            while (rest_s := self._shadow_rest_until - time.perf_counter()) > 0:
                await asyncio.sleep(rest_s)
            copies = [first, *self._more_copies(lane, len(first.inputs))]
            self._shadow_rows -= sum(len(copy.inputs) for copy in copies)
            await self._by_shadow(lane, copies)

    def _more_copies(self, lane: Lane, rows: int) -> Iterator[Asked]:
        """Take what waits for the same shadow and fits into one call: a call costs more than most predictions."""
        waiting = self._shadows
        for _ in range(min(waiting.qsize(), SHADOW_TOGETHER - 1)):
            other, asked = waiting.get_nowait()
            rows += len(asked.inputs)
            if other is not lane or rows > INLINE_ROWS:
                waiting.put_nowait((other, asked))
                return
            yield asked

    async def _by_shadow(self, lane: Lane, copies: Sequence[Asked]) -> None:
        sent = time.perf_counter()
        body, status = await self._called(lane, "predict_many", [copy.inputs for copy in copies])
        came = time.perf_counter()
        answers = [None] * len(copies) if body is None else orjson.loads(body)
        for asked, answer in zip(copies, answers, strict=True):
            again = asked._replace(began=sent)
            part, status_ = (None, status) if answer is None else _part_of(lane, answer, sent)
            if part is not None:
                self._record(lane, again, part)
            else:
                self._record_failure(lane, again, status_)
        busy_s = time.perf_counter() - came
        self._shadow_rest_until = max(self._shadow_rest_until, came) + busy_s / SHADOW_BUSY

    def _record(self, lane: Lane, asked: Asked, part: Part) -> None:
        now_s, latency_ms = time.time(), (time.perf_counter() - asked.began) * 1000 - part.way_ms
        for i, name, key in _names(asked):
            self._recorder.add(
                lane.group,
                Seen(name, key, now_s, latency_ms, 200, part.predictions[i], part.scores[i], part.rows[i]),
            )

    def _record_failure(self, lane: Lane, asked: Asked, status: int) -> None:
        now_s, latency_ms = time.time(), (time.perf_counter() - asked.began) * 1000
        for _, name, key in _names(asked):
            self._recorder.add(lane.group, Seen(name, key, now_s, latency_ms, status, None, None, None))


def _part_of(lane: Lane, answer: dict[str, Any], sent: float) -> tuple[Part | None, int]:
    if "refused" in answer:
        return None, Incompatible.http_status
    if "broken" in answer:
        return None, Broken.http_status
    way_ms = (time.perf_counter() - sent) * 1000 - answer.pop("took_ms")
    return Part(lane.arm.version, **answer, way_ms=way_ms), 200


def _names(asked: Asked) -> list[tuple[int, str, str]]:
    """Give place, request id and sticky key of each row."""
    if len(asked.inputs) == 1 and asked.keys is None:
        return [(0, asked.request_id, asked.key)]
    keys = asked.keys or [asked.key] * len(asked.inputs)
    places = asked.places or range(len(keys))
    return [(i, f"{asked.request_id}#{place}", key) for i, (place, key) in enumerate(zip(places, keys, strict=True))]


def authorise(table: RouteTable, headers: dict[bytes, bytes]) -> None:
    """Refuse a caller whose key may not predict.

    Raises:
        Unauthenticated: A key is needed and none, or an unknown one, was sent.
        Forbidden: Its role may not.
    """
    if not table.key_required:
        return
    scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not secret:
        raise Unauthenticated("a key is needed: send it as Authorization: Bearer <key>")
    role = table.key_roles.get(hashlib.sha256(secret.strip()).hexdigest())
    if role is None:
        raise Unauthenticated("nobody knows this key; it may have been revoked")
    if role not in _MAY_PREDICT:
        raise Forbidden(f"the role {role} may not predict", {"role": role})


def _read(body: bytes, headers: dict[bytes, bytes], began: float) -> Asked:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Incompatible(f"the request is not JSON: {error}") from error
    if not isinstance(document, dict) or "inputs" not in document:
        raise Incompatible('the request must be an object with the field "inputs": a list of records or of rows')
    if unknown := sorted(set(document) - _FIELDS):
        raise Incompatible(f"unknown field {unknown[0]!r}; known are: inputs, keys", {"unknown": unknown})
    inputs, keys = document["inputs"], document.get("keys")
    if not isinstance(inputs, list):
        raise Incompatible(f"inputs must be a list of records or of rows, got {type(inputs).__name__}")
    if len(inputs) > MOST_ROWS:
        raise TooLarge(f"the request has {len(inputs)} rows; at most {MOST_ROWS} are answered at once")
    if keys is not None:
        _check_keys(keys, len(inputs))
    request_id = headers.get(b"x-request-id", b"")[:128].decode("latin-1") or os.urandom(16).hex()
    key = headers.get(b"x-mldl-key", b"")[:256].decode("latin-1") or request_id
    return Asked(inputs, keys, key, request_id, began)


def _check_keys(keys: Any, rows: int) -> None:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Incompatible("keys must be a list of strings, one per row")
    if len(keys) != rows:
        raise Incompatible(f"there are {rows} inputs and {len(keys)} keys; give one key per row")


def _written(asked: Asked, parts: list[tuple[list[int] | None, Part]]) -> bytes:
    first = parts[0][1]
    if len(parts) == 1:
        answer: dict[str, Any] = {"predictions": first.predictions, "probabilities": first.probabilities}
        answer |= {"model_version": first.version, "request_id": asked.request_id}
        return orjson.dumps(answer, option=_OPTIONS)
    count = len(asked.inputs)
    predictions: list[Any] = [None] * count
    probabilities: list[Any] = [None] * count
    versions = [""] * count
    for places, part in parts:
        for i, place in enumerate(places or ()):
            predictions[place], versions[place] = part.predictions[i], part.version
            probabilities[place] = part.probabilities[i] if part.probabilities else None
    answer = {"predictions": predictions, "probabilities": probabilities, "model_version": first.version}
    return orjson.dumps(answer | {"model_versions": versions, "request_id": asked.request_id}, option=_OPTIONS)


def _headers(routes: Routes, parts: list[tuple[list[int] | None, Part]]) -> list[tuple[bytes, bytes]]:
    versions = ",".join(part.version for _, part in parts)
    return [
        (b"content-type", b"application/json"),
        (b"x-mldl-version", versions.encode("latin-1")),
        (EPOCH, str(routes.table.epoch).encode()),
    ]


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Accept the lifespan protocol; it means nothing here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


_MAY_PREDICT = frozenset({"viewer", "trainer", "approver", "deployer", "admin"})
