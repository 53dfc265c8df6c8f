"""The scikit-learn pipelines that every peer serves, fitted from the same file as our version. Nothing of ours here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TARGETS = {"lr": "target", "adult": "income"}
XGB: dict[str, Any] = {
    "n_estimators": 200,
    "max_depth": 6,
    "learning_rate": 0.1,
    "min_child_weight": 1.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
}
"""Our version is trained with the same settings; one thread, the fastest for one row."""


def fitted(workload: str, file: str) -> Pipeline:
    """Fit the pipeline of a workload.

    Args:
        workload: ``lr`` (rows of numbers) or ``adult`` (records with strings).
        file: Parquet with the features and the target.
    """
    frame = pd.read_parquet(file)
    features, target = frame.drop(columns=TARGETS[workload]), frame[TARGETS[workload]]
    if workload == "lr":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features.to_numpy(), target)
    return _adult(features).fit(features, target)


def answer(pipeline: Pipeline, inputs: Any) -> dict[str, Any]:
    """Answer rows with a label and the probabilities, from one pass through the pipeline."""
    probabilities = pipeline.predict_proba(inputs)
    predictions = pipeline.classes_[probabilities.argmax(axis=1)]
    return {"predictions": predictions.tolist(), "probabilities": probabilities.tolist()}


def frame_of(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make the frame that a pipeline of named columns takes."""
    return pd.DataFrame(records)


def _adult(features: pd.DataFrame) -> Pipeline:
    from xgboost import XGBClassifier  # noqa: PLC0415  # slow to load, and the other workload does without

    numbers = features.select_dtypes("number").columns.tolist()
    strings = [name for name in features.columns if name not in numbers]
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            (
                "strings",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                strings,
            ),
        ]
    )
    return make_pipeline(columns, XGBClassifier(**XGB, n_jobs=1))
