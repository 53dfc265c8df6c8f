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
from mldl_ray.training.fold import fit_figures
from mldl_ray.training.problem import SHARE_OF_ROWS, Problem


def step(problem: Problem, config: Mapping[str, Any], number: int) -> dict[str, float]:
    """Take one step of a trial and give its figures; the objective is always among them.

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
        told = f"{problem.family} broke down: {type(error).__name__}: {reason}"
        limit = problem.resources.memory_bytes
        if limit is not None and (isinstance(error, MemoryError) or "alloc" in reason):  # C++ says std::bad_alloc
            told += f" (resources.memory_bytes is {limit})"
        raise Incompatible(told) from error


def _step(problem: Problem, config: Mapping[str, Any], number: int) -> dict[str, float]:
    if not problem.rungs:
        return _finite(problem, fit_figures(problem, problem.settings(config), number))
    amount = problem.rungs[number]
    if problem.resource == SHARE_OF_ROWS:
        settings, share = problem.settings(config), amount
    else:
        settings, share = problem.settings(config) | {str(problem.resource): int(amount)}, 1.0
    found = [fit_figures(problem, settings, number, share) for number in range(problem.fits)]
    every = [name for name in found[0] if all(name in figures for figures in found)]
    return _finite(problem, {name: fmean(figures[name] for figures in found) for name in every})


ATTEMPTS = 2
"""How often a trial is tried that breaks down, before that is its end: passing causes pass, others are recorded."""


class Trial:
    """One configuration on its way through the steps; several small ones are taken at a time.

    Reporting costs a few milliseconds, so steps that are quicker than that share one report.
    """

    def __init__(self, problem: Problem, config: Mapping[str, Any], quantum_s: float) -> None:
        self._problem, self._config, self._quantum_s = problem, dict(config), quantum_s
        self.figures: list[dict[str, float]] = []
        self.scores: list[float] = []
        self.step_s: list[float] = []
        self.attempts = 1

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
            self.figures.append(self._taken())
            self.scores.append(self.figures[-1][self._problem.metric])
            now = time.perf_counter()
            self.step_s.append(now - at)
            if now - began >= self._quantum_s:
                return

    def _taken(self) -> dict[str, float]:
        """Take the next step, and once more where a framework broke down; our own rules would refuse again."""
        while True:
            try:
                return step(self._problem, self._config, len(self.scores))
            except MldlError as error:
                if error.__cause__ is None or self.attempts >= ATTEMPTS:
                    raise
            self.attempts += 1


def best_of(problem: Problem, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Rank the completed trials that may win, the best first; equal ones in the order in which they were proposed.

    Where a budget ended the search before any was completed, those that got furthest are ranked instead.
    """
    able = [trial for trial in trials if trial.status != "failed" and trial.passed_over is None]
    scored = [(trial.score, trial) for trial in able if trial.score is not None]
    furthest = max((len(trial.fold_scores) for _, trial in scored), default=0)
    level = [pair for pair in scored if len(pair[1].fold_scores) == furthest]
    return [trial for _, trial in sorted(level, key=lambda pair: (-problem.sign * pair[0], pair[1].number or 0))]


def _finite(problem: Problem, figures: dict[str, float]) -> dict[str, float]:
    value = figures[problem.metric]
    if not np.isfinite(value):
        raise Incompatible(f"the score is {value}, which is no number; the model's answers are not finite")
    return figures
