"""A gate passes on the bound, never on the point alone, and never on silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable, Evaluation, Interval
from contracts.records import Policy
from mldl_ray.adapters import create_adapter
from mldl_ray.evaluation import against_stable, gate, score
from mldl_ray.evaluation.paired import compare_with_stable


def evaluation(left_out: dict[str, str] | None = None, **intervals: tuple[float, float, float]) -> Evaluation:
    return Evaluation(
        model_key="m",
        rows=1234,
        metrics={name: value for name, (_, value, _) in intervals.items() if name in ("f1", "rmse", "r2")},
        intervals={name: Interval(value=v, low=low, high=high) for name, (low, v, high) in intervals.items()},
        left_out=left_out or {},
    )


GOOD = evaluation(
    f1=(0.78, 0.80, 0.82), rmse=(2.9, 3.0, 3.1), fairness_delta=(0.01, 0.02, 0.03), ece_debiased=(0.0, 0.01, 0.02)
)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"metric_bounds": {"f1": 0.78}},
        {"metric_bounds": {"rmse": 3.1}},
        {"fairness_delta_max": 0.03},
        {"max_ece": 0.02},
        {"metric_bounds": {"f1": 0.7, "rmse": 4.0}, "fairness_delta_max": 0.1, "max_ece": 0.1},
    ],
)
def test_bounds_that_the_interval_keeps_pass(policy: dict[str, Any]) -> None:
    assert gate(GOOD, Policy(**policy)) == []


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"metric_bounds": {"f1": 0.79}}, "f1 is 0.800, but no more than 0.780 is sure (95%, 1,234 rows)"),
        ({"metric_bounds": {"rmse": 3.05}}, "rmse is 3.000 and may be 3.100"),
        ({"fairness_delta_max": 0.025}, "fairness delta is 0.020 and may be 0.030"),
        ({"max_ece": 0.015}, "calibration error is 0.010 and may be 0.020"),
    ],
)
def test_a_point_that_clears_is_not_enough_when_the_bound_does_not(policy: dict[str, Any], says: str) -> None:
    (reason,) = gate(GOOD, Policy(**policy))
    assert says in reason
    assert "the policy asks for" in reason


def test_every_failure_has_its_own_reason() -> None:
    policy = Policy(metric_bounds={"f1": 0.9, "rmse": 1.0}, fairness_delta_max=0.001, max_ece=0.001)
    assert len(gate(GOOD, policy)) == 4


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"metric_bounds": {"auroc": 0.5}}, "not asked for"),
        ({"fairness_delta_max": 0.5}, "no sensitive column was given"),
        ({"max_ece": 0.5}, "no probabilities"),
    ],
)
def test_what_was_not_measured_fails(policy: dict[str, Any], says: str) -> None:
    (reason,) = gate(evaluation(), Policy(**policy))
    assert says in reason


def test_what_was_left_out_fails_with_its_own_reason() -> None:
    found = evaluation(left_out={"auroc": "all judged rows are of one class"})
    (reason,) = gate(found, Policy(metric_bounds={"auroc": 0.5}))
    assert "one class" in reason


def test_a_point_without_an_interval_fails() -> None:
    bare = Evaluation(model_key="m", rows=10, metrics={"f1": 0.99})
    assert len(gate(bare, Policy(metric_bounds={"f1": 0.5}))) == 1


def test_a_bound_on_what_is_no_metric_fails_and_lists_the_metrics() -> None:
    (reason,) = gate(GOOD, Policy(metric_bounds={"goodness": 0.5}))
    assert "'goodness', which is no metric; there are: f1, auroc" in reason


def test_a_negative_bound_on_r2_is_kept_by_a_figure_above_it() -> None:
    assert gate(evaluation(r2=(-0.1, 0.0, 0.1)), Policy(metric_bounds={"r2": -0.2})) == []


def compared(low: float, difference: float, high: float, version: str = "1.2.0") -> Evaluation:
    facts: dict[str, Any] = {"metric": "f1", "candidate": 0.8, "stable": 0.8 - difference, "rows": 1234}
    against = AgainstStable(version=version, difference=difference, low=low, high=high, **facts)
    return GOOD.model_copy(update={"against_stable": against})


MARGIN = Policy(stable_margin=0.01)


@pytest.mark.parametrize("low", [-0.01, 0.0, 0.02])
def test_a_version_that_is_surely_not_worse_than_stable_by_more_than_the_margin_passes(low: float) -> None:
    assert gate(compared(low, 0.02, 0.03), MARGIN, stable="1.2.0") == []


def test_a_difference_that_looks_good_fails_when_its_bound_is_beyond_the_margin() -> None:
    (reason,) = gate(compared(-0.02, 0.005, 0.03), MARGIN, stable="1.2.0")
    assert "f1 differs from stable by +0.005 and may be worse by 0.020 (95%, 1,234 rows, paired with version" in reason


def test_a_comparison_with_a_version_that_is_no_longer_stable_fails() -> None:
    (reason,) = gate(compared(0.01, 0.02, 0.03, "1.1.0"), MARGIN, stable="1.2.0")
    assert "compared with version 1.1.0, and 1.2.0 is stable now" in reason


def test_no_comparison_fails_where_something_serves_and_passes_where_nothing_does() -> None:
    (reason,) = gate(GOOD, MARGIN, stable="1.2.0")
    assert "not compared with the stable version" in reason
    assert gate(GOOD, MARGIN) == []


def test_a_comparison_that_could_not_be_made_fails_with_its_reason() -> None:
    found = evaluation(left_out={"against_stable": "version 1.2.0 cannot be compared with: other classes"})
    (reason,) = gate(found, MARGIN)
    assert "other classes" in reason


def test_a_policy_without_a_margin_does_not_look_at_stable() -> None:
    assert gate(compared(-0.5, -0.4, -0.3), Policy(), stable="1.2.0") == []


def two_models(rows: int, seed: int, *, better: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give what two models that share most of their errors say about the same values: (candidate, stable, truth)."""
    random = np.random.default_rng(seed)
    truth, shared = random.normal(size=rows), random.normal(size=rows)
    own = 0.1 * random.normal(size=(2, rows))
    return truth + shared * (1 - better) + own[0], truth + shared + own[1], truth


