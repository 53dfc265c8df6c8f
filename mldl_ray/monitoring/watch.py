"""Drift, watched over time: each version's rows gathered, full windows tested, the budget divided among versions.

What an alert says is in ``drift_wants``; labels are watched in ``concept``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from contracts.errors import Broken, NotFound, Unavailable
from contracts.specs import Json
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.collector import Collector, Full
from mldl_ray.monitoring.drift import (
    COLUMNS_SHARE,
    MONTH_S,
    MOST_ALPHA,
    ROWS_SHARE,
    Verdict,
    alpha_of,
    compare,
)
from mldl_ray.monitoring.drift_wants import Ranked, column_states, columns_want, joint_want, ranked
from mldl_ray.monitoring.joint import LEAST_ALPHA, Joint, Represent, compare_jointly
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Stream

MOST_VERSIONS = 256
MOST_COLUMNS = 20
"""Shown of a version."""


class Due(NamedTuple):
    """A full window and the version whose rows it holds."""

    stream: Stream
    full: Full


class Look(NamedTuple):
    """What there is to show of a version: see ``DriftWatch.state``; the last verdict and the window that it is about.

    Before the first verdict the window is what was gathered so far. ``joint`` is there where the rows moved as a whole.
    """

    state: Json
    last: Verdict | None = None
    window: pa.Table | None = None
    joint: Joint | None = None
    order: Ranked | None = None


@dataclass
class _State:
    collector: Collector
    heard_s: float
    windows: int = 0
    drifted: int = 0
    last: Verdict | None = None
    order: Ranked | None = None
    why_not: str | None = None
    saved: float = 0.0
    jointly: int = 0
    window: pa.Table | None = None  # that `last` is about
    joint: Joint | None = None  # of that window, where its rows moved as a whole
    lock: threading.Lock = field(default_factory=threading.Lock)


class DriftWatch:
    """Gather and test. ``add`` and ``state`` are called under the monitor's lock, ``judge`` beside it.

    Args:
        reference: Gives a version's held-out rows; raises NotFound, Broken or Unavailable.
        window_rows: Units of one test.
        false_alarms_per_month: The budget of this monitor, over all versions together.
        represent: Gives what a version's own representation of rows is made by; None where it has none.
    """

    def __init__(
        self,
        reference: Callable[[Stream], Reference],
        *,
        window_rows: int,
        false_alarms_per_month: float,
        represent: Callable[[Stream], Represent | None] = lambda _: None,
    ) -> None:
        self._reference, self._rows, self._budget = reference, window_rows, false_alarms_per_month
        self._represent = represent
        self._states: OrderedDict[Stream, _State] = OrderedDict()

    def add(self, batch: Batch, now_s: float) -> list[Due]:
        """Take a batch; give the windows that became full."""
        stream = (batch.facts.model_key, batch.facts.version)
        state = self._states.get(stream)
        if state is None:
            state = self._states[stream] = _State(Collector(self._rows), now_s)
        state.heard_s = now_s
        self._states.move_to_end(stream)
        while len(self._states) > MOST_VERSIONS:
            self._states.popitem(last=False)
        return [Due(stream, full) for full in state.collector.add(batch)]

    def judge(self, due: Due, now_s: float) -> Want | None:
        """Test a window; say what alert there should be. Without reference rows there is no test, and a note why."""
        state = self._states.get(due.stream)
        if state is None:
            return None
        try:
            reference = self._reference(due.stream)
        except (NotFound, Broken, Unavailable) as error:
            state.why_not = error.message
            return None
        alpha = self._alpha(due.full, now_s)
        verdict = compare(reference, due.full.table, COLUMNS_SHARE * alpha)
        order = ranked(reference, due.full.table, verdict) if verdict.drifted else None
        with state.lock:
            state.saved, spent = _spent(state.saved + ROWS_SHARE * alpha)
            state.jointly += spent > 0
        joint = self._jointly(due, reference, spent) if spent else None
        moved = joint is not None and joint.p <= spent
        with state.lock:
            state.why_not, state.last, state.order = None, verdict, order
            state.window, state.joint = due.full.table, joint if moved else None
            state.windows += 1
            state.drifted += verdict.drifted or moved
        if order is not None:
            return columns_want(due.stream, due.full, verdict, order)
        return joint_want(due.stream, due.full, reference, joint, spent) if joint is not None and moved else None

    def state(self, stream: Stream) -> Json:
        """Say how far the watch over a version is."""
        state = self._states.get(stream)
        if state is None:
            return {"windows": 0}
        last = state.last
        worst = last.shifts[0] if last is not None and last.shifts else None
        return {
            "windows": state.windows,
            "windows_drifted": state.drifted,
            "drifted": last is not None and (last.drifted or state.joint is not None),
            "windows_tested_jointly": state.jointly,
            "rows_towards_next": state.collector.units,
            "window_rows": self._rows,
            "worst_column": worst.column if worst else None,
            "worst_p": worst.p if worst else None,
            "threshold": last.threshold if last else None,
            "columns": column_states(last, state.order, MOST_COLUMNS) if last else [],
            "why_not": state.why_not,
        }

    def look(self, stream: Stream) -> Look:
        """Give what there is to show of a version; drawing it takes longer, and is done beside the lock."""
        if (state := self._states.get(stream)) is None:
            return Look(self.state(stream))
        with state.lock:
            last, window, joint, order = state.last, state.window, state.joint, state.order
        return Look(self.state(stream), last, state.collector.so_far() if window is None else window, joint, order)

    def versions(self, now_s: float) -> int:
        """Count the versions that share the budget: those heard within the month."""
        return sum(state.heard_s > now_s - MONTH_S for state in list(self._states.values()))

    def _jointly(self, due: Due, reference: Reference, alpha: float) -> Joint | None:
        represent = self._represent(due.stream)
        return compare_jointly(reference, due.full.table, alpha, represent=represent)

    def _alpha(self, full: Full, now_s: float) -> float:
        """Give the window its part of the budget; every version has an equal part."""
        versions = self.versions(now_s)
        return alpha_of(full.span_s, full.seen, false_alarms_per_month=self._budget, versions=versions)


def _spent(saved: float) -> tuple[float, float]:
    """Say what stays saved and what the joint test of this window may spend: all of it, once that is enough."""
    return (0.0, min(saved, MOST_ALPHA / 2)) if saved >= LEAST_ALPHA else (saved, 0.0)
