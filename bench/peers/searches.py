"""The same search as people write it: Optuna, a plain Ray Tune trainable, scikit-learn's grid. Nothing of ours here.

Every one takes the same folds as pairs of row numbers and the same axes, and judges a configuration by all of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SCORING = "neg_log_loss"
STEP = "model"


@dataclass(frozen=True)
class Work:
    """A search: rows, folds, axes, and how many configurations.

    ``axes`` are ``(kind, low, high, log)`` by name, ``kind`` being int or float; ``points`` are given to those that
    take a list and no axes.
    """

    pipeline: Pipeline
    X: pd.DataFrame
    y: Any
    folds: list[tuple[Any, Any]]
    axes: Mapping[str, tuple[str, float, float, bool]]
    trials: int
    seed: int
    points: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Found:
    """The best mean over the folds, and seconds: until the first configuration was judged, and in all."""

    score: float
    first_s: float
    total_s: float


def xgb(frame: pd.DataFrame) -> Pipeline:
    """Trees on columns as they are, strings one-hot; one thread, as two are fitted at a time."""
    from xgboost import XGBClassifier  # noqa: PLC0415  # slow to load, and the other work does without

    numbers = frame.select_dtypes("number").columns.tolist()
    strings = [name for name in frame.columns if name not in numbers]
    encode = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("numbers", "passthrough", numbers), ("strings", encode, strings)])
    return Pipeline([("columns", columns), (STEP, XGBClassifier(tree_method="hist", n_jobs=1))])


def lr() -> Pipeline:
    """Logistic regression on scaled columns."""
    return Pipeline([("scale", StandardScaler()), (STEP, LogisticRegression(max_iter=1000))])


def optuna_search(work: Work) -> Found:
    """Optuna, two threads, all folds of every configuration by scikit-learn."""
    import optuna  # noqa: PLC0415  # each peer loads its own

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    watch = _Watch()

    def objective(trial: Any) -> float:
        config = {}
        for name, (kind, low, high, log) in work.axes.items():
            if kind == "int":
                config[name] = trial.suggest_int(name, int(low), int(high), log=log)
            else:
                config[name] = trial.suggest_float(name, low, high, log=log)
        return watch.seen(_judged(work, config))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=work.seed))
    study.optimize(objective, n_trials=work.trials, n_jobs=2)
    return watch.found(study.best_value)


def tune_search(work: Work) -> Found:
    """Give Ray Tune a function and the rows through the object store; its own loggers and schedulers, as it comes."""
    from ray import tune  # noqa: PLC0415  # as above
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

    watch = _Watch()

    def objective(config: dict[str, Any], held: Work) -> None:
        tune.report({"score": _judged(held, config)})

    class Heard(tune.Callback):
        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
            watch.seen(result["score"])

    given: dict[str, Any]
    if work.points:
        given = {name: tune.grid_search([point[name] for point in work.points]) for name in work.points[0]}
        config = tune.TuneConfig(metric="score", mode="max", max_concurrent_trials=2)
    else:
        given = {name: _tune_axis(tune, axis) for name, axis in work.axes.items()}
        config = tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=work.trials,
            max_concurrent_trials=2,
            search_alg=OptunaSearch(seed=work.seed),
        )
    with tempfile.TemporaryDirectory(prefix="bench-tune-") as folder:
        results = tune.Tuner(
            tune.with_parameters(objective, held=work),
            param_space=given,
            tune_config=config,
            run_config=tune.RunConfig(verbose=0, callbacks=[Heard()], storage_path=folder),
        ).fit()
        best: Any = results.get_best_result().metrics
        return watch.found(best["score"])


def grid_search(work: Work) -> Found:
    """Let scikit-learn try all points in two processes, without the last fit on all rows.

    It says nothing until it ends; its processes are started by a search of two points, which counts as the first.
    """
    watch = _Watch()

    def best(points: Sequence[Mapping[str, Any]]) -> float:
        axes = {f"{STEP}__{name}": [point[name] for point in points] for name in points[0]}
        search = GridSearchCV(clone(work.pipeline), axes, scoring=SCORING, cv=work.folds, n_jobs=2, refit=False)
        return float(max(search.fit(work.X, work.y).cv_results_["mean_test_score"]))

    watch.seen(best(work.points[:2]))
    return watch.found(best(work.points))


SEARCHES: dict[str, Callable[[Work], Found]] = {
    "optuna": optuna_search,
    "plain_tune": tune_search,
    "gridsearch": grid_search,
}


def _judged(work: Work, config: Mapping[str, Any]) -> float:
    model = clone(work.pipeline).set_params(**{f"{STEP}__{name}": value for name, value in config.items()})
    return float(cross_val_score(model, work.X, work.y, scoring=SCORING, cv=work.folds).mean())


def _tune_axis(tune: Any, axis: tuple[str, float, float, bool]) -> Any:
    kind, low, high, log = axis
    if kind == "int":
        return (tune.lograndint if log else tune.randint)(int(low), int(high) + 1)
    return tune.loguniform(low, high) if log else tune.uniform(low, high)


class _Watch:
    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first: float | None = None

    def seen(self, score: float) -> float:
        if self._first is None:
            self._first = time.perf_counter() - self._began
        return score

    def found(self, score: float) -> Found:
        return Found(float(score), self._first or 0.0, time.perf_counter() - self._began)
