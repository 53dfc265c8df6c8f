"""One configuration, judged: what a search carries with it, and one step of one trial. Pure but for the fit itself.

A step is a fold, or, where configurations are given more of a resource from rung to rung, all folds at one rung. What
no configuration changes is done once, when the problem is built: each fold's encoder is fitted on its training rows
only, and its matrices are shared by all trials.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible, MldlError
from contracts.records import TrialRecord
from contracts.specs import EarlyStopping, Json, SearchDimension, Task
from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder, Matrix
from mldl_ray.evaluation.metrics import METRICS, score
from mldl_ray.training.budget import Caps
from mldl_ray.training.race import Halving, Race, Rule

Vector = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
SHARE_OF_ROWS = "share_of_rows"
"""The resource of families that have none of their own: the share of the training rows that a rung may see."""


@dataclass(frozen=True, eq=False)
class Part:
    """Encoded rows with their target: class positions, or values."""

    M: Matrix
    y: Vector
    weights: Doubles | None

    def first(self, share: float) -> Part:
        """Give the first part of the rows, as a view; building a problem has put them in an order fit for that."""
        count = max(1, round(share * len(self.M)))
        return Part(self.M[:count], self.y[:count], None if self.weights is None else self.weights[:count])


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows that learn, rows that judge, and perhaps rows that tell early stopping when to stop.

    ``places`` are the judging rows' positions among all training rows.
    """

    encoder: Encoder
    train: Part
    judge: Part
    rounds: Part | None
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a search needs; it can be sent to other processes."""

    family: str
    task: Task
    model_key: str
    seed: int
    classes: int  # of the target; 0 for values
    fixed: Json
    space: Mapping[str, SearchDimension]
    strategy: str
    points: tuple[Json, ...]  # configurations to try first; for grid and random: all of them
    max_trials: int
    max_concurrent: int
    early_stop: bool
    metric: str
    folds: tuple[Fold, ...]
    early_stopping: EarlyStopping | None
    resource: str | None
    rungs: tuple[float, ...]
    caps: Caps
    started_s: float  # Unix seconds; when the job began
    done: tuple[TrialRecord, ...] = ()  # of an earlier run of the same job

    @property
    def sign(self) -> int:
        """Give what turns a score into a gain: more is better."""
        return 1 if METRICS[self.metric].higher_is_better else -1

    @property
    def steps(self) -> int:
        """Count the steps of a whole trial."""
        return len(self.rungs) or len(self.folds)

    @property
    def rule(self) -> Rule:
        """Give what stops a losing configuration."""
        return Halving(len(self.rungs)) if self.rungs else Race(len(self.folds))

    @property
    def prunes(self) -> bool:
        """Say whether losing configurations are stopped at all; handing out a resource means nothing else."""
        return bool(self.rungs) or (self.early_stop and self.strategy in {"bayes", "random"})

    def settings(self, config: Mapping[str, Any]) -> Json:
        """Give the family's settings for a configuration."""
        return self.fixed | dict(config)

    def whole(self, scores: Sequence[float]) -> float:
        """Give a trial's score: the mean over the folds, or what its last rung reached."""
        return scores[-1] if self.rungs else fmean(scores)

    def winner(self, config: Mapping[str, Any]) -> Json:
        """Give the settings of a configuration with all of the resource that the rungs handed out."""
        if self.resource in {None, SHARE_OF_ROWS}:
            return self.settings(config)
        return self.settings(config) | {str(self.resource): int(self.rungs[-1])}


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
        return _finite(fold_score(problem, problem.settings(config), problem.folds[number]))
    amount = problem.rungs[number]
    if problem.resource == SHARE_OF_ROWS:
        settings, share = problem.settings(config), amount
    else:
        settings, share = problem.settings(config) | {str(problem.resource): int(amount)}, 1.0
    return _finite(fmean(fold_score(problem, settings, fold, share) for fold in problem.folds))


def fold_score(problem: Problem, settings: Json, fold: Fold, share: float = 1.0) -> float:
    """Fit on a fold's training rows, or the first share of them, and judge on its judging rows."""
    said = fold_answers(problem, settings, fold, share)
    return score(problem.metric, fold.judge.y, said, fold.judge.weights)


def fold_answers(problem: Problem, settings: Json, fold: Fold, share: float = 1.0) -> Doubles:
    """Fit on a fold and answer its judging rows: probabilities ``(n, classes)``, or values ``(n,)``."""
    train = fold.train if share >= 1 else fold.train.first(share)
    model = fit(problem, settings, fold.encoder, train, fold.rounds)
    if problem.task != "classification":
        return np.asarray(model.predict_matrix(fold.judge.M), dtype=np.float64)
    proba = model.predict_proba_matrix(fold.judge.M)
    if proba.shape[1] == problem.classes:
        return proba
    every = np.zeros((len(proba), problem.classes))  # a class that the fold's training rows lack is never answered
    every[:, model.classes] = proba
    return every


def fit(problem: Problem, settings: Json, encoder: Encoder, train: Part, rounds: Part | None) -> BaseModelAdapter:
    """Fit a model of the problem's family on encoded rows whose classes are positions."""
    model = adapter_class(problem.family)(problem.model_key, task=problem.task, seed=problem.seed, **settings)
    model.use_encoder(encoder)
    return model.fit_matrix(
        train.M,
        train.y,
        sample_weight=train.weights,
        M_valid=None if rounds is None else rounds.M,
        y_valid=None if rounds is None else rounds.y,
        early_stopping=None if rounds is None else problem.early_stopping,
    )


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
