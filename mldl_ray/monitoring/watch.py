"""Drift, watched over time: each version's rows gathered, full windows tested, the budget divided among versions."""

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
from mldl_ray.monitoring.drift import MONTH_S, MOST_ALPHA, Verdict, alpha_of, compare
from mldl_ray.monitoring.joint import LEAST_ALPHA, Joint, compare_jointly
from mldl_ray.monitoring.reference import SCORE, Reference
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Stream

MOST_VERSIONS = 256


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


@dataclass
class _State:
    collector: Collector
    heard_s: float
    windows: int = 0
    drifted: int = 0
    last: Verdict | None = None
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
    """

    def __init__(
        self, reference: Callable[[Stream], Reference], *, window_rows: int, false_alarms_per_month: float
    ) -> None:
        self._reference, self._rows, self._budget = reference, window_rows, false_alarms_per_month
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
        alpha = self._alpha(due.full, now_s) / 2  # half for the columns, half for the rows as a whole
        verdict = compare(reference, due.full.table, alpha)
        with state.lock:
            state.saved, spent = _spent(state.saved + alpha)
            state.jointly += spent > 0
        joint = compare_jointly(reference, due.full.table, spent) if spent else None
        moved = joint is not None and joint.p <= spent
        with state.lock:
            state.why_not, state.last = None, verdict
            state.window, state.joint = due.full.table, joint if moved else None
            state.windows += 1
            state.drifted += verdict.drifted or moved
        if verdict.drifted:
            return _want(due, verdict)
        return _joint_want(due, reference, joint, spent) if joint is not None and moved else None

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
            "why_not": state.why_not,
        }

    def look(self, stream: Stream) -> Look:
        """Give what there is to show of a version; drawing it takes longer, and is done beside the lock."""
        if (state := self._states.get(stream)) is None:
            return Look(self.state(stream))
        with state.lock:
            last, window, joint = state.last, state.window, state.joint
        return Look(self.state(stream), last, state.collector.so_far() if window is None else window, joint)

    def _alpha(self, full: Full, now_s: float) -> float:
        """Give the window its part of the budget; every version heard within the month has an equal part."""
        versions = sum(state.heard_s > now_s - MONTH_S for state in list(self._states.values()))
        return alpha_of(full.span_s, full.seen, false_alarms_per_month=self._budget, versions=versions)


def _spent(saved: float) -> tuple[float, float]:
    """Say what stays saved and what the joint test of this window may spend: all of it, once that is enough."""
    return (0.0, min(saved, MOST_ALPHA / 2)) if saved >= LEAST_ALPHA else (saved, 0.0)


def _joint_want(due: Due, reference: Reference, joint: Joint, alpha: float) -> Want:
    model_key, version = due.stream
    named = ", ".join(joint.columns)
    what = f"; a classifier tells them apart by {named}" if named else ""
    return Want(
        f"drift:{model_key}:{version}",
        "drift",
        "warning",
        model_key,
        version,
        f"the inputs of {model_key} {version} moved together although no column did alone{what} "
        f"({joint.rows} rows against {reference.sample.num_rows} held-out ones)",
        {
            "test": "maximum_mean_discrepancy",
            "statistic": joint.distance,
            "p": joint.p,
            "alpha": alpha,
            "columns": [{"column": name} for name in joint.columns],
            "rows": joint.rows,
            "reference_rows": reference.sample.num_rows,
            "span_s": round(due.full.span_s, 3),
            "rows_seen": due.full.seen,
        },
    )


def _want(due: Due, verdict: Verdict) -> Want:
    model_key, version = due.stream
    found = verdict.surprising
    answers = any(shift.column == SCORE for shift in found)
    what = "inputs and answers" if answers else "inputs"
    return Want(
        f"drift:{model_key}:{version}",
        "drift",
        "critical" if answers else "warning",
        model_key,
        version,
        f"the {what} of {model_key} {version} moved: {verdict.words} ({len(found)} of {len(verdict.shifts)} columns, "
        f"{verdict.rows} rows against {verdict.reference_rows} held-out ones)",
        verdict.evidence() | {"span_s": round(due.full.span_s, 3), "rows_seen": due.full.seen},
    )
