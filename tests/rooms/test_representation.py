"""Embeddings: what the model itself makes of rows is compared too, and only where it makes something of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import NotFound
from contracts.records import TrainedBundle
from mldl_ray.adapters import BaseModelAdapter, create_adapter
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.monitoring.joint import compare_jointly
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.representation import Representations, represented, represents

COLUMNS, WIDTH = 30, 8


def plain(random: np.random.Generator, rows: int, parity: int = 1) -> pa.Table:
    """Draw noise in many columns, and two whose product has a sign in most rows; ``parity`` turns it."""
    table = {f"x{i}": random.normal(size=rows) for i in range(COLUMNS)}
    sign = np.where(random.random(rows) < 0.75, parity, -parity)
    table["x1"] = np.abs(table["x1"]) * np.sign(table["x0"]) * sign
    return pa.table(table)


def told(table: pa.Table) -> pa.Table:
    return table.rename_columns([f"f.{name}" for name in table.column_names])


@pytest.fixture(scope="module")
def adapter() -> BaseModelAdapter:
    random = np.random.default_rng(0)
    table = plain(random, 1500)
    y = (table["x0"].to_numpy() * table["x1"].to_numpy() > 0).astype(int)
    settings = {"width": WIDTH, "depth": 1, "epochs": 40, "dropout": 0.0}
    return create_adapter("mlp", model_key="m", task="classification", seed=0, **settings).fit(table, y)


def test_the_last_hidden_layer_is_the_representation(adapter: BaseModelAdapter) -> None:
    table = plain(np.random.default_rng(1), 20)
    found = adapter.representation(table)
    assert found is not None
    assert found.shape == (20, WIDTH)
    assert (found >= 0).all()  # after the activation, which is relu
    assert (found == adapter.representation(table)).all()


def test_a_network_without_hidden_layers_has_none() -> None:
    table = pa.table({"a": np.arange(20.0)})
    adapter = create_adapter("mlp", model_key="m", task="classification", seed=0, depth=0, epochs=1).fit(
        table, [0, 1] * 10
    )
    assert adapter.representation(table) is None


def test_only_families_with_a_representation_are_loaded() -> None:
    assert [family for family in ("lr", "gbm", "xgb", "knn", "mlp", "cnn") if represents(family)] == ["mlp", "cnn"]


def test_a_move_that_the_columns_hide_shows_in_the_representation(adapter: BaseModelAdapter) -> None:
    random = np.random.default_rng(2)
    reference, window = Reference.of(told(plain(random, 400))), told(plain(random, 200, parity=-1))
    without = compare_jointly(reference, window, 0.0)
    with_it = compare_jointly(reference, window, 0.0, represent=lambda then, now: represented(adapter, then, now))
    assert without is not None
    assert with_it is not None
    assert (without.width, with_it.width) == (None, WIDTH)
    assert with_it.p < without.p


def test_the_p_value_with_a_representation_is_no_smaller_than_chance(adapter: BaseModelAdapter) -> None:
    random, found = np.random.default_rng(3), list[float]()
    for _ in range(40):
        reference, window = Reference.of(told(plain(random, 80))), told(plain(random, 60))
        joint = compare_jointly(reference, window, 0.0, represent=lambda then, now: represented(adapter, then, now))
        assert joint is not None
        found.append(joint.p)
    assert np.mean(np.array(found) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / 40)


def test_rows_that_lack_a_column_are_compared_without_it(adapter: BaseModelAdapter) -> None:
    rows = told(plain(np.random.default_rng(4), 60))
    assert represented(adapter, rows, rows.drop_columns(["f.x3"])) is None


def stored(adapter: BaseModelAdapter, blobs: MemoryBlobs, folder: Path, family: str) -> TrainedBundle:
    adapter.save(folder)
    digest = store_artifact(blobs, folder, {"family": family})
    return TrainedBundle(
        model_key="m",
        version="1.0.0",
        artifact_uri=f"blobs:{digest}",
        validation_hash=digest,
        created_at="2026-01-01",
        family=family,
        task="classification",
    )


def test_a_registered_version_is_loaded_once_and_represents_rows(adapter: BaseModelAdapter, tmp_path: Path) -> None:
    blobs, asked = MemoryBlobs(), list[str]()
    bundle = stored(adapter, blobs, tmp_path, "mlp")

    def look_up(model_key: str, version: str) -> TrainedBundle:
        asked.append(f"{model_key}@{version}")
        return bundle

    representations, rows = Representations(look_up, blobs), told(plain(np.random.default_rng(5), 60))
    for _ in range(2):
        represent = representations.of(("m", "1.0.0"))
        assert represent is not None
        assert represent(rows, rows).shape == (120, WIDTH)
    assert asked == ["m@1.0.0"]


def test_a_version_that_cannot_be_read_is_compared_by_its_columns() -> None:
    def gone(model_key: str, version: str) -> TrainedBundle:
        raise NotFound(f"no {model_key} {version}")

    assert Representations(gone, MemoryBlobs()).of(("m", "1.0.0")) is None
