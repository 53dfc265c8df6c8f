"""The figures that a model is judged by: their names, what they need, and when they are undefined.

Their arithmetic is in ``_figures``, their uncertainty in ``_bootstrap``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import Task
from mldl_ray.evaluation import _figures, _groupings, _silhouette
from mldl_ray.evaluation._rows import Rows, rows_of

Figure = Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Metric:
    """One figure: what it is for, which way is better, and between what it lies."""

    name: str
    task: Task
    figure: Figure
    higher_is_better: bool = True
    needs_proba: bool = False  # the probabilities themselves count, not only which is the largest
    low: float = 0.0
    high: float = np.inf
    why_undefined: Callable[[Rows], str | None] = lambda _: None


def _one_class(rows: Rows) -> str | None:
    found = np.unique(rows.truth)
    return f"all judged rows are of one class (position {found[0]}); two are needed" if len(found) < 2 else None


def _no_positive(rows: Rows) -> str | None:
    if rows.said.shape[1] > 2 or (rows.truth == 1).any():
        return None
    return "no judged row is of the last class, the one that it is about"


def _constant(rows: Rows) -> str | None:
    return "the target has one value in all judged rows, so there is no variance" if np.ptp(rows.truth) == 0 else None


def _clusters(rows: Rows) -> str | None:
    if rows.truth.ndim != 2:
        return f"it needs points of shape (n, d), got {rows.truth.shape}"
    found = len(np.unique(rows.said))
    return (
        None if 2 <= found < len(rows.said) else f"{found} clusters of {len(rows.said)} rows; 2 to rows − 1 are needed"
    )


def _groups(rows: Rows) -> str | None:
    if rows.truth.ndim != 1:
        return "it needs one label per row to compare the clusters with"
    return "all judged rows have one label; two are needed" if len(np.unique(rows.truth)) < 2 else None


def _still(rows: Rows) -> str | None:
    return None if np.ptp(rows.truth, axis=0).any() else "no column varies in the judged rows; there is no variance"


def _all() -> tuple[Metric, ...]:
    c: Task = "classification"
    r: Task = "regression"
    k: Task = "clustering"
    d: Task = "dimension_reduction"
    return (
        Metric("f1", c, _figures.f1, high=1, why_undefined=_no_positive),
        Metric("auroc", c, _figures.auroc, high=1, needs_proba=True, why_undefined=_one_class),
        Metric("auprc", c, _figures.auprc, high=1, needs_proba=True, why_undefined=_one_class),
        Metric("logloss", c, _figures.logloss, higher_is_better=False, needs_proba=True),
        Metric("precision", c, _figures.precision, high=1),
        Metric("recall", c, _figures.recall, high=1, why_undefined=_no_positive),
        Metric("accuracy", c, _figures.accuracy, high=1),
        Metric("balanced_accuracy", c, _figures.balanced_accuracy, high=1),
        Metric("f1_macro", c, _figures.f1_macro, high=1),
        Metric("f1_weighted", c, _figures.f1_weighted, high=1),
        Metric("brier", c, _figures.brier, higher_is_better=False, needs_proba=True, high=2),
        Metric("calibration", c, _figures.calibration, high=1, needs_proba=True),
        Metric("rmse", r, _figures.rmse, higher_is_better=False),
        Metric("mae", r, _figures.mae, higher_is_better=False),
        Metric("r2", r, _figures.r2, low=-np.inf, high=1, why_undefined=_constant),
        Metric("silhouette", k, _silhouette.silhouette, low=-1, high=1, why_undefined=_clusters),
        Metric("davies_bouldin", k, _groupings.davies_bouldin, higher_is_better=False, why_undefined=_clusters),
        Metric("ari", k, _groupings.adjusted_rand, low=-0.5, high=1, why_undefined=_groups),
        Metric("explained_variance", d, _groupings.explained_variance, low=-np.inf, high=1, why_undefined=_still),
        Metric("reconstruction_error", d, _groupings.reconstruction_error, higher_is_better=False),
        Metric("realism", "generation", _groupings.realism, high=1),
        Metric("coverage", "generation", _groupings.coverage, high=1),
        Metric("mean_return", "reinforcement", _groupings.mean, low=-np.inf),
    )


METRICS: dict[str, Metric] = {metric.name: metric for metric in _all()}
"""Every metric by name. f1, precision, recall, auroc and auprc are of the last of two classes, and averaged over more
(macro); docs/evaluation.md defines each."""


def metric_of(name: str) -> Metric:
    """Give a metric.

    Raises:
        Incompatible: Nothing has that name.
    """
    if name not in METRICS:
        raise Incompatible(f"there is no metric {name!r}; there are: {', '.join(METRICS)}", {"metric": name})
    return METRICS[name]


def metrics_of(task: Task, names: Sequence[str] = ()) -> tuple[Metric, ...]:
    """Give the metrics of a task by name, all of them when none is named.

    Raises:
        Incompatible: An unknown name, or a metric of another task.

    >>> [metric.name for metric in metrics_of("regression")]
    ['rmse', 'mae', 'r2']
    """
    own = tuple(metric for metric in METRICS.values() if metric.task == task)
    if not own:
        tasks = ", ".join(sorted({metric.task for metric in METRICS.values()}))
        raise Incompatible(f"task {task!r} has no metrics; these have: {tasks}")
    for name in names:
        if metric_of(name) not in own:
            fitting = ", ".join(metric.name for metric in own)
            raise Incompatible(f"metric {name!r} is not for {task}; these are: {fitting}", {"metric": name})
    return tuple(METRICS[name] for name in dict.fromkeys(names)) or own


def score(metric: str, truth: Any, said: Any, weights: Any = None) -> float:
    """Judge predictions by one figure.

    Args:
        metric: A name in ``METRICS``.
        truth: Class positions ``0..k-1``; values for regression; points ``(n, d)`` for clustering (labels for ``ari``)
            and for reductions.
        said: Probabilities ``(n, k)``; values for regression; the cluster of each point; the points led back.
        weights: One weight per row, not negative.

    Raises:
        Incompatible: An unknown metric, no rows, lengths that differ, values of another kind, or a figure that these
            rows leave undefined (``auroc`` of one class); the message says why.

    >>> score("accuracy", [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], weights=[1, 1, 2])
    0.5
    >>> score("mae", [1.0, 2.0], [1.0, 4.0])
    1.0
    """
    known = metric_of(metric)
    rows = rows_of(known.task, truth, said, weights)
    if why := known.why_undefined(rows):
        raise Incompatible(f"{metric} is undefined: {why}", {"metric": metric})
    return value_of(known, rows)


def value_of(metric: Metric, rows: Rows) -> float:
    """Compute a figure that is defined on these rows."""
    return float(metric.figure(rows.truth, rows.said, rows.mass[None])[0])
