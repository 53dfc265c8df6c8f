"""Prediction intervals hold as many new values as they promise, and say so when they cannot promise it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from contracts.errors import Incompatible
from contracts.evaluations import PredictionInterval
from mldl_ray.adapters import create_adapter
from mldl_ray.evaluation import evaluate, prediction_interval
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import rows_of
from mldl_ray.evaluation.conformal import judged_interval


def known(truth: Any, said: Any, level: float = 0.9, weights: Any = None) -> PredictionInterval:
    found = prediction_interval(truth, said, level, weights)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("rows", "level", "expected"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (100, 0.9, 91), (19, 0.95, 19), (3, 0.5, 2)],
)
def test_the_width_is_the_residual_of_the_rank_that_the_theory_names(rows: int, level: float, expected: int) -> None:
    truth = np.random.default_rng(0).permutation(np.arange(1.0, rows + 1))
    assert math.ceil(level * (rows + 1)) == expected
    assert known(truth, np.zeros(rows), level).half_width == expected


def test_residuals_count_by_size_whatever_their_sign() -> None:
    said = np.array([1, -2, 3, -4, 5, -6, 7, -8, 9.0])
    assert known(np.zeros(9), said).half_width == 9


def test_agrees_with_numpy_on_the_quantile_of_many_residuals() -> None:
    random = np.random.default_rng(1)
    truth, said = random.normal(size=2000), random.normal(size=2000)
    level = math.ceil(0.9 * 2001) / 2000
    expected = np.quantile(np.abs(truth - said), level, method="inverted_cdf")
    assert known(truth, said).half_width == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_too_few_rows_promise_nothing(rows: int) -> None:
    assert prediction_interval(np.arange(rows), np.zeros(rows)) is None
    assert known(np.arange(9), np.zeros(9)).rows == 9


def test_a_row_that_weighs_nothing_does_not_count() -> None:
    truth = np.r_[np.arange(1.0, 20), 1000.0]
    weights = np.r_[np.ones(19), 0.0]
    assert known(truth, np.zeros(20), weights=weights) == known(truth[:19], np.zeros(19))


def test_equal_weights_are_no_weights() -> None:
    truth = np.random.default_rng(2).normal(size=57)
    assert known(truth, np.zeros(57), weights=np.full(57, 0.3)) == known(truth, np.zeros(57))


def test_heavy_rows_widen_the_interval_where_they_are_harder() -> None:
    residual = np.r_[np.ones(100), np.full(10, 5.0)]
    assert known(residual, np.zeros(110), 0.9).half_width == 1.0
    assert known(residual, np.zeros(110), 0.9, np.r_[np.ones(100), np.full(10, 3.0)]).half_width == 5.0


@pytest.mark.parametrize("noise", ["normal", "laplace", "exponential"])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_as_many_new_values_are_held_as_promised_whatever_the_noise(noise: str, level: float) -> None:
    random = np.random.default_rng(3)
    held = []
    for _ in range(400):
        residuals = getattr(random, noise)(size=60)
        new = np.abs(getattr(random, noise)(size=50))
        held.append((new <= known(residuals[:59], np.zeros(59), level).half_width).mean())
    assert np.mean(held) == pytest.approx(level, abs=0.015)


def test_answers_out_of_fold_give_intervals_that_hold_on_new_rows_and_those_in_sample_do_not() -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import cross_val_predict

    random = np.random.default_rng(4)
    X = random.normal(size=(900, 5))
    y = X[:, 0] + X[:, 1] * X[:, 2] + random.normal(size=900)
    model = RandomForestRegressor(30, random_state=0)
    fair = known(y[:300], cross_val_predict(model, X[:300], y[:300], cv=5))
    model.fit(X[:300], y[:300])
    vain = known(y[:300], model.predict(X[:300]))
    gap = np.abs(y[300:] - model.predict(X[300:]))
    assert (gap <= fair.half_width).mean() == pytest.approx(0.9, abs=0.04)
    assert (gap <= vain.half_width).mean() < 0.75


def test_the_judged_share_has_its_uncertainty() -> None:
    truth = np.r_[np.zeros(80), np.full(20, 9.0)]
    rows = rows_of("regression", truth, np.zeros(100))
    asked = PredictionInterval(level=0.9, half_width=1.0, rows=50)
    coverage = judged_interval(asked, rows, Resamples.draw(np.zeros(100), 0)).coverage
    assert coverage is not None
    assert coverage.value == pytest.approx(0.8)
    assert coverage.high - coverage.low == pytest.approx(2 * 1.96 * 0.04, rel=0.25)


def test_all_values_held_is_not_called_certain() -> None:
    rows = rows_of("regression", np.zeros(40), np.zeros(40))
    asked = PredictionInterval(level=0.9, half_width=1.0, rows=50)
    coverage = judged_interval(asked, rows, Resamples.draw(np.zeros(40), 0)).coverage
    assert coverage is not None
    assert (coverage.value, coverage.high) == (1.0, 1.0)
    assert coverage.low == pytest.approx(0.025 ** (1 / 40))  # Clopper-Pearson: x = n


def test_an_evaluation_judges_the_interval_that_it_is_given() -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)
    X, y = data.data, data.target.to_numpy()
    adapter = create_adapter("xgb", task="regression", n_estimators=30, max_depth=2).fit(X[:200], y[:200])
    asked = known(y[200:300], adapter.predict(X[200:300]))
    facts: dict[str, Any] = {"model_key": "m", "sensitive": {}, "created_at": "", "evaluation_id": ""}
    found = evaluate(adapter, X[300:], y[300:], metrics=("rmse",), prediction_interval=asked, **facts)
    assert found.prediction_interval is not None
    coverage = found.prediction_interval.coverage
    assert coverage is not None
    held = np.abs(y[300:] - adapter.predict(X[300:])) <= asked.half_width
    assert coverage.value == pytest.approx(held.mean())
    assert coverage.low < 0.9 < coverage.high
    assert evaluate(adapter, X[300:], y[300:], metrics=("rmse",), **facts).prediction_interval is None


@pytest.mark.parametrize(
    ("truth", "said", "level", "says"),
    [
        ([], [], 0.9, "no rows"),
        ([1.0], [1.0, 2.0], 0.9, "rows but y has"),
        ([1.0, math.nan], [1.0, 2.0], 0.9, "missing"),
        ([1.0], [1.0], 1.0, "between 0 and 1"),
    ],
)
def test_input_that_does_not_fit_is_refused(truth: Any, said: Any, level: float, says: str) -> None:
    with pytest.raises(Incompatible, match=says):
        prediction_interval(truth, said, level)
