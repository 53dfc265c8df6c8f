"""Calibrators against scikit-learn's and against truths known in advance."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from contracts.errors import Broken, Incompatible
from contracts.evaluations import CalibrationErrors
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._reliability import FOUR, _four, errors_of
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


def crooked(rows: int, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels at rates that rise in three steps, which no sigmoid follows."""
    random = np.random.default_rng(seed)
    p = random.random(rows)
    y = (random.random(rows) < np.select([p < 0.3, p < 0.6], [0.05, 0.5], 0.6)).astype(int)
    return np.column_stack([1 - p, p]), y


def shifted(rows: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels at odds a third of those that are stated, which no temperature mends."""
    random = np.random.default_rng(seed)
    p = random.random(rows)
    return np.column_stack([1 - p, p]), (random.random(rows) < p / (p + 3 * (1 - p))).astype(int)


def test_auto_takes_the_method_that_the_rows_were_made_for() -> None:
    planted: dict[Method, tuple[np.ndarray, np.ndarray]] = {
        "temperature": overconfident(600, 4),
        "platt": shifted(600),
        "isotonic": crooked(4000),
    }
    for method, (scores, y) in planted.items():
        chosen = Calibrator.fit(scores, y, "auto")
        assert chosen.method == method == min(chosen.compared, key=lambda name: chosen.compared[name])
        assert (chosen.apply(scores) == Calibrator.fit(scores, y, method).apply(scores)).all()


def test_auto_does_not_try_isotonic_on_few_rows() -> None:
    scores, y = crooked(999)
    assert set(Calibrator.fit(scores, y, "auto").compared) == {"temperature", "platt"}
    scores, y = crooked(1000)
    assert set(Calibrator.fit(scores, y, "auto").compared) == {"temperature", "platt", "isotonic"}


def test_the_losses_that_auto_compares_are_those_on_new_rows() -> None:
    """In-sample isotonic looks better than it is; the compared loss must not."""
    held_out, in_sample, new = [], [], []
    for seed in range(10):
        scores, y = crooked(1000, seed)
        others, their_y = crooked(4000, seed + 100)
        isotonic = Calibrator.fit(scores, y, "isotonic")
        held_out.append(Calibrator.fit(scores, y, "auto").compared["isotonic"])
        in_sample.append(log_loss(isotonic.apply(scores), y))
        new.append(log_loss(isotonic.apply(others), their_y))
    assert np.mean(in_sample) < np.mean(new) - 0.005
    assert np.mean(held_out) > np.mean(new) - 0.005


@pytest.mark.parametrize("classes", [2, 4])
def test_auto_is_near_the_best_single_method_on_new_rows(classes: int) -> None:
    scores, y = overconfident(1500, classes, seed=1)
    others, their_y = overconfident(4000, classes, seed=2)
    methods: tuple[Method, ...] = ("isotonic", "platt", "temperature")
    best = min(log_loss(Calibrator.fit(scores, y, m).apply(others), their_y) for m in methods)
    assert log_loss(Calibrator.fit(scores, y, "auto").apply(others), their_y) < best + 0.01


def test_auto_weighs_rows() -> None:
    scores, y = np.vstack([overconfident(600, 2)[0], shifted(600)[0]]), np.r_[overconfident(600, 2)[1], shifted(600)[1]]
    weights = np.r_[np.full(600, 1e-6), np.ones(600)]
    chosen = Calibrator.fit(scores, y, "auto", weights=weights)
    assert chosen.method == "platt"
    assert chosen.compared["platt"] == pytest.approx(Calibrator.fit(*shifted(600), "auto").compared["platt"], rel=0.05)


def test_auto_without_rows_to_hold_out_takes_the_method_with_one_number() -> None:
    scores, y = overconfident(50, 2)
    y = np.r_[np.zeros(49, dtype=int), 1]
    chosen = Calibrator.fit(scores, y, "auto")
    assert (chosen.method, dict(chosen.compared)) == ("temperature", {})


def test_what_auto_compared_comes_back_from_json() -> None:
    chosen = Calibrator.fit(*shifted(600), "auto")
    again = Calibrator.from_json(json.loads(json.dumps(chosen.to_json())))
    assert (again.method, dict(again.compared)) == (chosen.method, dict(chosen.compared))
    with pytest.raises(Broken, match="not finite"):
        Calibrator.from_json(chosen.to_json() | {"compared": {"platt": math.nan}})
    with pytest.raises(Broken, match="magic"):
        Calibrator.from_json(chosen.to_json() | {"compared": {"magic": 0.1}})


def test_a_method_that_is_not_there_is_refused_with_those_that_are() -> None:
    scores, y = overconfident(50, 2)
    with pytest.raises(Incompatible, match="'magic' is unknown; choose from isotonic, platt, temperature, none, auto"):
        Calibrator.fit(scores, y, "magic")  # type: ignore[arg-type]  # on purpose


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


def four_errors(p: Any, hit: Any, weights: Any = None) -> CalibrationErrors:
    p, hit = np.asarray(p, dtype=float), np.asarray(hit, dtype=float)
    mass = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=float)
    return errors_of(p, hit, mass, Resamples.draw(np.zeros(len(p)), 0))


def test_four_errors_of_one_bin_by_hand() -> None:
    found = four_errors([0.9] * 10, [1] * 3 + [0] * 7)
    assert found.equal_width == pytest.approx(0.6)
    noise, squares = 10 * 0.3 * 0.7 / 9, 10 * 0.6**2
    assert found.equal_width_debiased == pytest.approx(0.6 * math.sqrt(1 - noise / squares))
    assert found.equal_mass > 0.6  # five bins of two rows each hold 0, 1 or 2 hits


def test_four_errors_of_two_bins_by_hand() -> None:
    p = [0.1] * 4 + [0.9] * 4
    found = four_errors(p, [0, 0, 0, 1, 1, 1, 1, 1])
    assert found.equal_width == pytest.approx((4 * 0.15 + 4 * 0.1) / 8)
    assert found.equal_width_debiased == 0.0  # squares 4·0.15² + 4·0.1² are less than the noise 4·¼·¾/3
    assert found.equal_mass == pytest.approx((2 * 0.1 + 2 * 0.4 + 4 * 0.1) / 8)


@pytest.mark.parametrize(("strategy", "name"), [("uniform", "equal_width"), ("quantile", "equal_mass")])
def test_plain_errors_agree_with_the_curve_of_scikit_learn(strategy: str, name: str) -> None:
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(8)
    p = random.random(1500)
    hit = random.random(1500) < p**2
    rate, stated = calibration_curve(hit, p, n_bins=15, strategy=strategy)
    rows = {"equal_width": np.histogram(p, bins=np.linspace(0, 1, 16))[0], "equal_mass": np.full(15, 100)}[name]
    assert getattr(four_errors(p, hit), name) == pytest.approx(np.average(np.abs(rate - stated), weights=rows))


def test_four_errors_agree_with_the_public_functions() -> None:
    random = np.random.default_rng(9)
    p = random.random(700)
    hit = (random.random(700) < p**2).astype(float)
    found = four_errors(p, hit)
    assert found.equal_width == pytest.approx(expected_calibration_error(p, hit))
    assert found.equal_mass_debiased == pytest.approx(debiased_calibration_error(p, hit))
    assert found.equal_width_debiased < found.equal_width
    assert found.equal_mass_debiased < found.equal_mass


def test_a_row_of_double_weight_counts_as_two_rows_in_equal_widths() -> None:
    random = np.random.default_rng(10)
    p = random.random(300)
    hit = (random.random(300) < p**2).astype(float)
    twice = np.r_[np.arange(300), np.arange(100)]
    weighted = four_errors(p, hit, np.where(np.arange(300) < 100, 2.0, 1.0))
    assert weighted.equal_width == pytest.approx(four_errors(p[twice], hit[twice]).equal_width)


@pytest.mark.parametrize("rows", [300, 2000])
def test_debiased_errors_of_a_perfect_model_are_less_than_half_the_plain_ones(rows: int) -> None:
    random = np.random.default_rng(11)
    found = []
    for _ in range(60):
        p = random.random(rows)
        found.append(_four(p, (random.random(rows) < p).astype(float), np.ones((1, rows)))[0])
    width, width_debiased, mass, mass_debiased = np.mean(found, axis=0)
    assert width_debiased < 0.5 * width
    assert mass_debiased < 0.5 * mass


def test_the_interval_of_each_error_holds_the_true_error_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(12)
    held = dict.fromkeys(FOUR, 0)
    for _ in range(60):
        p = random.random(1500)
        found = four_errors(p, random.random(1500) < p**2)
        for name in held:
            held[name] += found.intervals[name].low <= 1 / 2 - 1 / 3 <= found.intervals[name].high
    assert min(held.values()) >= 51  # 57 expected of 60 at 95%; fewer than 51 is one chance in 200
