"""Series in a row: columns that hold a list of numbers, one per step, and the block of numbers that a model reads.

All series of a row have one length; rows differ in theirs. A missing series is missing at each step of its row, and a
row without any is one step of missing values. Not here: which columns there are (``schema``), what is beside the series
(``encoder``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters.schema import Column, kind_of
from mldl_ray.adapters.table import LARGEST, Floats

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

MOST_STEPS = 5_000
"""Steps that a model reads of a series at most, the latest ones; bounds the matrix, which is as wide as the longest."""
FARTHEST = 1_000.0
"""Scaled numbers are cut to ± this many deviations, so that single precision holds what a network makes of them."""


@dataclass(frozen=True, eq=False)
class SeriesScale:
    """How series become numbers: steps read, and the mean and deviation of each series column over all its values.

    >>> scale = SeriesScale.fit(np.array([[1.0], [3.0], [5.0]]), np.array([1, 2]))
    >>> scale.place(np.array([[1.0], [np.nan]]), np.array([2]))[0].tolist()
    [[-1.2247449159622192], [0.0]]
    """

    steps: int
    shift: Doubles
    scale: Doubles

    @classmethod
    def fit(cls, values: Doubles, lengths: Counts) -> Self:
        """Learn from all steps of the training rows, shape ``(steps of all rows, columns)``; NaN is missing."""
        moments = [_moments(column[~np.isnan(column)]) for column in values.T]
        shift, scale = np.array(moments, dtype=np.float64).T.copy()
        return cls(int(min(lengths.max(), MOST_STEPS)), shift, scale)

    def place(self, values: Doubles, lengths: Counts) -> Singles:
        """Scale steps and set them at the start of each row's block; what follows them is NaN.

        Args:
            values: All steps of all rows, one after the other, shape ``(lengths.sum(), columns)``; NaN is missing and
                takes the mean, 0.
            lengths: Steps of each row, at least 1. Of a longer series than ``steps`` the latest ``steps`` are kept.

        Returns:
            Shape ``(rows, steps, columns)``.
        """
        with np.errstate(over="ignore"):  # what is infinite in deviations is cut like the rest
            scaled = np.clip(np.nan_to_num((values - self.shift) / self.scale), -FARTHEST, FARTHEST)
        kept = np.minimum(lengths, self.steps)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        ends = np.repeat(np.cumsum(lengths), lengths)
        places = np.arange(len(values)) - ends + np.repeat(kept, lengths)
        block = np.full((len(lengths), self.steps, values.shape[1]), np.nan, dtype=np.float32)
        late = places >= 0
        block[rows[late], places[late]] = scaled[late]
        return block

    def unroll(self, flat: Floats, values: Doubles, lengths: Counts) -> Singles:
        """Place series, and beside each of their steps the row's other columns; see ``place``.

        Args:
            flat: The other columns, scaled, shape ``(rows, others)``.
            values: As ``place``.
            lengths: As ``place``.

        Returns:
            Shape ``(rows, steps × (columns + others))``.
        """
        block = self.place(values, lengths)
        if flat.shape[1]:
            beside = np.clip(flat, -FARTHEST, FARTHEST)[:, None, :] + 0 * block[:, :, :1]  # NaN where a step is padding
            block = np.concatenate([block, beside.astype(np.float32)], axis=2)
        return block.reshape(len(flat), -1)

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON values; doubles survive exactly."""
        return {"steps": self.steps, "shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, document: Any, columns: int) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            Broken: It is not that, or not for this number of series columns.
        """
        try:
            steps = int(document["steps"])
            shift, scale = (np.array(document[name], dtype=np.float64) for name in ("shift", "scale"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Broken(f"the stored scale of the series is damaged: {type(error).__name__}: {error}") from error
        fits = shift.shape == scale.shape == (columns,) and columns > 0 and 1 <= steps <= MOST_STEPS
        if not fits or not np.isfinite(shift).all() or not np.isfinite(scale).all() or not (scale > 0).all():
            raise Broken("the stored scale of the series does not fit its schema")
        return cls(steps, shift, scale)


def _moments(values: Doubles) -> tuple[float, float]:
    """Give mean and deviation; a column without spread, but for rounding, has deviation 1 (as ``encoder`` has it)."""
    mean, variance, n, eps = float(values.mean()), float(values.var()), len(values), np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return mean, 1.0 if constant else float(np.sqrt(variance))


def steps_of(columns: Sequence[Column], table: pa.Table) -> tuple[Doubles, Counts]:
    """Give all steps of all rows, one after the other, and how many each row has.

    Returns:
        Values of shape ``(lengths.sum(), columns)``, NaN where missing; lengths of at least 1.

    Raises:
        Incompatible: Series of one row differ in length, or a value is infinite; the message names row and column.

    >>> one = Column(name="a", kind="sequence")
    >>> steps_of([one], pa.table({"a": [[1.0, 2.0], None, [3.0]]}))
    (array([[ 1.],
           [ 2.],
           [nan],
           [ 3.]]), array([2, 1, 1]))
    """
    flat, counts = zip(*(_flat(column, table.column(column.name)) for column in columns), strict=True)
    lengths = row_lengths([column.name for column in columns], np.stack(counts, axis=1))
    values = np.full((int(lengths.sum()), len(columns)), np.nan)
    for i, (column, count) in enumerate(zip(flat, counts, strict=True)):
        values[np.repeat(count > 0, lengths), i] = column
    return values, lengths


def row_lengths(names: Sequence[str], counts: Counts) -> Counts:
    """Give each row's number of steps: that of its series, 1 when all are missing.

    Args:
        names: Of the series columns.
        counts: Steps of each series, shape ``(rows, columns)``; 0 when it is missing.

    Raises:
        Incompatible: Series of one row differ in length.

    >>> row_lengths(["a", "b"], np.array([[3, 3], [2, 0], [0, 0]]))
    array([3, 2, 1])
    """
    lengths: Counts = np.maximum(counts.max(axis=1), 1)
    odd = (counts > 0) & (counts != lengths[:, None])
    if odd.any():
        row, other = map(int, np.argwhere(odd)[0])
        longest = int(counts[row].argmax())
        raise Incompatible(
            f"row {row}: column {names[other]!r} has {counts[row, other]} steps and column {names[longest]!r} has "
            f"{lengths[row]}; all series of a row have one length (null for a step that is missing)",
            {"row": row, "column": names[other]},
        )
    return lengths


def _flat(column: Column, values: pa.ChunkedArray) -> tuple[Doubles, Counts]:
    """Give a column's values, one after the other, and the length of each row's series; 0 when there is none."""
    if pa.types.is_null(values.type):
        return np.zeros(0), np.zeros(len(values), dtype=np.int64)
    counts = pc.fill_null(pc.list_value_length(values), 0).cast(pa.int64()).to_numpy()
    flat = pc.list_flatten(values).cast(pa.float64(), safe=False)
    doubles = np.asarray(flat.to_numpy(), dtype=np.float64)
    if np.isinf(doubles).any():
        at = int(np.flatnonzero(np.isinf(doubles))[0])
        row = int(np.searchsorted(np.cumsum(counts), at, side="right"))
        raise Incompatible(
            f"column {column.name!r} is infinite in row {row}, step {at - int(counts[:row].sum())}; use a finite "
            "number, or null when it is missing",
            {"column": column.name, "row": row},
        )
    return np.clip(doubles, -LARGEST, LARGEST), counts


def series_table(
    table: pa.Table, series: str, step: str, features: Sequence[str], target: str | None = None, *,
    keep: Sequence[str] = (),
) -> pa.Table:  # fmt: skip
    """Turn a long table, one row per step, into one row per series with a list in each feature column.

    Args:
        table: One row per series and step.
        series: Column that says which series a row belongs to.
        step: Column that orders the rows of a series: a number or a time.
        features: Numeric columns that become lists.
        target: Column with the label or value of a series: the same in all its rows.
        keep: More such columns, to be features of the whole series or to split by. The series' own name is kept only
            when it is listed here: it is no feature.

    Returns:
        Columns: the features, then ``keep``, then the target; rows in the order of ``series``.

    Raises:
        Incompatible: A column is missing or not of that kind, a series has a step twice, or two targets.

    >>> long = pa.table({"id": [1, 1, 2], "t": [1, 0, 0], "x": [5.0, 4.0, 6.0], "y": ["a", "a", "b"]})
    >>> series_table(long, "id", "t", ["x"], "y").to_pylist()
    [{'x': [4.0, 5.0], 'y': 'a'}, {'x': [6.0], 'y': 'b'}]
    """
    constant = [*keep, *([target] if target is not None else [])]
    _check_long(table, series, step, features, constant)
    table = table.take(pc.sort_indices(table, sort_keys=[(series, "ascending"), (step, "ascending")])).combine_chunks()
    new = _changes(table, series)
    again = ~new & ~_changes(table, step)
    if again.any():
        at = int(np.flatnonzero(again)[0])
        raise Incompatible(f"series {table[series][at]} has {step} {table[step][at]} twice; keep one row per step")
    starts = np.flatnonzero(new)
    for name in constant:
        _check_constant(table, series, name, new)
    offsets = pa.array(np.append(starts, table.num_rows), pa.int32())
    lists = {name: pa.ListArray.from_arrays(offsets, _doubles(table[name])) for name in features}
    return pa.table(lists | {name: table[name].take(pa.array(starts)) for name in constant})


def _check_long(table: pa.Table, series: str, step: str, features: Sequence[str], constant: Sequence[str]) -> None:
    wanted = [series, step, *features, *constant]
    if missing := [name for name in wanted if name not in table.column_names]:
        raise Incompatible(f"the table has no column {missing[0]!r}; it has: {', '.join(table.column_names[:40])}")
    if not features or table.num_rows == 0:
        raise Incompatible("a table of series needs at least one row and one feature column")
    if twice := [name for name in [*features, *constant] if [*features, *constant].count(name) > 1]:
        raise Incompatible(f"column {twice[0]!r} is named twice; it can have one role only")
    for name in (series, step):
        if nulls := table[name].null_count:
            raise Incompatible(f"column {name!r} is missing in {nulls} rows; each row belongs to a series and a step")
    for name in features:
        if kind_of(name, table[name].type) not in ("numeric", "boolean"):
            raise Incompatible(f"column {name!r} has type {table[name].type}; the steps of a series are numbers")


def _check_constant(table: pa.Table, series: str, name: str, new: npt.NDArray[np.bool_]) -> None:
    if (inside := _changes(table, name) & ~new).any():
        at = int(np.flatnonzero(inside)[0])
        raise Incompatible(
            f"column {name!r} is {table[name][at - 1]} and {table[name][at]} in series {table[series][at]}; "
            "it must be one value per series"
        )


def _changes(table: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    """Say for each row whether it differs from the one before; the first does."""
    codes = table[name].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    return np.append(True, codes[1:] != codes[:-1])


def _doubles(column: pa.ChunkedArray) -> pa.Array:
    whole = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return pa.concat_arrays(whole.cast(pa.float64(), safe=False).chunks)
