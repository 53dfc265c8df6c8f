"""Fairness against fairlearn's own functions and against rates counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

from contracts.errors import Incompatible
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows, rows_of
from mldl_ray.evaluation.fairness import LEAST_ROWS, delta_over, fairness_of, named_groups, odds_over


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


def test_of_three_classes_each_is_looked_at_and_delta_is_of_the_worst() -> None:
    """a: 30 gold, 10 tin; b: 10 gold, 30 iron. Rates by class: gold 0.75 and 0.25, iron 0 and 0.75, tin 0.25 and 0."""
    predicted = [2] * 30 + [0] * 10 + [2] * 10 + [1] * 30
    group = ["a"] * 40 + ["b"] * 40
    rows = rows_of("classification", predicted, said(*predicted, classes=3))
    found = fairness_of(rows, {"g": group}, selected="gold", classes=["tin", "iron", "gold"])
    assert {name: facts["selection_rate"] for name, facts in found.by_class.items()} == {
        "tin": 0.25,
        "iron": 0.75,
        "gold": 0.5,
    }
    assert (found.delta, found.worst_class, found.selected) == (0.75, "iron", "gold")
    assert found.by_column["g"]["selection_rate"] == 0.5
    assert delta_over(rows, {"g": group}, ["g"])(np.arange(80), rows.mass[None])[0] == 0.75


def test_the_class_of_each_turn_gives_what_fairlearn_gives_for_it_alone() -> None:
    random = np.random.default_rng(0)
    truth, proba = random.integers(0, 3, 900), random.dirichlet([1, 1, 1], 900)
    group = np.where(random.random(900) < 0.4, "f", "m")
    weights = random.random(900) + 0.1
    found = fairness_of(rows_of("classification", truth, proba, weights), {"sex": group})
    odds = []
    for place in range(3):
        real, chosen = (truth == place).astype(int), (proba.argmax(axis=1) == place).astype(int)
        expected = demographic_parity_difference(real, chosen, sensitive_features=group, sample_weight=weights)
        assert found.by_class[str(place)]["selection_rate"] == pytest.approx(expected)
        odds.append(equalized_odds_difference(real, chosen, sensitive_features=group, sample_weight=weights))
    assert found.equalized_odds == pytest.approx(max(odds))


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


def test_every_rate_has_wilsons_interval() -> None:
    """30 of 40 selected: Wilson's bounds by statsmodels' formula are 0.598 to 0.858."""
    predicted = [1] * 30 + [0] * 10 + [1] * 10 + [0] * 40
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"sex": ["f"] * 40 + ["m"] * 50})
    interval = found.intervals["sex"]["f"]["selection_rate"]
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.75, 0.5981, 0.8581), abs=1e-4)
    assert set(found.intervals["sex"]["f"]) == set(found.by_group["sex"]["f"]) - {"rows"}


def test_a_rate_of_zero_may_still_be_above_it() -> None:
    predicted = [0] * 40 + [1] * 40
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"sex": ["f"] * 40 + ["m"] * 40})
    interval = found.intervals["sex"]["f"]["selection_rate"]
    assert interval.low == 0
    assert 0.05 < interval.high < 0.1


def test_uneven_weights_widen_an_interval() -> None:
    predicted = [1, 0] * 40
    group = ["f"] * 40 + ["m"] * 40
    plain = fairness_of(rows_of("classification", predicted, said(*predicted)), {"sex": group})
    weights = np.tile([1.0, 1.0, 9.0, 9.0], 20)
    uneven = fairness_of(rows_of("classification", predicted, said(*predicted), weights), {"sex": group})
    a, b = (found.intervals["sex"]["f"]["selection_rate"] for found in (plain, uneven))
    assert a.value == b.value == 0.5
    assert b.high - b.low > a.high - a.low


def test_the_interval_of_a_rate_holds_it_about_as_often_as_it_says() -> None:
    """200 groups of 60 rows selected at 0.2: at 95% about 190 hold it; fewer than 180 would be a one in 400 chance."""
    predicted = (np.random.default_rng(0).random(12_000) < 0.2).astype(int)
    group = np.repeat(np.arange(200).astype(str), 60)
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"g": group})
    held = [
        facts["selection_rate"].low <= 0.2 <= facts["selection_rate"].high for facts in found.intervals["g"].values()
    ]
    assert len(held) == 200
    assert sum(held) >= 180


def test_groups_too_small_are_insufficient_and_not_passed() -> None:
    predicted = [1] * 100 + [0] * 30 + [0] * 29
    group = ["a"] * 100 + ["b"] * 30 + ["c"] * 29
    found = fairness_of(rows_of("classification", predicted, said(*predicted)), {"region": group})
    assert found.insufficient == {"region": {"c": 29}}
    assert "c" not in found.by_group["region"]


def test_all_intersections_are_looked_at_and_the_worst_is_named() -> None:
    """An exclusive-or of three columns: every column and every pair is even, and the three together are not."""
    bits = np.repeat([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], 40, axis=0)
    predicted = bits.sum(axis=1) % 2
    found = fairness_of(
        rows_of("classification", predicted, said(*predicted)),
        {name: bits[:, place].astype(str) for place, name in enumerate("abc")},
    )
    assert set(found.by_column) == {"a", "b", "c", "a × b", "a × c", "b × c", "a × b × c"}
    assert found.delta == 0
    assert found.by_column["a × b"]["selection_rate"] == 0
    assert found.intersectional_delta == found.by_column["a × b × c"]["selection_rate"] == 1


def test_of_six_columns_the_intersection_of_all_is_looked_at_too() -> None:
    names = named_groups({name: [name, "x"] for name in "abcdef"}, 2)
    assert names["a × b × c × d × e × f"].tolist() == ["a × b × c × d × e × f", "x × x × x × x × x × x"]
    assert "a × e" not in names


def test_regression_means_have_intervals_and_errors_a_difference() -> None:
    random = np.random.default_rng(0)
    truth, group = random.normal(0, 10, 400), np.repeat(["a", "b"], 200)
    answers = truth + np.where(group == "a", 1.0, 4.0) * random.normal(size=400)
    found = fairness_of(rows_of("regression", truth, answers), {"g": group})
    b = found.by_group["g"]["b"]
    interval = found.intervals["g"]["b"]["mean_absolute_error"]
    assert interval.low < b["mean_absolute_error"] < interval.high
    assert found.error_delta == pytest.approx(
        abs(b["mean_absolute_error"] - found.by_group["g"]["a"]["mean_absolute_error"]) / truth.std()
    )


def test_the_resampled_odds_of_undisturbed_rows_are_the_odds() -> None:
    rows, group = judged()
    found = fairness_of(rows, {"sex": group})
    odds = odds_over(rows, {"sex": group}, ["sex"])
    assert odds(np.arange(len(rows.mass)), rows.mass[None])[0] == pytest.approx(found.equalized_odds)
