"""Whether live rows still look like the held-out ones: one test, and a budget for its false alarms. Pure.

Each column gets an exact or a conservative p-value under "window and reference rows are exchangeable":

- numeric: the two-sample Kolmogorov-Smirnov distance D, with p = 2·exp(−2·D²·nm/(n+m)), the
  Dvoretzky-Kiefer-Wolfowitz form; ties only make the true chance smaller;
- categorical: per category, the exact hypergeometric chance of a count as far out, times the number of categories. Rare
  categories are pooled by their count in both samples together, new ones among them; a frequent new one stands alone.
  Not chi-square: at the p-values used here its tail is wrong by orders of magnitude (5 expected, 20 seen: 2e-12 where
  the exact chance is 5e-8), and every such error is a false alarm;
- missing values: exact, as one more category of its column.

Over columns: Bonferroni. Over time: a window may spend the share of the monthly budget that it covers of the month,
``alpha = false_alarms_per_month × seconds / month / versions watched``. Whatever the rate of requests is, the alphas of
a month add up to the budget at most, and so does the expected number of false alarms; no independence is needed.

Sources: Massart (1990) and Wei & Dudley, *Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities* (2012); Fisher (1935);
Rabanser, Günnemann & Lipton, *Failing loudly* (NeurIPS 2019), for columns and score with Bonferroni.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import gammaln

from contracts.specs import Json
from contracts.telemetry import FEATURE
from mldl_ray.monitoring.reference import Numbers, Reference, Words, as_numbers, column_of, counted

MONTH_S = 30 * 86_400.0
COLUMNS_SHARE, ROWS_SHARE, LABELS_SHARE = 0.25, 0.5, 0.25
"""Of the budget: for the columns, for rows as a whole (see ``joint``), for labels (see ``concept``)."""
MOST_ALPHA = 0.05
"""No window spends more, however long it took to fill."""
SHORTEST_ROW_S = 1 / 100_000
"""A window is taken to cover at least this much per row: more rows a second than one monitor takes in."""
LEAST_SHARE, LEAST_ROWS = 0.0025, 10
"""A category with a smaller share, or fewer rows, of window and reference together is pooled with others."""
LEAST_VALUES = 20
NAMED = 5
_MISSING = "missing"


class Shift(NamedTuple):
    """How one column compares."""

    column: str
    test: str
    statistic: float
    p: float
    moved: str


@dataclass(frozen=True)
class Verdict:
    """How a window compares with the reference, the most surprising column first."""

    rows: int
    reference_rows: int
    alpha: float
    shifts: tuple[Shift, ...]
    names: tuple[str, ...]  # of the same columns, as in the telemetry

    @property
    def threshold(self) -> float:
        """The p-value that one column must reach: alpha, divided by the columns tested."""
        return self.alpha / max(1, len(self.shifts))

    @property
    def surprising(self) -> tuple[Shift, ...]:
        """The columns that reach it."""
        return tuple(shift for shift in self.shifts if shift.p <= self.threshold)

    @property
    def drifted(self) -> bool:
        """Say whether to raise an alert."""
        return bool(self.surprising)

    @property
    def words(self) -> str:
        """Say what moved, for a person; the worst first."""
        found = self.surprising
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        return "; ".join(shift.moved for shift in found[:3]) + more

    def evidence(self) -> Json:
        """Give the grounds as JSON values."""
        return {
            "rows": self.rows,
            "reference_rows": self.reference_rows,
            "alpha": self.alpha,
            "columns_tested": len(self.shifts),
            "columns_drifted": len(self.surprising),
            "columns": [shift._asdict() | {"threshold": self.threshold} for shift in self.surprising[:NAMED]],
        }


def alpha_of(span_s: float, rows: int, *, false_alarms_per_month: float, versions: int) -> float:
    """Give the chance of a false alarm that one window may take.

    Args:
        span_s: Seconds from the end of the window before (or its own first row) to its last row.
        rows: Its rows, repeats included.
        false_alarms_per_month: The budget of the whole monitor.
        versions: Watched side by side; each gets an equal part.

    >>> round(alpha_of(86_400, 1000, false_alarms_per_month=1.0, versions=2), 4)
    0.0167
    """
    covered_s = min(MONTH_S, max(span_s, rows * SHORTEST_ROW_S))
    return min(MOST_ALPHA, false_alarms_per_month * covered_s / MONTH_S / max(1, versions))


def compare(reference: Reference, window: pa.Table, alpha: float) -> Verdict:
    """Compare a window with the reference.

    Args:
        reference: The version's held-out rows.
        window: Live rows with the same columns; a column that never came counts as missing throughout.
        alpha: Chance that a window without drift is called drifted.
    """
    found = [(name, _shift(name, column, window)) for name, column in reference.columns.items()]
    found.sort(key=lambda pair: pair[1].p)
    names, shifts = tuple(name for name, _ in found), tuple(shift for _, shift in found)
    return Verdict(window.num_rows, reference.rows, alpha, shifts, names)


def _shift(name: str, column: Numbers | Words, window: pa.Table) -> Shift:
    live = column_of(window, name)
    label = name.removeprefix(FEATURE)
    if isinstance(column, Numbers):
        return _numeric(label, column, as_numbers(live))
    return _categorical(label, column, counted(live), len(live))


def _numeric(name: str, column: Numbers, live: Any) -> Shift:
    values = np.sort(live[~np.isnan(live)])
    missing, n, m = len(live) - len(values), len(values), len(column.values)
    tests = 2 if missing + column.missing else 1
    lost = _missing_shift(name, missing, len(live), column.missing, m + column.missing)
    lost = lost._replace(p=min(1.0, tests * lost.p))
    if n < LEAST_VALUES or m < LEAST_VALUES:
        return lost
    distance = ks_distance(column.values, values)
    p = massart_p(distance, n, m, tests)
    if lost.p < p:
        return lost
    return Shift(name, "kolmogorov_smirnov", distance, p, _moved(name, column.values, values))


def ks_distance(sorted_a: Any, sorted_b: Any) -> float:
    """Measure the largest gap between two empirical distributions, both given in order, in [0, 1].

    >>> ks_distance(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    1.0
    """
    everywhere = np.concatenate([sorted_a, sorted_b])
    a = np.searchsorted(sorted_a, everywhere, side="right") / len(sorted_a)
    b = np.searchsorted(sorted_b, everywhere, side="right") / len(sorted_b)
    return float(np.abs(a - b).max())


def massart_p(distance: float, n: int, m: int, tests: int = 1) -> float:
    """Bound the chance of a gap at least this large between two samples of one distribution, over so many tests.

    >>> massart_p(0.0, 10, 10), round(massart_p(0.5, 30, 30), 6)
    (1.0, 0.001106)
    """
    return min(1.0, tests * 2 * math.exp(-2 * distance**2 * n * m / (n + m)))


def _missing_shift(name: str, missing: int, n: int, before: int, m: int) -> Shift:
    p = exact_p(missing, n, before, m)
    return Shift(name, _MISSING, missing / n - before / m, p, f"missing {name} {_pct(before, m)} → {_pct(missing, n)}")


def _categorical(name: str, column: Words, seen: Counter[str], n: int) -> Shift:
    m = column.counts.total() + column.missing
    cells = _cells(name, seen, column.counts, max(LEAST_ROWS, LEAST_SHARE * (n + m)))
    missing = n - seen.total()
    if missing + column.missing:
        cells.append(_Cell(f"missing {name}", missing, column.missing))
    found = [(exact_p(cell.now, n, cell.then, m), -abs(cell.now / n - cell.then / m), cell) for cell in cells]
    p, _, worst = min(found)
    words = f"{worst.words} {_pct(worst.then, m)} → {_pct(worst.now, n)}"
    return Shift(name, "exact_per_category", worst.now / n - worst.then / m, min(1.0, p * len(found)), words)


class _Cell(NamedTuple):
    words: str
    now: int
    then: int


def _cells(name: str, seen: Counter[str], known: Counter[str], least: float) -> list[_Cell]:
    """Count per category, rare ones together; what is rare depends on both samples alike, so the test stays exact."""
    cells, rare = [], _Cell(f"rare values of {name}", 0, 0)
    for word in sorted(seen.keys() | known.keys()):
        now, then = seen[word], known[word]
        if now + then >= least:
            cells.append(_Cell(f"{name} {word[:60]}" + ("" if then else " (never seen before)"), now, then))
        else:
            rare = rare._replace(now=rare.now + now, then=rare.then + then)
    return [*cells, rare] if rare.now + rare.then else cells


def exact_p(now: int, n: int, then: int, m: int) -> float:
    """Give the two-sided chance that ``now`` of ``n`` rows have what ``then`` of ``m`` others have, if all are alike.

    Twice the smaller tail of the hypergeometric distribution, at most 1.

    >>> exact_p(5, 100, 50, 1000)
    1.0
    >>> exact_p(60, 100, 50, 1000) < 1e-20
    True
    """
    total = now + then
    counts = np.arange(max(0, total - m), min(n, total) + 1)
    chances = np.exp(_log_choose(n, counts) + _log_choose(m, total - counts) - _log_choose(n + m, total))
    above, below = chances[counts >= now].sum(), chances[counts <= now].sum()
    return float(min(1.0, 2 * min(above, below)))


def _log_choose(whole: Any, part: Any) -> Any:
    return gammaln(whole + 1.0) - gammaln(part + 1.0) - gammaln(whole - part + 1.0)


def _moved(name: str, before: Any, after: Any) -> str:
    """Say in words how a distribution moved: its mean, or its spread where the mean stayed."""
    (mean_before, spread_before), (mean_after, spread_after) = _moments(before), _moments(after)
    if abs(mean_after - mean_before) < 0.1 * max(spread_before, spread_after):
        return f"spread of {name} {spread_before:.3g} → {spread_after:.3g}"
    return f"mean of {name} {mean_before:.3g} → {mean_after:.3g}"


def _moments(values: Any) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.mean()), float(finite.std())) if len(finite) else (math.nan, math.nan)


def _pct(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if part * 10 >= whole else f"{part / whole:.2%}"
