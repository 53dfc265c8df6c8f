"""One model, one set of rows, every figure with its uncertainty. Not here: which rows judge, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.records import Calibration, Evaluation, Fairness, Interval, ReliabilityBin, Robustness
from mldl_ray.adapters import target
from mldl_ray.adapters.links import probabilities
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation import _figures
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows, rows_of, said_of, truth_of
from mldl_ray.evaluation.calibration import BINS, top_label
from mldl_ray.evaluation.fairness import Groups, delta_over, fairness_of, named_groups
from mldl_ray.evaluation.metrics import METRICS, Metric, metrics_of, value_of
from mldl_ray.evaluation.robustness import noise_robustness

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter

Doubles = npt.NDArray[np.float64]


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
            what robustness is scored by.
        sensitive: Column name → group of each row, for fairness; empty when nothing is sensitive.
        weights: One weight per row; rows that weigh nothing are left out.
        ece_uncalibrated: ECE before calibration, when known; otherwise measured here, on the same rows.
        seed: Of the bootstrap and the disturbances.
        created_at: When, ISO 8601.
        evaluation_id: Its name.

    Returns:
        Every figure that these rows define. The others are in ``left_out`` with the reason. ``intervals`` has one entry
        per metric, and ``fairness_delta`` and ``ece_debiased``, which a gate looks at.

    Raises:
        Incompatible: No rows, lengths that differ, labels the model does not know, columns it does not take, an unknown
            metric, or a task that cannot be judged by held-out rows.
    """
    if adapter.task not in ("classification", "regression"):
        raise Incompatible(f"task {adapter.task!r} has no truth per row to judge by; evaluate knows classes and values")
    wanted = metrics_of(adapter.task, metrics)
    judged = _judged(adapter, table, y, weights, sensitive)
    rows = judged.rows
    draws = Resamples.draw(rows.truth if adapter.task == "classification" else np.zeros(len(rows.mass)), seed)
    found = _Found({}, {}, {})
    for metric in wanted:
        _measure(metric, rows, draws, found)
    calibration = _calibration(adapter, judged, draws, found, ece_uncalibrated)
    fairness = _fairness(adapter, judged, draws, found)
    robustness = _robustness(adapter, judged, found, seed)
    return Evaluation(
        evaluation_id=evaluation_id,
        model_key=model_key,
        version=version,
        dataset_digest=dataset_digest,
        rows=len(rows.mass),
        metrics=found.metrics,
        intervals=found.intervals,
        calibration=calibration,
        fairness=fairness,
        robustness=robustness,
        created_at=created_at,
        left_out=found.left_out,
    )


class _Judged(NamedTuple):
    """The rows in all their forms: as the model takes them, as figures take them, and whose they are."""

    table: pa.Table
    labels: npt.NDArray[Any]
    rows: Rows
    groups: dict[str, Groups]


class _Found(NamedTuple):
    """What is known so far, filled figure by figure."""

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    left_out: dict[str, str]

    def bound(self, name: str, interval: Interval | None) -> None:
        """Keep an interval, or say that there is none."""
        if interval is None:
            self.left_out[f"{name} interval"] = (
                "resamples of these rows do not define it or do not move it, so nothing bounds it"
            )
        else:
            self.intervals[name] = interval


def _judged(
    adapter: BaseModelAdapter, table: Any, y: Any, weights: Any, sensitive: Mapping[str, Sequence[Any]]
) -> _Judged:
    given = to_table(table, adapter.schema.names)
    if given.num_rows == 0:
        raise Incompatible("there are no rows to judge; give at least one")
    labels, mass = target.to_vector(y), target.to_weights(weights, given.num_rows)
    truth = truth_of(adapter, labels, given.num_rows)
    groups = named_groups(sensitive, given.num_rows, pairs=False)
    if mass is not None and not mass.all():
        heavy = np.flatnonzero(mass)
        given, labels, truth, mass = given.take(heavy), labels[heavy], truth[heavy], mass[heavy]
        groups = {name: group[heavy] for name, group in groups.items()}
    return _Judged(given, labels, rows_of(adapter.task, truth, said_of(adapter, given), mass), groups)


