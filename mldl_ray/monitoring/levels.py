"""Which events of live traffic are good and bad for each SLO, and which SLO burns. The arithmetic is in ``budget``.

Counters only rise, so a look takes what they rose by since the one before; nothing is added to the way of a batch but
the selections that a fairness SLO needs. The ledgers survive a restart (``to_json``), the counters begin again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from contracts.slos import Burn, Slo, SloKind, SloView
from contracts.specs import Json
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.budget import COARSE, Ledger, budget_left, burns
from mldl_ray.monitoring.counts import Place
from mldl_ray.monitoring.outcomes import LEAST_LABELS, Outcomes
from mldl_ray.monitoring.selections import RateBounds, Selections
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Profile
from mldl_ray.monitoring.window import EDGES_MS, Window

_SERVED = frozenset({"stable", "candidate"})
Windows = Mapping[Place, Window]


@dataclass
class _Watched:
    """One SLO, its ledger, and where the counters stood at the last look."""

    slo: Slo
    ledger: Ledger
    before: dict[Place, tuple[int, int]] = field(default_factory=dict)
    looked_s: float = float("-inf")
    labels: list[Outcomes] = field(default_factory=list)
    costs: tuple[float, int] = (0.0, 0)
    selections: tuple[Selections, Selections] = field(default_factory=lambda: (Selections(), Selections()))
    rotated_s: float = float("-inf")
    saw_rows: bool = False


class Levels:
    """Watch SLOs. Not thread-safe.

    Args:
        cost_per_second: Price of a second of latency.
        age_s: Gives how old the version that serves a model is, in seconds; None where that is unknown.
        rate_bounds: Bounds a rate from how many of how many.
    """

    def __init__(self, cost_per_second: float, age_s: Callable[[str], float | None], rate_bounds: RateBounds) -> None:
        self._price, self._age_s, self._bounds = cost_per_second, age_s, rate_bounds
        self._watched: dict[str, _Watched] = {}

    def watch(self, slo: Slo, windows: Windows | None = None, ledger: Ledger | None = None) -> None:
        """Watch an SLO from now on; a changed kind, bound, model or window begins a new ledger.

        Args:
            slo: What to watch.
            windows: The counters now, when what they say until now is not to be counted.
            ledger: What was counted before.
        """
        known = self._watched.get(slo.name)
        if known is not None and known.slo.model_copy(update={"objective": slo.objective}) == slo:
            known.slo = slo
            return
        usable = ledger if ledger is not None and ledger.window_s == slo.window_s else Ledger(slo.window_s)
        watched = self._watched[slo.name] = _Watched(slo, usable)
        if windows is not None:
            mine = _of(windows, slo.model_key)
            watched.before = {place: _counted(slo, window) for place, window in mine.items()}
            watched.labels = [_outcomes(mine)]
            watched.costs = _costs(mine)

    def forget(self, name: str) -> None:
        """Watch an SLO no more."""
        self._watched.pop(name, None)

    def of_kind(self, kind: SloKind) -> set[str]:
        """Give the models with an SLO of a kind."""
        return {one.slo.model_key for one in self._watched.values() if one.slo.kind == kind}

    def saw(self, batch: Batch, profile: Profile) -> None:
        """Count whom a batch selected, for fairness SLOs."""
        rows = [row for row, value in enumerate(batch.predictions) if value is not None]
        for one in self._watched.values():
            if one.slo.kind == "fairness" and one.slo.model_key == batch.facts.model_key:
                one.selections[1].add(batch, rows, profile.sensitive, profile.last_class)
                one.saw_rows = True

    def look(
        self, windows: Windows, classes: Callable[[str], int | None], now_s: float
    ) -> list[tuple[Slo, Burn | None]]:
        """Count what happened since the last look; give each SLO with its gravest burn, None where it does not burn."""
        for one in self._watched.values():
            mine = _of(windows, one.slo.model_key)
            if one.slo.kind in {"latency", "availability"} or (one.slo.kind == "quality" and one.slo.bound is None):
                self._events(one, mine, now_s)
            elif now_s - one.looked_s >= one.ledger.slot_s:
                one.looked_s = now_s
                figure = self._figure(one, mine, classes, now_s)
                if figure is not None and one.slo.bound is not None:
                    one.ledger.add(now_s, bad=int(figure > one.slo.bound), events=1)
        return [(one.slo, _gravest(burns(one.ledger, one.slo, now_s))) for one in self._watched.values()]

    def calm(self, name: str, severity: str, now_s: float) -> bool:
        """Say whether an SLO spends no faster than it may over the short window of an alert's rule, or is gone."""
        one = self._watched.get(name)
        if one is None:
            return True
        rule = next(burn for burn in burns(one.ledger, one.slo, now_s) if burn.severity == severity)
        return rule.short is None or rule.short < 1

    def views(self, now_s: float) -> list[SloView]:
        """Give every SLO as it stands, by name."""
        return [_view(self._watched[name], now_s) for name in sorted(self._watched)]

    def to_json(self) -> Json:
        """Give every ledger by its SLO's name."""
        return {name: one.ledger.to_json() for name, one in self._watched.items()}

    @staticmethod
    def _events(one: _Watched, mine: Windows, now_s: float) -> None:
        bad = events = 0
        for place, window in mine.items():
            now, then = _counted(one.slo, window), one.before.get(place, (0, 0))
            if now[1] < then[1]:  # the stream was forgotten and began again
                then = (0, 0)
            bad, events = bad + max(0, now[0] - then[0]), events + now[1] - then[1]
            one.before[place] = now
        if events:
            one.ledger.add(now_s, bad=bad, events=events)

    def _figure(self, one: _Watched, mine: Windows, classes: Callable[[str], int | None], now_s: float) -> float | None:
        """Measure the slot that ends now; None where there is nothing to measure."""
        if one.slo.kind == "freshness":
            return self._age_s(one.slo.model_key)
        if one.slo.kind == "cost":
            (spent_ms, rows), before = _costs(mine), one.costs
            one.costs = (spent_ms, rows)
            return (spent_ms - before[0]) / 1000 * self._price / (rows - before[1]) if rows > before[1] else None
        if one.slo.kind == "fairness":
            return _selection_gap(one, self._bounds, now_s)
        labels = _outcomes(mine)
        if one.slo.kind == "quality":
            before_labels, one.labels = (one.labels or [Outcomes()])[-1], [labels]
            return labels.minus(before_labels).mean_absolute_error
        return _calibration(one, labels, classes(one.slo.model_key))


