"""Folds at work in a job: nothing is fitted on rows that judge, and each row's held-out answer counts once."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from contracts.specs import DataRef
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.budget import finish_s
from mldl_ray.training.job import read_job
from mldl_ray.training.make import TableMaker
from mldl_ray.training.plan import Plan
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials

ROWS = 240
CVS: list[dict[str, Any]] = [
    {"folds": 3, "repeats": 3},
    {"folds": 3, "repeats": 2, "strategy": "kfold"},
    {"folds": 3, "repeats": 2, "strategy": "group"},
    {"folds": 3, "strategy": "time", "gap": 4},
    {"folds": 3, "strategy": "time", "gap": 4, "window": "rolling"},
    {"folds": 3, "strategy": "time", "gap": 2, "embargo": 5},
]


def plan_of(cv: dict[str, Any], *, family: str = "lr", task: str = "classification", **parts: Any) -> Plan:
    """Plan a job over rows whose ``code`` names the row, so that what knows a code has seen that row."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=ROWS)
    table = pa.table(
        {
            "row": np.arange(ROWS, dtype=float),
            "code": [f"code-{i:03}" for i in range(ROWS)],
            "a": a,
            "when": rng.permutation(ROWS),
            "who": [f"g{i // 8}" for i in range(ROWS)],
            "y": np.where(a + rng.logistic(size=ROWS) > 0, "in", "out"),
            "value": 2 * a + rng.normal(size=ROWS),
        }
    )
    target, other = ("y", "value") if task == "classification" else ("value", "y")
    roles = {"uri": "x", "target": target, "exclude": (other,), "time_column": "when", "group_column": "who"}
    job = {"spec": {"model_key": "m", "family": family, "task": task}, "cv": cv, "hpo": {"strategy": "grid"}} | parts
    rows: Any = TrainingRows.of(table, DataRef.model_validate(roles), task)  # type: ignore[arg-type]
    return Plan.of(read_job(job), rows, Defaults())


@pytest.mark.parametrize("cv", CVS)
def test_what_prepares_features_has_seen_no_row_that_judges(cv: dict[str, Any]) -> None:
    cv = {"strategy": "stratified"} | cv
    plan = plan_of(cv)
    row = np.array(plan.train.features["row"].to_pylist())
    problem = plan.problem(started_s=0)
    assert len(problem.folds) == 3 * cv.get("repeats", 1)
    for fold, split in zip(problem.folds, plan.folds, strict=True):
        assert fold.encoder.shift[0] == pytest.approx(row[split.train].mean())
        learned = {f"code-{int(i):03}" for i in row[split.train]}
        judged = {f"code-{int(i):03}" for i in row[split.judge]}
        known = {code for column in fold.encoder.schema.columns for code in column.categories}
        assert known
        assert known <= learned
        assert not known & judged


@pytest.mark.parametrize("cv", CVS)
def test_rows_that_stop_training_early_are_never_those_that_judge(cv: dict[str, Any]) -> None:
    plan = plan_of({"strategy": "stratified"} | cv, family="xgb")
    for fold, split in zip(plan.problem(started_s=0).folds, plan.folds, strict=True):
        seen = len(fold.train.M) + (0 if fold.rounds is None else len(fold.rounds.M))
        assert seen == len(split.train)
        assert not set(split.train.tolist()) & set(split.judge.tolist())


@pytest.mark.parametrize("cv", CVS)
def test_answers_that_calibrate_are_one_a_row_however_often_folds_are_drawn(cv: dict[str, Any]) -> None:
    plan = plan_of({"strategy": "stratified"} | cv)
    problem = plan.problem(started_s=0)
    truth, said, _ = TableMaker(plan)._held_out_answers(problem, {"C": 1.0})
    judged = np.concatenate([split.judge for split in plan.folds[:3]])
    assert len(np.unique(judged)) == len(judged) == len(truth) == len(said)
    assert (truth == plan.train.positions[judged]).all()  # type: ignore[index]


def test_repeats_change_neither_calibrator_nor_prediction_interval() -> None:
    for task, family in (("classification", "lr"), ("regression", "linear")):
        once, often = (
            plan_of({"folds": 3, "strategy": "kfold", "repeats": repeats}, family=family, task=task)
            for repeats in (1, 3)
        )
        one, other = (plan.maker.fit(plan.problem(started_s=0), {}) for plan in (once, often))
        assert one.interval == other.interval
        rows = once.held_out.features
        assert np.array_equal(one.model.predict(rows), other.model.predict(rows))
        if task == "classification":
            assert np.array_equal(one.model.predict_proba(rows), other.model.predict_proba(rows))


def test_a_configuration_is_judged_by_the_mean_over_all_repeats() -> None:
    space = {"C": {"kind": "categorical", "choices": [1.0]}}
    hpo = {"strategy": "grid", "max_trials": 1, "search_space": space}
    plan = plan_of({"folds": 3, "strategy": "stratified", "repeats": 4}, hpo=hpo)
    best = SerialTrials(SystemClock()).search(plan.problem(started_s=0), lambda _: None).best
    assert best is not None
    assert len(best.fold_scores) == 12
    assert len({fmean(best.fold_scores[at : at + 3]) for at in (0, 3, 6, 9)}) == 4
    assert best.score == pytest.approx(fmean(best.fold_scores))


def test_the_budget_expects_the_winner_to_need_one_repeat_only() -> None:
    problem = plan_of({"folds": 3, "strategy": "stratified", "repeats": 4}).problem(started_s=0)
    assert (problem.fits, len(problem.once)) == (12, 3)
    assert finish_s(1.0, len(problem.once)) == 4.5


def test_repeats_multiply_the_trainings_that_judge_a_policy() -> None:
    spec: dict[str, Any] = {"model_key": "m", "family": "q_learning", "task": "reinforcement"}
    spec |= {"hyperparams": {"environment": "FrozenLake-v1"}}
    pytest.importorskip("gymnasium")
    job = read_job({"spec": spec, "cv": {"folds": 2, "repeats": 3}})
    assert PolicyPlan.of(job, Defaults()).problem(started_s=0).fits == 6


def test_a_job_that_cannot_be_split_as_asked_is_refused_when_it_is_handed_in() -> None:
    with pytest.raises(Incompatible, match="rows in time are cut in one way only"):
        plan_of({"folds": 3, "repeats": 2})
    with pytest.raises(Incompatible, match="50 folds need 50 groups"):
        plan_of({"folds": 50, "strategy": "group"})
