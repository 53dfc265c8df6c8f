"""One fit and what it is worth: on a fold's rows or, where an environment teaches, played out. Pure but for the fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import Json
from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.base import UNSUPERVISED, BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.adapters.reinforcement import PolicyAdapter
from mldl_ray.evaluation.generation import Generator, figure_of_generated
from mldl_ray.evaluation.metrics import score
from mldl_ray.evaluation.unsupervised import figure
from mldl_ray.training.problem import Fold, Part, Problem

Doubles = npt.NDArray[np.float64]
EPISODES = 50
"""Played to judge one training of a policy."""


def fit_figures(problem: Problem, settings: Json, number: int, share: float = 1.0) -> dict[str, float]:
    """Fit a configuration for the n-th time and judge it.

    Args:
        problem: What is searched.
        settings: The family's.
        number: Which fold or repeat, from 0.
        share: Of the training rows, where there are any.

    Returns:
        The objective, and those of the task's other figures that the judging rows leave defined.

    Raises:
        Incompatible: The configuration cannot be fitted, or the objective is undefined.
    """
    if problem.repeats:
        return {problem.metric: policy_score(problem, settings, problem.seed + number)}
    look = _judged(problem, settings, problem.folds[number], share)
    found = {problem.metric: look(problem.metric)}
    for other in problem.metrics:
        if other not in found and (value := _defined(look, other)) is not None:
            found[other] = value
    return found


def _judged(problem: Problem, settings: Json, fold: Fold, share: float) -> Callable[[str], float]:
    """Fit once; what comes back gives any figure of that model."""
    if problem.task not in UNSUPERVISED:
        said = fold_answers(problem, settings, fold, share)
        return lambda metric: score(metric, fold.judge.y, said, fold.judge.weights)
    model = fit(problem, settings, fold.encoder, _some(fold, share), None)
    if problem.task == "generation":
        return lambda metric: figure_of_generated(cast("Generator", model), fold.judge.M, metric, seed=problem.seed)
    return lambda metric: figure(model, fold.judge.M, fold.judge.y, metric, seed=problem.seed)


def _defined(look: Callable[[str], float], metric: str) -> float | None:
    try:
        value = look(metric)
    except Incompatible:
        return None  # these rows leave it undefined, and it decides nothing
    return value if np.isfinite(value) else None


def policy_score(problem: Problem, settings: Json, seed: int) -> float:
    """Train a policy and play it: the mean return of episodes that training has not seen.

    Where the budget has an end, a training takes half of what is left at most: the winner is trained once more.
    """
    now, end = time.time(), problem.end_s
    until = None if end is None else now + max(0.0, end - now) / 2
    return float(np.mean(learn(problem, settings, seed, until_s=until).mean_return(EPISODES, seed=seed)))


def learn(problem: Problem, settings: Json, seed: int, *, until_s: float | None = None) -> PolicyAdapter:
    """Train a policy of the problem's family in its environment, until a moment in Unix seconds at most."""
    policy = adapter_class(problem.family)(problem.model_key, task=problem.task, seed=seed, **settings)
    assert isinstance(policy, PolicyAdapter)  # the task says so, and the base checks that
    return policy.learn(until_s=until_s)


def fold_answers(problem: Problem, settings: Json, fold: Fold, share: float = 1.0) -> Doubles:
    """Fit on a fold and answer its judging rows: probabilities ``(n, classes)``, or values ``(n,)``."""
    model = fit(problem, settings, fold.encoder, _some(fold, share), fold.rounds)
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


def _some(fold: Fold, share: float) -> Part:
    return fold.train if share >= 1 else fold.train.first(share)
