"""What each step does to a table, and to the kinds of its columns. Pure; every step works row by row.

A step sees one row at a time: what it makes of a row does not depend on the others, so that a request of one row and a
table of a million get the same. Missing stays missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Incompatible
from contracts.features import Bucket, Cast, Clip, DateParts, FeatureKind, Fill, Log1p, OneOf, Ratio, Rename, Select
from mldl_ray.features.kinds import TYPES, finite

AnyStep = Select | Rename | Cast | Fill | Clip | Log1p | Ratio | Bucket | OneOf | DateParts
Kinds = dict[str, FeatureKind]
WHOLE = 2.0**53
FIRST_S, LAST_S = -62_135_596_800.0, 253_402_300_799.0
"""The years 1 to 9999; no other has a name."""
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def kinds_after(kinds: Mapping[str, FeatureKind], step: AnyStep) -> Kinds:
    """Give the columns and kinds after a step.

    Raises:
        Incompatible: It names a column that is not there, or one of a kind that it cannot take; or a new column has the
            name of another.

    >>> kinds_after({"at": "datetime"}, DateParts(column="at", parts=("hour",)))
    {'at_hour': 'numeric'}
    """
    return _KINDS[type(step)](dict(kinds), step)


def applied(table: pa.Table, step: AnyStep) -> pa.Table:
    """Apply a step to columns in the types of their kinds.

    >>> table = pa.table({"a": [3.0, 1.0], "b": [2.0, 0.0]})
    >>> applied(table, Ratio(numerator="a", denominator="b", into="c"))["c"].to_pylist()
    [1.5, None]
    """
    done: pa.Table = _DONE[type(step)](table, step)
    return done


def _needs(kinds: Kinds, step: AnyStep, name: str, *allowed: FeatureKind) -> FeatureKind:
    if name not in kinds:
        raise Incompatible(
            f"step {step.op}: there is no column {name!r}; there are: {', '.join(list(kinds)[:30])}",
            {"op": step.op, "column": name},
        )
    if allowed and kinds[name] not in allowed:
        raise Incompatible(
            f"step {step.op}: column {name!r} is {kinds[name]}; it takes {' or '.join(allowed)}",
            {"op": step.op, "column": name, "kind": kinds[name]},
        )
    return kinds[name]


def _new(kinds: Kinds, step: AnyStep, name: str) -> None:
    if name in kinds:
        raise Incompatible(
            f"step {step.op}: there is a column {name!r} already; name another", {"op": step.op, "column": name}
        )


def _select_kinds(kinds: Kinds, step: Select) -> Kinds:
    if len(set(step.columns)) < len(step.columns):
        raise Incompatible("step select: a column is named twice", {"op": step.op})
    return {name: _needs(kinds, step, name) for name in step.columns}


def _rename_kinds(kinds: Kinds, step: Rename) -> Kinds:
    for old in step.columns:
        _needs(kinds, step, old)
    after = [step.columns.get(name, name) for name in kinds]
    for name in step.columns.values():
        if after.count(name) > 1:
            raise Incompatible(f"step rename: two columns would be called {name!r}", {"op": step.op, "column": name})
    return dict(zip(after, kinds.values(), strict=True))


def _cast_kinds(kinds: Kinds, step: Cast) -> Kinds:
    found = _needs(kinds, step, step.column)
    if found != step.to and (found, step.to) not in _CASTS:
        raise Incompatible(
            f"step cast: {found} column {step.column!r} cannot be read as {step.to}", {"op": step.op, "from": found}
        )
    return kinds | {step.column: step.to}


def _fill_kinds(kinds: Kinds, step: Fill) -> Kinds:
    kind = _needs(kinds, step, step.column, "numeric", "categorical", "boolean")
    if step.statistic in {"mean", "median"}:
        _needs(kinds, step, step.column, "numeric")
    if step.value is not None and not isinstance(step.value, _PYTHON[kind]):
        raise Incompatible(
            f"step fill: {step.value!r} is no value of the {kind} column {step.column!r}", {"op": step.op}
        )
    return kinds


def _number_kinds(kinds: Kinds, step: Clip) -> Kinds:
    _needs(kinds, step, step.column, "numeric")
    return kinds


def _into_kinds(to: FeatureKind, of: FeatureKind = "numeric") -> Callable[[Kinds, Any], Kinds]:
    def after(kinds: Kinds, step: Log1p | Bucket | OneOf) -> Kinds:
        _needs(kinds, step, step.column, of)
        if step.into is not None:
            _new(kinds, step, step.into)
        return kinds | {step.into or step.column: to}

    return after


def _ratio_kinds(kinds: Kinds, step: Ratio) -> Kinds:
    _needs(kinds, step, step.numerator, "numeric")
    _needs(kinds, step, step.denominator, "numeric")
    _new(kinds, step, step.into)
    return kinds | {step.into: "numeric"}


def _parts_kinds(kinds: Kinds, step: DateParts) -> Kinds:
    _needs(kinds, step, step.column, "datetime")
    after: Kinds = {name: kind for name, kind in kinds.items() if name != step.column}
    for part in dict.fromkeys(step.parts):
        _new(after, step, f"{step.column}_{part}")
        after[f"{step.column}_{part}"] = "numeric"
    return after


def _put(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    place = table.column_names.index(name) if name in table.column_names else None
    return table.append_column(name, column) if place is None else table.set_column(place, name, column)


def _renamed(table: pa.Table, step: Rename) -> pa.Table:
    return table.rename_columns([step.columns.get(name, name) for name in table.column_names])


def _cast(table: pa.Table, step: Cast) -> pa.Table:
    column = table.column(step.column)
    if column.type == TYPES[step.to]:
        return table
    found = next(kind for kind, arrow in TYPES.items() if arrow == column.type)
    return _put(table, step.column, _CASTS[found, step.to](column))


def _filled(table: pa.Table, step: Fill) -> pa.Table:
    column = table.column(step.column)
    return _put(table, step.column, pc.fill_null(column, pa.scalar(step.value, column.type)))


def _clipped(table: pa.Table, step: Clip) -> pa.Table:
    column = table.column(step.column)
    if step.low is not None:
        column = pc.max_element_wise(column, pa.scalar(step.low, pa.float64()), skip_nulls=False)
    if step.high is not None:
        column = pc.min_element_wise(column, pa.scalar(step.high, pa.float64()), skip_nulls=False)
    return _put(table, step.column, column)


def _logged(table: pa.Table, step: Log1p) -> pa.Table:
    column = table.column(step.column)
    fit = pc.if_else(pc.greater(column, -1.0), column, pa.scalar(None, pa.float64()))
    return _put(table, step.into or step.column, pc.log1p(fit))


def _divided(table: pa.Table, step: Ratio) -> pa.Table:
    column = finite(pc.divide(table.column(step.numerator), table.column(step.denominator)))
    return table.append_column(step.into, column)


def _bucketed(table: pa.Table, step: Bucket) -> pa.Table:
    values = table.column(step.column).to_numpy(zero_copy_only=False).astype(np.float64)
    places = np.searchsorted(np.asarray(step.edges), values, side="right")
    names = pa.array(
        [None if gap else str(place) for gap, place in zip(np.isnan(values), places, strict=True)], pa.string()
    )
    return _put(table, step.into or step.column, pa.chunked_array([names]))


def _listed(table: pa.Table, step: OneOf) -> pa.Table:
    column = table.column(step.column)
    known = pc.or_(pc.is_null(column), pc.is_in(column, pa.array(step.values, pa.string())))
    return _put(table, step.into or step.column, pc.if_else(known, column, pa.scalar(step.other, pa.string())))


def _taken_apart(table: pa.Table, step: DateParts) -> pa.Table:
    column = table.column(step.column)
    table = table.drop_columns([step.column])
    for part in dict.fromkeys(step.parts):
        table = table.append_column(f"{step.column}_{part}", _PARTS[part](column).cast(pa.float64()))
    return table


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write numbers; whole ones without a point, so that 3 and 3.0 are one category."""
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), WHOLE))
    short = pc.if_else(whole, column, pa.scalar(0.0)).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, short, column.cast(pa.string()))


