"""Metrics against scikit-learn's and against values worked out by hand, and what their intervals hold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sklearn import metrics as reference

from contracts.errors import Incompatible
from contracts.specs import Task
from mldl_ray.evaluation import METRICS, score
from mldl_ray.evaluation._bootstrap import MOST_ROWS, Resamples
from mldl_ray.evaluation._figures import debiased_ece
from mldl_ray.evaluation._rows import rows_of
from mldl_ray.evaluation.calibration_error import debiased_calibration_error, expected_calibration_error, top_label
from mldl_ray.evaluation.metrics import metrics_of, value_of

Reference = Callable[..., float]


def drawn(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn from noisy probabilities, with ties among the scores, and random weights."""
    random = np.random.default_rng(seed)
    proba = np.round(random.dirichlet(np.ones(classes), rows), 2) + 0.01
    proba /= proba.sum(axis=1, keepdims=True)
    y = (proba.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return y, proba, random.random(rows) + 0.1


def interval_of(name: str, truth: Any, said: Any, seed: int = 0) -> Any:
    metric = METRICS[name]
    rows = rows_of(metric.task, truth, said)
    draws = Resamples.draw(rows.truth if metric.task == "classification" else np.zeros(len(rows.mass)), seed)
    drawn = draws.figures(lambda kept, mass: metric.figure(rows.truth[kept], rows.said[kept], mass), rows.mass)
    return draws.interval(value_of(metric, rows), drawn, metric.low, metric.high)


BINARY: dict[str, Reference] = {
    "f1": lambda y, p, w: reference.f1_score(y, p.argmax(axis=1), sample_weight=w),
    "precision": lambda y, p, w: reference.precision_score(y, p.argmax(axis=1), sample_weight=w),
    "recall": lambda y, p, w: reference.recall_score(y, p.argmax(axis=1), sample_weight=w),
    "accuracy": lambda y, p, w: reference.accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "balanced_accuracy": lambda y, p, w: reference.balanced_accuracy_score(y, p.argmax(axis=1), sample_weight=w),
    "f1_macro": lambda y, p, w: reference.f1_score(y, p.argmax(axis=1), average="macro", sample_weight=w),
    "f1_weighted": lambda y, p, w: reference.f1_score(y, p.argmax(axis=1), average="weighted", sample_weight=w),
    "auroc": lambda y, p, w: reference.roc_auc_score(y, p[:, 1], sample_weight=w),
    "auprc": lambda y, p, w: reference.average_precision_score(y, p[:, 1], sample_weight=w),
    "logloss": lambda y, p, w: reference.log_loss(y, p, sample_weight=w),
    "brier": lambda y, p, w: reference.brier_score_loss(y, p[:, 1], sample_weight=w),
}
MANY: dict[str, Reference] = {
    "f1": lambda y, p, w: reference.f1_score(y, p.argmax(axis=1), average="macro", sample_weight=w),
    "precision": lambda y, p, w: reference.precision_score(y, p.argmax(axis=1), average="macro", sample_weight=w),
    "recall": lambda y, p, w: reference.recall_score(y, p.argmax(axis=1), average="macro", sample_weight=w),
    "accuracy": BINARY["accuracy"],
    "balanced_accuracy": BINARY["balanced_accuracy"],
    "f1_macro": BINARY["f1_macro"],
    "f1_weighted": BINARY["f1_weighted"],
    "auprc": lambda y, p, w: reference.average_precision_score(y, p, average="macro", sample_weight=w),
    "auroc": lambda y, p, w: reference.roc_auc_score(y, p, multi_class="ovr", average="macro", sample_weight=w),
    "logloss": BINARY["logloss"],
    "brier": lambda y, p, w: float(np.average(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1), weights=w)),
}


@pytest.mark.parametrize("name", sorted(BINARY))
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_two_classes_agree_with_scikit_learn(name: str, weighted: bool) -> None:
    y, proba, weights = drawn(400, 2)
    weights = weights if weighted else None
    assert score(name, y, proba, weights) == pytest.approx(BINARY[name](y, proba, weights), abs=1e-12)


@pytest.mark.parametrize("name", sorted(MANY))
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_four_classes_agree_with_scikit_learn(name: str, weighted: bool) -> None:
    y, proba, weights = drawn(400, 4)
    weights = weights if weighted else None
    assert score(name, y, proba, weights) == pytest.approx(MANY[name](y, proba, weights), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", reference.root_mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("r2", reference.r2_score),
    ],
)
def test_regression_metrics_agree_with_scikit_learn(name: str, expected: Reference) -> None:
    random = np.random.default_rng(1)
    truth = 1e6 + random.normal(size=300)
    said, weights = truth + random.normal(size=300), random.random(300)
    assert score(name, truth, said, weights) == pytest.approx(expected(truth, said, sample_weight=weights), rel=1e-6)


