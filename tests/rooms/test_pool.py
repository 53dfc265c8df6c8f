"""A pool's models as neighbours: one that cannot be loaded, one that goes, and one that is not there."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from contracts.rollouts import Endpoint
from contracts.routing import Arm, RouteTable
from mldl_ray.adapters import create_adapter
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.serving_form import compile_form
from mldl_ray.settings import load_settings
from serve.bodies import Bodies
from serve.pool_door import MOST_LOOKING, POOL, PREDICT_PREFIX, Door
from serve.pooled import Pooled

ROW = {"a": 0.1, "b": 0.2}
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture(scope="module")
def manifest(blobs: MemoryBlobs, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model in the artifact store."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    table = pa.table({"a": x[:, 0], "b": x[:, 1]})
    adapter = create_adapter("lr", model_key="m").fit(table, (x.sum(axis=1) > 0).astype(int))
    folder = tmp_path_factory.mktemp("artifact")
    adapter.save(folder)
    compile_form(adapter, folder, table)
    return store_artifact(blobs, folder, {})


class Neighbours:
    """Models side by side, and the door to them."""

    def __init__(self, blobs: MemoryBlobs, folder: Path) -> None:
        self.journal = MemoryJournal(SettableClock())
        self.models: dict[str, Pooled] = {}
        self.door = Door(self.models, "r1", self.journal)
        self._settings, self._blobs, self._bodies = load_settings({}, home=folder), blobs, Bodies()

    async def send(self, batch: bytes) -> None:
        """Drop telemetry."""

    async def bring(self, key: str, manifest: str, *, epoch: int = 1, version: str = "1.0.0") -> Pooled:
        if key not in self.models:
            self.models[key] = Pooled(key, "r1", self._settings, self._blobs, self.send, self._bodies)
        arms = (Arm(version=version, manifest=manifest, share=1),)
        self.models[key].want(RouteTable(model_key=key, epoch=epoch, salt="s", arms=arms, route="shared"))
        await self.models[key].apply()
        return self.models[key]

    async def ask(self, key: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.door)
        async with httpx.AsyncClient(transport=transport, base_url="http://pool") as client:
            return await client.post(f"{PREDICT_PREFIX}/{key}", json={"inputs": [ROW]})


@pytest.fixture
def neighbours(blobs: MemoryBlobs, tmp_path: Path) -> Neighbours:
    return Neighbours(blobs, tmp_path)


def test_each_model_answers_by_its_own_table(neighbours: Neighbours, manifest: str) -> None:
    async def story() -> None:
        await neighbours.bring("a", manifest, epoch=3)
        await neighbours.bring("b", manifest, epoch=8, version="2.0.0")
        answers = [await neighbours.ask(key) for key in ("a", "b")]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert [answer.headers["x-mldl-version"] for answer in answers] == ["1.0.0", "2.0.0"]
        assert [answer.headers["x-mldl-epoch"] for answer in answers] == ["3", "8"]

    asyncio.run(story())


def test_a_version_that_cannot_be_loaded_leaves_the_one_before_and_is_not_acknowledged(
    neighbours: Neighbours, manifest: str
) -> None:
    async def story() -> None:
        await neighbours.bring("a", manifest)
        model = await neighbours.bring("a", ABSENT, epoch=2, version="1.0.1")
        assert model.refused
        assert (model.report().applied, model.report().tried) == (1, 2)
        assert (await neighbours.ask("a")).headers["x-mldl-version"] == "1.0.0"

    asyncio.run(story())


def test_a_first_version_that_cannot_be_loaded_is_a_clear_503_and_its_neighbour_answers(
    neighbours: Neighbours, manifest: str
) -> None:
    async def story() -> None:
        await neighbours.bring("broken", ABSENT)
        await neighbours.bring("well", manifest)
        refused = await neighbours.ask("broken")
        assert refused.status_code == 503
        assert "cannot be loaded" in refused.json()["detail"]
        assert (await neighbours.ask("well")).status_code == 200

    asyncio.run(story())


def test_a_model_that_goes_frees_its_memory_and_its_table_on_disk(
    neighbours: Neighbours, manifest: str, tmp_path: Path
) -> None:
    async def story() -> None:
        model = await neighbours.bring("a", manifest)
        held = weakref.ref(model._traffic.routes.stable.model)
        assert list(tmp_path.glob("endpoints/*/routes.json"))
        neighbours.models.pop("a").close(forget=True)
        del model
        gc.collect()
        assert held() is None
        assert not list(tmp_path.glob("endpoints/*/routes.json"))

    asyncio.run(story())


def test_a_model_that_nobody_serves_is_404_and_one_that_is_about_to_is_503(neighbours: Neighbours) -> None:
    neighbours.journal.append(
        [write("endpoint", "soon", 0, Endpoint(model_key="soon", salt="s", stable="1.0.0"))], actor="t", reason="t"
    )

    async def story() -> None:
        nobody, soon = await neighbours.ask("nobody"), await neighbours.ask("soon")
        assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
        assert (soon.status_code, soon.headers["retry-after"]) == (503, "1")
        assert nobody.headers[POOL.decode()] == "r1"

    asyncio.run(story())


def test_many_questions_for_models_that_are_not_there_do_not_take_every_thread(neighbours: Neighbours) -> None:
    async def story() -> None:
        asked = await asyncio.gather(*(neighbours.ask("nobody") for _ in range(MOST_LOOKING * 4)))
        assert {answer.status_code for answer in asked} <= {404, 503}

    asyncio.run(story())


def test_a_path_below_a_model_is_not_that_model(neighbours: Neighbours, manifest: str) -> None:
    async def story() -> None:
        await neighbours.bring("a", manifest)
        assert (await neighbours.ask("x/a")).status_code == 404

    asyncio.run(story())
