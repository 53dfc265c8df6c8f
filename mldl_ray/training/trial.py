"""One configuration, judged: what a search carries with it, and one step of one trial.

A step is one fit (a fold; a repeat of a policy's training), or, where configurations are given more of a resource from
rung to rung, all of them at one rung.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from contracts.errors import Incompatible, MldlError
from contracts.records import TrialRecord
from mldl_ray.training.fold import fit_score
from mldl_ray.training.problem import SHARE_OF_ROWS, Problem


def step(problem: Problem, config: Mapping[str, Any], number: int) -> float:
    """Take one step of a trial and give its score.

    Args:
        problem: What is searched.
        config: The configuration.
        number: Which step, from 0.

    Raises:
        Incompatible: The configuration cannot be fitted, or the score is not a number.
    """
    try:
        return _step(problem, config, number)
    except MldlError:
        raise
    except Exception as error:  # frameworks share no base class; whatever they raise is this trial's end
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise Incompatible(f"{problem.family} broke down: {type(error).__name__}: {reason}") from error


def _step(problem: Problem, config: Mapping[str, Any], number: int) -> float:
    if not problem.rungs:
        return _finite(fit_score(problem, problem.settings(config), number))
    amount = problem.rungs[number]
    if problem.resource == SHARE_OF_ROWS:
        settings, share = problem.settings(config), amount
    else:
        settings, share = problem.settings(config) | {str(problem.resource): int(amount)}, 1.0
    return _finite(fmean(fit_score(problem, settings, number, share) for number in range(problem.fits)))


class Trial:
    """One configuration on its way through the steps; several small ones are taken at a time.

    Reporting costs a few milliseconds, so steps that are quicker than that share one report.
    """

    def __init__(self, problem: Problem, config: Mapping[str, Any], quantum_s: float) -> None:
        self._problem, self._config, self._quantum_s = problem, dict(config), quantum_s
        self.scores: list[float] = []
        self.step_s: list[float] = []

    @property
    def done(self) -> bool:
        """Say whether all steps were taken."""
        return len(self.scores) >= self._problem.steps

    def advance(self) -> None:
        """Take steps until the quantum is used up or none is left.

        Raises:
            Incompatible: As ``step``.
        """
        began = time.perf_counter()
        while not self.done:
            at = time.perf_counter()
            self.scores.append(step(self._problem, self._config, len(self.scores)))
            now = time.perf_counter()
            self.step_s.append(now - at)
            if now - began >= self._quantum_s:
                return


def best_of(problem: Problem, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Rank the completed trials, the best first; equal ones in the order in which they ended.

    Where a budget ended the search before any was completed, those that got furthest are ranked instead.
    """
    scored = [(trial.score, trial) for trial in trials if trial.status != "failed" and trial.score is not None]
    furthest = max((len(trial.fold_scores) for _, trial in scored), default=0)
    level = [pair for pair in scored if len(pair[1].fold_scores) == furthest]
    return [trial for _, trial in sorted(level, key=lambda pair: -problem.sign * pair[0])]


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise Incompatible(f"the score is {value}, which is no number; the model's answers are not finite")
    return value
