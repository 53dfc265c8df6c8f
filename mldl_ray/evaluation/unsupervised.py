"""Judging models that learn without a target: clusters, reductions. Not here: their arithmetic (``_groupings``).

Distances are those of the model's own space (its ``points``), so figures compare models of one ``scale``. Rows that a
model calls noise, −1, are in no cluster: figures about clusters leave them out and say how many they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.evaluations import Evaluation, Interval
from mldl_ray.adapters import target
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows
from mldl_ray.evaluation._silhouette import SILHOUETTE_ROWS
from mldl_ray.evaluation.metrics import METRICS, Metric, metric_of, metrics_of, value_of
from mldl_ray.evaluation.picture import picture_of_answers

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter
    from mldl_ray.adapters.encoder import Matrix

Doubles = npt.NDArray[np.float64]

NOISE = -1
_SAMPLE = 4  # stream of the silhouette's rows, apart from those of the bootstrap and the disturbances


def evaluate_unsupervised(
    adapter: BaseModelAdapter,
    table: Any,
    *,
    labels: Any = None,
    model_key: str,
    version: str | None = None,
    dataset_digest: str | None = None,
    metrics: Sequence[str],
    seed: int = 0,
    created_at: str,
    evaluation_id: str,
) -> Evaluation:
    """Judge a fitted model on rows that it has not seen.

    Args:
        adapter: The model; clustering or dimension_reduction.
        table: Rows with the columns it takes.
        labels: Groups that somebody knows, one per row: clusters are compared with them (``ari``), whether that was
            asked for or not. The model never sees them.
        model_key: Whose model this is.
        version: Of it, once registered.
        dataset_digest: Of the data that the rows come from.
        metrics: Names of figures; all of the task's when none is given.
        seed: Of the bootstrap, and of the rows of a silhouette.
        created_at: When, ISO 8601.
        evaluation_id: Its name.

    Returns:
        Every figure that these rows define, with its interval. The others are in ``left_out`` with the reason.

    Raises:
        Incompatible: No rows, columns that the model does not take, an unknown metric, or a task with a target.
    """
    wanted = list(metrics_of(adapter.task, metrics))
    if labels is not None and adapter.task == "clustering" and METRICS["ari"] not in wanted:
        wanted.append(METRICS["ari"])
    given = to_table(table, adapter.schema.names)
    if given.num_rows == 0:
        raise Incompatible("there are no rows to judge; give at least one")
    view = _view(adapter, adapter.encoder.transform(given), labels, seed)
    found: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    left_out = dict(view.remarks)
    for metric in wanted:
        judged = view.rows(metric.name)
        if isinstance(judged, str):
            left_out[metric.name] = judged
            continue
        found[metric.name], interval = _bounded(metric, judged, seed)
        if interval is None:
            left_out[f"{metric.name} interval"] = "resamples of these rows do not define it or do not move it"
        else:
            intervals[metric.name] = interval
    picture, unexplained = picture_of_answers(adapter, given, seed)
    if unexplained is not None:
        left_out["influence"] = unexplained
    return Evaluation(
        evaluation_id=evaluation_id,
        model_key=model_key,
        version=version,
        dataset_digest=dataset_digest,
        rows=given.num_rows,
        metrics=found,
        intervals=intervals,
        picture=picture,
        created_at=created_at,
        left_out=left_out,
    )


def figure(adapter: BaseModelAdapter, M: Matrix, labels: Any, metric: str, *, seed: int = 0) -> float:
    """Judge a fitted model on encoded rows by one figure, as a search does.

    Args:
        adapter: The model; clustering or dimension_reduction.
        M: Encoded rows.
        labels: One per row, for ``ari``; None when there are none.
        metric: Of the task.
        seed: Of the rows of a silhouette.

    Raises:
        Incompatible: An unknown metric, or one that these rows leave undefined; the message says why.
    """
    (known,) = metrics_of(adapter.task, (metric_of(metric).name,))
    judged = _view(adapter, M, labels, seed).rows(metric)
    if isinstance(judged, str):
        raise Incompatible(f"{metric} is undefined: {judged}", {"metric": metric})
    return value_of(known, judged.rows)


class _Judged(NamedTuple):
    """Rows for one figure, and the strata that its resamples keep."""

    rows: Rows
    strata: npt.NDArray[Any]


class _View(NamedTuple):
    """How a model sees some rows: what each figure is computed from, or why it cannot be; and what should be said."""

    of: dict[str, Callable[[], _Judged | str]]
    remarks: dict[str, str]

    def rows(self, metric: str) -> _Judged | str:
        judged = self.of[metric]()
        if isinstance(judged, str):
            return judged
        return METRICS[metric].why_undefined(judged.rows) or judged


def _view(adapter: BaseModelAdapter, M: Matrix, labels: Any, seed: int) -> _View:
    points = _points(adapter, M)
    if adapter.task == "dimension_reduction":
        return _reduced(adapter, M, points)
    said = adapter.predict_matrix(M)
    kept, remarks = np.arange(len(said)), {}
    if NOISE in adapter.classes:
        kept = np.flatnonzero(said != NOISE)
        if noise := len(said) - len(kept):
            remarks["noise"] = (
                f"{noise} of {len(said)} rows are noise: in no cluster, so figures about clusters leave them out; "
                "ari takes noise as a group of its own"
            )
    points, said_kept = points[kept], said[kept]
    return _View(
        {
            "silhouette": lambda: _sampled(points, said_kept, seed),
            "davies_bouldin": lambda: _Judged(Rows(points, said_kept, np.ones(len(kept))), said_kept),
            "ari": lambda: _compared(labels, said),
        },
        remarks,
    )


def _points(adapter: BaseModelAdapter, M: Matrix) -> Doubles:
    """Ask a model for its space; one that has none gets the encoder's, with missing values at the training mean."""
    if hasattr(adapter, "points"):
        return np.asarray(adapter.points(M), dtype=np.float64)
    return np.asarray(np.where(np.isnan(M), adapter.encoder.centre, M), dtype=np.float64)


