"""Drawings of a search, as inline SVG in the look of our pages. Which trials are drawn, and why, is in ``report``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from contracts.records import TrialRecord
from mldl_ray.evaluation.page import WIDTH, number, short, svg, text
from mldl_ray.training.importance import Share

STYLE = """
svg .stopped{fill:none;stroke:var(--soft);stroke-width:1.5}svg .cross{stroke:var(--orange);stroke-width:1.6}
svg .path{fill:none;stroke:var(--blue);stroke-opacity:.16}svg .path.few{stroke-opacity:.45}
svg .path.best{stroke:var(--orange);stroke-opacity:.95;
stroke-width:1.8}svg .chance{stroke:var(--ink);stroke-width:2}.beside svg{width:100%;max-width:30rem;margin-top:.4rem}
.beside svg text{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.best td{white-space:nowrap}.best td:last-child{white-space:normal;min-width:17rem;overflow-wrap:anywhere}
@media(max-width:40rem){.best tr{display:grid;grid-template-columns:2.4rem 3.7rem 8rem 2.9rem 1fr}
.best tr td,.best tr th{border-bottom:0}.best tr{border-bottom:1px solid var(--line)}
.best tr :last-child{grid-column:1/-1;min-width:0}}
"""
_LEFT, _RIGHT, _TOP, _FOOT = 58, 10, 10, 36
_PLOT = 220
_ROW = 58
_EDGE = 12.0
FEW_LINES = 40
"""Of so many lines each can be seen by itself, and is drawn stronger."""
MANY_DOTS = 400
"""Of more dots each is drawn smaller."""
WORDS_SHOWN = 4
"""Values of a setting of words that are named under its axis; of more, their count."""


def history(trials: Sequence[TrialRecord], best: Sequence[tuple[int, float]], metric: str, sign: int) -> str:
    """Draw scores in the order in which trials ended, and the best so far as a line; nothing without scores.

    Scores far off on the bad side are drawn at the edge, so that the others can be told apart.
    """
    scores = [trial.score for trial in trials if trial.score is not None]
    if not scores:
        return ""
    low, high = shown_range(scores, sign)
    count = len(trials)

    def x(place: float) -> float:
        return _LEFT + (place - 0.5) / count * (WIDTH - _LEFT - _RIGHT)

    def y(score: float) -> float:
        return _TOP + (1 - (min(max(score, low), high) - low) / (high - low)) * _PLOT

    parts = [_frame(low, high, count, metric, x)]
    for place, trial in enumerate(trials, start=1):
        parts.append(_mark(trial, x(place), y(trial.score) if trial.score is not None else _TOP + _PLOT, place, count))
    corners = []
    for i, (place, score) in enumerate(best):
        corners += [(x(place), y(best[i - 1][1])), (x(place), y(score))] if i else [(x(place), y(score))]
    if corners:
        corners.append((x(count), corners[-1][1]))
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    parts.append(f'<polyline class="thread c2" points="{line}"/>')
    return svg(_TOP + _PLOT + _FOOT, f"{metric} of every trial in the order in which they ended", "".join(parts))


def shown_range(scores: Sequence[float], sign: int) -> tuple[float, float]:
    """Give the ends of the scores' axis: all of them, but for those far off on the bad side.

    >>> shown_range([1.0, 1.1, 1.2, 1.3, 900.0], sign=-1)[1] < 3
    True
    """
    low, high = min(scores), max(scores)
    quarter, three = (float(end) for end in np.quantile(scores, [0.25, 0.75]))
    reach = 3 * (three - quarter)
    if reach > 0:
        low, high = (max(low, quarter - reach), high) if sign > 0 else (low, min(high, three + reach))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def shares(found: Sequence[Share]) -> str:
    """Draw what each setting explains as a bar, and as a tick what chance alone reaches."""
    if not found:
        return ""
    span = WIDTH - 2 * _EDGE - 52
    parts = []
    for i, share in enumerate(found):
        top, end, tick = i * 34, _EDGE + share.share * span, _EDGE + share.chance * span
        parts.append(
            f'<text x="{_EDGE}" y="{top + 12}">{short(share.axis)}</text>'
            f'<line class="grid" x1="{_EDGE}" x2="{_EDGE + span}" y1="{top + 22}" y2="{top + 22}"/>'
            f'<rect class="mark" x="{_EDGE}" y="{top + 17}" width="{max(1.0, end - _EDGE):.1f}" height="10" rx="2"/>'
            f'<line class="chance" x1="{tick:.1f}" x2="{tick:.1f}" y1="{top + 14}" y2="{top + 30}"/>'
            f'<text class="soft" x="{WIDTH - _EDGE}" y="{top + 26}" text-anchor="end">{share.share:.0%}</text>'
        )
    return svg(len(found) * 34 + 4, "What each setting explains of the scores by itself", "".join(parts))


def parallel(trials: Sequence[TrialRecord], best: set[str], axes: Sequence[str], metric: str) -> str:
    """Draw each trial as a line from setting to setting, top to bottom, to its score; the best ones stand out.

    Axes lie across, so that any number of them fits a phone.
    """
    if len(trials) < 2 or not axes:
        return ""
    scales = [_Scale(axis, [trial.config.get(axis) for trial in trials]) for axis in axes]
    scales.append(_Scale(metric, [trial.score for trial in trials]))
    parts = []
    for trial in sorted(trials, key=lambda trial: trial.trial_id in best):  # the best ones on top
        values = [*(trial.config.get(axis) for axis in axes), trial.score]
        points = [
            (scale.x(value), _height(row))
            for row, (scale, value) in enumerate(zip(scales, values, strict=True))
            if value is not None
        ]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        kind = " best" if trial.trial_id in best else " few" if len(trials) <= FEW_LINES else ""
        parts.append(f'<polyline class="path{kind}" points="{line}"/>')
    parts += [scale.drawn(_height(row)) for row, scale in enumerate(scales)]
    return svg(len(scales) * _ROW + 6, "Each trial as a line through its settings to its score", "".join(parts))


class _Scale:
    """Where the values of one setting lie across the drawing: numbers by size or logarithm, words by name."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        given = [value for value in values if value is not None]
        self.name = name
        self.numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
        self.words = [] if self.numeric else sorted({_word(value) for value in given})
        self.low, self.high = (float(min(given)), float(max(given))) if self.numeric and given else (0.0, 1.0)
        self.log = self.numeric and self.low > 0 and self.high / self.low >= 100

    def x(self, value: Any) -> float:
        if not self.numeric:
            return _across(self.words.index(_word(value)), 0, len(self.words) - 1)
        if self.log:
            return _across(math.log(value), math.log(self.low), math.log(self.high))
        return _across(float(value), self.low, self.high)

    def drawn(self, y: float) -> str:
        note = " (logarithmic)" if self.log else ""
        return (
            f'<line class="axis" x1="{_EDGE}" x2="{WIDTH - _EDGE}" y1="{y}" y2="{y}"/>'
            f'<text x="{_EDGE}" y="{y - 8}">{short(self.name + note)}</text>{self._ends(y + 14)}'
        )

    def _ends(self, y: float) -> str:
        ends: list[tuple[str, float, str]]
        if self.numeric:
            ends = [(_figure(self.low), _EDGE, "start"), (_figure(self.high), WIDTH - _EDGE, "end")]
            ends = ends if self.low != self.high else [(ends[0][0], WIDTH / 2, "middle")]
        elif len(self.words) <= WORDS_SHOWN:
            last = len(self.words) - 1
            ends = [
                (word, _across(i, 0, last), "middle" if 0 < i < last or not last else "end" if i else "start")
                for i, word in enumerate(self.words)
            ]
        else:
            ends = [(self.words[0], _EDGE, "start"), (f"{len(self.words)} values", WIDTH / 2, "middle"),
                    (self.words[-1], WIDTH - _EDGE, "end")]  # fmt: skip
        return "".join(
            f'<text class="soft" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{short(word, 14)}</text>'
            for word, x, anchor in ends
        )


def _across(value: float, low: float, high: float) -> float:
    return _EDGE + ((value - low) / (high - low) if high > low else 0.5) * (WIDTH - 2 * _EDGE)


def _height(row: int) -> float:
    return row * _ROW + 26


def _word(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.3g}"


def _mark(trial: TrialRecord, x: float, y: float, place: int, count: int) -> str:
    said = f"<title>{text(f'trial {place}, {trial.status}: {number(trial.score)}')}</title>"
    if trial.status == "failed" or trial.score is None:
        return f'<path class="cross" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6">{said}</path>'
    kind, radius = ("point", 3.0) if trial.status == "completed" else ("stopped", 2.5)
    radius = radius if count <= MANY_DOTS else radius / 2
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{said}</circle>'


def _frame(low: float, high: float, count: int, metric: str, x: Callable[[float], float]) -> str:
    foot = _TOP + _PLOT
    parts = []
    for figure, written in ticks(low, high):
        y = foot - (figure - low) / (high - low) * _PLOT
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{written}</text>')
    for place in sorted({1, (count + 1) // 2, count}):
        anchor = "end" if place == count > 999 else "middle"
        parts.append(f'<text class="soft" x="{x(place):.1f}" y="{foot + 15}" text-anchor="{anchor}">{place:,}</text>')
    middle = _TOP + _PLOT / 2
    parts.append(
        f'<text class="soft" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{foot + 31}" text-anchor="middle">'
        "trials in the order in which they ended</text>"
        f'<text class="soft" x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">'
        f"{short(metric, 30)}</text>"
    )
    return "".join(parts)


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Give round figures between two ends, three to seven of them, as written.

    >>> [written for _, written in ticks(0.262, 0.7)]
    ['0.3', '0.4', '0.5', '0.6', '0.7']
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(place * step, _written(place * step, digits)) for place in range(first, last + 1)]


def _written(value: float, digits: int) -> str:
    return f"{value:.{min(digits, 4)}f}" if abs(value) < 1e4 and digits <= 4 else f"{value:.2e}"
