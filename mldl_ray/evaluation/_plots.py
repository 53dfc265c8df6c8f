"""The card's plots with axes, as inline SVG coloured by the page's own style. Marks in rows are in ``_drawings``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.evaluations import Curve, Interval, ReliabilityBin
from mldl_ray.evaluation._drawings import WIDTH, number, short, svg, text

_LEFT, _TOP, _FOOT, _RIGHT = 46, 10, 40, 12
_SIDE = WIDTH - _LEFT - _RIGHT
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_HEIGHT = _TOP + _SIDE + _FOOT
MOST_NUMBERED = 10
"""Classes of a confusion whose cells carry figures; of more, only their shade says it."""


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
    line = _polyline("thread", [(entry.confidence, entry.accuracy) for entry in bins])
    inside = f"{_diagonal()}{_grid()}{line}{dots}{_titles('stated confidence', 'accuracy')}"
    return svg(_HEIGHT, "Reliability diagram: accuracy over stated confidence", inside)


def curves(found: Sequence[Curve], across: str, up: str, label: str, *, chance: Sequence[tuple[float, float]]) -> str:
    """Draw one line per class between 0 and 1, and what guessing reaches as a dashed one; nothing without curves."""
    if not found:
        return ""
    guess = _polyline("axis dashed", chance)
    lines = "".join(_polyline(f"thread c{i}", curve.points) for i, curve in enumerate(found))
    return svg(_HEIGHT, label, f"{_grid()}{guess}{lines}{_titles(across, up)}")


def legend(found: Sequence[Curve], area: str) -> str:
    """Name the lines of ``curves`` in their colours, with the area beneath each."""
    items = "".join(
        f'<li class="c{i}"><span>{text(curve.name)}</span> {area} {number(curve.area)}</li>'
        for i, curve in enumerate(found)
    )
    return f'<ul class="legend">{items}</ul>'


def confusion(labels: Sequence[str], cells: Sequence[Sequence[float]]) -> str:
    """Draw true classes as rows and answers as columns, darker the more of a true class is answered so."""
    if not cells:
        return ""
    k = len(labels)
    step = _SIDE / k
    parts = []
    for i, row in enumerate(cells):
        whole = sum(row)
        for j, mass in enumerate(row):
            share = mass / whole if whole else 0.0
            x, y = _LEFT + j * step, _TOP + i * step
            said = f"{labels[i]} answered as {labels[j]}: {number(round(mass))} rows, {share:.1%} of the true class"
            kind = "right" if i == j else "wrong"
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{step:.1f}" height="{step:.1f}" '
                f'fill-opacity="{0.06 + 0.8 * share:.2f}"><title>{text(said)}</title></rect>'
            )
            if mass and k <= MOST_NUMBERED:
                parts.append(_cell(x + step / 2, y + step / 2, share, mass, k))
    shown = range(k) if k <= MOST_NUMBERED else range(0, k, k // MOST_NUMBERED + 1)
    names = "".join(
        f'<text class="soft" x="{_LEFT - 5}" y="{_TOP + (i + 0.5) * step + 4:.1f}" text-anchor="end">'
        f"{short(labels[i], 6)}</text>"
        f'<text class="soft" x="{_LEFT + (i + 0.5) * step:.1f}" y="{_TOP + _SIDE + 14}" text-anchor="middle">'
        f"{short(labels[i], max(2, int(step / 7)))}</text>"
        for i in shown
    )
    inside = "".join(parts) + names + _titles("answer", "true class")
    return svg(_HEIGHT, "Confusion: true classes as rows, answers as columns", inside)


def _cell(x: float, y: float, share: float, mass: float, k: int) -> str:
    pale = ' class="pale"' if share > 0.55 else ""
    size = 13 if k <= 4 else 10 if k <= 7 else 8.5
    rows = (
        f'<text{pale} x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{number(round(mass))}</text>' if k <= 4 else ""
    )
    return (
        f'<text{pale} x="{x:.1f}" y="{y + (0 if rows else 4):.1f}" text-anchor="middle" font-size="{size}">'
        f"{share:.0%}</text>{rows}"
    )


def scatter(points: Sequence[tuple[float, float]]) -> str:
    """Draw answers over true values; on the dashed line both are the same."""
    if not points:
        return ""
    ends = [value for point in points for value in point]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    dots = "".join(
        f'<circle class="dot" cx="{_x((truth - low) / span):.1f}" cy="{_y((said - low) / span):.1f}" r="3"/>'
        for truth, said in points
    )
    inside = f"{_diagonal()}{_grid(low, span)}{dots}{_titles('true value', 'answer')}"
    return svg(_HEIGHT, "Answers over true values", inside)


def decline(lines: Mapping[str, Mapping[float, float]], bounds: Mapping[float, Interval], up: str) -> str:
    """Draw how a figure changes with the size of a disturbance.

    Args:
        lines: Name → size in training deviations → figure; the second is the attack, whose whiskers are ``bounds``.
        bounds: Size → how sure the attack's figure is.
        up: What the figure is.
    """
    ends = [value for line in lines.values() for value in line.values()]
    ends += [end for bound in bounds.values() for end in (bound.low, bound.high)]
    if not ends:
        return ""
    low, high = (0.0, 1.0) if up == "accuracy" else (min(0.0, *ends), max(ends))
    span, far = (high - low) or 1.0, max((size for line in lines.values() for size in line), default=1.0) or 1.0
    parts = [_grid(low, span, 0.0, far)]
    for size, bound in bounds.items():
        x = _x(size / far)
        y1, y2 = (_y((end - low) / span) for end in (bound.low, bound.high))
        parts.append(f'<line class="whisker c1" x1="{x:.1f}" x2="{x:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>')
    for i, (name, line) in enumerate(lines.items()):
        points = [(size / far, (value - low) / span) for size, value in line.items()]
        parts.append(_polyline(f"thread c{i}", points))
        for (size, value), (x, y) in zip(line.items(), points, strict=True):
            said = f"{name}, {size:g} deviations: {number(value)}"
            parts.append(f'<circle class="point c{i}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4"><title>{text(said)}'
                         "</title></circle>")  # fmt: skip
    parts.append(_titles("size of the change, training deviations", up))
    return svg(_HEIGHT, f"{up} over the size of a disturbance", "".join(parts))


def _titles(across: str, up: str) -> str:
    return (
        f'<text class="soft" x="{_x(0.5):.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{text(across)}</text>'
        f'<text class="soft" x="11" y="{_y(0.5):.0f}" text-anchor="middle" '
        f'transform="rotate(-90 11 {_y(0.5):.0f})">{text(up)}</text>'
    )


def _diagonal() -> str:
    return f'<line class="axis dashed" x1="{_x(0):.1f}" y1="{_y(0):.1f}" x2="{_x(1):.1f}" y2="{_y(1):.1f}"/>'


def _grid(low: float = 0.0, span: float = 1.0, left: float | None = None, width: float | None = None) -> str:
    """Draw the grid; the axis across is as the one up unless it is given."""
    start, far = (low, span) if left is None or width is None else (left, width)
    parts = []
    for tick in _TICKS:
        x, y = _x(tick), _y(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_y(0):.1f}" x2="{x:.1f}" y2="{_y(1):.1f}"/>')
        parts.append(f'<line class="grid" x1="{_x(0):.1f}" y1="{y:.1f}" x2="{_x(1):.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="{_y(0) + 15:.1f}" text-anchor="middle">'
                     f"{_tick(start + tick * far)}</text>")  # fmt: skip
        parts.append(f'<text class="soft" x="{_x(0) - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{_tick(low + tick * span)}</text>")  # fmt: skip
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}" if abs(value) < 1e5 else f"{value:.1e}"


def _polyline(kind: str, points: Sequence[tuple[float, float]]) -> str:
    line = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{line}"/>'


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE
