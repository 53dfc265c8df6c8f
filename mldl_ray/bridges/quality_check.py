"""Rows held against rules: a dataset's before it teaches, and a sample of what callers send. Pure.

A dataset breaks a rule when its share is above the bound. A sample of live rows breaks it when the share of all rows
surely is: one looks at many samples, and chance alone must raise no alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import bdtrc

from contracts.quality import (
    CategoriesRule,
    DuplicatesRule,
    FreshnessRule,
    MissingRule,
    QualityFinding,
    QualityRule,
    QualityStatus,
    RangeRule,
    SchemaRule,
    Severity,
    VolumeRule,
)
from contracts.specs import Json
from mldl_ray.bridges._statistics import describe_column, kind_of
from mldl_ray.monitoring.reference import as_numbers, counted

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
SURE = 1e-6
"""Chance of as many bad rows in a sample where their share is just what the rule allows."""
EXAMPLES = 5


class Bad(NamedTuple):
    """How many of a column's values break a rule, of how many, and which, as a person would say it."""

    many: int
    of: int
    what: str
    evidence: Json


def held(table: pa.Table, rules: Iterable[QualityRule], *, now_s: float) -> list[QualityFinding]:
    """Hold a whole table against rules; the gravest findings first.

    >>> held(pa.table({"age": [30, 200]}), [RangeRule(column="age", low=0, high=99)], now_s=0)[0].message
    "1 of 2 values of 'age' are outside 0 to 99; 0 % may be"
    """
    found = [finding for rule in rules if (finding := _CHECKS[type(rule)](table, rule, now_s)) is not None]
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))


def held_live(columns: dict[str, pa.ChunkedArray], rules: Iterable[QualityRule]) -> list[QualityFinding]:
    """Hold a sample of what callers sent against the rules of its values; the gravest findings first.

    Columns and their kinds are the endpoint's own matter, which refuses others; copies, volume and freshness mean
    nothing of requests.
    """
    found = []
    for rule in rules:
        if not isinstance(rule, ValueRule) or (column := columns.get(rule.column)) is None:
            continue
        bad = _bad(column, rule)
        if bad.many and bdtrc(bad.many - 1, bad.of, rule.max_share) <= SURE:
            found.append(_share_finding(rule, bad))
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))


def worst(found: Iterable[QualityFinding]) -> QualityStatus:
    """Give the gravest severity among findings; ``ok`` when there are none."""
    severities = [finding.severity for finding in found]
    return max(severities, key=SEVERITIES.index) if severities else "ok"


def copies(table: pa.Table) -> int | None:
    """Count the rows that are copies of others; None where a nested column makes them dear to compare.

    >>> copies(pa.table({"a": [1, 1, 2]}))
    1
    """
    if not table.num_rows or any(kind_of(field.type) == "other" for field in table.schema):
        return None if table.num_rows else 0
    distinct = table.group_by(table.column_names, use_threads=False).aggregate([]).num_rows
    return int(table.num_rows - distinct)


ValueRule = RangeRule | CategoriesRule | MissingRule


def _schema(table: pa.Table, rule: SchemaRule, _: float) -> QualityFinding | None:
    if rule.column not in table.column_names:
        return _absent(rule, table)
    column = table.column(rule.column)
    found = kind_of(column.type)
    if found == rule.kind or column.null_count == len(column):
        return None
    message = f"column {rule.column!r} is {found}; it should be {rule.kind}"
    return _finding(rule, message, {"kind": found, "expected": rule.kind})


def _values(table: pa.Table, rule: ValueRule, _: float) -> QualityFinding | None:
    if rule.column not in table.column_names:
        return _absent(rule, table)
    bad = _bad(table.column(rule.column), rule)
    return _share_finding(rule, bad) if bad.many > rule.max_share * bad.of else None


def _duplicates(table: pa.Table, rule: DuplicatesRule, _: float) -> QualityFinding | None:
    found = copies(table)
    if found is None or found <= rule.max_share * table.num_rows:
        return None
    message = f"{found} of {table.num_rows} rows are copies of others; {_percent(rule.max_share)} may be"
    return _finding(rule, message, {"share": found / table.num_rows, "bound": rule.max_share})


