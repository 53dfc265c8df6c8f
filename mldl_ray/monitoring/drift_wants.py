"""What an alert says of moved inputs and answers, and how loud it is: by what the move seems to cost."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pyarrow as pa

from contracts.specs import Json
from contracts.telemetry import FEATURE
from mldl_ray.monitoring.collector import Full
from mldl_ray.monitoring.drift import NAMED, Shift, Verdict
from mldl_ray.monitoring.group_answers import GroupMove, moved_group
from mldl_ray.monitoring.harm import ASSUMPTION, Harm, harm, tolerated
from mldl_ray.monitoring.joint import Joint
from mldl_ray.monitoring.reference import PREDICTION, SCORE, Reference
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Stream

Severity = Literal["info", "warning", "critical"]
_ANSWERS = frozenset({SCORE, PREDICTION})


class Ranked(NamedTuple):
    """The columns that moved, the one that costs most first.

    ``overall``: by the score, all columns at once. ``group``: whose answers moved, where the columns together hide it.
    """

    columns: tuple[tuple[Shift, Harm | None], ...]
    overall: Harm | None
    tolerated: float
    values: bool
    group: GroupMove | None = None

    @property
    def costs(self) -> dict[str, Harm | None]:
        """What the move of each column seems to cost."""
        return {shift.column: cost for shift, cost in self.columns}

    @property
    def harms(self) -> list[Harm]:
        """Every estimate that there is."""
        found = [cost for _, cost in self.columns] + [self.overall]
        return [cost for cost in found if cost is not None]

    @property
    def harmful(self) -> bool:
        """Say whether a move surely costs more than is tolerated."""
        return any(cost.low > self.tolerated for cost in self.harms)

    @property
    def harmless(self) -> bool:
        """Say whether all that moved together surely costs no more, if the assumption holds.

        Never when one is unknown, or the answers to one group moved. All columns at once must only seem to: even where
        nothing moved, no window is large enough to show that surely.
        """
        if self.overall is None or self.group is not None or any(cost is None for _, cost in self.columns):
            return False
        together = sum(max(0.0, cost.high) for _, cost in self.columns if cost is not None)
        return together <= self.tolerated and self.overall.loss <= self.tolerated

    @property
    def severity(self) -> Severity:
        """Say how loud it is: moved answers are never quiet, and what is unknown is as loud as it may be."""
        if any(shift.column in _ANSWERS for shift, _ in self.columns):
            return "warning" if self.harmless else "critical"
        if self.harmful:
            return "critical"
        return "info" if self.harmless else "warning"

    @property
    def words(self) -> str:
        """Say what it seems to cost, for a person; nothing where that is unknown."""
        if not self.harms:
            return ""
        group = "" if self.group is None else self.group.words
        worst = max(self.harms, key=lambda cost: cost.loss)
        if self.values:
            span = f"{worst.low:.3g} to {worst.high:.3g}"
            return f"; it seems to add {worst.loss:.3g} ({span}) to the mean absolute error{group}"
        return f"; it seems to cost {worst.loss:.1%} ({worst.low:.1%} to {worst.high:.1%}) of accuracy{group}"


def ranked(reference: Reference, window: pa.Table, verdict: Verdict) -> Ranked:
    """Estimate what each column that moved costs, and put them in that order; by how surprising they are if unknown."""
    found = [(shift, harm(reference, window, _name(reference, shift))) for shift in verdict.surprising]
    found.sort(key=lambda one: -one[1].loss if one[1] is not None else float("-inf"))
    overall, group = harm(reference, window, SCORE), moved_group(reference, window)
    return Ranked(tuple(found), overall, tolerated(reference), reference.values, group)


def columns_want(stream: Stream, full: Full, verdict: Verdict, order: Ranked) -> Want:
    """Word the alert of columns that moved."""
    model_key, version = stream
    shifts = [shift for shift, _ in order.columns]
    what = "inputs and answers" if any(shift.column in _ANSWERS for shift in shifts) else "inputs"
    more = f"; and {len(shifts) - 3} more" if len(shifts) > 3 else ""
    moved = "; ".join(shift.moved for shift in shifts[:3]) + more
    return Want(
        f"drift:{model_key}:{version}",
        "drift",
        order.severity,
        model_key,
        version,
        f"the {what} of {model_key} {version} moved: {moved} ({len(shifts)} of {len(verdict.shifts)} columns, "
        f"{verdict.rows} rows against {verdict.reference_rows} held-out ones){order.words}",
        verdict.evidence() | _costs(order, verdict) | {"span_s": round(full.span_s, 3), "rows_seen": full.seen},
    )


def joint_want(stream: Stream, full: Full, reference: Reference, joint: Joint, alpha: float) -> Want:
    """Word the alert of rows that moved together."""
    model_key, version = stream
    named = ", ".join(joint.columns)
    what = f"; a classifier tells them apart by {named}" if named else ""
    inside = "" if joint.width is None else f", also as its last hidden layer of {joint.width} sees them,"
    return Want(
        f"drift:{model_key}:{version}",
        "drift",
        "warning",
        model_key,
        version,
        f"the inputs of {model_key} {version}{inside} moved together although no column did alone{what} "
        f"({joint.rows} rows against {reference.sample.num_rows} held-out ones)",
        {
            "test": "maximum_mean_discrepancy",
            "statistic": joint.distance,
            "p": joint.p,
            "alpha": alpha,
            "representation_width": joint.width,
            "columns": [{"column": name} for name in joint.columns],
            "rows": joint.rows,
            "reference_rows": reference.sample.num_rows,
            "span_s": round(full.span_s, 3),
            "rows_seen": full.seen,
        },
    )


def in_order(verdict: Verdict, order: Ranked | None) -> dict[str, Shift]:
    """Give the columns by their names in telemetry: those that moved by what they cost, then the others by their p."""
    places = {} if order is None else {shift.column: place for place, (shift, _) in enumerate(order.columns)}
    pairs = zip(verdict.names, verdict.shifts, strict=True)
    return dict(sorted(pairs, key=lambda pair: places.get(pair[1].column, len(places))))


def column_states(verdict: Verdict, order: Ranked | None, most: int) -> list[Json]:
    """Give the first columns of ``in_order`` as JSON values."""
    costs = {} if order is None else order.costs
    return [
        {
            "column": shift.column,
            "test": shift.test,
            "p": shift.p,
            "drifted": shift.column in costs,
            "moved": shift.moved,
        }
        | _evidence(costs.get(shift.column))
        for shift in [*in_order(verdict, order).values()][:most]
    ]


def _costs(order: Ranked, verdict: Verdict) -> Json:
    columns = [
        shift._asdict() | {"threshold": verdict.threshold} | _evidence(cost) for shift, cost in order.columns[:NAMED]
    ]
    if order.overall is None:
        return {"columns": columns}
    return {
        "columns": columns,
        "overall": order.overall.evidence(),
        "tolerated_loss": order.tolerated,
        "assumption": ASSUMPTION,
        "group_moved": None if order.group is None else order.group._asdict(),
    }


def _evidence(cost: Harm | None) -> Json:
    return {} if cost is None else cost.evidence()


def _name(reference: Reference, shift: Shift) -> str:
    return FEATURE + shift.column if FEATURE + shift.column in reference.columns else shift.column
