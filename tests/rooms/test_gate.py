"""A gate passes on the bound, never on the point alone, and never on silence."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.records import Evaluation, Interval, Policy
from mldl_ray.evaluation import gate


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
