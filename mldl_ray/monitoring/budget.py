"""Error budgets: good and bad events over a rolling window, and how fast they use the budget up. Pure.

What an event is, and when one is bad, is counted in ``levels``.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from scipy.special import bdtrc

from contracts.slos import Burn, Slo
from contracts.specs import Json

FINE, COARSE = 43_200, 720
"""Parts of the window that are counted alone: for the short looks, and for the whole."""
RULES = (("critical", 14.4, 720, 8640), ("warning", 6.0, 120, 1440))
"""Severity, factor, and which part of the window the long and the short look are: 1 h and 5 min, 6 h and 30 min of
thirty days.

Source: Beyer et al., The Site Reliability Workbook (2018), chapter 5, table 5-8.
"""
SURE = 1e-6
"""Chance of as many bad events at exactly the objective, below which a burn is surely one: few requests never alert."""


class Tally(NamedTuple):
    """Events of a span."""

    bad: int
    events: int


class Ledger:
    """Count events of one SLO, in a fixed size.

    >>> ledger = Ledger(30 * 86_400.0)
    >>> ledger.add(1e9, bad=1, events=100)
    >>> ledger.within(1e9, 3600.0)
    Tally(bad=1, events=100)
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._fine: deque[list[float]] = deque(maxlen=FINE // 120 + 1)
        self._coarse: deque[list[float]] = deque(maxlen=COARSE + 1)

    @property
    def slot_s(self) -> float:
        """The shortest span that is told apart."""
        return self.window_s / FINE

    def add(self, now_s: float, *, bad: int, events: int) -> None:
        """Count events that happened now."""
        for slots, parts in ((self._fine, FINE), (self._coarse, COARSE)):
            start_s = now_s - now_s % (self.window_s / parts)
            if not slots or start_s > slots[-1][0]:
                slots.append([start_s, 0, 0])
            slots[-1][1] += bad
            slots[-1][2] += events

    def within(self, now_s: float, span_s: float) -> Tally:
        """Add up the last ``span_s`` seconds, to the slot."""
        fine = span_s <= self.window_s / 120
        slots, length_s = (self._fine, self.slot_s) if fine else (self._coarse, self.window_s / COARSE)
        wanted = [slot for slot in slots if slot[0] + length_s > now_s - span_s]
        return Tally(int(sum(slot[1] for slot in wanted)), int(sum(slot[2] for slot in wanted)))

    def to_json(self) -> Json:
        """Give what ``of`` reads."""
        return {"window_s": self.window_s, "fine": list(self._fine), "coarse": list(self._coarse)}

    @classmethod
    def of(cls, state: Json) -> Ledger:
        """Read what ``to_json`` gave."""
        ledger = cls(float(state["window_s"]))
        for slots, name in ((ledger._fine, "fine"), (ledger._coarse, "coarse")):
            slots.extend([float(start_s), int(bad), int(events)] for start_s, bad, events in state[name])
        return ledger


def budget_left(tally: Tally, slo: Slo) -> float:
    """Give the share of the error budget that is left, of the events so far; negative when it is overspent.

    >>> slo = Slo(name="a", model_key="m", kind="availability", objective=0.99)
    >>> round(budget_left(Tally(5, 1000), slo), 3)
    0.5
    """
    return 1 - tally.bad / (tally.events * slo.budget) if tally.events else 1.0


def burns(ledger: Ledger, slo: Slo, now_s: float) -> tuple[Burn, ...]:
    """Say how fast the budget goes over each pair of windows, the gravest first."""
    return tuple(_burn(ledger, slo, now_s, rule) for rule in RULES)


def _burn(ledger: Ledger, slo: Slo, now_s: float, rule: tuple[str, float, int, int]) -> Burn:
    severity, factor, long_part, short_part = rule
    factor = min(factor, 0.9 / slo.budget)  # a loose objective could never burn as fast: all events would be bad
    long_s, short_s = slo.window_s / long_part, slo.window_s / short_part
    long, short = ledger.within(now_s, long_s), ledger.within(now_s, short_s)
    rates = _rate(long, slo), _rate(short, slo)
    over = all(rate is not None and rate > factor for rate in rates)
    return Burn.model_validate(
        {
            "severity": severity,
            "factor": factor,
            "long_s": long_s,
            "short_s": short_s,
            "long": rates[0],
            "short": rates[1],
            "bad": long.bad,
            "events": long.events,
            "burning": over and bdtrc(long.bad - 1, long.events, slo.budget) <= SURE,
        }
    )


def _rate(tally: Tally, slo: Slo) -> float | None:
    return tally.bad / tally.events / slo.budget if tally.events else None
