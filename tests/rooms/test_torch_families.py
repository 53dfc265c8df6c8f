"""Neural families learn what they should from real data, train as told, and refuse files that are not theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import recall_score, roc_auc_score
from sklearn.model_selection import train_test_split

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping, Task
from mldl_ray.adapters import create_adapter, load_adapter
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.links import probabilities
from mldl_ray.adapters.table import to_table
from mldl_ray.adapters.torch_base import FILE, TorchAdapter
from mldl_ray.serving_form import compile_form

SMALL: dict[str, Any] = {"epochs": 3, "width": 8, "depth": 1}


def split(load: Any) -> tuple[Any, Any, Any, Any]:
    X, y = load(return_X_y=True)
    parts: tuple[Any, Any, Any, Any] = train_test_split(X, y, test_size=0.3, random_state=0)
    return parts


def small(**settings: Any) -> BaseModelAdapter:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return create_adapter("mlp", **(SMALL | settings)).fit(X, X[:, 0] > 0)


def test_mlp_ranks_tumours() -> None:
    X, Xt, y, yt = split(load_breast_cancer)
    model = create_adapter("mlp").fit(X, y)
    assert roc_auc_score(yt, model.predict_proba(Xt)[:, 1]) >= 0.985


def test_mlp_predicts_values_in_their_own_unit() -> None:
    X, Xt, y, yt = split(load_diabetes)
    model = create_adapter("mlp", task="regression").fit(X, y * 1000)
    error = np.sqrt(np.mean((model.predict(Xt) / 1000 - yt) ** 2))
    assert error <= 0.82 * yt.std()


def test_cnn_reads_digits() -> None:
    X, Xt, y, yt = split(load_digits)
    model = create_adapter("cnn", epochs=6, shift=1).fit(X, y)
    assert (model.predict(Xt) == yt).mean() >= 0.975


def test_cnn_of_wide_images_with_channels_has_an_exact_graph(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5 * 6 * 2))
    X[rng.random(X.shape) < 0.02] = np.nan
    y = np.nanmean(X[:, :30], axis=1)
    shape: dict[str, Any] = {"height": 5, "width": 6, "channels": 2}
    model = create_adapter("cnn", task="regression", epochs=2, filters=3, hidden=5, shift=1, **shape).fit(X, y)
    model.save(tmp_path)
    form = compile_form(model, tmp_path, to_table(X))
    assert form.kind == "onnx"
    assert form.largest_difference is not None
    assert form.largest_difference < 1e-9


@pytest.mark.parametrize("columns", [7, 8])
def test_columns_that_are_no_image_are_refused_with_what_to_set(columns: int) -> None:
    with pytest.raises(Incompatible, match="set height, width and channels"):
        create_adapter("cnn").fit(np.eye(40, columns), np.arange(40) % 2)


def test_an_image_too_small_for_its_blocks_is_refused() -> None:
    with pytest.raises(Incompatible, match="2×2 pixels cannot be halved 2 times"):
        create_adapter("cnn").fit(np.eye(40, 4), np.arange(40) % 2)


def test_a_column_of_names_is_no_pixel() -> None:
    with pytest.raises(Incompatible, match="'colour'"):
        create_adapter("cnn").fit(to_table(np.eye(8)).append_column("colour", [["a", "b"] * 4]), np.arange(8) % 2)


def test_early_stopping_puts_back_the_best_weights() -> None:
    X, Xt, y, yt = split(load_breast_cancer)
    told: dict[str, Any] = {"learning_rate": 0.02, "schedule": "constant", "dropout": 0.0, "batch_size": 64}
    model = create_adapter("mlp", epochs=200, **told)
    encoder = model.fit_encoder(X)
    M, Mt = encoder.transform(X), encoder.transform(Xt)
    model.fit_matrix(M, y, M_valid=Mt, y_valid=yt, early_stopping=EarlyStopping(patience=5))
    kept: int = model.epochs_kept  # type: ignore[attr-defined]  # of torch's adapters
    assert kept < 150
    again = create_adapter("mlp", epochs=kept, **told)
    again.use_encoder(encoder)
    again.fit_matrix(M, y)
    assert np.array_equal(model.predict_proba_matrix(Mt), again.predict_proba_matrix(Mt))


def test_balanced_class_weights_find_more_of_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    y = X[:, 0] + rng.normal(size=1500) > 2.2
    found = [
        recall_score(y, create_adapter("mlp", epochs=8, width=16, class_weight=weight).fit(X, y).predict(X))
        for weight in (None, "balanced")
    ]
    assert found[1] > found[0] + 0.2


def test_a_weight_counts_as_often_as_the_row() -> None:
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(300, 2))] * 2)
    y = np.repeat([0, 1], 300)  # every row is there once with each answer
    weights = np.where(y == 1, 3.0, 1.0)
    model = create_adapter("mlp", epochs=30, width=8, dropout=0.0).fit(X, y, sample_weight=weights)
    assert abs(model.predict_proba(X)[:, 1].mean() - 0.75) < 0.03


def test_training_that_runs_away_is_refused_with_the_rate() -> None:
    with pytest.raises(Incompatible, match="lower learning_rate"):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(200, 3))
        settings: dict[str, Any] = {"learning_rate": 10.0, "depth": 30, "clip_norm": 0.0, "epochs": 200}
        create_adapter("mlp", task="regression", schedule="constant", dropout=0.0, width=64, **settings).fit(
            X, X[:, 0] ** 9
        )


@pytest.mark.parametrize(("family", "task", "classes"), [("mlp", "classification", 2), ("cnn", "classification", 3),
                                                        ("mlp", "regression", 7)])  # fmt: skip
def test_the_gradient_is_the_slope_of_the_loss(family: str, task: Task, classes: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 16)), np.arange(60) % classes
    model = create_adapter(family, task=task, epochs=2, activation="tanh") if family == "mlp" else create_adapter(
        family, epochs=2, blocks=1, filters=4)  # fmt: skip
    assert isinstance(model, TorchAdapter)
    model.fit(X, y)
    M, found = model.encoder.transform(X).astype(np.float64), model.gradient(model.encoder.transform(X), y)
    step = 1e-6 * rng.normal(size=M.shape)

    def loss(rows: Any) -> Any:
        raw = model.raw_matrix(rows)
        if task == "regression":
            return ((raw[:, 0] - y) / y.std()) ** 2
        return -np.log(probabilities(raw, model.link)[np.arange(60), y])

    assert np.allclose(loss(M + step) - loss(M - step), 2 * (found * step).sum(axis=1), rtol=1e-3, atol=1e-11)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(Incompatible, match="no GPU"):
        small(device="cuda")


def test_learning_leaves_the_generator_of_others_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small()
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_learns_another_model() -> None:
    X = np.eye(3)
    assert not np.array_equal(small(seed=1).predict_proba(X), small(seed=2).predict_proba(X))


def changed(arrays: dict[str, Any], how: str) -> dict[str, Any]:
    """Spoil stored weights in one way."""
    name = next(name for name in arrays if name.endswith("weight"))
    if how == "missing":
        return {other: array for other, array in arrays.items() if other != name}
    spoilt = {
        "unknown": ("network.extra", arrays[name]),
        "shape": (name, arrays[name].T.copy()),
        "type": (name, arrays[name].astype(np.float16)),
        "not a number": (name, arrays[name] * np.nan),
        "too large": ("network.extra", np.zeros(2**20)),
    }
    return arrays | dict([spoilt[how]])


@pytest.mark.parametrize("how", ["missing", "unknown", "shape", "type", "not a number", "too large"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, how: str) -> None:
    small().save(tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / FILE)
    safetensors.numpy.save_file(changed(arrays, how), tmp_path / FILE)
    with pytest.raises(Broken):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8 + b"{", b"\x80\x04K\x01.", (10 * 2**30).to_bytes(8, "little") + b"{}"]
)
def test_a_file_that_is_no_tensors_is_refused(tmp_path: Path, data: bytes) -> None:
    small().save(tmp_path)
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(Broken):
        load_adapter(tmp_path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Broken):
        load_adapter(tmp_path)
