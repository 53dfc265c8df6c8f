"""The four kinds of values in a view, and how any column becomes one of them, in a table and in a request."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Incompatible
from contracts.features import FeatureKind
from mldl_ray.adapters.schema import kind_of, plain

TYPES: dict[FeatureKind, pa.DataType] = {
    "numeric": pa.float64(),
    "categorical": pa.string(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("us", "UTC"),
}


def kinds_of(table: pa.Table) -> dict[str, FeatureKind]:
    """Give the kind of every column.

    Raises:
        Incompatible: Series and other nested columns, which views do not take.

    >>> kinds_of(pa.table({"age": [1], "sex": ["f"]}))
    {'age': 'numeric', 'sex': 'categorical'}
    """
    found: dict[str, FeatureKind] = {}
    for field in table.schema:
        kind = kind_of(field.name, field.type)
        if kind == "sequence":
            raise Incompatible(
                f"column {field.name!r} holds series, which views do not take; leave it out", {"column": field.name}
            )
        found[field.name] = kind
    return found


def canonical(table: pa.Table, kinds: Mapping[str, FeatureKind]) -> pa.Table:
    """Take columns in the types of their kinds; NaN and infinite numbers are missing.

    Raises:
        Incompatible: A column is not there, or of another kind.
    """
    missing = [name for name in kinds if name not in table.column_names]
    if missing:
        raise Incompatible(
            f"the view takes column {missing[0]!r}, which the data lacks; it has: {', '.join(table.column_names[:20])}",
            {"missing": missing},
        )
    return pa.table({name: _as_kind(name, table.column(name), kind) for name, kind in kinds.items()})


def _as_kind(name: str, column: pa.ChunkedArray, kind: FeatureKind) -> pa.ChunkedArray:
    column = plain(column)
    if pa.types.is_null(column.type):
        return column.cast(TYPES[kind])
    if (found := kind_of(name, column.type)) != kind:
        raise Incompatible(f"column {name!r} is {found}; the view takes {kind} there", {"column": name, "found": found})
    if kind == "datetime" and not getattr(column.type, "tz", None):
        return column.cast(pa.timestamp("us"), safe=False).cast(TYPES[kind])
    column = column.cast(TYPES[kind], safe=False)
    return finite(column) if kind == "numeric" else column


def finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give doubles, missing where they are NaN or infinite."""
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
