"""The book of one search: which trials run, what they scored, what they cost, and whether anything may go on.

Every implementation of ``Trials`` keeps one and obeys it, so that the rules are the same wherever trials run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from contracts.ports import Clock, SearchOutcome
from contracts.records import TrialRecord
from contracts.specs import Json
from mldl_ray.training.budget import Spent, breach
from mldl_ray.training.problem import Problem
from mldl_ray.training.race import patience_of, plateaued
from mldl_ray.training.trial import best_of


@dataclass
class _Running:
    config: Json
    began_s: float
    scores: list[float] = field(default_factory=list)
    attempts: int = 1
    deaths: int = 0
    figures: list[Mapping[str, float]] = field(default_factory=list)
    fit_s: list[float] = field(default_factory=list)


class Ledger:
    """Keep the records of a search. Trials of an earlier run of the same job are in it from the start."""

    def __init__(self, problem: Problem, clock: Clock, on_trial: Callable[[TrialRecord], None]) -> None:
        self._problem, self._clock, self._on_trial = problem, clock, on_trial
        self._running: dict[str, _Running] = {}
        self._step_s: list[float] = []
        self.records: list[TrialRecord] = list(problem.done)
        self.breached: str | None = None

    def fresh_points(self) -> list[Json]:
        """Give the configurations to begin with that no earlier run has tried."""
        tried = [record.config for record in self.records]
        return [point for point in self._problem.points if point not in tried]

    def began(self, trial_id: str, config: Json) -> None:
        """Note that a trial holds resources from now on."""
        self._running[trial_id] = _Running(dict(config), self._clock.now_s())

    def stepped(
        self,
        trial_id: str,
        scores: Sequence[float],
        step_s: Sequence[float],
        figures: Sequence[Mapping[str, float]] = (),
    ) -> bool:
        """Note what a trial's steps so far gave and how long they took; say whether it may go on."""
        running = self._running[trial_id]
        fits = self._problem.fits if self._problem.rungs else 1
        running.fit_s = [seconds / fits for seconds in step_s]
        self._step_s += running.fit_s[len(running.scores) :]
        running.scores, running.figures = list(scores), list(figures)
        if not self._problem.prunes or len(scores) >= self._problem.steps:
            return True
        sign = self._problem.sign
        finished = [record.fold_scores for record in self.records if record.status != "failed"]
        underway = (
            [other.scores for key, other in self._running.items() if key != trial_id] if self._problem.rungs else []
        )
        others = [[sign * value for value in other] for other in [*finished, *underway]]
        return self._problem.rule.keeps([sign * value for value in scores], others)

    def tried(self, trial_id: str, attempts: int) -> None:
        """Note how often the process at work on a trial has tried it."""
        self._running[trial_id].attempts = attempts

    def died(self, trial_id: str) -> None:
        """Note that the process at work on a trial died; the trial begins again, and what it held stays counted."""
        running = self._running[trial_id]
        running.deaths += 1
        running.attempts = 1
        running.scores, running.figures, running.fit_s = [], [], []

    def ended(self, trial_id: str) -> None:
        """Note the end of a trial: completed when all its steps were taken, otherwise pruned."""
        running = self._running.pop(trial_id)
        whole = len(running.scores) >= self._problem.steps
        self._record(trial_id, running, "completed" if whole else "pruned", None)

    def failed(self, trial_id: str, error: str) -> None:
        """Note that a trial broke down, and why."""
        running = self._running.pop(trial_id)
        self._record(trial_id, running, "failed", error)

    @property
    def running(self) -> tuple[str, ...]:
        """List the trials at work."""
        return tuple(self._running)

    @property
    def cpu_seconds(self) -> float:
        """Give the cpu-seconds that trials held so far, ended or not, earlier runs included."""
        return self._seconds * self._problem.caps.cpus

    @property
    def gpu_seconds(self) -> float:
        """Give the gpu-seconds, likewise."""
        return self._seconds * self._problem.caps.gpus

    @property
    def _seconds(self) -> float:
        now = self._clock.now_s()
        return sum(record.seconds for record in self.records) + sum(now - r.began_s for r in self._running.values())

    def over(self) -> bool:
        """Say whether the search must end: a cap would be broken, or nothing gets better any more."""
        if self.breached is None:
            self.breached = breach(
                self._problem.caps,
                Spent(self._clock.now_s() - self._problem.started_s, self.cpu_seconds, self.gpu_seconds),
                step_s=self._step_s,
                folds=len(self._problem.once),
                running=max(1, len(self._running)),
            )
        return self.breached is not None or self._plateaued()

    def outcome(self) -> SearchOutcome:
        """Give what the search found."""
        ranked = best_of(self._problem, self.records)
        return SearchOutcome(
            best=ranked[0] if ranked else None,
            trials=tuple(self.records),
            cpu_seconds=self.cpu_seconds,
            gpu_seconds=self.gpu_seconds,
            budget_exhausted=self.breached is not None,
            fold_s=fmean(self._step_s) if self._step_s else 0.0,
        )

    def _plateaued(self) -> bool:
        if not self._problem.prunes or self._problem.rungs:
            return False
        sign = self._problem.sign
        gains = [
            sign * record.score if record.status == "completed" and record.score is not None else -math.inf
            for record in self.records
        ]
        return plateaued(gains, patience_of(self._problem.max_trials))

    def _record(self, trial_id: str, running: _Running, status: str, error: str | None) -> None:
        scores = running.scores
        record = TrialRecord.model_validate(
            {
                "trial_id": trial_id,
                "config": running.config,
                "score": self._problem.whole(scores) if scores and error is None else None,
                "fold_scores": scores,
                "status": status,
                "seconds": round(self._clock.now_s() - running.began_s, 4),
                "error": error,
                "attempts": running.deaths + running.attempts,
                "metrics": self._problem.figures(running.figures) if error is None else {},
                "fit_seconds": _fit_seconds(self._problem, running.fit_s),
            }
        )
        self.records.append(record)
        self._on_trial(record)


def _fit_seconds(problem: Problem, fit_s: Sequence[float]) -> float | None:
    """Give how long one fit on a fold took, of the largest amount where rungs hand out more and more."""
    if not fit_s:
        return None
    return round(fit_s[-1] if problem.rungs else fmean(fit_s), 6)