def test_every_figure_of_classes_has_its_reference() -> None:
    assert set(BINARY) == set(MANY) == {metric.name for metric in metrics_of("classification")} - {"calibration"}


def test_micro_averages_are_the_accuracy_so_they_need_no_names() -> None:
    y, proba, weights = drawn(400, 4)
    for measure in (reference.f1_score, reference.precision_score, reference.recall_score):
        found = measure(y, proba.argmax(axis=1), average="micro", sample_weight=weights)
        assert found == pytest.approx(score("accuracy", y, proba, weights))


def test_every_figure_is_defined_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    for name in METRICS:
        assert f"| `{name}` |" in page, f"{name} is missing in docs/evaluation.md"


def test_silhouette_agrees_with_scikit_learn_on_wine() -> None:
    from sklearn.datasets import load_wine

    points, cluster = load_wine(return_X_y=True)
    assert score("silhouette", points, cluster) == pytest.approx(reference.silhouette_score(points, cluster))


def test_calibration_is_one_less_the_equal_width_error() -> None:
    y, proba, _ = drawn(500, 3)
    assert score("calibration", y, proba) == pytest.approx(1 - expected_calibration_error(*top_label(proba, y)))


def test_the_debiased_error_of_many_weightings_is_the_plain_one_where_all_weigh_the_same() -> None:
    for rows in (1, 2, 7, 40, 1000):
        y, proba, _ = drawn(rows, 2, seed=rows)
        both = debiased_ece(y, proba, np.ones((2, rows)))
        assert both == pytest.approx([debiased_calibration_error(*top_label(proba, y))] * 2, abs=1e-12)