def _fresh(table: pa.Table, rule: FreshnessRule, now_s: float) -> QualityFinding | None:
    if rule.column not in table.column_names:
        return _absent(rule, table)
    newest_s = describe_column(table.column(rule.column)).get("max_s")
    if newest_s is None:
        return _finding(rule, f"column {rule.column!r} holds no time, so nothing says how fresh the rows are", {})
    if now_s - newest_s <= rule.max_age_s:
        return None
    message = f"the newest {rule.column!r} is {_days(now_s - newest_s)} days old; {_days(rule.max_age_s)} may be"
    return _finding(rule, message, {"age_s": now_s - newest_s, "bound": rule.max_age_s})


def _volume(table: pa.Table, rule: VolumeRule, _: float) -> QualityFinding | None:
    rows = table.num_rows
    if rule.min_rows is not None and rows < rule.min_rows:
        return _finding(rule, f"there are {rows} rows; {rule.min_rows} at least", {"rows": rows})
    if rule.max_rows is not None and rows > rule.max_rows:
        return _finding(rule, f"there are {rows} rows; {rule.max_rows} at most", {"rows": rows})
    return None


def _bad(column: pa.ChunkedArray, rule: ValueRule) -> Bad:
    if isinstance(rule, MissingRule):
        count = int(pc.sum(pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))).as_py() or 0)
        return Bad(count, len(column), "missing", {})
    return _outside(column, rule) if isinstance(rule, RangeRule) else _unlisted(column, rule)


def _outside(column: pa.ChunkedArray, rule: RangeRule) -> Bad:
    values = as_numbers(column)
    values = values[~np.isnan(values)]
    low = -np.inf if rule.low is None else rule.low
    high = np.inf if rule.high is None else rule.high
    bad = (values < low) | (values > high) | np.isinf(values)
    if rule.low is not None and rule.high is not None:
        what = f"outside {rule.low:g} to {rule.high:g}"
    else:
        what = f"below {rule.low:g}" if rule.low is not None else f"above {rule.high:g}"
    finite = values[np.isfinite(values)]
    evidence = {"min": float(finite.min()), "max": float(finite.max())} if finite.size else {}
    return Bad(int(bad.sum()), values.size, what, evidence)


def _unlisted(column: pa.ChunkedArray, rule: CategoriesRule) -> Bad:
    counts, listed = counted(column), frozenset(rule.values)
    new = {word: count for word, count in counts.items() if word not in listed}
    examples = sorted(new, key=lambda word: (-new[word], word))[:EXAMPLES]
    return Bad(sum(new.values()), counts.total(), f"not listed ({', '.join(examples)})", {"values": examples})


def _share_finding(rule: ValueRule, bad: Bad) -> QualityFinding:
    message = f"{bad.many} of {bad.of} values of {rule.column!r} are {bad.what}; {_percent(rule.max_share)} may be"
    evidence = {"count": bad.many, "of": bad.of, "share": bad.many / bad.of, "bound": rule.max_share}
    return _finding(rule, message, evidence | bad.evidence)


def _absent(rule: Any, table: pa.Table) -> QualityFinding:
    message = f"column {rule.column!r} is not there, so its {rule.check} rule is not kept"
    return _finding(rule, message, {"columns": table.column_names[:20]})


def _finding(rule: QualityRule, message: str, evidence: Json) -> QualityFinding:
    column = getattr(rule, "column", None)
    return QualityFinding(check=rule.check, column=column, severity=rule.severity, message=message, evidence=evidence)


def _percent(share: float) -> str:
    """Write a share.

    >>> _percent(0.3833)
    '38.33 %'
    """
    return f"{100 * share:.4g} %"


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.3g}"


_CHECKS: dict[type, Callable[[pa.Table, Any, float], QualityFinding | None]] = {
    SchemaRule: _schema,
    RangeRule: _values,
    CategoriesRule: _values,
    MissingRule: _values,
    DuplicatesRule: _duplicates,
    FreshnessRule: _fresh,
    VolumeRule: _volume,
}
