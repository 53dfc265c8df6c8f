"""Three levels at which training stops early: inside a model, inside a trial, across the trials of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from contracts.ports import SearchOutcome
from contracts.specs import DataRef, EarlyStopping
from mldl_ray.adapters import create_adapter
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials


def table(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=rows), rng.normal(size=rows)
    return pa.table({"a": a, "b": b, "y": (a - b + rng.logistic(size=rows) > 0).astype(int)})


def search(**parts: Any) -> SearchOutcome:
    job = {"spec": {"model_key": "m", "family": "lr"}, "cv": {"folds": 5}} | parts
    rows = TrainingRows.of(table(), DataRef(uri="x", target="y"), "classification")
    plan = Plan.of(read_job(job), rows, Defaults())
    clock = SystemClock()
    return SerialTrials(clock).search(plan.problem(started_s=clock.now_s()), lambda _: None)


def rounds(stopping: EarlyStopping) -> int:
    """Count the trees that a model keeps which would grow 500."""
    model: Any = create_adapter("xgb", n_estimators=500, learning_rate=0.3)
    rows = table()
    X, y = rows.drop_columns(["y"]), rows["y"].to_numpy()
    M = model.fit_encoder(X).transform(X)
    model.fit_matrix(M[:300], y[:300], M_valid=M[300:], y_valid=y[300:], early_stopping=stopping)
    return int(model._booster.num_boosted_rounds())


def test_a_model_stops_when_patience_is_at_an_end_and_keeps_its_best_state() -> None:
    kept = rounds(EarlyStopping(patience=5))
    assert kept < 100
    assert kept == rounds(EarlyStopping(patience=50))  # what came after the best round is not kept


def test_a_gain_below_min_delta_is_none() -> None:
    assert rounds(EarlyStopping(patience=5, min_delta=0.05)) < rounds(EarlyStopping(patience=5))


SPACE = {"C": {"kind": "float", "low": 1e-9, "high": 10, "log": True}}


def test_a_losing_trial_stops_after_its_first_folds_and_the_winner_stays() -> None:
    hpo = {"strategy": "random", "max_trials": 18, "search_space": SPACE, "metric": "logloss"}
    racing, patient = search(hpo=hpo), search(hpo=hpo | {"early_stop": False})
    assert any(trial.status == "pruned" and len(trial.fold_scores) == 1 for trial in racing.trials)
    assert racing.best is not None
    assert patient.best is not None
    assert racing.best.config == patient.best.config


def test_a_search_stops_when_twenty_trials_improved_nothing() -> None:
    flat = {"tol": {"kind": "float", "low": 1e-6, "high": 1e-5, "log": True}}
    hpo = {"strategy": "random", "max_trials": 30, "search_space": flat}
    assert len(search(hpo=hpo).trials) < 30
    assert len(search(hpo=hpo | {"early_stop": False}).trials) == 30