def _reduced(adapter: BaseModelAdapter, M: Matrix, points: Doubles) -> _View:
    def judged() -> _Judged | str:
        if not hasattr(adapter, "inverse"):
            return f"family {adapter.family} does not lead coordinates back to rows (it has no inverse)"
        again = _points(adapter, adapter.inverse(adapter.raw_matrix(M)))
        return _Judged(Rows(points, again, np.ones(len(points))), np.zeros(len(points)))

    return _View({"explained_variance": judged, "reconstruction_error": judged}, {})


def _compared(labels: Any, said: npt.NDArray[Any]) -> _Judged | str:
    if labels is None:
        return "there are no labels to compare the clusters with; name a target column"
    try:
        _, groups = target.to_classes(labels)
        target.same_length(len(said), len(groups), "labels")
    except Incompatible as error:
        return f"the labels are no groups: {error.message}"
    return _Judged(Rows(groups, said, np.ones(len(said))), np.zeros(len(said)))


def _sampled(points: Doubles, said: npt.NDArray[Any], seed: int) -> _Judged:
    """Draw at most ``SILHOUETTE_ROWS`` rows, from every cluster its share and two at least, and weigh them back."""
    if len(points) <= SILHOUETTE_ROWS:
        return _Judged(Rows(points, said, np.ones(len(points))), said)
    random, share = np.random.default_rng([seed, _SAMPLE]), SILHOUETTE_ROWS / len(points)
    drawn, mass = [], []
    for cluster in np.unique(said):
        members = np.flatnonzero(said == cluster)
        count = min(len(members), max(2, int(share * len(members))))
        drawn.append(np.sort(random.choice(members, count, replace=False)))
        mass.append(np.full(count, len(members) / count))
    kept = np.concatenate(drawn)
    return _Judged(Rows(points[kept], said[kept], np.concatenate(mass)), said[kept])


def _bounded(metric: Metric, judged: _Judged, seed: int) -> tuple[float, Interval | None]:
    rows, value = judged.rows, value_of(metric, judged.rows)
    draws = Resamples.draw(judged.strata, seed)

    def drawn(kept: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
        return metric.figure(rows.truth[kept], rows.said[kept], mass)

    return value, draws.interval(value, draws.figures(drawn, rows.mass), metric.low, metric.high)
