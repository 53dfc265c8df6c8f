"""A whole evaluation: what it holds, what it leaves out and why, and how long it takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as reference

from contracts.errors import Incompatible
from contracts.evaluations import Evaluation
from mldl_ray.adapters import BaseModelAdapter, create_adapter
from mldl_ray.evaluation import Calibrator, Stable, against_stable, evaluate, noise_robustness, score
from mldl_ray.evaluation._reliability import FOUR

ADULT = Path(__file__).parents[2] / "examples" / "data" / "adult.parquet"
METRICS = ("f1", "auroc", "logloss", "calibration", "accuracy")


def judged(adapter: BaseModelAdapter, table: Any, y: Any, **more: Any) -> Evaluation:
    facts: dict[str, Any] = {
        "model_key": "m",
        "metrics": METRICS,
        "sensitive": {},
        "created_at": "",
        "evaluation_id": "",
    }
    return evaluate(adapter, table, y, **(facts | more))


def adult(rows: int) -> tuple[pa.Table, pa.ChunkedArray]:
    table = pq.read_table(ADULT)
    table = table.take(np.random.default_rng(5).permutation(table.num_rows)[:rows])
    return table.drop_columns(["income", "split", "fnlwgt"]), table["income"]


@pytest.fixture(scope="module")
def census() -> tuple[BaseModelAdapter, pa.Table, pa.ChunkedArray]:
    """A calibrated model of 3,000 rows, and 6,500 others to judge it by."""
    table, y = adult(10_500)
    adapter = create_adapter("lr", model_key="income").fit(table.slice(0, 3000), y.slice(0, 3000))
    scores = adapter.predict_proba(table.slice(3000, 1000))
    adapter.calibrator = Calibrator.fit(scores, y.slice(3000, 1000).to_numpy(), "isotonic")
    return adapter, table.slice(4000), y.slice(4000)


@pytest.fixture(scope="module")
def report(census: tuple[BaseModelAdapter, pa.Table, pa.ChunkedArray]) -> Evaluation:
    adapter, table, y = census
    sensitive = {"sex": table["sex"], "race": table["race"]}
    return judged(adapter, table, y, sensitive=sensitive, model_key="income", dataset_digest="sha256:ab")


def test_every_metric_asked_for_is_there_with_an_interval_that_holds_it(report: Evaluation) -> None:
    assert list(report.metrics) == list(METRICS)
    for name, value in report.metrics.items():
        interval = report.intervals[name]
        assert interval.value == value
        assert interval.low < value < interval.high
    assert report.rows == 6500
    assert report.left_out == {}


def test_metrics_agree_with_scikit_learn(
    report: Evaluation, census: tuple[BaseModelAdapter, pa.Table, pa.ChunkedArray]
) -> None:
    adapter, table, y = census
    proba = adapter.predict_proba(table)[:, 1]
    assert report.metrics["auroc"] == pytest.approx(reference.roc_auc_score(y.to_numpy(), proba))
    assert report.metrics["f1"] == pytest.approx(reference.f1_score(y.to_numpy(), adapter.predict(table)))
    assert report.metrics["logloss"] == pytest.approx(reference.log_loss(y.to_numpy(), proba))


def test_calibration_tells_the_error_before_and_after(report: Evaluation) -> None:
    found = report.calibration
    assert found.method == "isotonic"
    assert found.ece == pytest.approx(1 - report.metrics["calibration"])
    assert found.ece_uncalibrated is not None
    assert found.ece_uncalibrated != found.ece
    assert report.intervals["ece_debiased"].value == found.ece_debiased
    assert sum(entry.rows for entry in found.reliability) == report.rows


def test_calibration_is_measured_four_ways_with_intervals_for_the_top_label_and_each_class(report: Evaluation) -> None:
    found = report.calibration
    assert set(found.by_class) == {"0", "1"}
    assert found.top_label is not None
    assert (found.top_label.equal_width, found.top_label.equal_mass_debiased) == (found.ece, found.ece_debiased)
    for errors in (found.top_label, *found.by_class.values()):
        assert errors.equal_width_debiased < errors.equal_width
        assert set(errors.intervals) == set(FOUR)
        for name, interval in errors.intervals.items():
            assert 0 <= interval.low <= interval.value == getattr(errors, name) <= interval.high
    mirrored = [errors.equal_mass for errors in found.by_class.values()]
    assert mirrored[0] == pytest.approx(mirrored[1], abs=1e-3)


def test_of_very_many_classes_those_with_the_most_rows_are_measured() -> None:
    random = np.random.default_rng(0)
    y = np.r_[random.integers(0, 20, 400), np.arange(20, 25), np.arange(20, 25)]
    table = pa.table({"x": y + random.normal(size=len(y))})
    found = judged(create_adapter("lr").fit(table, y), table, y, metrics=("accuracy",))
    assert set(found.calibration.by_class) == {str(c) for c in range(20)}
    assert "of 25" in found.left_out["calibration by class"]


def test_the_method_that_auto_chose_is_told_with_what_it_was_compared_with() -> None:
    adapter, table, y = small()
    adapter.calibrator = Calibrator.fit(adapter.predict_proba(table), y, "auto")
    found = judged(adapter, table, y).calibration
    assert found.method in {"temperature", "platt"}
    assert found.compared == dict(adapter.calibrator.compared)


def test_fairness_sees_the_known_gap_between_men_and_women(report: Evaluation) -> None:
    sex = report.fairness.by_group["sex"]
    gap = sex["Male"]["selection_rate"] - sex["Female"]["selection_rate"]
    assert gap == pytest.approx(report.fairness.by_column["sex"]["selection_rate"])
    assert 0.1 < gap < 0.3
    assert report.fairness.delta == max(report.fairness.by_column[name]["selection_rate"] for name in ("sex", "race"))
    assert report.intervals["fairness_delta"].value == report.fairness.delta
    assert report.fairness.selected == "1"


def test_robustness_is_scored_by_the_first_metric(report: Evaluation) -> None:
    assert report.robustness.metric == "f1"
    assert report.robustness.clean == report.metrics["f1"]
    assert set(report.robustness.noise) == {"0.1", "0.25", "0.5"}


def test_an_evaluation_comes_back_from_json(report: Evaluation) -> None:
    assert Evaluation.model_validate_json(report.model_dump_json()) == report


def test_adult_size_takes_less_than_ten_seconds(census: tuple[BaseModelAdapter, pa.Table, pa.ChunkedArray]) -> None:
    adapter, table, y = census
    began = time.process_time()
    judged(adapter, table, y, sensitive={name: table[name] for name in ("sex", "race", "native_country")})
    assert time.process_time() - began < 10


def small(rows: int = 200, **columns: Any) -> tuple[BaseModelAdapter, pa.Table, np.ndarray]:
    random = np.random.default_rng(0)
    table = pa.table({"x": random.normal(size=rows), "z": random.normal(size=rows)} | columns)
    y = (table["x"].to_numpy() + random.normal(size=rows) > 0).astype(int)
    return create_adapter("lr").fit(table, y), table, y


def test_the_same_seed_gives_the_same_evaluation() -> None:
    adapter, table, y = small()
    assert judged(adapter, table, y, seed=3) == judged(adapter, table, y, seed=3)
    assert judged(adapter, table, y, seed=3) != judged(adapter, table, y, seed=4)


def test_rows_of_one_class_leave_auroc_out_with_the_reason_and_give_the_rest() -> None:
    adapter, table, y = small()
    one = np.flatnonzero(y == 1)
    found = judged(adapter, table.take(one), y[one], metrics=("auroc", "accuracy"))
    assert list(found.metrics) == ["accuracy"]
    assert "one class" in found.left_out["auroc"]
    assert found.robustness.metric == "accuracy"


def test_when_no_metric_is_defined_nothing_is_scored_and_the_reasons_stand() -> None:
    adapter, table, y = small()
    one = np.flatnonzero(y == 0)
    found = judged(adapter, table.take(one), y[one], metrics=("auroc", "f1"))
    assert found.metrics == {}
    assert set(found.left_out) >= {"auroc", "f1", "robustness"}


def test_a_single_row_is_judged_without_pretending_to_know() -> None:
    adapter, table, y = small()
    found = judged(adapter, table.slice(0, 1), y[:1], metrics=("accuracy", "logloss"))
    assert found.intervals["accuracy"].high - found.intervals["accuracy"].low > 0.9
    assert "logloss interval" in found.left_out
    assert "logloss" not in found.intervals


def test_without_names_every_metric_of_the_task_is_given() -> None:
    adapter, table, y = small()
    assert "brier" in judged(adapter, table, y, metrics=()).metrics


def test_rows_that_weigh_nothing_do_not_count() -> None:
    adapter, table, y = small()
    weights = np.where(np.arange(200) < 150, 1.0, 0.0)
    group = np.where(np.arange(200) % 2, "a", "b")
    part = judged(adapter, table.slice(0, 150), y[:150], sensitive={"g": group[:150]})
    weighted = judged(adapter, table, y, sensitive={"g": group}, weights=weights)
    assert weighted.rows == 150
    assert weighted.metrics == pytest.approx(part.metrics)
    assert weighted.fairness == part.fairness


def test_weights_reach_metrics_and_robustness() -> None:
    adapter, table, y = small()
    weights = np.random.default_rng(1).random(200) + 0.1
    found = judged(adapter, table, y, weights=weights)
    assert found.metrics["f1"] == pytest.approx(score("f1", y, adapter.predict_proba(table), weights))
    noisy = noise_robustness(adapter, table, y, "f1", weights=weights)
    assert found.robustness.model_copy(update={"adversarial": None}) == noisy


def test_an_uncalibrated_model_has_nothing_before_calibration() -> None:
    adapter, table, y = small()
    found = judged(adapter, table, y).calibration
    assert (found.method, found.ece_uncalibrated) == ("none", None)


def test_a_known_error_before_calibration_is_kept() -> None:
    adapter, table, y = small()
    assert judged(adapter, table, y, ece_uncalibrated=0.25).calibration.ece_uncalibrated == 0.25


def test_groups_too_small_to_compare_are_said() -> None:
    adapter, table, y = small()
    found = judged(adapter, table, y, sensitive={"g": ["a"] * 190 + ["b"] * 10})
    assert found.fairness.delta is None
    assert "b (10)" in found.left_out["fairness_delta"]


def test_a_model_that_selects_nobody_is_not_called_surely_fair_by_a_small_group() -> None:
    adapter, *_ = small(2000)
    lowest = pa.table({"x": np.full(2000, -9.0), "z": np.zeros(2000)})
    group = ["a"] * 1970 + ["b"] * 30
    found = judged(adapter, lowest, np.arange(2000) % 2, sensitive={"g": group})
    assert found.fairness.delta == 0
    assert found.intervals["fairness_delta"].high == pytest.approx(1 - 0.025 ** (1 / 30))  # Clopper-Pearson: x = 0


def test_the_stable_version_is_compared_with_on_the_same_rows() -> None:
    adapter, table, y = small(600)
    older = create_adapter("lr").fit(table.slice(0, 30), y[:30])
    weights = np.where(np.arange(600) % 3, 1.0, 0.0)
    found = judged(adapter, table, y, weights=weights, stable=Stable("1.0.0", older))
    expected = against_stable(adapter, older, table, y, metric="f1", weights=weights, version="1.0.0")
    assert found.against_stable == expected
    assert expected.candidate == found.metrics["f1"]
    assert judged(adapter, table, y).against_stable is None


def test_a_stable_version_that_cannot_be_compared_with_is_said() -> None:
    adapter, table, y = small()
    other = create_adapter("lr").fit(pa.table({"q": np.arange(200.0)}), y)
    found = judged(adapter, table, y, stable=Stable("1.0.0", other))
    assert found.against_stable is None
    assert "version 1.0.0 cannot be compared with: " in found.left_out["against_stable"]
    assert "'q' is missing" in found.left_out["against_stable"]


def test_labels_of_words_and_three_classes_are_judged() -> None:
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True)
    y = np.array(["low", "mid", "top"])[data.target]
    adapter = create_adapter("lr").fit(data.data[::2], y[::2])
    found = judged(adapter, data.data[1::2], y[1::2], sensitive={"half": np.arange(89) % 2})
    assert found.metrics["f1"] > 0.9
    assert found.fairness.selected == "top"


def test_regression_has_values_and_no_calibration() -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)
    adapter = create_adapter("xgb", task="regression", n_estimators=50, max_depth=3)
    adapter.fit(data.data[:300], data.target[:300])
    rest = data.data[300:]
    found = judged(adapter, rest, data.target[300:], metrics=("rmse", "mae", "r2"), sensitive={"sex": rest["sex"] > 0})
    said = adapter.predict(rest)
    assert found.metrics["rmse"] == pytest.approx(reference.root_mean_squared_error(data.target[300:], said))
    assert found.metrics["r2"] == pytest.approx(reference.r2_score(data.target[300:], said))
    assert found.calibration.ece is None
    assert found.fairness.delta == pytest.approx(found.intervals["fairness_delta"].value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"y": lambda y: y[1:]}, "200 rows but y has 199"),
        ({"y": lambda y: y + 1}, "does not know; its classes are: 0, 1"),
        ({"y": lambda y: [None, *y[1:]]}, "missing in 1 of 200 rows"),
        ({"table": lambda t: t.slice(0, 0)}, "no rows"),
        ({"table": lambda t: t.drop_columns(["x"])}, "'x' is missing"),
        ({"metrics": ("f1", "rmse")}, "'rmse' is not for classification"),
        ({"metrics": ("f2",)}, "no metric 'f2'"),
        ({"sensitive": {"sex": ["f"]}}, "sensitive column 'sex' has 1"),
        ({"weights": [1.0]}, "sample_weight has 1"),
        ({"weights": [-1.0] * 200}, "not negative"),
    ],
)
def test_input_that_does_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    adapter, table, y = small()
    given: dict[str, Any] = {"table": table, "y": y}
    for name, value in change.items():
        given[name] = value(given[name]) if callable(value) else value
    with pytest.raises(Incompatible, match=says):
        judged(adapter, given.pop("table"), given.pop("y"), **given)


@pytest.mark.parametrize("first", ["evaluate", "gate"])
def test_names_of_the_package_are_functions_whatever_was_imported_first(first: str) -> None:
    code = (
        f"import mldl_ray.evaluation.{first}; from mldl_ray.evaluation import {first} as a; "
        f"from mldl_ray.evaluation.{first} import {first} as b; assert a is b; assert callable(a)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_metric_names_loads_neither_scikit_learn_nor_fairlearn() -> None:
    code = (
        "import sys; from mldl_ray.evaluation import METRICS, evaluate, gate, card_html; "
        "assert not {'sklearn', 'fairlearn'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
