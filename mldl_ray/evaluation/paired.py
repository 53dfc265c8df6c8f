"""A model against the stable version, row by row: the same resamples for both, so that what they share cancels out.

Not here: what difference is tolerable (``gate``). Rows that only the stable version has learned from speak for it, so a
comparison on data that it was trained on errs on its side.

Source:
    The paired bootstrap: Efron & Tibshirani (1993), chapter 8; Koehn (EMNLP 2004) for comparing two systems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation._bootstrap import LEVEL, Doubles, Resamples, unseen
from mldl_ray.evaluation._judged import drawn, resamples_of
from mldl_ray.evaluation._rows import Rows, rows_of, said_of, truth_of
from mldl_ray.evaluation.metrics import Metric, metric_of, metrics_of, value_of

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter


class Stable(NamedTuple):
    """The version that serves, loaded."""

    version: str
    adapter: BaseModelAdapter


def against_stable(
    candidate: BaseModelAdapter,
    stable: BaseModelAdapter,
    table: Any,
    y: Any,
    *,
    metric: str,
    weights: Any = None,
    seed: int = 0,
    version: str | None = None,
) -> AgainstStable:
    """Judge two models on the same rows and bound the difference.

    Args:
        candidate: The newer model.
        stable: The one that serves.
        table: Rows that neither has learned, with the columns of both; each gets its own.
        y: One label or value per row.
        metric: What they are compared by.
        weights: One weight per row.
        seed: Of the bootstrap.
        version: Of the stable one.

    Raises:
        Incompatible: They answer different questions (another task, other classes), rows or labels do not fit one of
            them, or the difference is undefined on these rows.
    """
    metrics_of(candidate.task, (metric,))
    given = to_table(table, candidate.schema.names)
    truth = truth_of(candidate, y, given.num_rows)
    mine, theirs = said_of(candidate, columns_of(candidate, given)), said_by_stable(candidate, stable, given)
    return compare_with_stable(mine, theirs, truth, metric, weights, seed, version=version)


def compare_with_stable(
    candidate: Any,
    stable: Any,
    truth: Any,
    metric: str,
    weights: Any = None,
    seed: int = 0,
    *,
    version: str | None = None,
) -> AgainstStable:
    """Bound the difference between what two models said about the same rows.

    Args:
        candidate: Probabilities ``(n, k)``, or values, as ``metrics.score`` takes them.
        stable: Of the same shape.
        truth: Class positions, or values.
        metric: A name in ``METRICS``.
        weights: One weight per row, not negative.
        seed: Of the bootstrap.
        version: Of the stable model.

    Returns:
        ``difference`` above 0 means that the candidate is better, whichever way the metric points.

    Raises:
        Incompatible: As ``metrics.score``, of either; or nothing bounds the difference.

    >>> found = compare_with_stable([1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0], "mae")
    >>> found.candidate, found.stable, found.difference
    (0.25, 0.75, 0.5)
    """
    known = metric_of(metric)
    rows = rows_of(known.task, truth, candidate, weights)
    other = rows_of(known.task, truth, stable, weights)
    if rows.said.shape != other.said.shape:
        raise Incompatible(f"the two models' answers have shapes {rows.said.shape} and {other.said.shape}")
    return paired(rows, other.said, known, resamples_of(rows, seed), version)


def paired(rows: Rows, stable: Any, metric: Metric, draws: Resamples, version: str | None) -> AgainstStable:
    """Compare on rows that are judged already; ``stable`` is what the stable version said about them.

    Raises:
        Incompatible: The metric is undefined on these rows, or nothing bounds the difference.
    """
    other = rows._replace(said=stable)
    if why := metric.why_undefined(rows) or metric.why_undefined(other):
        raise Incompatible(f"{metric.name} is undefined: {why}", {"metric": metric.name})
    mine, theirs = value_of(metric, rows), value_of(metric, other)
    sign = 1 if metric.higher_is_better else -1
    moved = sign * (drawn(metric, rows, draws) - drawn(metric, other, draws))
    low, high = _bounds(rows, other, sign * (mine - theirs), moved, metric, draws)
    return AgainstStable(
        version=version,
        metric=metric.name,
        candidate=mine,
        stable=theirs,
        difference=sign * (mine - theirs),
        low=low,
        high=high,
        level=LEVEL,
        rows=len(rows.mass),
    )


def said_by_stable(candidate: BaseModelAdapter, stable: BaseModelAdapter, table: pa.Table) -> Doubles:
    """Ask the stable version about rows; its answers are of the candidate's kind.

    Raises:
        Incompatible: They answer different questions, or the rows lack columns that the stable version takes.
    """
    if (candidate.task, candidate.classes) != (stable.task, stable.classes):
        raise Incompatible(
            f"the stable version answers another question ({stable.task}, classes {stable.classes[:20]}) than this one "
            f"({candidate.task}, classes {candidate.classes[:20]}), so no figure compares them"
        )
    return said_of(stable, columns_of(stable, table))


def columns_of(adapter: BaseModelAdapter, table: pa.Table) -> pa.Table:
    """Give the columns that a model takes; it names those that are missing."""
    return table.select([name for name in adapter.schema.names if name in table.column_names])


def _bounds(
    rows: Rows, other: Rows, difference: float, moved: Doubles, metric: Metric, draws: Resamples
) -> tuple[float, float]:
    span = metric.high - metric.low
    interval = draws.interval(difference, moved, -span, span)
    if interval is not None:
        return interval.low, interval.high
    if np.array_equal(rows.said, other.said):
        return 0.0, 0.0  # the same answers: no row could tell them apart
    if not np.isfinite(span):
        raise Incompatible(f"no resample of these {len(rows.mass)} rows moves the difference, so nothing bounds it")
    slack = span * unseen(draws.smallest)
    return max(-span, difference - slack), min(span, difference + slack)
