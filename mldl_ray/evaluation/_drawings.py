"""The card's drawings as inline SVG, coloured by the page's own style, and how its figures are written."""

from __future__ import annotations

import html
from collections.abc import Sequence

from contracts.records import ReliabilityBin

_SIDE, _LEFT, _TOP, _FOOT = 260, 48, 12, 44
_LONGEST = 28  # letters of a group's name beside its bar; the whole name is in its tooltip


def reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Draw accuracy over stated confidence, dots as large as they have rows; nothing without bins."""
    if not bins:
        return ""
    most = max(entry.rows for entry in bins)
    dots = "".join(
        f'<circle class="mark" cx="{_x(entry.confidence):.1f}" cy="{_y(entry.accuracy):.1f}" '
        f'r="{2.5 + 5 * (entry.rows / most) ** 0.5:.1f}"><title>says {entry.confidence:.3f}, is right '
        f"{entry.accuracy:.3f}, {entry.rows:,} rows</title></circle>"
        for entry in bins
    )
    line = " ".join(f"{_x(entry.confidence):.1f},{_y(entry.accuracy):.1f}" for entry in bins)
    width, height = _LEFT + _SIDE + 16, _TOP + _SIDE + _FOOT
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="Reliability diagram: accuracy over stated confidence">{_grid()}'
        f'<polyline class="thread" points="{line}"/>{dots}'
        f'<text class="soft" x="{_x(0.5)}" y="{height - 6}" text-anchor="middle">stated confidence</text>'
        f'<text class="soft" x="12" y="{_y(0.5)}" text-anchor="middle" transform="rotate(-90 12 {_y(0.5)})">'
        "accuracy</text>"
        "</svg>"
    )


def _grid() -> str:
    parts = [f'<line class="axis" stroke-dasharray="4 4" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{_x(tick)}" y1="{_y(0)}" x2="{_x(tick)}" y2="{_y(1)}"/>')
        parts.append(f'<line class="grid" x1="{_x(0)}" y1="{_y(tick)}" x2="{_x(1)}" y2="{_y(tick)}"/>')
        parts.append(f'<text class="soft" x="{_x(tick)}" y="{_y(0) + 16}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text class="soft" x="{_x(0) - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
    return "".join(parts)


def bars(values: Sequence[tuple[str, float]]) -> str:
    """Draw one bar per group from zero, named on the left, with its figure; values may be negative."""
    if not values:
        return ""
    low, high = min(0.0, *(value for _, value in values)), max(0.0, *(value for _, value in values))
    left, span, row = 210, 380, 24
    scale = span / (high - low) if high > low else 0.0
    zero = left - low * scale
    parts = []
    for i, (group, value) in enumerate(values):
        y, shown = i * row + 4, group if len(group) <= _LONGEST else group[: _LONGEST - 1] + "…"
        start, end = sorted((zero, zero + value * scale))
        parts.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{_text(shown)}<title>{_text(group)}</title></text>'
            f'<rect class="mark" x="{start:.1f}" y="{y}" width="{max(1.0, end - start):.1f}" height="16" rx="2"/>'
            f'<text x="{end + 6:.1f}" y="{y + 13}">{number(value)}</text>'
        )
    width, height = left + span + 70, len(values) * row + 8
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="One bar per group">'
        f"{''.join(parts)}</svg>"
    )


def number(value: float | None) -> str:
    """Write a figure so that it can be read.

    >>> number(0.12345), number(2131), number(12345.678), number(None)
    ('0.123', '2,131', '12,346', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE


def _text(value: str) -> str:
    return html.escape(value, quote=True)
