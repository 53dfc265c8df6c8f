"""How long a loaded model takes for one row and for many at once, measured here and now: whether batching pays.

Not configured, because it depends on the model, its form and the machine. What is done with it: ``serve.batching``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

TOGETHER = 32
"""Rows of the larger measurement."""
LEAST_SAVING_MS = 0.1
"""What a row must save in company before it is worth a place in a line, which costs some 0.02 ms itself."""
RUNS, BUDGET_S = 7, 0.1


class Pace(NamedTuple):
    """Milliseconds for one row alone, and for ``TOGETHER`` rows in one run.

    >>> Pace(alone_ms=1.0, together_ms=6.4).pays, Pace(alone_ms=0.05, together_ms=0.4).pays
    (True, False)
    >>> round(Pace(alone_ms=1.0, together_ms=32.0).run_ms(64), 1)
    64.0
    """

    alone_ms: float
    together_ms: float

    @property
    def saving_ms(self) -> float:
        """What one row costs less in company."""
        return self.alone_ms - self.together_ms / TOGETHER

    @property
    def pays(self) -> bool:
        """Say whether rows of several callers should share a run: it saves enough, and half of what it costs alone."""
        return self.saving_ms >= max(LEAST_SAVING_MS, self.alone_ms / 2)

    def run_ms(self, rows: int) -> float:
        """Estimate one run of some rows, on the line through both measurements."""
        slope = max(0.0, self.together_ms - self.alone_ms) / (TOGETHER - 1)
        return self.alone_ms + slope * (rows - 1)


def measure_pace(run: Callable[[int], object]) -> Pace:
    """Time runs of one row and of ``TOGETHER``, the fastest of a few: what else the machine does only adds.

    Args:
        run: Answers as many rows as it is told.
    """
    return Pace(_fastest_ms(run, 1), _fastest_ms(run, TOGETHER))


def _fastest_ms(run: Callable[[int], object], rows: int) -> float:
    times: list[float] = []
    while len(times) < RUNS and sum(times) < BUDGET_S:
        began = time.perf_counter()
        run(rows)
        times.append(time.perf_counter() - began)
    return min(times) * 1000
