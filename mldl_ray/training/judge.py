"""Judging a model on rows, whatever its task. Not here: the figures (``evaluation``), and which rows judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from contracts.evaluations import Evaluation, PredictionInterval
from contracts.specs import Json
from mldl_ray.adapters.base import UNSUPERVISED, BaseModelAdapter
from mldl_ray.evaluation import Stable, evaluate
from mldl_ray.evaluation.generation import Generator, evaluate_generated
from mldl_ray.evaluation.unsupervised import evaluate_unsupervised
from mldl_ray.training.rows import TrainingRows


@dataclass(frozen=True)
class About:
    """What an evaluation says of itself: its name, when it was made, of which model, on which data."""

    evaluation_id: str
    created_at: str  # ISO 8601
    model_key: str
    version: str | None = None
    dataset_digest: str | None = None
    seed: int = 0
    stable: Stable | None = None  # the version that serves, to be compared with


def judge(
    model: BaseModelAdapter,
    rows: TrainingRows,
    metrics: Sequence[str],
    about: About,
    interval: PredictionInterval | None = None,
) -> Evaluation:
    """Judge a model on rows that it has not seen; ``interval`` was learned with it and is judged with it.

    Raises:
        Incompatible: Rows or figures that do not fit the model.
    """
    features = rows.features.select(list(model.schema.names))
    told: Json = {
        "model_key": about.model_key,
        "version": about.version,
        "dataset_digest": about.dataset_digest,
        "metrics": metrics,
        "seed": about.seed,
        "created_at": about.created_at,
        "evaluation_id": about.evaluation_id,
    }
    if model.task == "generation":
        return evaluate_generated(cast("Generator", model), features, **told)
    if model.task in UNSUPERVISED:
        return evaluate_unsupervised(model, features, labels=rows.y if rows.labelled else None, **told)
    return evaluate(
        model,
        features,
        rows.y,
        sensitive=rows.sensitive,
        weights=rows.weights,
        prediction_interval=interval,
        stable=about.stable,
        **told,
    )
