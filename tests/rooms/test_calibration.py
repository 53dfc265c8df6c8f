"""Calibrators against scikit-learn's and against truths known in advance."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from contracts.errors import Broken, Incompatible
from mldl_ray.evaluation.calibration import Calibrator, Method
from mldl_ray.evaluation.calibration_error import debiased_calibration_error, expected_calibration_error, top_label


def overconfident(rows: int, classes: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels from honest probabilities, then state them three times too boldly."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (honest.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    bold = honest**3
    return bold / bold.sum(axis=1, keepdims=True), y


def log_loss(proba: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(proba[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize("method", ["isotonic", "platt", "temperature"])
@pytest.mark.parametrize("classes", [2, 4])
def test_calibrating_an_overconfident_model_halves_its_error_on_new_rows(method: Method, classes: int) -> None:
    calibrator = Calibrator.fit(*overconfident(4000, classes, seed=1), method=method)
    scores, y = overconfident(4000, classes, seed=2)
    before = expected_calibration_error(*top_label(scores, y))
    after = expected_calibration_error(*top_label(calibrator.apply(scores), y))
    assert before > 0.15
    assert after < before / 2
    assert log_loss(calibrator.apply(scores), y) < log_loss(scores, y)


@pytest.mark.parametrize("method", ["isotonic", "platt", "temperature", "none"])
@pytest.mark.parametrize("classes", [2, 3])
def test_calibrated_rows_sum_to_one_and_lie_between_zero_and_one(method: Method, classes: int) -> None:
    scores, y = overconfident(500, classes)
    calibrated = Calibrator.fit(scores, y, method).apply(np.vstack([scores, np.eye(classes)]))
    assert np.allclose(calibrated.sum(axis=1), 1)
    assert calibrated.min() >= 0


@pytest.mark.parametrize("method", ["isotonic", "platt", "temperature", "none"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_calibrator_comes_back_from_json_bit_for_bit(method: Method, classes: int) -> None:
    scores, y = overconfident(700, classes)
    calibrator = Calibrator.fit(scores, y, method)
    again = Calibrator.from_json(json.loads(json.dumps(calibrator.to_json())))
    assert (again.apply(scores) == calibrator.apply(scores)).all()


def test_isotonic_agrees_with_scikit_learn_away_from_zero_and_one() -> None:
    from sklearn.isotonic import IsotonicRegression

    scores, y = overconfident(2000, 2)
    weights = np.random.default_rng(3).random(2000)
    reference = IsotonicRegression(out_of_bounds="clip").fit(scores[:, 1], y, sample_weight=weights)
    ours = Calibrator.fit(scores, y, "isotonic", weights=weights).apply(scores)[:, 1]
    assert np.allclose(ours, np.clip(reference.predict(scores[:, 1]), 1 / 2002, 2001 / 2002), atol=1e-12)


def test_isotonic_never_claims_certainty() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
    calibrated = Calibrator.fit(scores, np.array([0, 0, 1, 1]), "isotonic").apply(scores)
    assert calibrated[:, 1].tolist() == [1 / 6, 1 / 6, 5 / 6, 5 / 6]


def test_platt_agrees_with_an_unpenalised_logistic_regression_on_many_rows() -> None:
    from sklearn.linear_model import LogisticRegression

    scores, y = overconfident(20_000, 2)
    margin = np.log(scores[:, 1] / scores[:, 0])
    reference = LogisticRegression(C=math.inf, tol=1e-8).fit(margin[:, None], y)
    slope, offset = Calibrator.fit(scores, y, "platt").parameters[0]
    assert slope == pytest.approx(reference.coef_[0, 0], abs=2e-3)
    assert offset == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_temperature_finds_the_exponent_that_was_planted() -> None:
    scores, y = overconfident(20_000, 5)
    assert Calibrator.fit(scores, y, "temperature").parameters[0][0] == pytest.approx(3.0, rel=0.05)


def test_temperature_keeps_the_predicted_class() -> None:
    scores, y = overconfident(1000, 3)
    calibrated = Calibrator.fit(scores, y, "temperature").apply(scores)
    assert (calibrated.argmax(axis=1) == scores.argmax(axis=1)).all()


def test_perfectly_separated_rows_give_finite_parameters() -> None:
    scores = np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0)
    y = np.repeat([0, 1], 50)
    methods: tuple[Method, ...] = ("isotonic", "platt", "temperature")
    for method in methods:
        assert np.isfinite(Calibrator.fit(scores, y, method).apply(scores)).all()


def test_a_class_without_rows_is_refused_by_name() -> None:
    scores, y = overconfident(100, 3)
    with pytest.raises(Incompatible, match=r"none among .* rows: \[1\]"):
        Calibrator.fit(scores[y != 1], y[y != 1], "isotonic")
    with pytest.raises(Incompatible, match="every class"):
        Calibrator.fit(np.full((10, 2), 0.5), np.zeros(10, dtype=int), "platt")


@pytest.mark.parametrize(
    ("scores", "y", "says"),
    [
        ([[0.5, 0.5]], [2], "position 2"),
        ([[0.5, 0.6]], [1], "sum to 1"),
        ([[math.nan, 1.0]], [1], "finite"),
        ([0.5, 0.5], [0, 1], "shape"),
        ([[0.5, 0.5]], [0, 1], "1 class positions"),
        ([[0.5, 0.5]], ["yes"], "integers"),
        (np.empty((0, 2)), [], "n ≥ 1"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(scores: object, y: object, says: str) -> None:
    with pytest.raises(Incompatible, match=says):
        Calibrator.fit(scores, y, "none")


def test_scores_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(Incompatible, match=r"\(n, 2\)"):
        Calibrator("none", 2).apply([[0.2, 0.3, 0.5]])


@pytest.mark.parametrize(
    "damage",
    [
        {"method": "magic"},
        {"classes": 1},
        {"classes": "many"},
        {"parameters": []},
        {"parameters": [[[0.5, 0.1], [0.0, 1.0]]]},
        {"parameters": [[[0.1, 0.5], [0.9, 0.1]]]},
        {"parameters": [[[0.1, 0.5], [0.0, math.inf]]]},
        {"parameters": [["x"]]},
        {"parameters": None},
    ],
)
def test_a_damaged_description_is_broken(damage: dict[str, object]) -> None:
    whole = {"method": "isotonic", "classes": 2, "parameters": [[[0.1, 0.5], [0.0, 1.0]]]}
    Calibrator.from_json(whole)
    with pytest.raises(Broken):
        Calibrator.from_json(whole | damage)


def test_the_plain_error_of_a_perfect_model_falls_with_rows_as_published() -> None:
    random = np.random.default_rng(5)
    for rows, published in ((100, 0.122), (1000, 0.039), (20_000, 0.008)):
        found = [
            expected_calibration_error(p, random.random(rows) < p) for p in (random.random(rows) for _ in range(200))
        ]
        assert np.mean(found) == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize("rows", [300, 1000, 5000])
def test_the_debiased_error_of_a_perfect_model_is_less_than_half_the_plain_one(rows: int) -> None:
    random = np.random.default_rng(6)
    plain, debiased = [], []
    for _ in range(200):
        p = random.random(rows)
        hit = random.random(rows) < p
        plain.append(expected_calibration_error(p, hit))
        debiased.append(debiased_calibration_error(p, hit))
    assert np.mean(debiased) < 0.5 * np.mean(plain)


def test_the_debiased_error_of_a_poor_model_is_its_true_error() -> None:
    random = np.random.default_rng(7)
    found = []
    for _ in range(200):
        p = random.random(2000)
        found.append(debiased_calibration_error(p, random.random(2000) < p**2))
    assert np.mean(found) == pytest.approx(1 / 2 - 1 / 3, abs=0.005)


def test_confidence_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(Incompatible, match="confidence"):
        expected_calibration_error([1.2], [1])
    with pytest.raises(Incompatible, match="length"):
        debiased_calibration_error([], [])
