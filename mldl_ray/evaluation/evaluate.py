"""One model, one set of rows, every figure with its uncertainty. Not here: which rows judge, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable, Evaluation, Fairness, Picture, PredictionInterval, Robustness
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._judged import Found, Judged
from mldl_ray.evaluation._reliability import calibration_of
from mldl_ray.evaluation.adversarial import attack
from mldl_ray.evaluation.conformal import judged_interval
from mldl_ray.evaluation.fairness import LEAST_ROWS, delta_over, fairness_of, odds_over
from mldl_ray.evaluation.metrics import METRICS, metrics_of
from mldl_ray.evaluation.paired import Stable, paired, said_by_stable
from mldl_ray.evaluation.picture import picture_of
from mldl_ray.evaluation.robustness import noise_robustness

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter


def evaluate(
    adapter: BaseModelAdapter,
    table: Any,
    y: Any,
    *,
    model_key: str,
    version: str | None = None,
    dataset_digest: str | None = None,
    metrics: Sequence[str],
    sensitive: Mapping[str, Sequence[Any]],
    weights: Any = None,
    ece_uncalibrated: float | None = None,
    prediction_interval: PredictionInterval | None = None,
    stable: Stable | None = None,
    seed: int = 0,
    created_at: str,
    evaluation_id: str,
) -> Evaluation:
    """Judge a fitted model on rows that it has not seen.

    Args:
        adapter: The model; classification or regression.
        table: Rows with the columns it takes.
        y: One label or value per row.
        model_key: Whose model this is.
        version: Of it, once registered.
        dataset_digest: Of the data that the rows come from.
        metrics: Names of figures; all of the task's when none is given. The first one that is defined on these rows is
            what robustness is scored by, and what the stable version is compared by.
        sensitive: Column name → group of each row, for fairness; empty when nothing is sensitive.
        weights: One weight per row; rows that weigh nothing are left out.
        ece_uncalibrated: ECE before calibration, when known; otherwise measured here, on the same rows.
        prediction_interval: Learned from held-out answers (``conformal``); its coverage is measured here. Regression.
        stable: The version that serves, to be compared with on these rows.
        seed: Of the bootstrap and the disturbances.
        created_at: When, ISO 8601.
        evaluation_id: Its name.

    Returns:
        Every figure that these rows define. The others are in ``left_out`` with the reason. ``intervals`` has one entry
        per metric, and ``fairness_delta``, ``equalized_odds`` and ``ece_debiased``, which a gate looks at.

    Raises:
        Incompatible: No rows, lengths that differ, labels the model does not know, columns it does not take, an unknown
            metric, or a task that cannot be judged by held-out rows.
    """
    if adapter.task not in ("classification", "regression"):
        raise Incompatible(f"task {adapter.task!r} has no truth per row to judge by; evaluate knows classes and values")
    judged = Judged.of(adapter, table, y, weights, sensitive)
    draws, found = judged.resamples(seed), Found({}, {}, {})
    for metric in metrics_of(adapter.task, metrics):
        found.measure(metric, judged.rows, draws)
    calibration = calibration_of(judged, draws, found, ece_uncalibrated)
    fairness = _fairness(judged, draws, found)
    robustness = _robustness(judged, found, seed)
    interval = prediction_interval and judged_interval(prediction_interval, judged.rows, draws)
    against = _against(judged, stable, draws, found)
    picture = _picture(judged, found, seed)
    return Evaluation(
        evaluation_id=evaluation_id,
        model_key=model_key,
        version=version,
        dataset_digest=dataset_digest,
        rows=len(judged.rows.mass),
        metrics=found.metrics,
        intervals=found.intervals,
        calibration=calibration,
        fairness=fairness,
        robustness=robustness,
        picture=picture,
        prediction_interval=interval,
        against_stable=against,
        created_at=created_at,
        left_out=found.left_out,
    )


def _fairness(judged: Judged, draws: Resamples, found: Found) -> Fairness:
    if not judged.groups:
        return Fairness()
    names = [str(label) for label in judged.adapter.classes] if judged.classifies else []
    fairness = fairness_of(judged.rows, judged.groups, selected=names[-1] if names else None, classes=names)
    if fairness.delta is None:
        found.left_out["fairness_delta"] = "no sensitive column can be compared: " + "; ".join(
            f"{name}: {why}" for name, why in fairness.left_out.items()
        )
        return fairness
    delta = delta_over(judged.rows, judged.groups, fairness.groups)
    drawn = draws.figures(delta, judged.rows.mass)
    fewest = min(group["rows"] for name in fairness.groups for group in fairness.by_group[name].values())
    high = 1 if judged.classifies else np.inf
    found.bound("fairness_delta", draws.interval(fairness.delta, drawn, 0, high, fewest=fewest))
    if fairness.equalized_odds is not None:
        drawn = draws.figures(odds_over(judged.rows, judged.groups, fairness.groups), judged.rows.mass)
        found.bound("equalized_odds", draws.interval(fairness.equalized_odds, drawn, 0, 1, fewest=LEAST_ROWS))
    return fairness


def _robustness(judged: Judged, found: Found, seed: int) -> Robustness:
    if not found.metrics:
        found.left_out["robustness"] = "no metric is defined on these rows to score it by"
        return Robustness()
    by, rows = next(iter(found.metrics)), judged.rows
    robustness = noise_robustness(judged.adapter, judged.table, judged.labels, by, seed=seed, weights=rows.mass)
    if robustness.noise_sensitivity is None:
        found.left_out["noise_sensitivity"] = "the model takes no numeric column that noise could be added to"
    attacked = attack(
        judged.adapter, judged.table, judged.labels, sensitive=judged.groups, weights=rows.mass, seed=seed
    )
    return robustness.model_copy(update={"adversarial": attacked})


def _picture(judged: Judged, found: Found, seed: int) -> Picture:
    picture, unexplained = picture_of(judged.adapter, judged.table, judged.rows, seed)
    if unexplained is not None:
        found.left_out["influence"] = unexplained
    return picture


def _against(judged: Judged, stable: Stable | None, draws: Resamples, found: Found) -> AgainstStable | None:
    """Compare with the stable version; where that cannot be done the reason is kept, and a gate that asks fails."""
    if stable is None:
        return None
    try:
        if not found.metrics:
            raise Incompatible("no metric is defined on these rows to compare by")
        said = said_by_stable(judged.adapter, stable.adapter, judged.table)
        return paired(judged.rows, said, METRICS[next(iter(found.metrics))], draws, stable.version)
    except Incompatible as error:
        found.left_out["against_stable"] = f"version {stable.version} cannot be compared with: {error.message}"
        return None