def _as_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    fit = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, pa.scalar(None, pa.string()))
    return finite(pc.utf8_trim_whitespace(pc.utf8_ltrim(pc.utf8_trim_whitespace(fit), "+")).cast(pa.float64()))


def _as_moment(column: pa.ChunkedArray) -> pa.ChunkedArray:
    within = pc.and_(pc.greater_equal(column, FIRST_S), pc.less(column, LAST_S))
    fit = pc.if_else(within, column, pa.scalar(None, pa.float64()))
    return pc.round(pc.multiply(fit, 1e6)).cast(pa.int64()).cast(pa.timestamp("us")).cast(TYPES["datetime"])


_CASTS: dict[tuple[FeatureKind, FeatureKind], Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    ("numeric", "categorical"): _as_text,
    ("categorical", "numeric"): _as_number,
    ("boolean", "numeric"): lambda column: column.cast(pa.float64()),
    ("boolean", "categorical"): lambda column: column.cast(pa.string()),
    ("numeric", "boolean"): lambda column: pc.not_equal(column, 0.0),
    ("datetime", "numeric"): lambda column: pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6),
    ("numeric", "datetime"): _as_moment,
}
_PYTHON: dict[FeatureKind, type | tuple[type, ...]] = {
    "numeric": (int, float),
    "categorical": str,
    "boolean": bool,
    "datetime": (),
}
_PARTS: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    "year": pc.year,
    "month": pc.month,
    "day": pc.day,
    "weekday": pc.day_of_week,
    "hour": pc.hour,
}
_KINDS: dict[type, Callable[[Kinds, Any], Kinds]] = {
    Select: _select_kinds,
    Rename: _rename_kinds,
    Cast: _cast_kinds,
    Fill: _fill_kinds,
    Clip: _number_kinds,
    Log1p: _into_kinds("numeric"),
    Ratio: _ratio_kinds,
    Bucket: _into_kinds("categorical"),
    OneOf: _into_kinds("categorical", of="categorical"),
    DateParts: _parts_kinds,
}
_DONE: dict[type, Callable[[pa.Table, Any], pa.Table]] = {
    Select: lambda table, step: table.select(list(step.columns)),
    Rename: _renamed,
    Cast: _cast,
    Fill: _filled,
    Clip: _clipped,
    Log1p: _logged,
    Ratio: _divided,
    Bucket: _bucketed,
    OneOf: _listed,
    DateParts: _taken_apart,
}
