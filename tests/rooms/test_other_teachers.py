"""Whole jobs without a target: clusters, reductions, rows that are made, and policies that an environment teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from contracts.errors import Incompatible
from contracts.records import TrainedBundle
from contracts.specs import DataRef
from mldl_ray.adapters import load_adapter
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.blobs.tables import table_from_parquet
from mldl_ray.clock import SystemClock
from mldl_ray.serving_form import ServingModel
from mldl_ray.settings import Defaults
from mldl_ray.training.finish import Finished, Source
from mldl_ray.training.job import Ids, Planned, read_job, train
from mldl_ray.training.plan import Plan
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials


def digits(rows: int = 400) -> pa.Table:
    X, y = load_digits(return_X_y=True)
    columns = {f"p{i}": X[:rows, i] for i in range(X.shape[1])}
    return pa.table(columns | {"digit": y[:rows]})


def job(family: str, task: str, *, max_trials: int = 2, folds: int = 2, **hyperparams: Any) -> dict[str, Any]:
    return {
        "spec": {"model_key": "m", "family": family, "task": task, "hyperparams": hyperparams},
        "hpo": {"strategy": "random", "max_trials": max_trials},
        "cv": {"folds": folds},
    }


def run(plan: Planned) -> tuple[Finished, MemoryBlobs]:
    blobs, clock = MemoryBlobs(), SystemClock()
    finished, _ = train(plan, Source(), Ids("job-1", "eval-1"), trials=SerialTrials(clock), blobs=blobs, clock=clock)
    return finished, blobs


def on_rows(target: str | None = None, **spec: Any) -> tuple[Finished, MemoryBlobs]:
    ref = DataRef(uri="x", target=target, exclude=() if target else ("digit",))
    read = read_job(job(**spec))
    return run(Plan.of(read, TrainingRows.of(digits(), ref, read.spec.task), Defaults()))


def fetched(bundle: TrainedBundle, blobs: MemoryBlobs, folder: Path) -> Path:
    fetch_artifact(blobs, bundle.validation_hash, folder / "model")
    return folder / "model"


def test_clusters_are_searched_judged_stored_and_served(tmp_path: Path) -> None:
    finished, blobs = on_rows(family="kmeans", task="clustering")
    folder = fetched(finished.bundle, blobs, tmp_path)
    assert set(finished.evaluation.metrics) == {"silhouette"}
    rows = digits().drop_columns(["digit"])
    served = ServingModel.load(folder).predict(rows.slice(0, 50).to_pylist())
    assert served.predictions == load_adapter(folder).predict(rows.slice(0, 50)).tolist()
    assert served.probabilities is None
    assert table_from_parquet((folder / "reference.parquet").read_bytes()).num_rows == finished.evaluation.rows


def test_labels_judge_clusters_and_are_never_learned() -> None:
    finished, _ = on_rows(target="digit", family="kmeans", task="clustering")
    assert finished.evaluation.metrics["ari"] > 0.3
    assert "digit" not in {column["name"] for column in finished.bundle.input_schema["columns"]}


def test_a_reduction_is_searched_judged_stored_and_served(tmp_path: Path) -> None:
    finished, blobs = on_rows(family="pca", task="dimension_reduction")
    folder = fetched(finished.bundle, blobs, tmp_path)
    rows = digits().drop_columns(["digit"]).slice(0, 20)
    served = ServingModel.load(folder).predict(rows.to_pylist()).predictions
    assert np.allclose(served, load_adapter(folder).predict(rows))
    assert 0 < finished.evaluation.metrics["explained_variance"] <= 1


def test_a_generator_is_judged_and_stored_and_answers_nothing(tmp_path: Path) -> None:
    finished, blobs = on_rows(family="gan", task="generation", max_trials=1, epochs=5, width=16)
    folder = fetched(finished.bundle, blobs, tmp_path)
    assert set(finished.evaluation.metrics) == {"realism", "coverage"}
    assert finished.bundle.serving_form is None
    assert load_adapter(folder).sample(7).num_rows == 7  # type: ignore[attr-defined]


def test_a_policy_is_searched_judged_stored_and_served(tmp_path: Path) -> None:
    read = read_job(job("q_learning", "reinforcement", environment="FrozenLake-v1", episodes=1500))
    finished, blobs = run(PolicyPlan.of(read, Defaults()))
    assert finished.evaluation.rows == 100
    assert 0 < finished.evaluation.metrics["mean_return"] <= 1
    served = ServingModel.load(fetched(finished.bundle, blobs, tmp_path)).predict([{"observation": 0}])
    assert served.predictions[0] in {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"environment": "NoSuchLake-v1"}, "NoSuchLake-v1"),
        ({"environment": "os:system"}, "os:system"),
        ({}, "environment"),
        ({"environment": "CartPole-v1"}, "CartPole"),  # a table of states cannot hold what is a box of numbers
    ],
)
def test_a_policy_without_an_environment_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(Incompatible, match=said):
        PolicyPlan.of(read_job(job("q_learning", "reinforcement", **spec)), Defaults())


def test_a_policy_takes_no_data() -> None:
    with pytest.raises(Incompatible, match="environment teaches"):
        read_job(job("q_learning", "reinforcement", environment="FrozenLake-v1") | {"data": {"uri": "x.parquet"}})


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_target_is_missed_where_one_is_needed(task: str) -> None:
    with pytest.raises(Incompatible, match="target is missing"):
        read_job(job("xgb", task) | {"data": {"uri": "x.parquet"}})


def test_a_metric_of_another_task_is_refused() -> None:
    read = read_job(job("kmeans", "clustering") | {"hpo": {"metric": "auroc"}})
    rows = TrainingRows.of(digits(), DataRef(uri="x", exclude=("digit",)), "clustering")
    with pytest.raises(Incompatible, match="auroc"):
        Plan.of(read, rows, Defaults())
