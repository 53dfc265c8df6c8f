"""Disturbed inputs: what noise and missing values cost a model whose loss is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from mldl_ray.adapters import BaseModelAdapter, create_adapter
from mldl_ray.evaluation import noise_robustness, score


def line(rows: int = 2000, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """One number that decides, one that says nothing, one constant, a category, and a flag."""
    random = np.random.default_rng(seed)
    x = random.normal(5, 3, rows)
    table = pa.table(
        {
            "x": x,
            "idle": random.integers(0, 9, rows),
            "same": np.full(rows, 7),
            "colour": pa.array(random.choice(["red", "blue"], rows)).dictionary_encode(),
            "flag": random.random(rows) < 0.5,
        }
    )
    return table, (x > 5).astype(int)


def fitted(family: str, table: pa.Table, y: Any, task: Any = "classification") -> BaseModelAdapter:
    return create_adapter(family, task=task).fit(table, y)


@pytest.mark.parametrize("family", ["lr", "xgb"])
def test_the_more_noise_the_worse_the_score(family: str) -> None:
    table, y = line()
    found = noise_robustness(fitted(family, table, y), table, y, "accuracy")
    assert list(found.noise) == ["0.1", "0.25", "0.5"]
    assert found.clean is not None
    assert found.clean > found.noise["0.1"] > found.noise["0.25"] > found.noise["0.5"]


@pytest.mark.parametrize("family", ["lr", "xgb"])
def test_noise_of_sigma_costs_what_geometry_says(family: str) -> None:
    """Standard normal x, threshold at its mean, noise of sigma: the sign flips with probability atan(sigma) / pi."""
    table, y = line(6000)
    found = noise_robustness(fitted(family, table, y), table, y, "accuracy", sigmas=(0.25, 1.0))
    assert found.noise["0.25"] == pytest.approx(1 - np.arctan(0.25) / np.pi, abs=0.015)
    assert found.noise["1"] == pytest.approx(0.75, abs=0.02)


def test_sensitivity_is_what_the_score_loses_at_a_quarter() -> None:
    table, y = line()
    found = noise_robustness(fitted("lr", table, y), table, y, "accuracy")
    assert found.clean is not None
    assert found.noise_sensitivity == pytest.approx(found.clean - found.noise["0.25"])
    assert found.metric == "accuracy"


def test_sensitivity_is_above_zero_where_lower_is_better_too() -> None:
    table, y = line()
    found = noise_robustness(fitted("lr", table, y), table, y, "logloss")
    assert found.clean is not None
    assert found.noise_sensitivity == pytest.approx(found.noise["0.25"] - found.clean)
    assert (found.noise_sensitivity or 0) > 0


def test_the_clean_score_is_the_plain_one() -> None:
    table, y = line()
    adapter = fitted("xgb", table, y)
    found = noise_robustness(adapter, table, y, "f1")
    assert found.clean == score("f1", y, adapter.predict_proba(table))


def test_values_that_do_not_arrive_cost_more_the_more_they_are() -> None:
    table, y = line()
    found = noise_robustness(fitted("lr", table, y), table, y, "accuracy")
    assert found.clean is not None
    assert found.clean > found.missing["0.1"] > found.missing["0.3"] > 0.5


def test_the_same_seed_disturbs_alike_and_another_differently() -> None:
    table, y = line()
    adapter = fitted("lr", table, y)
    first, again, other = (noise_robustness(adapter, table, y, "logloss", seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.noise != other.noise


def test_a_model_of_categories_alone_has_no_noise_figure() -> None:
    random = np.random.default_rng(0)
    colour = random.choice(["red", "blue"], 300)
    table = pa.table({"colour": colour})
    found = noise_robustness(fitted("lr", table, colour == "red"), table, colour == "red", "accuracy")
    assert found.noise == {}
    assert found.noise_sensitivity is None
    assert found.missing["0.3"] < 1.0


def test_noise_leaves_missing_values_missing() -> None:
    table, y = line()
    holed = table.set_column(0, "x", pa.array([None, float("nan"), *table["x"].to_pylist()[2:]], pa.float64()))
    found = noise_robustness(fitted("xgb", holed, y), holed, y, "accuracy", sigmas=(1e-9,))
    assert found.noise["1e-09"] == found.clean
    assert found.noise_sensitivity is None


def test_regression_on_diabetes_gets_worse_with_noise() -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)
    adapter = fitted("xgb", data.data[:300], data.target[:300], "regression")
    found = noise_robustness(adapter, data.data[300:], data.target[300:], "rmse")
    assert found.clean is not None
    assert found.noise["0.5"] > found.clean


def test_breast_cancer_stands_a_tenth_of_a_deviation(breast_cancer: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(breast_cancer)
    features, y = table.drop_columns(["target"]), table["target"]
    adapter = fitted("lr", features.slice(0, 400), y.slice(0, 400))
    found = noise_robustness(adapter, features.slice(400), y.slice(400), "auroc")
    assert found.noise["0.1"] > 0.97


def test_labels_and_columns_that_the_model_does_not_know_are_refused() -> None:
    table, y = line(200)
    adapter = fitted("lr", table, y)
    with pytest.raises(Incompatible, match="y has 2, which the model does not know"):
        noise_robustness(adapter, table, y + 1, "accuracy")
    with pytest.raises(Incompatible, match="200 rows but y has 199"):
        noise_robustness(adapter, table, y[1:], "accuracy")
    with pytest.raises(Incompatible, match="'x' is missing"):
        noise_robustness(adapter, table.drop_columns(["x"]), y, "accuracy")
    with pytest.raises(Incompatible, match="rmse"):
        noise_robustness(adapter, table, y, "rmse")


def test_accuracy_and_the_share_of_changed_answers_stand_beside_the_score() -> None:
    """The flip rate is what geometry says, see above; at sigma 0 the accuracy is the undisturbed one."""
    table, y = line(6000)
    found = noise_robustness(fitted("lr", table, y), table, y, "logloss")
    assert list(found.accuracy) == ["0", "0.1", "0.25", "0.5"]
    assert found.accuracy["0"] > 0.99
    assert found.flips["0.25"] == pytest.approx(np.arctan(0.25) / np.pi, abs=0.015)
    assert found.flips["0.1"] < found.flips["0.25"] < found.flips["0.5"]
    assert found.moved == {}


def test_an_answer_may_change_without_losing_accuracy() -> None:
    """Labels that are coin tosses: half of the changed answers were wrong before, so accuracy hardly moves."""
    table, _ = line(6000)
    guess = (table["x"].to_numpy() > 5).astype(int)
    adapter = fitted("lr", table, guess)
    found = noise_robustness(adapter, table, np.random.default_rng(1).integers(0, 2, 6000), "accuracy")
    assert found.flips["0.5"] > 0.1
    assert abs(found.accuracy["0"] - found.accuracy["0.5"]) < 0.02


def test_values_move_by_their_slope_times_the_noise() -> None:
    """A value that is x itself moves by a mean of sigma x sqrt(2 / pi) deviations."""
    random = np.random.default_rng(0)
    x = random.normal(5, 3, 4000)
    table = pa.table({"x": x})
    adapter = fitted("xgb", table, x, "regression")
    found = noise_robustness(adapter, table, x, "rmse")
    assert found.flips == {}
    assert found.accuracy == {}
    assert found.moved["0.25"] == pytest.approx(0.25 * np.sqrt(2 / np.pi), rel=0.05)


def test_noise_reaches_every_step_of_a_series() -> None:
    pytest.importorskip("torch")
    random = np.random.default_rng(0)
    level = random.normal(0, 1, 150)
    series = [(level[i] + 0.1 * random.normal(size=3 + i % 3)).tolist() for i in range(149)]
    table = pa.table({"s": pa.array([*series, None], pa.list_(pa.float64()))})
    y = (level > 0).astype(int)
    found = noise_robustness(fitted("rnn", table, y), table, y, "accuracy", sigmas=(0.25, 3.0))
    assert found.flips["3"] > found.flips["0.25"] > 0
