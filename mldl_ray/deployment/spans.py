"""Who owns which part of the hash space [0, 1) of the sticky keys, when several candidates stand beside stable. Pure.

A candidate grows by the lowest space that nobody owns, and gives nothing back while it runs: so a key that it answers
once it goes on answering, whatever becomes of the others. What no candidate owns is stable's.
"""

from __future__ import annotations

from collections.abc import Iterable

Spans = tuple[tuple[float, float], ...]
DIGITS = 12
"""Edges are kept to so many decimals, so that sums of shares come out even."""


def size(spans: Spans) -> float:
    """Give the share of the hash space that spans cover.

    >>> size(((0.0, 0.05), (0.3, 0.5)))
    0.25
    """
    return round(sum(high - low for low, high in spans), DIGITS)


def unowned(owned: Iterable[Spans]) -> Spans:
    """Give what is left of [0, 1), in order.

    >>> unowned([((0.0, 0.1),), ((0.2, 0.3),)])
    ((0.1, 0.2), (0.3, 1.0))
    """
    left, low = [], 0.0
    for start, end in sorted(span for spans in owned for span in spans):
        if start > low:
            left.append((low, start))
        low = max(low, end)
    return (*left, (low, 1.0)) if low < 1 else tuple(left)


def grown(mine: Spans, others: Iterable[Spans], share: float) -> Spans:
    """Add the lowest unowned space to a candidate's spans until they are ``share`` of all, or no space is left.

    >>> grown(((0.0, 0.05),), [], 0.25)
    ((0.0, 0.25),)
    >>> grown(((0.0, 0.05),), [((0.05, 0.15),)], 0.25)
    ((0.0, 0.05), (0.15, 0.35))
    """
    found, missing = list(mine), round(share - size(mine), DIGITS)
    for low, high in unowned([mine, *others]):
        if missing <= 0:
            break
        end = min(high, round(low + missing, DIGITS))
        missing = round(missing - (end - low), DIGITS)
        found.append((low, end))
    return _joined(sorted(found))


def _joined(spans: list[tuple[float, float]]) -> Spans:
    joined: list[tuple[float, float]] = []
    for low, high in spans:
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)
