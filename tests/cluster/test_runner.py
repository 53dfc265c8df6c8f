"""``TrainingJobRunner`` on the cluster that this process is connected to."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import ray
from sklearn.datasets import load_diabetes, load_wine

from contracts.errors import Incompatible
from contracts.records import TrainedBundle, TrialRecord
from mldl_ray import TrainingJobRunner
from mldl_ray.blobs import open_blobs
from mldl_ray.blobs.artifact import read_manifest
from mldl_ray.settings import Settings

SPEC = {"spec": {"model_key": "lr_model", "family": "lr", "task": "classification"}}


def run(runner: TrainingJobRunner, job: object, **rows: object) -> TrainedBundle:
    return asyncio.run(runner.run(job, **rows))  # type: ignore[arg-type]


def test_the_published_example_trains_on_the_built_in_table_and_says_so(
    ray_cluster: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[TrialRecord] = []
    runner = TrainingJobRunner(settings=ray_cluster, on_trial=heard.append)
    with caplog.at_level(logging.WARNING, "mldl_ray.runner"):
        bundle = run(runner, SPEC | {"hpo": {"strategy": "bayes", "max_trials": 5}})
    assert "sklearn-breast-cancer" in caplog.text
    assert bundle.lineage.dataset_id == "sklearn-breast-cancer"
    assert bundle.version is None
    assert bundle.metrics["auroc"] > 0.95
    assert len(heard) == 5
    assert "card.html" in read_manifest(open_blobs(ray_cluster.artifact_uri), bundle.validation_hash)["files"]
    assert ray.is_initialized()


def test_rows_that_are_handed_over_are_what_is_learned(ray_cluster: Settings) -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    spec = {"model_key": "d", "family": "xgb", "task": "regression", "hyperparams": {"n_estimators": 50}}
    job = {"spec": spec, "hpo": {"strategy": "random", "max_trials": 2}}
    bundle = run(TrainingJobRunner(X, y, settings=ray_cluster), job)
    assert bundle.metrics.keys() == {"rmse", "mae", "r2"}
    assert [column["name"] for column in bundle.input_schema["columns"]] == list(X.columns)
    assert bundle.lineage.dataset_digest is not None
    X, y = load_wine(return_X_y=True, as_frame=True)
    job = SPEC | {"hpo": {"strategy": "grid", "max_trials": 2}}
    assert run(TrainingJobRunner(settings=ray_cluster), job, X=X, y=y).metrics["f1"] > 0.9


def test_a_file_can_be_named_too(ray_cluster: Settings, breast_cancer: Path) -> None:
    data = {"uri": str(breast_cancer), "target": "target"}
    job = SPEC | {"data": data, "hpo": {"strategy": "random", "max_trials": 1}}
    assert run(TrainingJobRunner(settings=ray_cluster), job).lineage.dataset_id == "breast_cancer"


def test_what_cannot_be_meant_is_refused(ray_cluster: Settings) -> None:
    runner = TrainingJobRunner(settings=ray_cluster)
    with pytest.raises(Incompatible, match=r"hpo\.max_trial: there is no such field"):
        run(runner, SPEC | {"hpo": {"max_trial": 5}})
    with pytest.raises(Incompatible, match="y is missing"):
        run(runner, SPEC, X=[[1.0]])
    with pytest.raises(Incompatible, match="give one of them"):
        run(runner, SPEC | {"data": {"uri": "x.csv", "target": "y"}}, X=[[1.0]], y=[1])
