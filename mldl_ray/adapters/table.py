"""From what callers hold (Arrow, pandas, numpy) to one Arrow table, and from its columns to plain numbers and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Incompatible
from mldl_ray.adapters.schema import Column, plain

Floats = npt.NDArray[np.floating[Any]]

LARGEST = float(np.finfo(np.float32).max)
"""Numbers are cut to ± this, so that models in single and in double precision see the same."""


def to_table(X: Any, names: Sequence[str] | None = None) -> pa.Table:
    """Turn a table of any common kind into Arrow.

    Args:
        X: ``pa.Table``, ``pa.RecordBatch``, pandas frame, or anything that numpy reads as rows × columns.
        names: Column names for an array, which has none; ``x0, x1, …`` when absent.

    Raises:
        Incompatible: Not two-dimensional, mixed types within a column, or a width other than ``names`` has.

    >>> to_table([[1, 2], [3, 4]]).column_names
    ['x0', 'x1']
    """
    if isinstance(X, pa.Table):
        return X
    if isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    return _from_pandas(X if isinstance(X, pd.DataFrame) else _frame(X, names))


def _frame(X: Any, names: Sequence[str] | None) -> pd.DataFrame:
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise Incompatible(f"the rows do not form a table: {error}") from error
    if array.ndim != 2:
        raise Incompatible(
            f"expected rows × columns, got {type(X).__name__} with {array.ndim} dimension(s); "
            "give a 2-D array, a pandas frame or an Arrow table"
        )
    if names is not None and array.shape[1] != len(names):
        raise Incompatible(f"expected {len(names)} columns ({', '.join(names[:10])}…), got {array.shape[1]}")
    frame = pd.DataFrame(array, columns=list(names or (f"x{i}" for i in range(array.shape[1]))))
    return frame.infer_objects() if array.dtype == object else frame


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise Incompatible(f"column {twice!r} is there twice; rename or drop one")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise Incompatible(f"a column mixes types or has one that Arrow lacks: {error}") from error


def numbers(column: Column, values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Give a numeric, boolean or datetime column as doubles, NaN where missing.

    Booleans become 0 and 1, times become seconds since 1970 (times without a zone are taken as UTC).

    Raises:
        Incompatible: An infinite value, or a boolean column with a number other than 0 and 1.

    >>> numbers(Column(name="ok", kind="boolean"), pa.chunked_array([[True, None]]))
    array([ 1., nan])
    """
    values = plain(values)
    if column.kind == "datetime" and not pa.types.is_null(values.type):
        microseconds = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _doubles(microseconds) / 1e6
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    result = _doubles(values)
    if np.isinf(result).any():
        row = int(np.flatnonzero(np.isinf(result))[0])
        raise Incompatible(
            f"column {column.name!r} is infinite in row {row}; use a finite number, or leave it missing",
            {"column": column.name, "row": row},
        )
    if column.kind == "boolean" and not np.isin(result[~np.isnan(result)], (0.0, 1.0)).all():
        raise Incompatible(f"column {column.name!r} is boolean; it has numbers other than 0 and 1")
    return np.clip(result, -LARGEST, LARGEST)


def _doubles(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    doubles = values.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(doubles, dtype=np.float64)


def codes(column: Column, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Give a categorical column as positions among its known categories.

    Missing is one more category, the last, when training had it; otherwise it is −1, as is a value never seen.

    >>> codes(Column(name="c", kind="categorical", categories=("a", "b")), pa.chunked_array([["b", "?", None]]))
    array([ 1, -1, -1])
    """
    text = plain(values).cast(pa.string())
    known = pc.index_in(text, value_set=pa.array(column.categories, pa.string()))
    positions = np.array(pc.fill_null(known, -1).to_numpy(), dtype=np.int64)
    if column.nullable:
        positions[pc.is_null(text).to_numpy()] = len(column.categories)
    return positions
