"""Saves a pipeline as an MLflow model. Runs in MLflow's own environment, which has nothing of ours.

``build/peers/mlflow/bin/python -m bench.peers.mlflow_model lr data.parquet folder``
"""

from __future__ import annotations

import sys

import mlflow.sklearn  # type: ignore[import-not-found]  # it is in the other environment only

from bench.peers.pipelines import fitted

TRUSTED = ["numpy.dtype", "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"]
"""MLflow's format is skops, which wants to be told."""

if __name__ == "__main__":
    _, workload, file, folder = sys.argv
    mlflow.sklearn.save_model(fitted(workload, file), folder, skops_trusted_types=TRUSTED)