def _measure(metric: Metric, rows: Rows, draws: Resamples, found: _Found) -> None:
    if why := metric.why_undefined(rows):
        found.left_out[metric.name] = why
        return

    def figure(kept: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
        return metric.figure(rows.truth[kept], rows.said[kept], mass)

    value = value_of(metric, rows)
    found.metrics[metric.name] = value
    drawn = draws.figures(figure, rows.mass)
    found.bound(metric.name, draws.interval(value, drawn, metric.low, metric.high))


def _calibration(
    adapter: BaseModelAdapter, judged: _Judged, draws: Resamples, found: _Found, uncalibrated: float | None
) -> Calibration:
    """Measure confidence against accuracy; the debiased error is bounded too: a gate must not trust the plain one."""
    if adapter.task != "classification":
        return Calibration()
    rows = judged.rows
    mass = rows.mass * (len(rows.mass) / rows.mass.sum())  # on average a row: sampling bias is about how many there are

    def debiased(kept: npt.NDArray[np.int64], drawn: Doubles) -> Doubles:
        return _figures.debiased_ece(rows.truth[kept], rows.said[kept], drawn)

    error = float(debiased(np.arange(len(mass)), mass[None])[0])
    found.bound("ece_debiased", draws.interval(error, draws.figures(debiased, mass), 0, 1))
    if uncalibrated is None and adapter.calibrator is not None:
        raw = adapter.raw_matrix(adapter.encoder.transform(judged.table))
        uncalibrated = _ece(rows._replace(said=probabilities(raw, adapter.link)))
    return Calibration(
        ece=_ece(rows),
        method="none" if adapter.calibrator is None else adapter.calibrator.method,
        ece_debiased=error,
        ece_uncalibrated=uncalibrated,
        reliability=_reliability(rows),
    )


def _ece(rows: Rows) -> float:
    return max(0.0, 1.0 - value_of(METRICS["calibration"], rows))


def _reliability(rows: Rows) -> tuple[ReliabilityBin, ...]:
    confidence, hit = top_label(rows.said, rows.truth)
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    mass = np.bincount(place, weights=rows.mass, minlength=BINS)
    stated = np.bincount(place, weights=rows.mass * confidence, minlength=BINS)
    right = np.bincount(place, weights=rows.mass * hit, minlength=BINS)
    counts = np.bincount(place, minlength=BINS)
    return tuple(
        ReliabilityBin(confidence=stated[b] / mass[b], accuracy=right[b] / mass[b], rows=int(counts[b]))
        for b in np.flatnonzero(counts)
    )


def _fairness(adapter: BaseModelAdapter, judged: _Judged, draws: Resamples, found: _Found) -> Fairness:
    if not judged.groups:
        return Fairness()
    last = str(adapter.classes[-1]) if adapter.task == "classification" else None
    fairness = fairness_of(judged.rows, judged.groups, selected=last)
    if fairness.delta is None:
        found.left_out["fairness_delta"] = "no sensitive column can be compared: " + "; ".join(
            f"{name}: {why}" for name, why in fairness.left_out.items()
        )
        return fairness
    delta = delta_over(judged.rows, judged.groups, fairness.groups)
    high = 1 if adapter.task == "classification" else np.inf
    drawn = draws.figures(delta, judged.rows.mass)
    fewest = min(group["rows"] for name in fairness.groups for group in fairness.by_group[name].values())
    found.bound("fairness_delta", draws.interval(fairness.delta, drawn, 0, high, fewest=fewest))
    return fairness


def _robustness(adapter: BaseModelAdapter, judged: _Judged, found: _Found, seed: int) -> Robustness:
    if not found.metrics:
        found.left_out["robustness"] = "no metric is defined on these rows to score it by"
        return Robustness()
    by, rows = next(iter(found.metrics)), judged.rows
    robustness = noise_robustness(adapter, judged.table, judged.labels, by, seed=seed, weights=rows.mass)
    if robustness.noise_sensitivity is None:
        found.left_out["noise_sensitivity"] = "the model takes no numeric column that noise could be added to"
    return robustness
