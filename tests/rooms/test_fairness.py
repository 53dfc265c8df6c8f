"""Fairness against fairlearn's own functions and against rates counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

from contracts.errors import Incompatible
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows, rows_of
from mldl_ray.evaluation.fairness import LEAST_ROWS, delta_over, fairness_of, named_groups


def judged(rows: int = 3000, seed: int = 0, weights: Any = None) -> tuple[Rows, np.ndarray]:
    """Two groups; the first is selected more often."""
    random = np.random.default_rng(seed)
    group = np.where(random.random(rows) < 0.4, "f", "m")
    y = (random.random(rows) < np.where(group == "f", 0.3, 0.5)).astype(int)
    p = np.clip(random.normal(0.35 + 0.3 * y + 0.1 * (group == "f"), 0.15), 0.01, 0.99)
    return rows_of("classification", y, np.column_stack([1 - p, p]), weights), group


def said(*positions: int, classes: int = 2) -> np.ndarray:
    return np.eye(classes)[list(positions)]


def test_delta_and_odds_are_those_of_fairlearn() -> None:
    rows, group = judged()
    predicted = rows.said.argmax(axis=1)
    found = fairness_of(rows, {"sex": group})
    assert found.delta == pytest.approx(demographic_parity_difference(rows.truth, predicted, sensitive_features=group))
    assert found.equalized_odds == pytest.approx(
        equalized_odds_difference(rows.truth, predicted, sensitive_features=group)
    )
    assert found.groups == ("sex",)


def test_weights_count_as_in_fairlearn() -> None:
    weights = np.random.default_rng(1).random(3000) + 0.1
    rows, group = judged(weights=weights)
    expected = demographic_parity_difference(
        rows.truth, rows.said.argmax(axis=1), sensitive_features=group, sample_weight=weights
    )
    assert fairness_of(rows, {"sex": group}).delta == pytest.approx(expected)


def test_rates_by_hand() -> None:
    """f: 40 rows, 30 selected, of 32 real ones 28; m: 50 rows, 10 selected, of 0 real ones 0."""
    truth = [1] * 28 + [1] * 4 + [0] * 2 + [0] * 6 + [0] * 50
    predicted = [1] * 28 + [0] * 4 + [1] * 2 + [0] * 6 + [1] * 10 + [0] * 40
    found = fairness_of(rows_of("classification", truth, said(*predicted)), {"sex": ["f"] * 40 + ["m"] * 50})
    assert found.by_group["sex"]["f"] == pytest.approx(
        {"rows": 40, "selection_rate": 0.75, "true_positive_rate": 28 / 32, "error_rate": 6 / 40}
    )
    assert found.by_group["sex"]["m"] == pytest.approx(
        {"rows": 50, "selection_rate": 0.2, "false_positive_rate": 0.2, "error_rate": 0.2}
    )
    assert found.by_column["sex"] == pytest.approx({"selection_rate": 0.55, "error_rate": 0.05})
    assert found.delta == pytest.approx(0.55)
    assert found.equalized_odds is None
    assert "true_positive_rate over too few rows: m (0)" in found.left_out["sex"]


def test_a_group_of_29_rows_is_named_and_left_out_and_one_of_30_is_judged() -> None:
    assert LEAST_ROWS == 30
    predicted = [1] * 100 + [0] * 30 + [0] * 29
    group = ["a"] * 100 + ["b"] * 30 + ["c"] * 29
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"region": group})
    assert set(found.by_group["region"]) == {"a", "b"}
    assert "fewer than 30 rows: c (29)" in found.left_out["region"]


def test_a_column_with_one_large_group_has_nothing_to_compare() -> None:
    predicted = [1] * 100 + [0] * 5
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"sex": ["f"] * 100 + ["m"] * 5})
    assert found.delta is None
    assert found.groups == ()
    assert "nothing to compare" in found.left_out["sex"]


def test_delta_is_the_largest_over_columns_and_pairs_are_reported_beside_it() -> None:
    """Each column alone is even, and the pairs are not: the worst is seen although delta does not count it."""
    a = np.repeat(["x", "x", "y", "y"], 50)
    b = np.repeat(["u", "v", "u", "v"], 50)
    predicted = np.repeat([1, 0, 0, 1], 50)
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"a": a, "b": b})
    assert found.delta == 0
    assert found.by_column["a × b"]["selection_rate"] == 1
    assert found.groups == ("a", "b")


def test_of_three_classes_the_last_is_the_selected_one() -> None:
    predicted = [2] * 30 + [0] * 10 + [2] * 10 + [1] * 30
    group = ["a"] * 40 + ["b"] * 40
    found = fairness_of(
        rows_of("classification", predicted, said(*predicted, classes=3)), {"g": group}, selected="gold"
    )
    assert found.delta == pytest.approx(0.5)
    assert found.selected == "gold"


def test_regression_compares_mean_predictions_in_deviations_of_the_target() -> None:
    truth = np.tile([0.0, 20.0], 50)  # deviation 10
    group = np.repeat(["a", "b"], 50)
    found = fairness_of(rows_of("regression", truth, np.where(group == "a", 10.0, 15.0)), {"g": group})
    assert found.delta == pytest.approx(0.5)
    assert found.by_group["g"]["b"] == pytest.approx(
        {"rows": 50, "mean_prediction": 15, "mean_absolute_error": 10, "mean_error": 5}
    )
    assert found.by_column["g"]["mean_error"] == pytest.approx(0.5)
    assert found.equalized_odds is None


def test_a_constant_target_gives_differences_no_unit() -> None:
    found = fairness_of(rows_of("regression", np.ones(80), np.arange(80.0)), {"g": np.repeat(["a", "b"], 40)})
    assert found.delta is None
    assert "no unit" in found.left_out["g"]


def test_missing_values_are_a_group_of_their_own() -> None:
    names = named_groups({"g": ["a", None, float("nan")]}, 3)
    assert names["g"].tolist() == ["a", "(missing)", "(missing)"]


def test_a_number_with_many_values_is_cut_at_its_quartiles() -> None:
    names = named_groups({"age": list(range(1, 101))}, 100)["age"]
    found, sizes = np.unique(names, return_counts=True)
    assert len(found) == 4
    assert sizes.tolist() == [25] * 4
    assert names[0] == "1 to <25.75"


def test_a_code_with_few_values_stays_as_it_is() -> None:
    assert named_groups({"code": [0, 1, 0]}, 3)["code"].tolist() == ["0", "1", "0"]


def test_a_column_of_another_length_is_refused_by_name() -> None:
    rows, group = judged(100)
    with pytest.raises(Incompatible, match="sensitive column 'sex' has 99"):
        fairness_of(rows, {"sex": group[:99]})


def test_the_resampled_delta_of_undisturbed_rows_is_the_delta() -> None:
    rows, group = judged()
    found = fairness_of(rows, {"sex": group})
    kept = np.arange(len(rows.mass))
    assert delta_over(rows, {"sex": group}, ["sex"])(kept, rows.mass[None])[0] == pytest.approx(found.delta)


def test_the_interval_of_a_planted_difference_holds_it_about_as_often_as_it_says() -> None:
    """40 samples of a difference of 0.2: at 95% about 38 hold it; fewer than 34 would be a one in 300 chance."""
    group = np.repeat(["a", "b"], 300)
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        predicted = (random.random(600) < np.where(group == "a", 0.3, 0.5)).astype(int)
        rows = rows_of("classification", random.integers(0, 2, 600), said(*predicted))
        draws, delta = Resamples.draw(rows.truth, seed), delta_over(rows, {"g": group}, ["g"])
        value = float(delta(np.arange(600), rows.mass[None])[0])
        interval = draws.interval(value, draws.figures(delta, rows.mass), 0, 1)
        assert interval is not None
        held += interval.low <= 0.2 <= interval.high
    assert held >= 34
