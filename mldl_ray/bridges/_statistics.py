"""What a column looks like in a few figures: small enough for a journal's document, enough to notice a change."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.specs import Json

MOST_CATEGORIES = 20
"""Values of a text column that are kept, the most frequent ones."""


def describe(table: pa.Table) -> dict[str, Json]:
    """Describe every column.

    Each has ``kind`` (numeric, boolean, datetime, categorical, other), ``count`` (values present) and ``missing`` (null
    or NaN). Numeric ones add mean, sd, min and max of the finite values; booleans ``true`` (how many); times min and
    max in ISO form and as Unix seconds; categorical ones ``distinct`` and ``top`` (value → count).

    >>> describe(pa.table({"a": [1.0, 3.0, None]}))["a"]
    {'kind': 'numeric', 'count': 2, 'missing': 1, 'mean': 2.0, 'sd': 1.0, 'min': 1.0, 'max': 3.0}
    """
    return {name: describe_column(table.column(name)) for name in table.column_names}


def describe_column(column: pa.ChunkedArray) -> Json:
    """Describe one column, as ``describe`` does."""
    kind = kind_of(column.type)
    missing = column.null_count
    if pa.types.is_floating(column.type):
        missing = int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0)
    facts: Json = {"kind": kind, "count": len(column) - missing, "missing": missing}
    if facts["count"]:
        facts |= _SPREAD[kind](column)
    return facts


def kind_of(arrow_type: pa.DataType) -> str:
    """Name the kind of a column's values.

    >>> [kind_of(t) for t in (pa.int8(), pa.bool_(), pa.date32(), pa.string(), pa.list_(pa.int8()))]
    ['numeric', 'boolean', 'datetime', 'categorical', 'other']
    """
    kinds = {
        "boolean": (pa.types.is_boolean,),
        "numeric": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
        "datetime": (pa.types.is_timestamp, pa.types.is_date),
        "categorical": (pa.types.is_string, pa.types.is_large_string),
    }
    return next((kind for kind, tests in kinds.items() if any(test(arrow_type) for test in tests)), "other")


def _numeric(column: pa.ChunkedArray) -> Json:
    values = column.cast(pa.float64(), safe=False).to_numpy()
    finite = values[np.isfinite(values)]
    facts: Json = {}
    if infinite := int(np.isinf(values).sum()):
        facts["infinite"] = infinite
    if finite.size:
        facts["mean"], facts["sd"] = _moments(finite)
        facts["min"], facts["max"] = float(finite.min()), float(finite.max())
    return facts


def _moments(finite: Any) -> tuple[float | None, float | None]:
    """Give mean and SD; None where doubles cannot hold them (values near 1e308)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(finite.mean()), float(finite.std())
    return (mean if np.isfinite(mean) else None), (sd if np.isfinite(sd) else None)


def _boolean(column: pa.ChunkedArray) -> Json:
    return {"true": int(pc.sum(column).as_py())}


def _datetime(column: pa.ChunkedArray) -> Json:
    ends = pc.min_max(column).as_py()
    return {name: ends[name].isoformat() for name in ("min", "max")} | {"max_s": unix_s(ends["max"])}


def unix_s(moment: dt.date) -> float:
    """Give Unix seconds; a time without a zone, and a date, are taken as UTC.

    >>> unix_s(dt.date(1970, 1, 2))
    86400.0
    """
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _categorical(column: pa.ChunkedArray) -> Json:
    counts = sorted(
        ((str(entry["values"]), int(entry["counts"])) for entry in pc.value_counts(column.drop_null()).to_pylist()),
        key=lambda pair: (-pair[1], pair[0]),
    )
    return {"distinct": len(counts), "top": dict(counts[:MOST_CATEGORIES])}


def _other(_: pa.ChunkedArray) -> Json:
    return {}


_SPREAD = {
    "numeric": _numeric,
    "boolean": _boolean,
    "datetime": _datetime,
    "categorical": _categorical,
    "other": _other,
}
