"""The rows that an evaluation judges, in all forms that its figures take, and what it has found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.evaluations import Interval
from mldl_ray.adapters import target
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows, rows_of, said_of, truth_of
from mldl_ray.evaluation.fairness import Groups, named_groups
from mldl_ray.evaluation.metrics import Metric, value_of

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter

Doubles = npt.NDArray[np.float64]


class Judged(NamedTuple):
    """A model and the rows: as it takes them, as figures take them, and whose they are; none weighs nothing."""

    adapter: BaseModelAdapter
    table: pa.Table
    labels: npt.NDArray[Any]
    rows: Rows
    groups: dict[str, Groups]

    @classmethod
    def of(
        cls, adapter: BaseModelAdapter, table: Any, y: Any, weights: Any, sensitive: Mapping[str, Sequence[Any]]
    ) -> Self:
        """Ask the model about every row that weighs something.

        Raises:
            Incompatible: No rows, lengths that differ, labels the model does not know, or columns it does not take.
        """
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
        return cls(adapter, given, labels, rows_of(adapter.task, truth, said_of(adapter, given), mass), groups)

    @property
    def classifies(self) -> bool:
        """Say whether the rows have classes, and not values."""
        return self.adapter.task == "classification"

    def resamples(self, seed: int) -> Resamples:
        """Draw the resamples that all figures share, stratified by class."""
        return resamples_of(self.rows, seed)


class Found(NamedTuple):
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

    def measure(self, metric: Metric, rows: Rows, draws: Resamples) -> None:
        """Compute a figure with its interval, or say why these rows do not define it."""
        if why := metric.why_undefined(rows):
            self.left_out[metric.name] = why
            return
        self.metrics[metric.name] = value = value_of(metric, rows)
        self.bound(metric.name, draws.interval(value, drawn(metric, rows, draws), metric.low, metric.high))


def resamples_of(rows: Rows, seed: int) -> Resamples:
    """Draw resamples of rows, stratified by class where the truth is classes."""
    classes = rows.truth if rows.said.ndim == 2 else np.zeros(len(rows.mass))
    return Resamples.draw(classes, seed)


def drawn(metric: Metric, rows: Rows, draws: Resamples) -> Doubles:
    """Compute a figure of every draw."""
    return draws.figures(lambda kept, mass: metric.figure(rows.truth[kept], rows.said[kept], mass), rows.mass)
