"""Curves as SVG, drawn here: they need neither a script nor a network. Not here: which figures they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from serve.console.render import figure

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 220, 56, 28, 10
Points = Sequence[tuple[float, float]]


def line_chart(title: str, curves: Mapping[str, Points], *, x: str, y: str, bound: float | None = None) -> Markup:
    """Draw one curve per name, with a legend, and a dashed line where ``bound`` is.

    Args:
        title: What a screen reader says of it.
        curves: Name → points, x rising.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
        bound: A level to reach or keep below.

    >>> "<polyline" in line_chart("t", {"1.0.0": [(0, 0), (1, 2)]}, x="s", y="ms")
    True
    >>> line_chart("t", {}, x="s", y="ms")
    Markup('<p class="quiet">Nothing to draw yet.</p>')
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return Markup('<p class="quiet">Nothing to draw yet.</p>')
    across = _Axis([at for at, _ in points], LEFT, WIDTH - 12)
    levels = [level for _, level in points] + ([bound] if bound is not None else [])
    up = _Axis([0.0, *levels], HEIGHT - BOTTOM, TOP)
    drawn = [_grid(across, up, x, y)]
    if bound is not None:
        level = up.at(bound)
        drawn.append(f'<line class="bound" x1="{LEFT}" x2="{WIDTH - 12}" y1="{level:.1f}" y2="{level:.1f}"/>')
    drawn += [_curve(curve, number, across, up) for number, curve in enumerate(curves.values())]
    legend = "".join(f'<li class="c{number % 5}">{escape(name)}</li>' for number, name in enumerate(curves))
    dashed = '<li class="bounded">bound</li>' if bound is not None else ""
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_told(title, curves))}">'
        f'{"".join(drawn)}</svg><ul class="legend">{legend}{dashed}</ul></figure>'
    )  # every text in it was escaped above


class _Axis:
    """A range of values on a range of pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values), max(values)
        self._start, self._length = start, end - start

    def at(self, value: float) -> float:
        """Give the pixel of a value."""
        return self._start + self._length * (value - self.low) / ((self.high - self.low) or 1.0)


def _grid(across: _Axis, up: _Axis, x: str, y: str) -> str:
    base = HEIGHT - BOTTOM
    return (
        f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH - 12}"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{figure(up.high)}</text>'
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">{figure(up.low)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{figure(across.low)}</text>'
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 8}" text-anchor="end">{figure(across.high)}</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="{LEFT + 8}" y="{TOP + 10}">{escape(y)}</text>'
    )


def _curve(points: Points, number: int, across: _Axis, up: _Axis) -> str:
    placed = " ".join(f"{across.at(at):.1f},{up.at(level):.1f}" for at, level in points)
    if len(points) == 1:
        horizontal, vertical = placed.split(",")
        return f'<circle class="c{number % 5}" cx="{horizontal}" cy="{vertical}" r="4"/>'
    return f'<polyline class="c{number % 5}" points="{placed}"/>'


def _told(title: str, curves: Mapping[str, Points]) -> str:
    ends = (f"{name} now {figure(curve[-1][1])}" for name, curve in curves.items() if curve)
    return f"{title}: {', '.join(ends)}"
