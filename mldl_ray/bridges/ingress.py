"""Ingress, embedded: whether rows are fit to learn from or to answer, held against what such rows looked like before.

Five looks: schema, ranges, missing values, duplicates, freshness. Each thing found has a severity: ``critical`` will
break or mislead, ``warning`` should be looked at, ``info`` is worth knowing. Not here: drift, which is a statistical
test over a stream (``mldl_ray.monitoring``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from contracts.specs import Json, Words
from mldl_ray.bridges._statistics import MOST_CATEGORIES, describe, kind_of

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

OUT_OF_RANGE = (0.01, 0.10)
"""Share of a column's values outside what was seen before: from the first a warning, from the second critical."""
MORE_MISSING = (0.05, 0.25)
"""The same, for the rise of the share of missing values."""
DUPLICATED = (0.01, 0.20)
"""The same, for the share of rows that are copies of others."""
SURE_Z = 4.0
"""A rise in missing values counts when it is this many standard errors, so that twenty rows raise no alarm."""
MOSTLY_MISSING = 0.5
STALE_S = 30 * 86400.0


class Finding(Words):
    """One thing that a look found."""

    check: Literal["schema", "range", "missing", "duplicates", "freshness"]
    column: str | None = None
    severity: Severity
    message: str
    evidence: Json = Field(default_factory=dict)


def inspect(
    table: pa.Table,
    reference: Mapping[str, Json] | None = None,
    *,
    now_s: float,
    time_column: str | None = None,
    stale_s: float = STALE_S,
) -> list[Finding]:
    """Look at rows, the gravest findings first.

    Args:
        table: The rows.
        reference: Statistics of rows known to be good, as a registered dataset has them; without, rows are judged by
            themselves.
        now_s: Unix seconds.
        time_column: Says when a row came about; without, nothing is said about freshness.
        stale_s: Seconds after which the newest row is old.

    >>> found = inspect(pa.table({"age": [1, 200]}), {"age": {"kind": "numeric", "min": 0, "max": 99}}, now_s=0)
    >>> found[0].message
    "1 of 2 values of 'age' are outside 0 to 99, the range seen before"
    """
    known = reference or {}
    now = describe(table)
    found = [*_schema(now, known), *_duplicates(table)]
    for name in table.column_names:
        found += _alone(name, now[name], table.num_rows)
        if name in known and known[name].get("kind") == now[name]["kind"]:
            found += [*_missing(name, now[name], known[name]), *_range(name, table.column(name), known[name])]
    if time_column is not None and time_column in now:
        found += _freshness(time_column, now[time_column], known.get(time_column, {}), now_s, stale_s)
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))


def worst(found: list[Finding]) -> Literal["ok", "info", "warning", "critical"]:
    """Give the gravest severity among findings; ``ok`` when there are none."""
    return max((finding.severity for finding in found), key=SEVERITIES.index) if found else "ok"


def _schema(now: Mapping[str, Json], known: Mapping[str, Json]) -> Iterator[Finding]:
    if not known:
        return
    for name in known:
        if name not in now:
            yield Finding(check="schema", column=name, severity="critical", message=f"column {name!r} is not there")
        elif (kind := now[name]["kind"]) != (was := known[name].get("kind")):
            message = f"column {name!r} is {kind}; it was {was} before"
            evidence = {"kind": kind, "before": was}
            yield Finding(check="schema", column=name, severity="critical", message=message, evidence=evidence)
    for name in now:
        if name not in known:
            yield Finding(check="schema", column=name, severity="info", message=f"column {name!r} is new")


def _alone(name: str, facts: Json, rows: int) -> Iterator[Finding]:
    """Judge a column by itself."""
    share = facts["missing"] / rows if rows else 0.0
    if rows and not facts["count"]:
        yield Finding(check="missing", column=name, severity="warning", message=f"{name!r} has no value at all")
    elif share > MOSTLY_MISSING:
        message = f"{name!r} is missing in {share:.0%} of the rows"
        yield Finding(check="missing", column=name, severity="warning", message=message, evidence={"share": share})
    if count := facts.get("infinite"):
        message = f"{name!r} is infinite in {count} rows; training refuses them"
        yield Finding(check="range", column=name, severity="critical", message=message, evidence={"count": count})
    if facts["count"] > 1 and (facts.get("distinct") == 1 or _one_number(facts)):
        message = f"{name!r} has one value in all rows; nothing can be learned from it"
        yield Finding(check="range", column=name, severity="info", message=message)
    if facts["count"] > MOST_CATEGORIES and facts.get("distinct") == facts["count"]:
        message = f"{name!r} has another text in every row; it looks like an identifier, not like a feature"
        yield Finding(check="range", column=name, severity="warning", message=message)


def _one_number(facts: Json) -> bool:
    return facts["kind"] == "numeric" and "min" in facts and facts["min"] == facts["max"] and "infinite" not in facts