def test_the_difference_points_the_same_way_for_every_metric() -> None:
    candidate, stable, truth = two_models(500, 0)
    for metric in ("rmse", "mae", "r2"):
        found = compare_with_stable(candidate, stable, truth, metric)
        assert found.candidate == pytest.approx(score(metric, truth, candidate))
        assert found.stable == pytest.approx(score(metric, truth, stable))
        assert found.difference == pytest.approx(abs(found.candidate - found.stable))
        assert 0 < found.low < found.difference < found.high
        turned = compare_with_stable(stable, candidate, truth, metric)
        assert (turned.low, turned.difference) == pytest.approx((-found.high, -found.difference))


def test_pairing_tells_models_apart_that_their_own_intervals_cannot() -> None:
    candidate, stable, truth = two_models(400, 1)
    found = compare_with_stable(candidate, stable, truth, "mae")
    gap = np.abs(truth - stable) - np.abs(truth - candidate)
    assert found.high - found.low == pytest.approx(2 * 1.96 * gap.std() / 20, rel=0.25)
    alone = 2 * 1.96 * np.abs(truth - candidate).std() / 20
    assert found.high - found.low < alone / 3


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    truly = float(np.sqrt(2 / np.pi) * (np.sqrt(1 + 0.01) - np.sqrt(0.81 + 0.01)))  # mean |N(0, v)|
    held = 0
    for seed in range(80):
        candidate, stable, truth = two_models(200, seed)
        found = compare_with_stable(candidate, stable, truth, "mae", seed=seed)
        held += found.low <= truly <= found.high
    assert held >= 70  # 76 expected at 95%; fewer than 70 is one chance in 300


def test_rows_that_weigh_nothing_do_not_compare() -> None:
    candidate, stable, truth = two_models(300, 2)
    weights = np.where(np.arange(300) < 200, 1.0, 0.0)
    part = compare_with_stable(candidate[:200], stable[:200], truth[:200], "mae")
    assert compare_with_stable(candidate, stable, truth, "mae", weights) == part


def test_weights_reach_both_sides() -> None:
    candidate, stable, truth = two_models(300, 3)
    weights = np.random.default_rng(0).random(300) + 0.1
    found = compare_with_stable(candidate, stable, truth, "rmse", weights)
    assert found.candidate == pytest.approx(score("rmse", truth, candidate, weights))
    assert found.stable == pytest.approx(score("rmse", truth, stable, weights))


def test_the_same_answers_are_surely_not_worse() -> None:
    candidate, _, truth = two_models(50, 4)
    found = compare_with_stable(candidate, candidate, truth, "rmse")
    assert (found.low, found.difference, found.high) == (0, 0, 0)


def test_two_perfect_models_on_few_rows_are_not_called_equal_for_certain() -> None:
    y = np.arange(40) % 2
    sure, unsure = np.eye(2)[y] * 0.8 + 0.1, np.eye(2)[y] * 0.2 + 0.4
    found = compare_with_stable(sure, unsure, y, "accuracy")
    assert found.difference == 0
    assert (
        found.low == -found.high == pytest.approx(0.025 ** (1 / 20) - 1)
    )  # Clopper-Pearson: none of the 20 of a class


def test_one_row_bounds_no_difference_without_a_range() -> None:
    with pytest.raises(Incompatible, match="nothing bounds it"):
        compare_with_stable([1.0], [2.0], [0.0], "mae")


def test_two_adapters_are_compared_on_their_own_columns() -> None:
    random = np.random.default_rng(5)
    table = pa.table({"x": random.normal(size=600), "z": random.normal(size=600)})
    y = (table["x"].to_numpy() + table["z"].to_numpy() + random.normal(size=600) > 0).astype(int)
    both = create_adapter("lr").fit(table.slice(0, 300), y[:300])
    one = create_adapter("lr").fit(table.select(["x"]).slice(0, 300), y[:300])
    found = against_stable(both, one, table.slice(300), y[300:], metric="auroc", version="1.0.0")
    assert found.candidate == pytest.approx(score("auroc", y[300:], both.predict_proba(table.slice(300))))
    assert (found.version, found.rows) == ("1.0.0", 300)
    assert found.low > 0


def test_models_of_other_classes_are_not_compared() -> None:
    table = pa.table({"x": np.arange(60.0)})
    two = create_adapter("lr").fit(table, np.arange(60) % 2)
    words = create_adapter("lr").fit(table, np.array(["a", "b"])[np.arange(60) % 2])
    with pytest.raises(Incompatible, match="another question"):
        against_stable(two, words, table, np.arange(60) % 2, metric="f1")
    with pytest.raises(Incompatible, match="'rmse' is not for classification"):
        against_stable(two, two, table, np.arange(60) % 2, metric="rmse")


def test_answers_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(Incompatible, match="shapes"):
        compare_with_stable([[0.5, 0.5]], [[0.2, 0.3, 0.5]], [0], "accuracy")
