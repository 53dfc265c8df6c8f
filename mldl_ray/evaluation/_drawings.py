"""The card's marks in rows: bars, ranges and groups, as inline SVG coloured by the page, and how figures are written.

Drawn for a width of ``WIDTH``, so that their letters stay readable on a phone. Plots with axes are in ``_plots``.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from contracts.evaluations import Interval

WIDTH = 340
_LONGEST = 40  # letters of a name above its mark; the whole name is in its tooltip
_ROW = 40
_EDGE = 8


def bars(values: Sequence[tuple[str, float]], label: str = "One bar per name") -> str:
    """Draw one bar per name from zero, the name above it and its figure behind it; values may be negative."""
    if not values:
        return ""
    low, high = min(0.0, *(value for _, value in values)), max(0.0, *(value for _, value in values))
    span = WIDTH - 2 * _EDGE - 58
    scale = span / (high - low) if high > low else 0.0
    zero = _EDGE - low * scale
    parts = []
    for i, (name, value) in enumerate(values):
        top = i * 34
        start, end = sorted((zero, zero + value * scale))
        parts.append(
            f'<text x="{_EDGE}" y="{top + 12}">{short(name)}</text>'
            f'<rect class="mark" x="{start:.1f}" y="{top + 17}" width="{max(1.0, end - start):.1f}" height="10" '
            'rx="2"/>'
            f'<text class="soft" x="{end + 6:.1f}" y="{top + 26}">{number(value)}</text>'
        )
    return svg(len(values) * 34 + 4, label, "".join(parts))


def groups(
    values: Mapping[str, float],
    intervals: Mapping[str, Interval],
    rows: Mapping[str, int],
    insufficient: Mapping[str, int],
    *,
    axis: tuple[float, float],
) -> str:
    """Draw one dot per group with its interval as a whisker; groups with too few rows are named without a mark.

    Args:
        values: Group → its rate or mean.
        intervals: Group → how sure that is, where known.
        rows: Group → rows.
        insufficient: Group → rows, of those that are not judged.
        axis: Its ends, so that drawings side by side can share them.
    """
    low, high = axis
    width = WIDTH - 2 * _EDGE - 4

    def x(value: float) -> float:
        return _EDGE + (value - low) / ((high - low) or 1.0) * width

    parts, top = [], 0
    for name, value in values.items():
        sure = intervals.get(name)
        reach = f" ({number(sure.low)} to {number(sure.high)})" if sure else ""
        parts.append(
            f'<text x="{_EDGE}" y="{top + 13}">{short(name)}</text>'
            f'<text class="soft" x="{WIDTH - _EDGE}" y="{top + 13}" text-anchor="end">{number(value)}'
            f"<title>{text(name)}: {number(value)}{reach}, {rows.get(name, 0):,} rows</title></text>"
            f'<line class="grid" x1="{_EDGE}" x2="{WIDTH - _EDGE}" y1="{top + 25}" y2="{top + 25}"/>'
        )
        if sure:
            parts.append(f'<line class="whisker" x1="{x(sure.low):.1f}" x2="{x(sure.high):.1f}" y1="{top + 25}" '
                         f'y2="{top + 25}"/>')  # fmt: skip
        parts.append(f'<circle class="mark" cx="{x(value):.1f}" cy="{top + 25}" r="5"/>')
        top += _ROW
    for name, count in list(insufficient.items())[:12]:
        parts.append(
            f'<text class="soft" x="{_EDGE}" y="{top + 13}">{short(name, 26)}</text>'
            f'<text class="soft" x="{WIDTH - _EDGE}" y="{top + 13}" text-anchor="end">insufficient: {count:,} rows'
            "</text>"
        )
        top += 20
    ends = "".join(
        f'<text class="soft" x="{place:.0f}" y="{top + 12}" text-anchor="{anchor}">{number(value)}</text>'
        for place, value, anchor in ((_EDGE, low, "start"), (WIDTH - _EDGE, high, "end"))
    )
    return svg(top + 18, "One dot per group, with its 95% interval", "".join(parts) + ends)


def reach(value: float, low: float, high: float) -> str:
    """Draw where between 0 and 1 a figure lies, and how sure that is; as small as a word."""
    x = [4 + 92 * min(1.0, max(0.0, place)) for place in (value, low, high)]
    return (
        '<svg class="reach" viewBox="0 0 100 14" width="100" height="14" aria-hidden="true">'
        '<line class="grid" x1="4" x2="96" y1="7" y2="7"/>'
        f'<line class="whisker" x1="{x[1]:.1f}" x2="{max(x[2], x[1] + 1):.1f}" y1="7" y2="7"/>'
        f'<circle class="mark" cx="{x[0]:.1f}" cy="7" r="3.5"/></svg>'
    )


def svg(height: float, label: str, inside: str, width: float = WIDTH) -> str:
    """Wrap marks into a drawing that shrinks with its place, and says in words what it is."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{text(label)}">{inside}</svg>'
    )


def short(name: str, longest: int = _LONGEST) -> str:
    """Cut a name that is too long for its place; the whole one is in its tooltip.

    >>> short("<b>")
    '&lt;b&gt;<title>&lt;b&gt;</title>'
    """
    shown = name if len(name) <= longest else name[: longest - 1] + "…"
    return f"{text(shown)}<title>{text(name)}</title>"


def number(value: float | None) -> str:
    """Write a figure so that it can be read.

    >>> number(0.12345), number(2131), number(12345.678), number(None), number(0.000012), number(0.0)
    ('0.123', '2,131', '12,346', '–', '1.2e-05', '0.000')
    """
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.0005:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def text(value: object) -> str:
    """Make text from outside harmless."""
    return html.escape(str(value), quote=True)


def axis_of(ends: Sequence[float], *, share: bool) -> tuple[float, float]:
    """Give the ends of an axis: for shares from 0 to a round number, otherwise what there is.

    >>> axis_of([0.1, 0.23], share=True), axis_of([-3.0, 5.0], share=False)
    ((0.0, 0.25), (-3.0, 5.0))
    """
    if not share:
        return min(ends, default=0.0), max(ends, default=1.0)
    return 0.0, next((end for end in (0.05, 0.1, 0.25, 0.5) if end >= max(ends, default=1.0)), 1.0)
