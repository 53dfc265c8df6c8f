"""The rows of a job: features, target, and what the other columns are for. Every refusal of data is said here.

Not here: how rows are split (``splits``), and how features become numbers (``adapters``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Incompatible
from contracts.specs import DataRef, Task
from mldl_ray.adapters.base import UNSUPERVISED
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.adapters.table import to_table
from mldl_ray.adapters.target import same_length, to_classes, to_values, to_vector, to_weights

if TYPE_CHECKING:
    from mldl_ray.features.view import Transformer

Vector = npt.NDArray[Any]
NO_GROUP = "missing"


@dataclass(frozen=True, eq=False)
class Asked:
    """What callers send, row by row, where a feature view makes the features of it."""

    inputs: pa.Table
    view: Transformer
    schema: InputSchema  # of all rows


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows that are fit to learn from; ``of`` and ``of_arrays`` make them.

    ``y`` holds what the model answers: labels, or values as doubles. ``positions`` are the labels' places among
    ``classes`` (None for regression). ``times`` are comparable, one per row. Unsupervised tasks have no target: ``y``
    holds labels that only judge when the data names a target (``labelled``), else zeros. ``asked`` is there where a
    feature view made the features.
    """

    features: pa.Table
    y: Vector
    task: Task
    classes: tuple[Any, ...] = ()
    positions: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float64] | None = None
    sensitive: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Vector | None = None
    times: Vector | None = None
    labelled: bool = True
    asked: Asked | None = None

    @classmethod
    def of(cls, table: pa.Table, ref: DataRef, task: Task, *, default_sensitive: Sequence[str] = ()) -> Self:
        """Take a table apart by the roles of its columns.

        Sensitive columns stay features unless excluded. The target, the weights, the group and the time are features
        only when ``ref.features`` names them, and the target never is.

        Args:
            table: All columns.
            ref: Their roles.
            task: Whether the target is classes or values.
            default_sensitive: Columns that fairness looks at when they are there and ``ref`` names none.

        Raises:
            Incompatible: A column that is not there, no rows, no features, features without any value, a target that
                is missing in some rows or cannot be learned, weights or times that are none.
        """
        if table.num_rows == 0:
            raise Incompatible("the data has no rows; there is nothing to learn from")
        if ref.target is None and task not in UNSUPERVISED:
            raise Incompatible("target is missing: name the column to predict", {"field": "target"})
        _known(table, ref)
        sensitive = ref.sensitive or tuple(name for name in default_sensitive if name in table.column_names)
        return cls.of_arrays(
            table.select(_features(table, ref)),
            None if ref.target is None else table.column(ref.target),
            task,
            target=ref.target or "y",
            weights=_weights(table, ref.weight_column),
            sensitive={name: _groups_of(table.column(name)) for name in sensitive},
            groups=_plain(table, ref.group_column),
            times=_times(table, ref.time_column),
        )

    @classmethod
    def of_arrays(
        cls,
        X: Any,
        y: Any,  # None: there is none, as unsupervised tasks may have it
        task: Task,
        *,
        target: str = "y",
        weights: Any = None,
        sensitive: Mapping[str, tuple[str, ...]] | None = None,
        groups: Vector | None = None,
        times: Vector | None = None,
    ) -> Self:
        """Take features and a target that are apart already.

        Raises:
            Incompatible: As ``of``; lengths that differ.
        """
        features = to_table(X)
        if features.num_rows == 0:
            raise Incompatible("the data has no rows; there is nothing to learn from")
        if all(column.empty for column in InputSchema.of(features).columns):
            raise Incompatible("every feature column is empty: all values are missing")
        vector = np.zeros(features.num_rows) if y is None else to_vector(y, f"target {target}")
        same_length(features.num_rows, len(vector), "y")
        classes, positions = to_classes(vector) if task == "classification" else ([], None)
        return cls(
            features=features,
            y=vector if positions is None else np.array(classes)[positions],
            task=task,
            classes=tuple(classes),
            positions=positions,
            weights=to_weights(weights, features.num_rows),
            sensitive=sensitive or {},
            groups=groups,
            times=times,
            labelled=y is not None,
        )._with_values()

    def _with_values(self) -> Self:
        if self.task != "regression":
            return self
        return type(self)(**{**self.__dict__, "y": to_values(self.y)})

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """Give some of the rows, in the order asked for; the classes stay those of all rows."""
        return type(self)(
            features=self.features.take(pa.array(rows)),
            y=self.y[rows],
            task=self.task,
            classes=self.classes,
            positions=_at(self.positions, rows),
            weights=_at(self.weights, rows),
            sensitive={name: tuple(groups[i] for i in rows.tolist()) for name, groups in self.sensitive.items()},
            groups=_at(self.groups, rows),
            times=_at(self.times, rows),
            labelled=self.labelled,
            asked=self.asked and replace(self.asked, inputs=self.asked.inputs.take(pa.array(rows))),
        )


def _at(vector: Vector | None, rows: npt.NDArray[np.int64]) -> Vector | None:
    return None if vector is None else vector[rows]


def _known(table: pa.Table, ref: DataRef) -> None:
    single = {"target": ref.target, "time_column": ref.time_column, "group_column": ref.group_column}
    single |= {"weight_column": ref.weight_column}
    several = {"sensitive": ref.sensitive, "features": ref.features or (), "exclude": ref.exclude}
    wanted = [(role, (name,)) for role, name in single.items() if name is not None] + list(several.items())
    for role, names in wanted:
        for name in names:
            if name not in table.column_names:
                raise Incompatible(
                    f"{role} names column {name!r}, which the data lacks; it has: {_listed(table.column_names)}",
                    {"field": role, "column": name, "columns": table.column_names[:100]},
                )


def _features(table: pa.Table, ref: DataRef) -> list[str]:
    never = {ref.target, *ref.exclude}
    if ref.features is None:
        never |= {ref.time_column, ref.group_column, ref.weight_column}
    chosen = [name for name in (ref.features or table.column_names) if name not in never]
    if not chosen:
        raise Incompatible(
            f"no feature columns are left: of {_listed(table.column_names)} every one has another role or is excluded"
        )
    return chosen


def _plain(table: pa.Table, name: str | None) -> Vector | None:
    return None if name is None else to_vector(table.column(name), f"column {name}")


def _weights(table: pa.Table, name: str | None) -> Vector | None:
    weights = _plain(table, name)
    if weights is not None and weights.dtype.kind not in "biuf":
        raise Incompatible(
            f"weight_column {name!r} is not numeric ({weights.dtype}); give numbers that are not negative"
        )
    return weights


def _times(table: pa.Table, name: str | None) -> Vector | None:
    """Give something that sorts in time: moments, dates, or numbers that rise."""
    if name is None:
        return None
    column = table.column(name)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise Incompatible(
            f"time_column {name!r} has type {column.type}; give a date, a timestamp, or a number that rises with time",
            {"column": name, "type": str(column.type)},
        )
    return to_vector(column, f"time_column {name}")


def _groups_of(column: pa.ChunkedArray) -> tuple[str, ...]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return tuple(pc.fill_null(column.cast(pa.string()), NO_GROUP).to_pylist())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