def burning(slo: Slo, burn: Burn) -> Want:
    """Word the alert of an SLO that burns."""
    hours = burn.long_s / 3600
    return Want(
        f"slo:{slo.name}",
        "slo",
        burn.severity,
        slo.model_key,
        None,
        f"SLO {slo.name} ({slo.kind} of {slo.model_key}, objective {slo.objective:g}) burns its error budget "
        f"{burn.long:.3g} times as fast as it lasts: {burn.bad} of {burn.events} events of the last {hours:.3g} h "
        "are bad",
        {"slo": slo.model_dump(mode="json"), "burn": burn.model_dump(mode="json")},
    )


def _of(windows: Windows, model_key: str) -> dict[Place, Window]:
    return {
        place: window for place, window in windows.items() if place.model_key == model_key and place.role in _SERVED
    }


def _counted(slo: Slo, window: Window) -> tuple[int, int]:
    """Give how many events a stream had since it began: bad ones, all."""
    if slo.kind == "quality":
        return window.outcomes.labelled - window.outcomes.correct, window.outcomes.labelled
    if slo.kind != "latency" or slo.bound is None:
        return window.errors, window.requests
    within = int(window.latency[: int(np.searchsorted(EDGES_MS, slo.bound * (1 + 1e-9), side="right"))].sum())
    return window.requests - within, window.requests


def _outcomes(mine: Windows) -> Outcomes:
    total = Outcomes()
    for window in mine.values():
        total = total.plus(window.outcomes)
    return total


def _costs(mine: Windows) -> tuple[float, int]:
    return sum(window.latency_ms_sum for window in mine.values()), sum(window.requests for window in mine.values())


def _calibration(one: _Watched, labels: Outcomes, classes: int | None) -> float | None:
    """Measure over the latest labels: at least ``LEAST_LABELS``, at most three times as many, while labels come."""
    one.labels = one.labels or [Outcomes()]
    if labels.labelled < one.labels[-1].labelled:
        one.labels = [Outcomes()]
    found = labels.minus(one.labels[0]).ece(classes) if classes else None
    if len(one.labels) == 1 and labels.labelled - one.labels[0].labelled >= LEAST_LABELS:
        one.labels.append(labels)
    elif len(one.labels) == 2 and labels.labelled - one.labels[1].labelled >= LEAST_LABELS:
        one.labels = [one.labels[1], labels]
    return found


def _selection_gap(one: _Watched, bounds: RateBounds, now_s: float) -> float | None:
    if not one.saw_rows:
        return None
    one.saw_rows = False
    if now_s - one.rotated_s >= one.ledger.window_s / COARSE:
        one.rotated_s, one.selections = now_s, (one.selections[1], Selections())
    both = one.selections[0].plus(one.selections[1])
    return both.sure_delta(bounds)


def _gravest(found: tuple[Burn, ...]) -> Burn | None:
    return next((burn for burn in found if burn.burning), None)


def _view(one: _Watched, now_s: float) -> SloView:
    tally = one.ledger.within(now_s, one.slo.window_s)
    return SloView(
        slo=one.slo,
        events=tally.events,
        bad=tally.bad,
        attained=1 - tally.bad / tally.events if tally.events else None,
        budget_left=budget_left(tally, one.slo),
        burns=burns(one.ledger, one.slo, now_s),
    )
