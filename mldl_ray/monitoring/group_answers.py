"""Whether answers to one group of rows moved, though all together hide it: a move that hits few is not harmless. Pure.

Asked only of windows that drifted already, so it can make an alarm louder and never raises one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from contracts.telemetry import FEATURE
from mldl_ray.monitoring.drift import ks_distance, massart_p
from mldl_ray.monitoring.reference import SCORE, Numbers, Reference, as_numbers, as_words

LEVEL = 0.05
"""Chance that some group's answers are called moved when none did; divided among the groups."""
LEAST_ROWS = 30
"""Of live rows and of held-out rows of a group."""
MOST_GROUPS = 500


class GroupMove(NamedTuple):
    """A group whose answers moved."""

    column: str
    group: str
    before: float
    after: float
    p: float

    @property
    def words(self) -> str:
        """Say it for a person."""
        return f"; answers to {self.column} {self.group} moved: mean score {self.before:.3g} → {self.after:.3g}"


def moved_group(reference: Reference, window: pa.Table) -> GroupMove | None:
    """Give the group whose answers moved most surprisingly; None where none surely did.

    Source:
        Massart (1990), as the test of a column; Bonferroni over the groups.
    """
    if not isinstance(reference.columns.get(SCORE), Numbers) or SCORE not in window.column_names:
        return None
    groups = list(_groups(reference, window))[:MOST_GROUPS]
    moves = [_move(column, group, *scores) for column, group, scores in groups]
    worst = min(moves, key=lambda move: move.p, default=None)
    return worst if worst is not None and worst.p <= LEVEL / len(groups) else None


def _groups(reference: Reference, window: pa.Table) -> Iterator[tuple[str, str, tuple[Any, Any]]]:
    """Give each group of a categorical column, with its held-out and its live scores."""
    scores = [as_numbers(table[SCORE]) for table in (reference.table, window)]
    for name, column in reference.columns.items():
        if isinstance(column, Numbers) or not name.startswith(FEATURE) or name not in window.column_names:
            continue
        words = [np.array(as_words(table[name]), dtype=object) for table in (reference.table, window)]
        for group, count in sorted(column.counts.items()):
            if count < LEAST_ROWS:
                continue
            mine = [score[(word == group) & np.isfinite(score)] for score, word in zip(scores, words, strict=True)]
            if min(map(len, mine)) >= LEAST_ROWS:
                yield name.removeprefix(FEATURE), group, (np.sort(mine[0]), np.sort(mine[1]))


def _move(column: str, group: str, then: Any, now: Any) -> GroupMove:
    p = massart_p(ks_distance(then, now), len(then), len(now))
    return GroupMove(column, group, float(then.mean()), float(now.mean()), p)
