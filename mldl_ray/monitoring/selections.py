"""How often the groups of sensitive columns are selected by a candidate, live. What is tolerable is decided elsewhere.

The unit is the sticky key: a person who asks often is one person. As in an evaluation, a row is selected when the last
class is predicted, and a group needs ``LEAST_KEYS`` beneath it. Columns with more than ``MOST_GROUPS`` values (a
number, say) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from contracts.telemetry import FEATURE
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.distinct import DistinctKeys
from mldl_ray.monitoring.outcomes import same_value
from mldl_ray.monitoring.reference import as_words

LEAST_KEYS = 30
MOST_GROUPS = 12
MISSING = "(missing)"
RateBounds = Callable[[int, int], tuple[float, float]]


class _Group(NamedTuple):
    asked: DistinctKeys
    selected: DistinctKeys


class Selections:
    """Count one arm's selections per group."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, _Group]] = {}
        self._left_out: set[str] = set()

    def add(self, batch: Batch, rows: list[int], columns: tuple[str, ...], last_class: Any) -> None:
        """Count answered rows of a batch."""
        keys = batch.texts("key")
        for name in columns:
            if name in self._left_out or FEATURE + name not in batch.table.column_names:
                continue
            words = as_words(batch.table[FEATURE + name])
            by_group: dict[str, list[int]] = {}
            for row in rows:
                by_group.setdefault(words[row] or MISSING, []).append(row)
            if len(by_group.keys() | self._columns.get(name, {}).keys()) > MOST_GROUPS:
                self._left_out.add(name)
                self._columns.pop(name, None)
                continue
            for word, places in by_group.items():
                group = self._group(name, word)
                group.asked.add(keys[row] for row in places)
                group.selected.add(keys[row] for row in places if same_value(last_class, batch.predictions[row]))

    def plus(self, other: Selections) -> Selections:
        """Add up two, each key once."""
        total = Selections()
        total._left_out = self._left_out | other._left_out
        for part in (self, other):
            for name, groups in part._columns.items():
                for word, group in groups.items() if name not in total._left_out else ():
                    mine = total._group(name, word)
                    mine.asked.update(group.asked)
                    mine.selected.update(group.selected)
        return total

    def sure_delta(self, bounds: RateBounds) -> float | None:
        """Give the largest difference in selection rate between two groups of one column that there surely is.

        Args:
            bounds: Gives the lower and upper bound of a rate from how many of how many.

        Returns:
            0 while no difference is sure; None while no column has two groups of ``LEAST_KEYS`` keys.
        """
        found = []
        for groups in self._columns.values():
            sizes = [(group.selected.count, group.asked.count) for group in groups.values()]
            rates = [bounds(min(part, whole), whole) for part, whole in sizes if whole >= LEAST_KEYS]
            if len(rates) >= 2:
                found.append(max(0.0, max(low for low, _ in rates) - min(high for _, high in rates)))
        return max(found) if found else None

    def _group(self, name: str, word: str) -> _Group:
        groups = self._columns.setdefault(name, {})
        return groups.setdefault(word, _Group(DistinctKeys(), DistinctKeys()))
