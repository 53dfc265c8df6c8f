"""A replica's app under real HTTP: nothing that callers do makes it hold more than it may, or keeps others waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from contracts.records import ServingForm
from contracts.routing import Arm, RouteTable
from mldl_ray.adapters import create_adapter
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.serving_form import ServingModel
from mldl_ray.serving_form.form import Form
from mldl_ray.serving_form.pace import Pace
from serve.bodies import Bodies
from serve.predict import MOST_AT_ONCE, MOST_ROWS, SHADOW_QUEUE, SHADOW_TOGETHER, Predictor
from serve.recorder import Group, Recorder
from serve.shortcut import Shortcut, close_shortcut, open_shortcut
from serve.slots import ModelSlots
from serve.traffic import Lane, Routes, Traffic

ARM = Arm(version="1.0.0", manifest="sha256:0", share=1)
SHADOW = Arm(version="1.0.1", manifest="sha256:1", share=0, app="m-m-v1.0.1-0")
TABLE = RouteTable(model_key="m", epoch=7, salt="s", arms=(ARM,))
ROW = {"a": 0.1, "b": 0.2}
ONE = json.dumps({"inputs": [ROW]}).encode()
HEAD = b"POST /m HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def adapter() -> Any:
    x = np.random.default_rng(0).normal(size=(200, 2))
    table = pa.table({"a": x[:, 0], "b": x[:, 1]})
    return create_adapter("lr", model_key="m").fit(table, (x.sum(axis=1) > 0).astype(int))


@pytest.fixture
def model(adapter: Any) -> ServingModel:
    return ServingModel(Form.of(adapter, ServingForm(kind="native")), adapter.raw_matrix)


class Sent:
    """What the monitor got."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.lost = 0

    async def take(self, tables: Sequence[bytes]) -> None:
        for table in (pa.ipc.open_stream(one).read_all() for one in tables):
            facts = table.schema.metadata
            version = facts[b"version"].decode()
            self.rows[version] = self.rows.get(version, 0) + table.num_rows
            self.lost += int(facts[b"lost"])


class Hangs:
    """A shadow's handle whose answers never come."""

    def __init__(self) -> None:
        self.predict_many, self.asked = self, 0

    async def remote(self, bodies: bytes) -> bytes:
        self.asked += len(json.loads(bodies))
        await asyncio.Event().wait()
        raise AssertionError("not reached")


class Crashes(Hangs):
    """One whose process died."""

    async def remote(self, bodies: bytes) -> bytes:
        self.asked += len(json.loads(bodies))
        raise ConnectionResetError("the actor died")


def predictor_of(
    model: ServingModel, folder: Path, bodies: Bodies | None = None, sent: Sent | None = None, shadow: Any = None
) -> Predictor:
    recorder = Recorder("m", (sent or Sent()).take, flush_s=1, most_rows=20_000)
    recorder.describe(ARM.version, model.schema)
    traffic = Traffic("m", "r", ModelSlots(MemoryBlobs(), folder), recorder, folder / "routes.json")
    lane = Lane(ARM, Group(ARM.version, "stable", 7, 1.0, ""), model=model)
    beside = Lane(SHADOW, Group(SHADOW.version, "shadow", 7, 0.5, "d"), handle=shadow) if shadow else None
    traffic.routes = Routes(TABLE, {ARM.version: lane}, beside)
    return Predictor("m", traffic, recorder, bodies)


@contextlib.asynccontextmanager
async def serving(app: Any, port: int) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", access_log=False, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/m"
    finally:
        server.should_exit = True
        await task


def over_http(app: Any, port: int, story: Callable[[httpx.AsyncClient, str], Awaitable[None]]) -> None:
    async def scene() -> None:
        async with serving(app, port) as url, httpx.AsyncClient(timeout=30) as client:
            await story(client, url)

    asyncio.run(scene())


