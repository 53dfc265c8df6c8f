"""Judging a model on rows, whatever its task. Not here: the figures (``evaluation``), and which rows judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.records import Evaluation
from mldl_ray.adapters.base import UNSUPERVISED, BaseModelAdapter
from mldl_ray.evaluation import evaluate
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


def judge(model: BaseModelAdapter, rows: TrainingRows, metrics: Sequence[str], about: About) -> Evaluation:
    """Judge a model on rows that it has not seen.

    Raises:
        Incompatible: Rows or figures that do not fit the model.
    """
    features = rows.features.select(list(model.schema.names))
    if model.task in UNSUPERVISED:
        from mldl_ray.evaluation.unsupervised import evaluate_unsupervised  # noqa: PLC0415

        return evaluate_unsupervised(
            model,
            features,
            labels=rows.y if rows.labelled else None,
            model_key=about.model_key,
            version=about.version,
            dataset_digest=about.dataset_digest,
            metrics=metrics,
            seed=about.seed,
            created_at=about.created_at,
            evaluation_id=about.evaluation_id,
        )
    return evaluate(
        model,
        features,
        rows.y,
        model_key=about.model_key,
        version=about.version,
        dataset_digest=about.dataset_digest,
        metrics=metrics,
        sensitive=rows.sensitive,
        weights=rows.weights,
        seed=about.seed,
        created_at=about.created_at,
        evaluation_id=about.evaluation_id,
    )
