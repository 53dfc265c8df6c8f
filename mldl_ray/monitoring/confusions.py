"""Which label met which prediction, how often: a table of bounded size. What a mistake costs is decided elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST_CELLS = 400
OTHER, ANOTHER = "(other)", "(another)"
"""What a cell is called that found no place any more: other and other when right, other and another when wrong."""
_LONGEST = 100


class Confusions:
    """Count pairs of label and prediction, as words."""

    def __init__(self) -> None:
        self._cells: Counter[tuple[str, str]] = Counter()

    def add(self, label: Any, prediction: Any) -> None:
        """Count one labelled answer."""
        cell = (word(label), word(prediction))
        if cell not in self._cells and len(self._cells) >= MOST_CELLS:
            cell = (OTHER, OTHER if cell[0] == cell[1] else ANOTHER)
        self._cells[cell] += 1

    def cells(self) -> tuple[tuple[str, str, int], ...]:
        """List label, prediction and count, in order."""
        return tuple((label, prediction, count) for (label, prediction), count in sorted(self._cells.items()))


def word(value: Any) -> str:
    """Write a JSON scalar as a spec would name it.

    >>> word(1.0), word(True), word("a"), word(0.5)
    ('1', 'true', 'a', '0.5')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:_LONGEST]
