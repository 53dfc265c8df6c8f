"""From a table to the matrix that a model learns from: the part that no hyperparameter changes, fitted once per fold.

Three styles. ``scaled`` (linear and distance models, double precision): missing numbers take the median, numbers are
centred and scaled to unit deviation. ``plain`` (trees, single precision): numbers are left as they are and missing
stays NaN, because a scaled single-precision number can fall on the other side of a split. ``sequence`` (recurrent and
attention networks, single precision): one block per step, as many as the longest training series has, padded with NaN
at the end; of longer ones the latest steps are read. In a block: the series' values at that step, centred and scaled,
missing ones at their mean, 0; then the other columns as ``scaled`` has them, the same at each step. All: one column per
known category (none set for one never seen), and times are counted from the middle of the training rows, so that single
precision keeps their seconds. Columns without any value in training are left out.

It is data and arithmetic, no more, so that a server can repeat it value by value, bit for bit (``serving_form``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters.schema import Column, InputSchema
from mldl_ray.adapters.sequences import SeriesScale, steps_of
from mldl_ray.adapters.table import codes, numbers, to_table

Style = Literal["scaled", "plain", "sequence"]
Matrix = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]

_STYLES = ("scaled", "plain", "sequence")
_ORDER = ("numeric", "boolean", "datetime")


@dataclass(frozen=True, eq=False)
class Encoder:
    """Fitted preprocessing. Matrix columns: numbers, booleans, times, then one block per categorical column.

    With series those columns come once per step, after the series' own; ``series`` says how many steps there are.
    ``fill``, ``shift`` and ``scale`` have one entry per number column; ``centre``, the mean of each matrix column in
    training, is what an explanation compares a row with.
    """

    schema: InputSchema
    style: Style
    fill: Doubles
    shift: Doubles
    scale: Doubles
    centre: Doubles
    series: SeriesScale | None = None

    @classmethod
    def fit(cls, X: Any, style: Style) -> Self:
        """Learn fills, scales and categories from training rows.

        Raises:
            Incompatible: No rows, or no column with a value; series and a style that does not read them, or none and
                one that does.
        """
        table = to_table(X)
        if table.num_rows == 0:
            raise Incompatible("the data has no rows; there is nothing to learn from")
        schema = InputSchema.of(table)
        if all(column.empty for column in schema.columns):
            raise Incompatible("every feature column is empty: all values are missing")
        _check_series(schema, style)
        raw = [(column, numbers(column, table.column(column.name))) for column in _numbers_of(schema)]
        fitted = np.array([_centre_and_scale(column, values, style) for column, values in raw]).reshape(-1, 3)
        fill, shift, scale = fitted.T.copy()
        series = SeriesScale.fit(*steps_of(_series_of(schema), table)) if style == "sequence" else None
        bare = cls(schema, style, fill, shift, scale, np.zeros(0), series)
        centre = np.nan_to_num(np.nanmean(bare.transform(table), axis=0, dtype=np.float64))
        return cls(schema, style, fill, shift, scale, centre, series)

    @cached_property
    def numbers(self) -> tuple[Column, ...]:
        """List the columns that fill the left of the matrix, one each."""
        return _numbers_of(self.schema)

    @cached_property
    def sequences(self) -> tuple[Column, ...]:
        """List the columns that hold series, in the order of their values within a step."""
        return _series_of(self.schema)

    @cached_property
    def blocks(self) -> tuple[tuple[Column, int], ...]:
        """List the categorical columns, each with the first matrix column of its block."""
        found, offset = [], len(self.numbers)
        for column in self.schema.columns:
            if column.kind == "categorical" and not column.empty:
                found.append((column, offset))
                offset += block_width(column)
        return tuple(found)

    @cached_property
    def flat_width(self) -> int:
        """Count the matrix columns that are not of series."""
        return len(self.numbers) + sum(block_width(column) for column, _ in self.blocks)

    @property
    def step_width(self) -> int:
        """Count the matrix columns of one step."""
        return len(self.sequences) + self.flat_width

    @property
    def width(self) -> int:
        """Count the matrix columns."""
        return self.flat_width if self.series is None else self.series.steps * self.step_width

    @cached_property
    def owners(self) -> npt.NDArray[np.int64]:
        """Give, for each matrix column, the position of the input column that it comes from."""
        place = {name: i for i, name in enumerate(self.schema.names)}
        owners = [place[column.name] for column in self.numbers]
        for column, _ in self.blocks:
            owners += [place[column.name]] * block_width(column)
        if self.series is not None:
            owners = [*(place[column.name] for column in self.sequences), *owners] * self.series.steps
        return np.array(owners, dtype=np.int64)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Give the precision of the matrix."""
        return np.dtype(np.float64 if self.style == "scaled" else np.float32)

    def transform(self, X: Any) -> Matrix:
        """Encode rows.

        Returns:
            Shape ``(rows, width)``; float64 when scaled, else float32. NaN only when plain, and after a series' end.

        Raises:
            Incompatible: The columns are not those of the schema, or hold values of another kind.
        """
        table = to_table(X, self.schema.names)
        self.schema.check(table)
        left = np.empty((table.num_rows, len(self.numbers)))
        for i, column in enumerate(self.numbers):
            left[:, i] = numbers(column, table.column(column.name))
        matrix = self.blank(table.num_rows)
        matrix[:, : len(self.numbers)] = self.standardise(left)
        for column, offset in self.blocks:
            positions = codes(column, table.column(column.name))
            rows = np.flatnonzero(positions >= 0)
            matrix[rows, offset + positions[rows]] = 1
        return matrix if self.series is None else self.series.unroll(matrix, *steps_of(self.sequences, table))

    def blank(self, rows: int) -> Matrix:
        """Make the matrix of the columns that are not of series, all zero; shape ``(rows, flat_width)``."""
        return np.zeros((rows, self.flat_width), dtype=np.float64 if self.series is not None else self.dtype)

    def standardise(self, left: Doubles) -> Doubles:
        """Fill, centre and scale the number columns, in place; shape ``(rows, len(numbers))``."""
        if self.style != "plain":
            rows, columns = np.nonzero(np.isnan(left))
            left[rows, columns] = self.fill[columns]
        left -= self.shift
        left /= self.scale
        return left

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON values; doubles survive exactly."""
        document = {
            "style": self.style,
            "schema": self.schema.to_json(),
            "fill": [None if np.isnan(value) else value for value in self.fill.tolist()],
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "centre": self.centre.tolist(),
        }
        return document if self.series is None else document | {"series": self.series.to_json()}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            Broken: Fields are missing, or their lengths do not fit the schema.
        """
        try:
            schema = InputSchema.from_json(document["schema"])
            style = document["style"]
            fill = np.array([np.nan if value is None else value for value in document["fill"]], dtype=np.float64)
            shift, scale, centre = (np.array(document[k], dtype=np.float64) for k in ("shift", "scale", "centre"))
        except (KeyError, TypeError, ValueError) as error:
            raise Broken(f"the stored encoder is damaged: {type(error).__name__}: {error}") from error
        if style not in _STYLES:
            raise Broken(f"the stored encoder has style {style!r}; this release knows {', '.join(_STYLES)}")
        own = len(_series_of(schema))
        series = SeriesScale.from_json(document.get("series"), own) if style == "sequence" else None
        encoder = cls(schema, style, fill, shift, scale, centre, series)
        lengths = {len(fill), len(shift), len(scale)}
        finite = np.isfinite(shift).all() and np.isfinite(scale).all() and scale.all()
        if lengths != {len(encoder.numbers)} or not finite or (own and series is None):
            raise Broken("the stored encoder does not fit its schema")
        if len(centre) != encoder.width:
            raise Broken("the stored encoder does not fit its schema")
        return encoder


