"""The generative family makes rows that stand in for real ones, of the same columns, and predicts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import safetensors.numpy
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from contracts.errors import Broken, Conflict, Incompatible
from mldl_ray.adapters import create_adapter, load_adapter
from mldl_ray.adapters._torch_gan import DECODER, GANAdapter
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.torch_base import FILE


def gan(**settings: Any) -> GANAdapter:
    made = create_adapter("gan", task="generation", **settings)
    assert isinstance(made, GANAdapter)
    return made


def orders(rows: int = 200) -> pa.Table:
    rng = np.random.default_rng(0)
    size = rng.choice(["small", "large"], rows, p=[0.25, 0.75])
    items = np.where(size == "large", rng.integers(50, 90, rows), rng.integers(1, 9, rows))
    return pa.table(
        {
            "items": pa.array(items, mask=rng.random(rows) < 0.1),
            "weight_kg": items * 0.37,
            "size": size,
            "colour": pa.array(rng.choice(["red", "blue"], rows), mask=rng.random(rows) < 0.2),
            "gift": rng.random(rows) < 0.3,
            "placed": pa.array(rng.integers(1_700_000_000, 1_720_000_000, rows) * 10**6, pa.timestamp("us")),
            "void": pa.nulls(rows),
        }
    )


@pytest.fixture(scope="module")
def model() -> Iterator[GANAdapter]:
    yield gan(condition="size", epochs=120, width=64).fit(orders())


def test_a_classifier_that_saw_only_made_digits_reads_real_ones() -> None:
    X, y = load_digits(n_class=4, return_X_y=True)
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)]).assign(digit=y)
    made = gan(condition="digit", epochs=60, width=128).fit(frame).sample(400, seed=1).to_pandas()
    reader = SVC(gamma=0.001).fit(made.drop(columns="digit"), made["digit"])
    found = reader.predict(frame.drop(columns="digit"))
    assert (found == y).mean() >= 0.85
    assert min((found[y == digit] == digit).mean() for digit in range(4)) >= 0.6  # no mode is missing


def test_made_rows_have_the_columns_of_the_real_ones_and_stay_in_their_ranges(model: GANAdapter) -> None:
    made, real = model.sample(300), orders()
    assert made.column_names == real.column_names
    model.schema.check(made)
    assert made["items"].type == pa.int64()
    assert set(made["colour"].to_pylist()) <= {"red", "blue", None}
    assert made["void"].null_count == 300
    for name in ("items", "weight_kg"):
        values, known = made[name].to_pandas(), real[name].to_pandas()
        assert known.min() <= values.min()
        assert values.max() <= known.max()
    assert made["placed"].to_pandas().min() >= pd.Timestamp(1_700_000_000, unit="s", tz="UTC")


def test_each_value_of_the_condition_has_its_own_rows(model: GANAdapter) -> None:
    small, large = (model.sample(200, condition=size).to_pandas() for size in ("small", "large"))
    assert set(small["size"]) == {"small"}
    assert small["items"].median() < 30 < large["items"].median()


def test_a_column_that_is_mostly_one_value_stays_so() -> None:
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(400) < 0.9, 0.0, rng.lognormal(5, 1, 400))
    made = gan(epochs=10, width=16).fit(pa.table({"gain": gain, "other": gain + 1.0})).sample(1000)
    assert abs((made["gain"].to_numpy() == 0).mean() - 0.9) < 0.05


def test_conditions_come_as_often_as_in_training(model: GANAdapter) -> None:
    sizes = model.sample(2000).to_pandas()["size"]
    assert abs((sizes == "large").mean() - 0.75) < 0.08


def test_a_condition_never_seen_is_refused_and_those_known_are_listed(model: GANAdapter) -> None:
    with pytest.raises(Incompatible, match="'large', 'small'"):
        model.sample(1, condition="huge")
    with pytest.raises(Incompatible, match="without a condition"):
        gan(epochs=1).fit(orders()).sample(1, condition="small")


def test_a_condition_that_is_no_column_is_refused() -> None:
    with pytest.raises(Incompatible, match="'shape' is no column"):
        gan(condition="shape").fit(orders())
    with pytest.raises(Incompatible, match="nothing to learn"):
        gan(condition="size").fit(orders().select(["size"]))


def test_a_seed_makes_the_same_rows_and_a_loaded_model_too(model: GANAdapter, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = load_adapter(tmp_path)
    assert isinstance(again, GANAdapter)
    assert again.sample(1500, seed=3).equals(model.sample(1500, seed=3))
    assert not again.sample(20, seed=4).equals(model.sample(20, seed=3))


def test_the_same_seed_learns_the_same_model() -> None:
    first, second = (gan(epochs=2, width=8, seed=1).fit(orders()).sample(20) for _ in range(2))
    assert first.equals(second)


def test_weights_say_how_often_a_row_counts() -> None:
    table = orders()
    weights = [1.0 if size == "small" else 0.0 for size in table["size"].to_pylist()]
    made = gan(condition="size", epochs=2, width=8).fit(table, sample_weight=weights).sample(50)
    assert set(made["size"].to_pylist()) == {"small"}


def test_no_rows_can_be_made_and_fewer_are_refused(model: GANAdapter) -> None:
    assert model.sample(0).num_rows == 0
    with pytest.raises(Incompatible, match="-1 rows"):
        model.sample(-1)


def test_it_predicts_nothing_and_says_what_it_does(model: GANAdapter) -> None:
    for act in (model.predict, model.explain):
        with pytest.raises(Incompatible, match="makes rows"):
            act(orders())
    with pytest.raises(Incompatible, match="no prediction"):
        model.graph()
    with pytest.raises(Conflict, match="not fitted"):
        gan().sample(1)


def test_ranks_that_fall_are_refused(model: GANAdapter, tmp_path: Path) -> None:
    model.save(tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / FILE)
    safetensors.numpy.save_file(arrays | {"ranks": arrays["ranks"][:, :, ::-1].copy()}, tmp_path / FILE)
    with pytest.raises(Broken, match="ranks"):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    "spoilt", [{"shares": [2.0, -1.0]}, {"low": [0.0]}, {"condition": "void"}, {"levels": ["a"]}, {"high": None}]
)
def test_a_damaged_decoder_is_refused(model: GANAdapter, tmp_path: Path, spoilt: dict[str, Any]) -> None:
    model.save(tmp_path)
    write_json(tmp_path / DECODER, read_json(tmp_path / DECODER) | spoilt)
    with pytest.raises(Broken):
        load_adapter(tmp_path)
