"""One worker or several, quick ones and slow ones: a search tries, stops and finds the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris

from contracts.ports import SearchOutcome
from contracts.specs import DataRef
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.ledger import Ledger
from mldl_ray.training.plan import Plan
from mldl_ray.training.problem import Problem
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials
from mldl_ray.training.tpe import Bayes
from mldl_ray.training.trial import Trial

SPACE = {
    "C": {"kind": "float", "low": 1e-6, "high": 100, "log": True},
    "class_weight": {"kind": "categorical", "choices": [None, "balanced"]},
}


def problem_of(workers: int = 4, trials: int = 16, done: Any = (), **hpo: Any) -> Problem:
    X, y = load_iris(return_X_y=True)
    table = pa.table({f"x{i}": X[:, i] for i in range(X.shape[1])} | {"y": y})
    job = {
        "spec": {"model_key": "m", "family": "lr"},
        "cv": {"folds": 3},
        "hpo": {"max_trials": trials, "max_concurrent": workers, "metric": "logloss", "search_space": SPACE} | hpo,
    }
    rows = TrainingRows.of(table, DataRef(uri="x", target="y"), "classification")
    return Plan.of(read_job(job), rows, Defaults()).problem(started_s=SystemClock().now_s(), done=done)


class Crew:
    """Several workers that take turns by chance: one may be far ahead of another, and reports bring several steps."""

    def __init__(self, problem: Problem, workers: int, seed: int, *, stop_after: int | None = None) -> None:
        self._problem, self._workers, self._rng = problem, workers, np.random.default_rng(seed)
        self._stop_after = stop_after
        self.ledger = Ledger(problem, SystemClock(), lambda _: None)
        self._left, self._bayes = self.ledger.missing(), Bayes(problem)
        self._at_work: dict[str, Trial] = {}

    def search(self) -> SearchOutcome:
        while not self.ledger.over() and (self._take() or self._at_work):
            if self._stop_after is not None and len(self.ledger.records) >= self._stop_after:
                break
            names = sorted(self._at_work)
            self._report(names[int(self._rng.integers(len(names)))])
        for trial_id in self.ledger.running:
            if self._stop_after is None:
                self.ledger.ended(trial_id)
        return self.ledger.outcome()

    def _take(self) -> bool:
        while self._left and len(self._at_work) < self._workers and self.ledger.ready(self._left[0]):
            number = self._left.pop(0)
            points = self._problem.points
            config = points[number] if number < len(points) else self._bayes.propose(number, self.ledger.known(number))
            self._at_work[f"t{number}"] = Trial(self._problem, config, quantum_s=0)
            self.ledger.began(f"t{number}", config, number)
        return bool(self._at_work)

    def _report(self, trial_id: str) -> None:
        trial = self._at_work[trial_id]
        for _ in range(int(self._rng.integers(1, 5))):
            if not trial.done:
                trial.advance()
        keeps = self.ledger.stepped(trial_id, trial.scores, trial.step_s, trial.figures)
        if trial.done or not keeps:
            del self._at_work[trial_id]
            self.ledger.ended(trial_id)


def essence(outcome: SearchOutcome) -> list[tuple[Any, ...]]:
    counted = [trial for trial in outcome.trials if trial.passed_over is None]
    return sorted((t.number, str(t.config), t.fold_scores, t.status, str(t.metrics)) for t in counted)


def winner(outcome: SearchOutcome) -> tuple[Any, ...]:
    assert outcome.best is not None
    return outcome.best.number, outcome.best.config, outcome.best.score, outcome.best.metrics


STRATEGIES = ["bayes", "random", "grid", "hyperband"]


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_four_workers_find_what_one_finds_whoever_is_quick(strategy: str, seed: int) -> None:
    problem = problem_of(strategy=strategy)
    alone, crew = SerialTrials(SystemClock()).search(problem, lambda _: None), Crew(problem, 4, seed).search()
    assert essence(crew) == essence(alone)
    assert winner(crew) == winner(alone)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_how_many_may_work_at_a_time_decides_nothing_up_to_four(strategy: str) -> None:
    one, four = (SerialTrials(SystemClock()).search(problem_of(n, strategy=strategy), lambda _: None) for n in (1, 4))
    assert essence(one) == essence(four)


@pytest.mark.parametrize("strategy", ["bayes", "random"])
def test_a_search_ends_at_the_same_trial_and_what_others_tried_meanwhile_cannot_win(strategy: str) -> None:
    space = {"C": {"kind": "categorical", "choices": [0.01, 0.1]}, "tol": {"kind": "float", "low": 1e-5, "high": 1e-4}}
    problem = problem_of(trials=40, strategy=strategy, search_space=space)
    alone = SerialTrials(SystemClock()).search(problem, lambda _: None)
    assert len(alone.trials) < 40
    for seed in range(2):
        crew = Crew(problem, 4, seed).search()
        assert winner(crew) == winner(alone)
        assert {trial.number for trial in crew.trials} >= {trial.number for trial in alone.trials}
        late = [trial for trial in crew.trials if (trial.number or 0) >= len(alone.trials)]
        assert all("the search was over" in str(trial.passed_over) for trial in late)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ended", [7])
def test_a_search_of_four_that_is_killed_goes_on_as_one_that_was_not(strategy: str, ended: int) -> None:
    problem = problem_of(strategy=strategy)
    whole = Crew(problem, 4, seed=0).search()
    killed = Crew(problem, 4, seed=1, stop_after=ended).search()
    resumed = Crew(problem_of(strategy=strategy, done=killed.trials), 4, seed=2).search()
    assert essence(resumed) == essence(whole)
    assert winner(resumed) == winner(whole)


def test_losers_are_stopped_where_a_report_brings_all_their_steps_at_once() -> None:
    problem = problem_of(strategy="random", trials=20)
    found = Crew(problem, 1, seed=0).search()
    stopped = [trial for trial in found.trials if trial.status == "pruned"]
    assert stopped
    assert all(0 < len(trial.fold_scores) < 3 for trial in stopped)
