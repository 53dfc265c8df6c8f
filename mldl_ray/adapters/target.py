"""What a model learns to predict, checked and made plain: class labels as codes, values as doubles, row weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from contracts.errors import Incompatible

Label = str | int | bool

MOST_CLASSES = 1000


def to_vector(y: Any, what: str = "target") -> npt.NDArray[Any]:
    """Turn labels or values of any common kind into one numpy vector without missing values.

    Raises:
        Incompatible: Not one-dimensional, or values are missing.
    """
    if isinstance(y, pa.Array | pa.ChunkedArray):
        y = y.to_pandas()
    vector = np.asarray(y)
    if vector.ndim == 2 and vector.shape[1] == 1:
        vector = vector[:, 0]
    if vector.ndim != 1:
        raise Incompatible(f"the {what} must be one value per row, got shape {vector.shape}")
    missing = int(pd.isna(vector).sum())
    if missing:
        raise Incompatible(
            f"the {what} is missing in {'all' if missing == len(vector) else missing} of {len(vector)} rows; "
            "drop the rows without it",
            {"missing": missing, "rows": len(vector)},
        )
    return vector


def to_classes(y: Any) -> tuple[list[Label], npt.NDArray[np.int64]]:
    """List the classes in order, and give each row's position among them.

    Whole floats are taken as integers, because missing values elsewhere make pandas store integers so.

    Raises:
        Incompatible: Missing labels, labels that are not classes, fewer than two classes, or very many.

    >>> to_classes(["no", "yes", "no"])
    (['no', 'yes'], array([0, 1, 0]))
    """
    vector = to_vector(y)
    if vector.dtype.kind == "f":
        if not np.isfinite(vector).all() or (vector != np.floor(vector)).any():
            raise Incompatible(
                "the target has fractional values, which are no classes; use task 'regression', or bin them"
            )
        vector = vector.astype(np.int64)
    if vector.dtype.kind not in "biuUO":
        raise Incompatible(f"the target has type {vector.dtype}; classes are strings, integers or booleans")
    try:
        classes, positions = np.unique(vector, return_inverse=True)
    except TypeError as error:
        raise Incompatible(f"the target mixes types: {error}; use one type for all classes") from error
    labels: list[Label] = classes.tolist()
    if not all(isinstance(label, str | int) for label in labels):
        raise Incompatible(f"the target has {type(labels[0]).__name__} labels; use strings, integers or booleans")
    if len(labels) > MOST_CLASSES:
        raise Incompatible(
            f"the target has {len(labels)} different values, more than {MOST_CLASSES} classes; "
            "use task 'regression', or another target",
            {"classes": len(labels)},
        )
    if len(labels) < 2:
        raise Incompatible(
            f"the target has one class only ({labels[0]!r} in all {len(vector)} rows); two are needed to learn from",
            {"classes": labels},
        )
    return labels, positions


def to_values(y: Any) -> npt.NDArray[np.float64]:
    """Give a numeric target as doubles.

    Raises:
        Incompatible: Missing, infinite or non-numeric values.
    """
    vector = to_vector(y)
    try:
        values = vector.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise Incompatible(f"the target is not numeric: {error}; use task 'classification' for labels") from error
    if not np.isfinite(values).all():
        raise Incompatible("the target has infinite values; drop those rows")
    return values


def to_weights(weights: Any, rows: int) -> npt.NDArray[np.float64] | None:
    """Check row weights.

    Raises:
        Incompatible: Not one per row, missing, negative or infinite, or all zero.

    >>> to_weights([1, 3], 2)
    array([1., 3.])
    """
    if weights is None:
        return None
    try:
        vector = to_vector(weights, "sample_weight").astype(np.float64)
    except (TypeError, ValueError) as error:
        raise Incompatible(f"sample_weight is not numeric: {error}") from error
    same_length(rows, len(vector), "sample_weight")
    if not np.isfinite(vector).all() or (vector < 0).any() or not vector.any():
        raise Incompatible("sample_weight must be finite and not negative, with at least one above zero")
    return vector


def same_length(rows: int, found: int, what: str) -> None:
    """Refuse a vector that does not have one entry per row.

    Raises:
        Incompatible: The lengths differ.
    """
    if rows != found:
        raise Incompatible(f"X has {rows} rows but {what} has {found}", {"rows": rows, what: found})