def block_width(column: Column) -> int:
    """Count the matrix columns of a categorical column: its known categories, and missing when training had it.

    >>> block_width(Column(name="c", kind="categorical", categories=("a", "b"), nullable=True))
    3
    """
    return len(column.categories) + column.nullable


def _numbers_of(schema: InputSchema) -> tuple[Column, ...]:
    return tuple(column for kind in _ORDER for column in schema.columns if column.kind == kind and not column.empty)


def _series_of(schema: InputSchema) -> tuple[Column, ...]:
    return tuple(column for column in schema.columns if column.kind == "sequence" and not column.empty)


def _check_series(schema: InputSchema, style: Style) -> None:
    names = [column.name for column in schema.columns if column.kind == "sequence"]
    if names and style != "sequence":
        raise Incompatible(
            f"column {names[0]!r} holds a series in each row, and this family takes one value per column; use lstm, "
            "rnn or transformer, or replace the series by figures about it",
            {"columns": names[:100]},
        )
    if style == "sequence" and not _series_of(schema):
        raise Incompatible(
            "this family learns from series, and no column holds any: give columns with a list of numbers in each row "
            "(mldl_ray.adapters.sequences.series_table makes them from one row per step), or use another family",
            {"columns": list(schema.names[:100])},
        )


def _centre_and_scale(column: Column, values: Doubles, style: Style) -> tuple[float, float, float]:
    """Give fill, shift and scale of one column, by the definitions of scikit-learn's imputer and standard scaler."""
    median = float(np.nanmedian(values))
    if style == "plain":
        return np.nan, float(np.floor(median)) if column.kind == "datetime" else 0.0, 1.0
    filled = np.where(np.isnan(values), median, values)
    mean, variance, n, eps = float(filled.mean()), float(filled.var()), len(filled), np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return median, mean, 1.0 if constant else float(np.sqrt(variance))


def table_of(schema: InputSchema, rows: list[list[Any]]) -> pa.Table:
    """Build a typed table from rows of Python values in column order; None is missing.

    Source of truth for what a record means: the table path that training took.

    >>> table_of(InputSchema.of(pa.table({"n": [1]})), [[None], [2**70]]).column("n").to_pylist()
    [None, 1.1805916207174113e+21]
    """
    types = {
        "numeric": pa.float64(),
        "boolean": pa.bool_(),
        "categorical": pa.string(),
        "datetime": pa.timestamp("us", "UTC"),
        "sequence": pa.list_(pa.float64()),
    }
    arrays = []
    for i, column in enumerate(schema.columns):
        values = [row[i] for row in rows]
        if column.empty:
            arrays.append(pa.nulls(len(rows)))
            continue
        if column.kind == "numeric":
            values = [None if value is None else float(value) for value in values]
        if column.kind == "sequence":
            values = [value and [None if step is None else float(step) for step in value] for value in values]
        arrays.append(pa.array(values, types[column.kind]))
    return pa.Table.from_arrays(arrays, names=list(schema.names))
