"""What a person sees of drift: both distributions of each column, and the verdict in words. Pure; tests are elsewhere.

A numeric column is cut into ranges of equal width between the 0.5% and the 99.5% quantile of both samples together; the
outer ranges take what lies beyond, so that one outlier does not squeeze all the rest into one bar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.drift import Bar, ColumnDrift, Cost, DriftView
from contracts.telemetry import FEATURE
from mldl_ray.monitoring.drift import Shift, Verdict
from mldl_ray.monitoring.drift_wants import in_order
from mldl_ray.monitoring.harm import Harm
from mldl_ray.monitoring.joint import Joint
from mldl_ray.monitoring.reference import Numbers, Reference, Words, as_numbers, column_of, counted
from mldl_ray.monitoring.versions import Stream
from mldl_ray.monitoring.watch import Look

BARS, MOST_CATEGORIES, OUTSIDE = 20, 12, 0.005


def view(
    stream: Stream,
    look: Look,
    reference: Reference | None,
    *,
    why_not: str | None,
    window_rows: int,
    false_alarms_per_month: float,
    skip: int = 0,
    limit: int = 30,
) -> DriftView:
    """Put together what a person is shown of a version.

    Args:
        stream: Which.
        look: What the watch has of it.
        reference: Its held-out rows; None: they cannot be read, and `why_not` says why.
        why_not: Why there is no test.
        window_rows: Rows of a full window.
        false_alarms_per_month: The budget.
        skip: So many of the first columns are left out.
        limit: So many are drawn.
    """
    last, order, gathered = look.last, look.order, look.state.get("rows_towards_next", 0)
    known = reference.columns if reference is not None else {}
    shifts = in_order(last, order) if last is not None else {}
    named = [name for name in shifts if name in known] if last is not None else list(known)
    costs = order.costs if order is not None else {}
    threshold = last.threshold if last is not None else 0.0
    moved = last is not None and (last.drifted or look.joint is not None)
    return DriftView(
        model_key=stream[0],
        version=stream[1],
        verdict="not_tested" if last is None else "drifted" if moved else "steady",
        words=in_words(last, look.joint, gathered, window_rows),
        severity=order.severity if order is not None else None,
        cost_in="absolute_error" if order is not None and order.values else "accuracy",
        rows=look.window.num_rows if look.window is not None else 0,
        reference_rows=reference.rows if reference is not None else 0,
        windows=look.state["windows"],
        windows_drifted=look.state.get("windows_drifted", 0),
        rows_towards_next=gathered,
        window_rows=window_rows,
        alpha=last.alpha if last is not None else None,
        threshold=last.threshold if last is not None else None,
        false_alarms_per_month=false_alarms_per_month,
        why_not=why_not or look.state.get("why_not"),
        columns_known=len(named),
        columns=tuple(
            pictured(name, known[name], look.window, shifts.get(name), threshold, costs)
            for name in named[skip : skip + limit]
        ),
    )


def pictured(
    name: str,
    column: Numbers | Words,
    window: pa.Table | None,
    shift: Shift | None,
    p: float,
    costs: Mapping[str, Harm | None] | None = None,
) -> ColumnDrift:
    """Draw one column.

    Args:
        name: As in the telemetry.
        column: Its held-out values.
        window: Live rows; None: there are none yet. A column that it lacks is missing throughout.
        shift: What the test says; None: it was not made.
        p: At or below it, a column counts as moved.
        costs: What the columns that moved seem to cost.
    """
    cost = (costs or {}).get(shift.column) if shift is not None else None
    live = _live(name, window)
    numeric = isinstance(column, Numbers)
    found = _ranges(column, live) if isinstance(column, Numbers) else _categories(column, live)
    tested = {} if shift is None else {"test": shift.test, "statistic": shift.statistic, "p": shift.p}
    return ColumnDrift(
        column=name.removeprefix(FEATURE),
        kind="numeric" if numeric else "categorical",
        moved=shift.moved if shift is not None else "",
        drifted=shift is not None and shift.p <= p,
        cost=Cost(loss=cost.loss, low=cost.low, high=cost.high) if cost is not None else None,
        **found,
        **tested,
    )


def in_words(verdict: Verdict | None, joint: Joint | None, gathered: int, wanted: int) -> str:
    """Say a verdict to a person.

    Args:
        verdict: Of the last full window; None: there was none.
        joint: What the test of whole rows found, where it found that they moved.
        gathered: Rows of the next window that are there.
        wanted: Rows of a full window.

    >>> in_words(None, None, 340, 1000)
    'Not tested yet: 340 of 1,000 rows of the first window are there.'
    """
    if verdict is None:
        return f"Not tested yet: {gathered:,} of {wanted:,} rows of the first window are there."
    if verdict.drifted:
        return f"{len(verdict.surprising)} of {len(verdict.shifts)} columns moved: {verdict.words}."
    if joint is not None:
        named = f"; {', '.join(joint.columns)} tell live from held-out rows" if joint.columns else ""
        return f"The rows as a whole moved, although no column did alone{named}."
    if not verdict.shifts:
        return "There is no column to compare."
    worst = verdict.shifts[0]
    return (
        f"No column moved by more than chance explains. The most surprising one is {worst.column}: "
        f"p is {worst.p:.2g}, and would have to be {verdict.threshold:.2g} or less."
    )


def _live(name: str, window: pa.Table | None) -> pa.ChunkedArray | None:
    if window is None or window.num_rows == 0:
        return None
    return column_of(window, name)


def _ranges(column: Numbers, live: pa.ChunkedArray | None) -> dict[str, Any]:
    numbers = as_numbers(live) if live is not None else np.empty(0)
    then, now = column.values, numbers[~np.isnan(numbers)]
    low, high = _limits(np.concatenate([then, now]))
    edges = np.linspace(low, high, BARS + 1)
    shares = [np.histogram(np.clip(part, low, high), edges)[0] / max(1, len(part)) for part in (then, now)]
    bars = tuple(
        Bar(
            label=f"{edges[i]:.4g} to {edges[i + 1]:.4g}",
            reference=float(shares[0][i]),
            live=float(shares[1][i]) if live is not None else None,
        )
        for i in range(BARS)
    )
    missing = (len(numbers) - len(now)) / len(numbers) if live is not None else None
    return {
        "bars": bars,
        "low": low,
        "high": high,
        "reference_missing": column.missing / max(1, len(then) + column.missing),
        "live_missing": missing,
    }


def _limits(values: Any) -> tuple[float, float]:
    """Give the ends of what is drawn; a range of its own where all values are one.

    >>> _limits(np.array([3.0, 3.0])), _limits(np.array([]))
    ((2.5, 3.5), (0.0, 1.0))
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = (float(edge) for edge in np.quantile(finite, [OUTSIDE, 1 - OUTSIDE]))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        return low - 0.5, high + 0.5
    return low, high


def _categories(column: Words, live: pa.ChunkedArray | None) -> dict[str, Any]:
    now = counted(live) if live is not None else Counter[str]()
    m, n = column.counts.total(), now.total()
    together = Counter({word: column.counts[word] / max(1, m) + now[word] / max(1, n) for word in column.counts | now})
    shown = [word for word, _ in together.most_common(MOST_CATEGORIES)]
    parts = [(word[:60], column.counts[word], now[word]) for word in shown]
    if rest := len(together) - len(shown):
        kept = sum(column.counts[word] for word in shown), sum(now[word] for word in shown)
        parts.append((f"{rest:,} others", m - kept[0], n - kept[1]))
    bars = tuple(
        Bar(label=word, reference=then / max(1, m), live=count / max(1, n) if live is not None else None)
        for word, then, count in parts
    )
    return {
        "bars": bars,
        "reference_missing": column.missing / max(1, m + column.missing),
        "live_missing": (len(live) - n) / len(live) if live is not None else None,
    }
