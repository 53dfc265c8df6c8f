"""Searches as Ray Tune trials: what one process finds, on actors that are reused, leaving nothing behind."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.util import placement_group_table

from actors.trials import RayTrials
from contracts.ports import SearchOutcome
from contracts.records import TrialRecord
from contracts.specs import DataRef
from mldl_ray import cluster
from mldl_ray.blobs.tables import read_table
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults, Settings
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials

TIDYING_S = 5.0
"""What Tune may take to tidy up when no trial is at work any more; it used to wait ten seconds for those that were."""
pytestmark = pytest.mark.usefixtures("ray_cluster")


def plan_of(path: Path, **parts: Any) -> Plan:
    base = {"spec": {"model_key": "m", "family": "lr"}, "cv": {"folds": 3}}
    ref = DataRef(uri=str(path), target="target")
    rows = TrainingRows.of(read_table(str(path)), ref, "classification")
    return Plan.of(read_job(base | parts), rows, Defaults())


def search(trials: Any, plan: Plan, heard: list[TrialRecord] | None = None, **parts: Any) -> SearchOutcome:
    hear = [].append if heard is None else heard.append
    outcome: SearchOutcome = trials.search(plan.problem(started_s=time.time(), **parts), hear)
    return outcome


def essence(outcome: SearchOutcome) -> set[tuple[Any, ...]]:
    return {(tuple(trial.config.items()), trial.fold_scores, trial.score) for trial in outcome.trials}


@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_tune_finds_what_one_process_finds(breast_cancer: Path, strategy: str) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": strategy, "max_trials": 5, "early_stop": False})
    heard: list[TrialRecord] = []
    found = search(RayTrials(SystemClock()), plan, heard)
    assert essence(found) == essence(search(SerialTrials(SystemClock()), plan))
    assert tuple(heard) == found.trials
    assert found.best is not None
    assert found.cpu_seconds > 0
    assert not found.budget_exhausted


@pytest.mark.parametrize("strategy", ["bayes", "random", "grid", "hyperband"])
def test_four_processes_find_what_one_finds_losers_stopped_included(breast_cancer: Path, strategy: str) -> None:
    hpo = {"strategy": strategy, "max_trials": 16, "max_concurrent": 4, "metric": "logloss"}
    plan = plan_of(breast_cancer, hpo=hpo, resources={"cpus": 0.5})
    alone, found = search(SerialTrials(SystemClock()), plan), search(RayTrials(SystemClock(), quantum_s=0.01), plan)
    assert essence(found) == essence(alone)
    assert [(t.number, t.status) for t in by_number(found)] == [(t.number, t.status) for t in by_number(alone)]
    assert found.best is not None
    assert alone.best is not None
    assert (found.best.config, found.best.metrics) == (alone.best.config, alone.best.metrics)


def by_number(outcome: SearchOutcome) -> list[TrialRecord]:
    return sorted(outcome.trials, key=lambda trial: trial.number or 0)


def test_bayes_tries_the_defaults_and_then_what_won_elsewhere(breast_cancer: Path) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": "bayes", "max_trials": 4, "max_concurrent": 1})
    found = search(RayTrials(SystemClock()), plan, warm=[{"C": 0.25}])
    assert [trial.config for trial in found.trials[:2]] == [{"C": 1.0}, {"C": 0.25}]
    assert len(found.trials) == 4


CONDITIONAL = {
    "solver": {"kind": "categorical", "choices": ["lbfgs", "saga"]},
    "l1_ratio": {"kind": "float", "low": 0.1, "high": 0.9, "when": {"solver": ["saga"]}},
}


def test_one_trial_at_a_time_tune_is_given_the_proposals_of_one_process(breast_cancer: Path) -> None:
    """Conditions, estimates and figures included; a search taken up again goes on with the same ones."""
    spec = {"model_key": "m", "family": "lr", "hyperparams": {"max_iter": 50}}
    hpo = {"strategy": "bayes", "max_trials": 13, "max_concurrent": 1, "search_space": CONDITIONAL, "early_stop": False}
    plan = plan_of(breast_cancer, spec=spec, hpo=hpo)
    alone = search(SerialTrials(SystemClock()), plan)
    found = search(RayTrials(SystemClock()), plan, done=alone.trials[:3])
    assert [trial.config for trial in found.trials] == [trial.config for trial in alone.trials]
    assert [trial.metrics for trial in found.trials] == [trial.metrics for trial in alone.trials]
    assert {"auroc", "logloss"} < set(found.trials[-1].metrics)


def test_trials_of_an_earlier_run_count_and_are_not_run_again(breast_cancer: Path) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": "bayes", "max_trials": 4})
    done = search(SerialTrials(SystemClock()), plan).trials[:3]
    heard: list[TrialRecord] = []
    found = search(RayTrials(SystemClock()), plan, heard, done=done)
    assert found.trials[:3] == done
    assert len(heard) == 1


def test_hyperband_stops_losers_at_their_first_rungs(breast_cancer: Path) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": "hyperband", "max_trials": 12})
    found = search(RayTrials(SystemClock(), quantum_s=0), plan)
    assert len(found.trials) == 12
    assert {trial.status for trial in found.trials} == {"completed", "pruned"}


def test_failures_are_trials_with_their_reason(breast_cancer: Path) -> None:
    space = {"solver": {"kind": "categorical", "choices": ["lbfgs", "saga"]}}
    spec = {"model_key": "m", "family": "lr", "hyperparams": {"l1_ratio": 0.5}}
    found = search(
        RayTrials(SystemClock()), plan_of(breast_cancer, spec=spec, hpo={"strategy": "bayes", "search_space": space,
                                                                         "max_trials": 4})
    )  # fmt: skip
    failed = [trial for trial in found.trials if trial.status == "failed"]
    assert {trial.config["solver"] for trial in failed} == {"lbfgs"}
    assert all("broke down" in str(trial.error) for trial in failed)
    assert found.best is None or found.best.config["solver"] == "saga"


def test_a_cap_on_seconds_ends_a_search(breast_cancer: Path) -> None:
    spec = {"model_key": "m", "family": "xgb", "hyperparams": {"n_estimators": 500, "learning_rate": 0.01}}
    plan = plan_of(
        breast_cancer,
        spec=spec,
        hpo={"strategy": "random", "max_trials": 2000, "early_stop": False},
        early_stopping={"patience": 500},
        budget={"max_seconds": 25},
    )
    began = time.monotonic()
    found = search(RayTrials(SystemClock()), plan)
    assert found.budget_exhausted
    assert time.monotonic() - began < 25 + TIDYING_S


def test_a_fit_that_would_break_a_cap_is_killed_before_it_does(breast_cancer: Path) -> None:
    trees = {"kind": "categorical", "choices": [5, 5000]}
    plan = plan_of(
        breast_cancer,
        spec={"model_key": "m", "family": "forest"},
        hpo={"strategy": "grid", "early_stop": False, "search_space": {"n_estimators": trees}},
        budget={"max_seconds": 25},
    )
    began = time.monotonic()
    found = search(RayTrials(SystemClock()), plan)
    assert time.monotonic() - began < 25 + TIDYING_S
    assert found.budget_exhausted
    assert found.best is not None
    assert found.best.config == {"n_estimators": 5}


def test_a_trial_whose_process_is_killed_begins_again_and_the_others_go_on(
    breast_cancer: Path, ray_cluster: Settings
) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": "random", "max_trials": 12, "early_stop": False})
    killed: list[int] = []

    def kill_once(_: TrialRecord) -> None:
        if not killed:
            for victim in _alive(ray_cluster):
                killed.append(victim.pid)
                victim.kill()

    found = RayTrials(SystemClock()).search(plan.problem(started_s=time.time()), kill_once)
    assert len(found.trials) == 12
    assert 1 <= len([trial for trial in found.trials if trial.attempts == 2 or trial.status == "failed"]) <= 2
    assert sum(trial.status == "completed" for trial in found.trials) >= 10


def test_a_search_leaves_nothing_behind(breast_cancer: Path, ray_cluster: Settings) -> None:
    before, folders = set(os.environ.items()), _folders()
    search(RayTrials(SystemClock()), plan_of(breast_cancer, hpo={"strategy": "random", "max_trials": 3}))
    assert set(os.environ.items()) == before
    assert _folders() <= folders
    deadline = time.monotonic() + 15
    while _alive(ray_cluster) or [g for g in placement_group_table().values() if g["state"] != "REMOVED"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("mldl-tune-*"))


def _alive(settings: Settings) -> list[psutil.Process]:
    return [p for p in cluster.processes(settings) if "TuneTrial" in " ".join(p.cmdline())]


def test_trials_run_on_a_few_reused_processes(breast_cancer: Path, ray_cluster: Settings) -> None:
    plan = plan_of(breast_cancer, hpo={"strategy": "random", "max_trials": 15})
    seen: set[int] = set()

    def look(_: TrialRecord) -> None:
        seen.update(process.pid for process in _alive(ray_cluster))

    RayTrials(SystemClock()).search(plan.problem(started_s=time.time()), look)
    assert 1 <= len(seen) <= 2
