"""Two distributions of one column as SVG, drawn here. Told apart by shape too: held-out filled, live outlined."""

from __future__ import annotations

from markupsafe import Markup, escape

from contracts.drift import Bar, ColumnDrift
from serve.console.render import figure, share

WIDTH, LEFT, RIGHT, TOP = 440, 8, 8, 12
HIGH, FOOT = 130, 22
ROW, LABEL, SHARES = 34, 152, 124


def histograms(column: ColumnDrift) -> Markup:
    """Draw a column: ranges side by side, or a row per category.

    >>> bars = (Bar(label="f", reference=0.5, live=0.25), Bar(label="<m>", reference=0.5, live=None))
    >>> column = ColumnDrift(column="sex", kind="categorical", bars=bars, reference_missing=0, live_missing=None)
    >>> "f: held out 50%, live 25%; &lt;m&gt;: held out 50%" in histograms(column)
    True
    """
    if column.kind == "numeric":
        drawn, height = _ranges(column), TOP + HIGH + FOOT
    else:
        drawn, height = _rows(column.bars), ROW * max(1, len(column.bars))
    told = escape(_told(column))
    return Markup(
        f'<svg class="pair" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{told}">{drawn}</svg>'
    )  # every text in it was escaped above


def _ranges(column: ColumnDrift) -> str:
    bars = column.bars
    most = max((max(bar.reference, bar.live or 0.0) for bar in bars), default=0.0) or 1.0
    step, base = (WIDTH - LEFT - RIGHT) / max(1, len(bars)), TOP + HIGH

    def level(part: float) -> float:
        return base - HIGH * part / most

    then = "".join(
        f'<rect class="then" x="{LEFT + place * step:.1f}" y="{level(bar.reference):.1f}" '
        f'width="{step:.1f}" height="{base - level(bar.reference):.1f}"/>'
        for place, bar in enumerate(bars)
    )
    line = f"M{LEFT} {base}" + "".join(
        f"V{level(bar.live or 0.0):.1f}H{LEFT + (place + 1) * step:.1f}" for place, bar in enumerate(bars)
    )
    now = f'<path class="now" d="{line}V{base}"/>' if any(bar.live is not None for bar in bars) else ""
    return (
        f'{then}{now}<path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT}" y="{base + 16}">{figure(column.low)}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{base + 16}" text-anchor="end">{figure(column.high)}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{TOP}" text-anchor="end">most in a range: {share(most)}</text>'
    )


def _rows(bars: tuple[Bar, ...]) -> str:
    most = max((max(bar.reference, bar.live or 0.0) for bar in bars), default=0.0) or 1.0
    length = WIDTH - LABEL - SHARES

    def row(place: int, bar: Bar) -> str:
        y, told = place * ROW, share(bar.reference) + (f" → {share(bar.live)}" if bar.live is not None else "")
        words = bar.label if len(bar.label) <= 18 else bar.label[:17] + "…"
        live = length * (bar.live or 0.0) / most
        return (
            f'<text x="{LABEL - 8}" y="{y + 20}" text-anchor="end">{escape(words)}</text>'
            f'<rect class="then" x="{LABEL}" y="{y + 5}" width="{length * bar.reference / most:.1f}" height="11"/>'
            f'<rect class="now" x="{LABEL}" y="{y + 17}" width="{live:.1f}" height="10"/>'
            f'<text x="{WIDTH}" y="{y + 20}" text-anchor="end">{told}</text>'
        )

    return "".join(row(place, bar) for place, bar in enumerate(bars))


def _told(column: ColumnDrift) -> str:
    """Say the same to a screen reader: each category, or where the middle of the numbers lies."""
    if column.kind == "numeric":
        live = "" if column.live_missing is None else f", of live rows in {_middle(column.bars, live=True)}"
        return f"{column.column}: the middle of the held-out rows lies in {_middle(column.bars, live=False)}{live}"
    parts = (
        f"{bar.label}: held out {share(bar.reference)}" + (f", live {share(bar.live)}" if bar.live is not None else "")
        for bar in column.bars
    )
    return f"{column.column}: {'; '.join(parts)}"


def _middle(bars: tuple[Bar, ...], *, live: bool) -> str:
    seen = 0.0
    for bar in bars:
        seen += (bar.live or 0.0) if live else bar.reference
        if seen >= 0.5:
            return bar.label
    return "no range"