def _missing(name: str, now: Json, known: Json) -> Iterator[Finding]:
    rows, rows_before = now["count"] + now["missing"], known.get("count", 0) + known.get("missing", 0)
    if not rows or not rows_before:
        return
    share, before = now["missing"] / rows, known["missing"] / rows_before
    error = math.hypot(_error(now["missing"], rows), _error(known["missing"], rows_before))
    severity = _severity(share - before, MORE_MISSING)
    if severity is None or share - before < SURE_Z * error:
        return
    message = f"{name!r} is missing in {share:.0%} of the rows; it was {before:.0%} before"
    evidence = {"share": share, "before": before, "rows": rows}
    yield Finding(check="missing", column=name, severity=severity, message=message, evidence=evidence)


def _error(count: int, rows: int) -> float:
    """Give the standard error of a share, with one row more of either kind so that few rows are never sure."""
    share = (count + 1) / (rows + 2)
    return math.sqrt(share * (1 - share) / (rows + 2))


def _range(name: str, column: pa.ChunkedArray, known: Json) -> Iterator[Finding]:
    kind = kind_of(column.type)
    if kind == "numeric" and "min" in known:
        yield from _outside(name, column, known["min"], known["max"])
    elif kind == "categorical" and known.get("distinct", MOST_CATEGORIES + 1) <= MOST_CATEGORIES:
        yield from _unseen(name, column, known.get("top", {}))


def _outside(name: str, column: pa.ChunkedArray, low: float, high: float) -> Iterator[Finding]:
    values = column.cast(pa.float64(), safe=False).to_numpy()
    values = values[np.isfinite(values)]
    count = int(((values < low) | (values > high)).sum())
    if not values.size or not count:
        return
    severity = _severity(count / values.size, OUT_OF_RANGE) or "info"
    message = f"{count} of {values.size} values of {name!r} are outside {low:g} to {high:g}, the range seen before"
    evidence = {"share": count / values.size, "min": float(values.min()), "max": float(values.max())}
    yield Finding(check="range", column=name, severity=severity, message=message, evidence=evidence)


def _unseen(name: str, column: pa.ChunkedArray, top: Mapping[str, int]) -> Iterator[Finding]:
    values = column.drop_null().cast(pa.string())
    new = values.filter(pc.invert(pc.is_in(values, value_set=pa.array(list(top), pa.string()))))
    if not len(new):
        return
    severity = _severity(len(new) / len(values), OUT_OF_RANGE) or "info"
    examples = sorted(new.unique().to_pylist())[:5]
    message = f"{len(new)} of {len(values)} values of {name!r} were never seen before: {', '.join(examples)}"
    evidence = {"share": len(new) / len(values), "values": examples}
    yield Finding(check="range", column=name, severity=severity, message=message, evidence=evidence)


def _duplicates(table: pa.Table) -> Iterator[Finding]:
    if table.num_rows < 2 or not all(kind_of(field.type) != "other" for field in table.schema):
        return  # rows with nested columns cannot be compared cheaply
    distinct = table.group_by(table.column_names, use_threads=False).aggregate([]).num_rows
    copies = table.num_rows - distinct
    severity = _severity(copies / table.num_rows, DUPLICATED)
    if severity is None:
        return
    message = f"{copies} of {table.num_rows} rows are copies of others; they count double, and leak between splits"
    evidence = {"share": copies / table.num_rows}
    yield Finding(check="duplicates", severity=severity, message=message, evidence=evidence)


def _freshness(name: str, now: Json, known: Json, now_s: float, stale_s: float) -> Iterator[Finding]:
    newest_s = now.get("max_s")
    if newest_s is None:
        return
    evidence = {"newest": now["max"], "age_s": now_s - newest_s}
    if newest_s > now_s + 86400:
        message = f"the newest {name!r} is {now['max']}, which is yet to come"
        yield Finding(check="freshness", column=name, severity="warning", message=message, evidence=evidence)
    elif now_s - newest_s > stale_s:
        message = f"the newest row is {(now_s - newest_s) / 86400:.0f} days old ({now['max']})"
        yield Finding(check="freshness", column=name, severity="warning", message=message, evidence=evidence)
    if newest_s <= known.get("max_s", -math.inf):
        message = f"no row is newer than those known before ({known['max']})"
        yield Finding(check="freshness", column=name, severity="info", message=message, evidence=evidence)


def _severity(share: float, bounds: tuple[float, float]) -> Severity | None:
    """Grade a share: nothing below the first bound, critical from the second.

    >>> [_severity(share, (0.01, 0.1)) for share in (0.001, 0.05, 0.5)]
    [None, 'warning', 'critical']
    """
    return "critical" if share >= bounds[1] else "warning" if share >= bounds[0] else None
