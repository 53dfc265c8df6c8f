"""The one shape in which every test of a rollout says what it found, so that anything can show all of them alike.

The shape is documented at ``contracts.rollouts.Decision.evidence``.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from contracts.rollouts import Deployment, RolloutTelemetry
from contracts.specs import Json

Verdict = Literal["harm", "no_harm", "shown", "too_little", "not_observed", "not_judged"]
_DIGITS = 4


class Case(NamedTuple):
    """What one look of the judge is about. ``alpha`` is the part of it that each test may spend."""

    telemetry: RolloutTelemetry
    deployment: Deployment
    now_s: float
    alpha: float

    def seconds_for(self, more: float | None, came: int) -> float | None:
        """Give how long ``more`` units take if they come as the ``came`` ones of this step did; None when unknown."""
        began_s = self.deployment.step_started_s
        if more is None or began_s is None or not came or self.now_s <= began_s:
            return None
        return round(more * (self.now_s - began_s) / came, 1)


class Ground(NamedTuple):
    """A reason to roll back: the rule and one sentence."""

    rule: str
    why: str


def finding(
    verdict: Verdict,
    words: str,
    *,
    statistic: float | None = None,
    bound: float | None = None,
    n: int = 0,
    n_stable: int = 0,
    needed: int | None = None,
    time_to_decide_s: float | None = None,
    **figures: Any,
) -> Json:
    """Say what a test found.

    >>> finding("no_harm", "fine", statistic=1.23456, bound=math.inf, n=3)["statistic"]
    1.235
    >>> sorted(finding("no_harm", "fine"))
    ['bound', 'n', 'n_stable', 'needed', 'statistic', 'time_to_decide_s', 'verdict', 'words']
    """
    return {
        "verdict": verdict,
        "words": words,
        "statistic": short(statistic),
        "bound": short(bound),
        "n": n,
        "n_stable": n_stable,
        "needed": needed,
        "time_to_decide_s": time_to_decide_s,
        **figures,
    }


def short(value: float | None) -> float | None:
    """Give four digits of a figure; None for one that JSON cannot say."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def e_finding(case: Case, e_value: float, words: str, n: int, n_stable: int, **figures: Any) -> Json:
    """Say what an e-value of harm is worth; where it grows, also how many units would decide if it goes on so."""
    bound = 1 / case.alpha
    needed = None
    if math.e < e_value < bound and n:
        needed = math.ceil(n * math.log(bound) / math.log(e_value))
    arms = case.telemetry.candidate
    seconds = case.seconds_for(None if needed is None else needed - n, arms[-1].requests if arms else 0)
    return finding(
        "harm" if e_value >= bound else "no_harm" if n else "not_observed",
        words,
        statistic=e_value,
        bound=bound,
        n=n,
        n_stable=n_stable,
        needed=needed,
        time_to_decide_s=seconds,
        **figures,
    )
