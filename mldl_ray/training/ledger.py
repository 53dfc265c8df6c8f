"""The book of one search: which trials run, what they scored, what they cost, and whether anything may go on.

Every implementation of ``Trials`` keeps one and obeys it, so that the rules are the same wherever trials run. Trials
are numbered in the order of proposals. What trial n is and whether it goes on follows from the trials up to n − ahead
alone, all of which have ended when it begins: neither how many work at a time nor who is quick decides anything.
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
from mldl_ray.training.race import ahead_of, patience_of, plateaued
from mldl_ray.training.trial import best_of


@dataclass
class _Running:
    config: Json
    number: int
    began_s: float
    scores: list[float] = field(default_factory=list)
    attempts: int = 1
    deaths: int = 0
    figures: list[Mapping[str, float]] = field(default_factory=list)
    fit_s: list[float] = field(default_factory=list)
    lost: bool = False


class Ledger:
    """Keep the records of a search. Trials of an earlier run of the same job are in it from the start."""

    def __init__(self, problem: Problem, clock: Clock, on_trial: Callable[[TrialRecord], None]) -> None:
        self._problem, self._clock, self._on_trial = problem, clock, on_trial
        self._running: dict[str, _Running] = {}
        self._step_s: list[float] = []
        self._ahead = ahead_of(problem.max_concurrent)
        self._gains: list[float] = []  # of the trials from 0 on without a gap
        self._last: int | None = None  # the trial that showed that nothing gets better
        self.breached: str | None = None
        self.records: list[TrialRecord] = [
            record if record.number is not None else record.model_copy(update={"number": place})
            for place, record in enumerate(problem.done)
        ]
        self._by_number = {record.number: record for record in self.records}
        self._see_progress()

    def missing(self) -> list[int]:
        """Give the numbers of the trials that no earlier run has ended, in order."""
        problem = self._problem
        proposes = problem.strategy == "bayes" and bool(problem.space)
        total = problem.max_trials if proposes else min(problem.max_trials, len(problem.points))
        return [number for number in range(total) if number not in self._by_number]

    def ready(self, number: int) -> bool:
        """Say whether all trials have ended that the n-th is proposed and raced by."""
        return all(place in self._by_number for place in range(number - self._ahead + 1))

    def known(self, number: int) -> list[TrialRecord]:
        """Give the trials that the n-th is proposed and raced by, in the order of proposals."""
        return [self._by_number[place] for place in range(number - self._ahead + 1) if place in self._by_number]

    def began(self, trial_id: str, config: Json, number: int) -> None:
        """Note that a trial holds resources from now on."""
        self._running[trial_id] = _Running(dict(config), number, self._clock.now_s())

    def stepped(
        self,
        trial_id: str,
        scores: Sequence[float],
        step_s: Sequence[float],
        figures: Sequence[Mapping[str, float]] = (),
    ) -> bool:
        """Note what a trial's steps so far gave and how long they took; say whether it may go on."""
        running = self._running[trial_id]
        if running.lost:
            return False  # what a report brings beyond the step that lost does not count
        fits = self._problem.fits if self._problem.rungs else 1
        running.fit_s = [seconds / fits for seconds in step_s]
        before = len(running.scores)
        self._step_s += running.fit_s[before:]
        running.scores, running.figures = list(scores), list(figures)
        if self._problem.prunes and (lost := self._lost(running, before)) is not None:
            running.lost = True
            running.scores, running.figures = running.scores[:lost], running.figures[:lost]
        return not running.lost

    def _lost(self, running: _Running, before: int) -> int | None:
        """Give the step after which the rule stops a trial, of those that were not yet looked at.

        Each is looked at by itself, however many a report brings.
        """
        sign, rule = self._problem.sign, self._problem.rule
        finished = [record for record in self.known(running.number) if record.status != "failed"]
        others = [[sign * value for value in record.fold_scores] for record in finished]
        mine = [sign * value for value in running.scores]
        steps = range(before + 1, min(len(mine), self._problem.steps - 1) + 1)
        return next((k for k in steps if not rule.keeps(mine[:k], others)), None)

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
        return self.breached is not None or self._last is not None

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

    def _see_progress(self) -> None:
        """Find the trial after which the search is over because nothing got better; later ones cannot win."""
        if not self._problem.prunes or self._problem.rungs:
            return
        patience = patience_of(self._problem.max_trials)
        while self._last is None and (record := self._by_number.get(len(self._gains))) is not None:
            whole = record.status == "completed" and record.score is not None
            self._gains.append(self._problem.sign * (record.score or 0.0) if whole else -math.inf)
            if plateaued(self._gains, patience):
                self._last = len(self._gains) - 1
        if self._last is not None:
            self._pass_over(self._last)

    def _pass_over(self, last: int) -> None:
        """Keep those from winning that had begun when the search was over: one worker would not have tried them."""
        reason = f"the search was over before it: the {patience_of(self._problem.max_trials)} trials up to trial {last}"
        for place, record in enumerate(self.records):
            if (record.number or 0) > last and record.passed_over is None:
                late = record.model_copy(update={"passed_over": f"{reason} improved nothing"})
                self.records[place] = self._by_number[record.number] = late
                self._on_trial(late)

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
                "number": running.number,
            }
        )
        self.records.append(record)
        self._by_number[running.number] = record
        self._on_trial(record)
        self._see_progress()


def _fit_seconds(problem: Problem, fit_s: Sequence[float]) -> float | None:
    """Give how long one fit on a fold took, of the largest amount where rungs hand out more and more."""
    if not fit_s:
        return None
    return round(fit_s[-1] if problem.rungs else fmean(fit_s), 6)