def test_f1_by_hand() -> None:
    y = [0, 0, 1, 1, 1]
    proba = [[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]
    assert score("f1", y, proba) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert score("precision", y, proba) == pytest.approx(2 / 3)
    assert score("recall", y, proba) == pytest.approx(2 / 3)


def test_a_tied_score_counts_half_in_auroc() -> None:
    assert score("auroc", [0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0.5
    assert score("auroc", [0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]]) == 0.75


def test_auprc_by_hand() -> None:
    falling = np.array([0.9, 0.8, 0.7, 0.6])
    proba = np.column_stack([1 - falling, falling])
    assert score("auprc", [1, 0, 1, 0], proba) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert score("auprc", [1, 0, 1, 0], np.full((4, 2), 0.5)) == 0.5  # guessing reaches the share of positives


def test_auprc_of_more_classes_is_averaged_over_those_with_rows() -> None:
    y, proba, _ = drawn(200, 3)
    seen = y < 2
    expected = np.mean([reference.average_precision_score(y[seen] == c, proba[seen, c]) for c in (0, 1)])
    assert score("auprc", y[seen], proba[seen]) == pytest.approx(expected)


def test_balanced_accuracy_counts_a_rare_class_as_much_as_a_frequent_one() -> None:
    y = np.array([0] * 9 + [1])
    proba = np.tile([0.9, 0.1], (10, 1))
    assert score("accuracy", y, proba) == 0.9
    assert score("balanced_accuracy", y, proba) == 0.5


def test_a_certain_and_wrong_prediction_has_a_finite_logloss() -> None:
    assert score("logloss", [1], [[1.0, 0.0]]) == pytest.approx(-math.log(np.finfo(float).eps))


def test_a_row_of_double_weight_counts_as_two_rows() -> None:
    y, proba, _ = drawn(60, 2)
    twice = np.r_[np.arange(60), np.arange(20)]
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    for metric in metrics_of("classification"):
        assert score(metric.name, y, proba, weights) == pytest.approx(score(metric.name, y[twice], proba[twice]))


def test_auroc_of_more_classes_is_averaged_over_those_with_rows() -> None:
    y, proba, _ = drawn(200, 3)
    seen = y < 2
    expected = np.mean([reference.roc_auc_score(y[seen] == c, proba[seen, c]) for c in (0, 1)])
    assert score("auroc", y[seen], proba[seen]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "truth", "said", "why"),
    [
        ("auroc", [1, 1], [[0.2, 0.8], [0.4, 0.6]], "one class"),
        ("auprc", [1, 1], [[0.2, 0.8], [0.4, 0.6]], "one class"),
        ("f1", [0, 0], [[0.2, 0.8], [0.4, 0.6]], "last class"),
        ("recall", [0, 0], [[0.2, 0.8], [0.4, 0.6]], "last class"),
        ("r2", [3.0, 3.0], [1.0, 2.0], "no variance"),
        ("silhouette", [[0.0], [1.0]], [0, 0], "1 clusters of 2 rows"),
    ],
)
def test_an_undefined_figure_is_refused_with_its_reason(name: str, truth: Any, said: Any, why: str) -> None:
    with pytest.raises(Incompatible, match=why):
        score(name, truth, said)


@pytest.mark.parametrize(
    ("name", "truth", "said", "weights", "says"),
    [
        ("acuracy", [0], [[1.0, 0.0]], None, "no metric 'acuracy'; there are: f1"),
        ("accuracy", [], np.empty((0, 2)), None, "no rows"),
        ("accuracy", [0, 1], [[1.0, 0.0]], None, "1 rows but y has 2"),
        ("accuracy", [2], [[1.0, 0.0]], None, "2 classes"),
        ("accuracy", ["a"], [[1.0, 0.0]], None, "positions"),
        ("accuracy", [0], [[math.nan, 1.0]], None, "finite"),
        ("accuracy", [0], [0.5], None, r"shape \(n, k\)"),
        ("accuracy", [0], [[1.0, 0.0]], [0.0], "above zero"),
        ("rmse", [1.0], [math.inf], None, "infinite"),
        ("rmse", [], [], None, "no rows"),
        ("mae", [1.0, 2.0], [1.0], None, "1 rows but y has 2"),
    ],
)
def test_input_that_does_not_fit_is_refused(name: str, truth: Any, said: Any, weights: Any, says: str) -> None:
    with pytest.raises(Incompatible, match=says):
        score(name, truth, said, weights)


def test_a_metric_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(Incompatible, match="'rmse' is not for classification"):
        metrics_of("classification", ["f1", "rmse"])
    with pytest.raises(Incompatible, match="task 'divination' has no metrics; these have: classification, clustering"):
        metrics_of("divination")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("task", get_args(Task))
def test_every_task_has_a_figure(task: Task) -> None:
    assert metrics_of(task)


def test_the_defaults_of_the_configuration_are_all_known() -> None:
    from mldl_ray.settings import MetricNames

    names = MetricNames()
    for task in ("classification", "regression", "clustering"):
        assert [metric.name for metric in metrics_of(task, getattr(names, task))] == list(getattr(names, task))


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """80 samples of an accuracy of 0.8: at 95% about 76 hold it, and fewer than 70 would be a one in 300 chance."""
    held = 0
    for seed in range(80):
        right = np.random.default_rng(seed).random(150) < 0.8
        y = np.arange(150) % 2
        interval = interval_of("accuracy", y, np.eye(2)[np.where(right, y, 1 - y)] * 0.8 + 0.1, seed)
        held += interval.low <= 0.8 <= interval.high
    assert held >= 70


def test_an_interval_is_as_wide_as_theory_says() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=3000)
    said = truth + random.normal(size=3000)
    interval = interval_of("mae", truth, said)
    expected = 2 * 1.96 * np.abs(truth - said).std() / math.sqrt(3000)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.2)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    y, proba, _ = drawn(300, 2)
    assert interval_of("f1", y, proba, seed=1) == interval_of("f1", y, proba, seed=1)
    assert interval_of("f1", y, proba, seed=1) != interval_of("f1", y, proba, seed=2)


@pytest.mark.parametrize("name", [metric.name for metric in metrics_of("classification")])
def test_every_interval_holds_its_figure_and_keeps_within_its_range(name: str) -> None:
    y, proba, _ = drawn(60, 2)
    interval = interval_of(name, y, proba)
    assert METRICS[name].low <= interval.low <= interval.value <= interval.high <= METRICS[name].high
    assert interval.low < interval.high


def test_a_perfect_score_on_few_rows_is_not_called_certain() -> None:
    y = np.repeat([0, 1], 15)
    interval = interval_of("accuracy", y, np.eye(2)[y] * 0.8 + 0.1)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.025 ** (1 / 15))  # Clopper-Pearson: x = n


def test_a_rare_class_never_vanishes_from_a_resample() -> None:
    draws = Resamples.draw(np.array([0] * 500 + [1] * 2), seed=0)
    assert (draws.counts[:, draws.kept >= 500].sum(axis=1) == 2).all()


def test_a_large_set_is_resampled_in_part_with_the_spread_of_the_whole() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=4 * MOST_ROWS)
    said = truth + random.normal(size=len(truth))
    interval = interval_of("mae", truth, said)
    expected = 2 * 1.96 * np.abs(truth - said).std() / math.sqrt(len(truth))
    assert interval.high - interval.low == pytest.approx(expected, rel=0.25)


def test_five_metrics_of_adult_size_with_intervals_take_less_than_three_seconds() -> None:
    y, proba, _ = drawn(6500, 2)
    began = time.process_time()
    for name in ("f1", "auroc", "logloss", "calibration", "accuracy"):
        interval_of(name, y, proba)
    assert time.process_time() - began < 3