async def until_closed(port: int, *parts: bytes) -> bytes:
    """Send raw bytes and give what comes back before the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("rows", [1, 100, MOST_ROWS])
def test_as_many_rows_as_are_allowed_are_answered_in_order(
    model: ServingModel, tmp_path: Path, free_port: int, rows: int
) -> None:
    bodies = Bodies()
    inputs = [{"a": i / rows - 0.5, "b": 0.0} for i in range(rows)]
    expected = model.predict(inputs)

    async def story(client: httpx.AsyncClient, url: str) -> None:
        answer = (await client.post(url, json={"inputs": inputs})).raise_for_status().json()
        assert answer["predictions"] == expected.predictions
        assert np.allclose(answer["probabilities"], expected.probabilities, rtol=0, atol=1e-6)

    over_http(predictor_of(model, tmp_path, bodies), free_port, story)
    assert bodies.held_bytes == 0


def test_one_row_more_is_too_large(model: ServingModel, tmp_path: Path, free_port: int) -> None:
    async def story(client: httpx.AsyncClient, url: str) -> None:
        refused = await client.post(url, json={"inputs": [ROW] * (MOST_ROWS + 1)})
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")

    over_http(predictor_of(model, tmp_path), free_port, story)


def test_a_body_that_says_it_is_too_large_is_not_read(model: ServingModel, tmp_path: Path, free_port: int) -> None:
    bodies = Bodies(largest=1000)

    async def story(client: httpx.AsyncClient, url: str) -> None:
        answer = await until_closed(free_port, HEAD + b"content-length: 1001\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")

    over_http(predictor_of(model, tmp_path, bodies), free_port, story)
    assert bodies.held_bytes == 0


def test_a_body_without_a_length_is_cut_when_it_grows_too_large(
    model: ServingModel, tmp_path: Path, free_port: int
) -> None:
    bodies = Bodies(largest=1000)
    chunk = b"258\r\n" + b" " * 600 + b"\r\n"  # 600 bytes; the last chunk never comes

    async def story(client: httpx.AsyncClient, url: str) -> None:
        answer = await until_closed(free_port, HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk, chunk)
        assert answer.startswith(b"HTTP/1.1 413 ")

    over_http(predictor_of(model, tmp_path, bodies), free_port, story)
    assert bodies.held_bytes == 0


@pytest.mark.parametrize("beginning", [b"", b'{"inputs": [['])
def test_who_does_not_send_the_body_is_cut_off(
    model: ServingModel, tmp_path: Path, free_port: int, beginning: bytes
) -> None:
    bodies = Bodies(timeout_s=0.2)

    async def story(client: httpx.AsyncClient, url: str) -> None:
        answer = await until_closed(free_port, HEAD + b"content-length: 100\r\n\r\n" + beginning)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"too_slow"' in answer

    over_http(predictor_of(model, tmp_path, bodies), free_port, story)
    assert bodies.held_bytes == 0


def test_slow_senders_take_no_place_from_others(
    model: ServingModel, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.predict.MOST_AT_ONCE", 4)

    async def story(client: httpx.AsyncClient, url: str) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(20)]
        for _, writer in slow:
            writer.write(HEAD + b"content-length: 100\r\n\r\n {")
        while bodies.held_bytes < 2 * len(slow):
            await asyncio.sleep(0)
        (await client.post(url, content=ONE)).raise_for_status()
        for _, writer in slow:
            writer.close()

    bodies = Bodies()
    over_http(predictor_of(model, tmp_path, bodies), free_port, story)


def test_what_all_bodies_hold_together_is_bounded(model: ServingModel, tmp_path: Path, free_port: int) -> None:
    bodies = Bodies(most_held=1000)

    async def story(client: httpx.AsyncClient, url: str) -> None:
        _, slow = await asyncio.open_connection("127.0.0.1", free_port)
        slow.write(HEAD + b"content-length: 2000\r\n\r\n" + b" " * 990)
        while bodies.held_bytes < 990:
            await asyncio.sleep(0)
        refused = await client.post(url, content=ONE)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        slow.close()
        await slow.wait_closed()
        while bodies.held_bytes:
            await asyncio.sleep(0)
        (await client.post(url, content=ONE)).raise_for_status()

    over_http(predictor_of(model, tmp_path, bodies), free_port, story)
    assert bodies.held_bytes == 0


def test_more_requests_at_once_than_may_be_are_told_to_come_back(model: ServingModel, tmp_path: Path) -> None:
    model.pace = Pace(alone_ms=50, together_ms=60)
    app = predictor_of(model, tmp_path)

    async def scene() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answers = await asyncio.gather(*(client.post("/m", content=ONE) for _ in range(MOST_AT_ONCE + 40)))
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
        return [answer.status_code for answer in answers]

    statuses = asyncio.run(scene())
    assert statuses.count(200) == MOST_AT_ONCE
    assert statuses.count(429) == 40


def test_the_shortcut_hands_over_predictions_and_leaves_serves_own_paths(
    model: ServingModel, tmp_path: Path, free_port: int
) -> None:
    async def serves(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def story(client: httpx.AsyncClient, url: str) -> None:
        assert (await client.post(url, content=ONE)).status_code == 204
        open_shortcut(predictor_of(model, tmp_path))
        assert (await client.post(url, content=ONE)).headers["x-mldl-epoch"] == "7"
        assert (await client.get(url.replace("/m", "/-/healthz"))).status_code == 204
        close_shortcut()
        assert (await client.post(url, content=ONE)).status_code == 204

    over_http(Shortcut(serves), free_port, story)


@pytest.mark.parametrize("shadow", [Hangs, Crashes])
def test_a_shadow_that_hangs_or_crashes_keeps_no_answer_waiting(
    model: ServingModel, tmp_path: Path, shadow: type[Hangs]
) -> None:
    beside, sent = shadow(), Sent()
    app = predictor_of(model, tmp_path, sent=sent, shadow=beside)
    asked = 2 * SHADOW_QUEUE

    async def scene() -> None:
        workers = [asyncio.create_task(app.answer_shadows()) for _ in range(8)]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for _ in range(asked):
                answer = await client.post("/m", content=ONE)
                assert (answer.status_code, answer.headers["x-mldl-version"]) == (200, "1.0.0")
                await asyncio.sleep(0)  # the transport has no I/O, so nothing else would have a turn
        for worker in workers:
            worker.cancel()
        await app._recorder.flush()

    asyncio.run(scene())
    assert beside.asked
    assert sent.rows["1.0.0"] == asked
    if shadow is Hangs:
        assert beside.asked <= 8 * SHADOW_TOGETHER  # one call each, for as long as a candidate may take
        assert sent.lost == asked - SHADOW_QUEUE - beside.asked


class Answers(Hangs):
    """One that answers in the calls in which it is asked, as ``Candidate`` does; it refuses and breaks on request."""

    def __init__(self, model: ServingModel) -> None:
        super().__init__()
        self._model, self.calls = model, 0

    async def remote(self, bodies: bytes) -> bytes:
        self.calls += 1
        return json.dumps([self._one(inputs) for inputs in json.loads(bodies)]).encode()

    def _one(self, inputs: Any) -> Any:
        if inputs[0]["a"] > 0:
            return {"broken": "no"}
        answer = self._model.predict(inputs)
        self.asked += 1
        return {name: getattr(answer, name) for name in ("predictions", "probabilities", "scores", "rows")} | {
            "took_ms": 1.0
        }


def test_every_copy_is_answered_for_itself_in_few_calls(model: ServingModel, tmp_path: Path) -> None:
    beside, sent = Answers(model), Sent()
    app = predictor_of(model, tmp_path, sent=sent, shadow=beside)

    async def scene() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for i in range(40):
                (await client.post("/m", json={"inputs": [{"a": -1.0 if i % 2 else 1.0, "b": 0}]})).raise_for_status()
        worker = asyncio.create_task(app.answer_shadows())
        while len(app._recorder._rows) < 80:
            await asyncio.sleep(0)
        worker.cancel()
        await app._recorder.flush()

    asyncio.run(scene())
    assert sent.rows == {"1.0.0": 40, "1.0.1": 40}
    assert (beside.calls, beside.asked) == (2, 20)


def test_what_waits_for_a_shadow_is_bounded_in_rows(model: ServingModel, tmp_path: Path) -> None:
    sent = Sent()
    app = predictor_of(model, tmp_path, sent=sent, shadow=Hangs())

    async def scene() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for _ in range(3):
                (await client.post("/m", json={"inputs": [ROW] * (MOST_ROWS // 2)})).raise_for_status()
        await app._recorder.flush()

    asyncio.run(scene())
    assert sent.lost == MOST_ROWS // 2
