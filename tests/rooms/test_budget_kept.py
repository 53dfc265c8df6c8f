"""A budget is never overshot, whatever it is counted in, not even in the middle of a training that would not end."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.ports import SearchOutcome
from contracts.specs import DataRef
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.finish import Finished, Source
from mldl_ray.training.job import Ids, Planned, read_job, train
from mldl_ray.training.plan import Plan
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials

PRICE = Defaults().training.cost_per_cpu_second
BUSY_S = 5.0
"""What judging and storing the winner may take longer than foreseen, on a machine that runs other tests too."""


def run(plan: Planned) -> tuple[Finished, SearchOutcome, float]:
    clock, began = SystemClock(), time.monotonic()
    found = train(plan, Source(), Ids("j", "e"), trials=SerialTrials(clock), blobs=MemoryBlobs(), clock=clock)
    return *found, time.monotonic() - began


def policy(**parts: Any) -> PolicyPlan:
    """Plan trainings of ten million episodes: hours, each."""
    endless = {"environment": "FrozenLake-v1", "episodes": 10_000_000, "evaluate_every": 200, "evaluate_episodes": 20}
    spec = {"model_key": "m", "family": "q_learning", "task": "reinforcement", "hyperparams": endless}
    hpo = {"strategy": "random", "max_trials": 50, "max_concurrent": 1}
    return PolicyPlan.of(read_job({"spec": spec, "hpo": hpo, "cv": {"folds": 2}} | parts), Defaults())


def rows(**parts: Any) -> Plan:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=2000), rng.normal(size=2000)
    table = pa.table({"a": a, "b": b, "y": (a - b + rng.logistic(size=2000) > 0).astype(int)})
    spec = {"model_key": "m", "family": "gbm"}
    hpo = {"strategy": "random", "max_trials": 2000, "max_concurrent": 1, "early_stop": False}
    ref = DataRef(uri="x", target="y")
    return Plan.of(
        read_job({"spec": spec, "hpo": hpo, "cv": {"folds": 3}} | parts),
        TrainingRows.of(table, ref, "classification"),
        Defaults(),
    )


@pytest.mark.parametrize("budget", [{"max_seconds": 12}, {"cost_units": 12 * PRICE}], ids=["seconds", "cost"])
def test_a_policy_that_would_learn_for_hours_stops_midway_and_a_version_is_made(budget: dict[str, float]) -> None:
    finished, outcome, took = run(policy(budget=budget))
    assert outcome.budget_exhausted
    assert outcome.best is not None
    assert took < 12 + BUSY_S
    assert finished.bundle.cost.cost_units <= 12 * PRICE
    assert "mean_return" in finished.bundle.metrics


@pytest.mark.parametrize("budget", [{"max_seconds": 15}, {"cost_units": 15 * PRICE}], ids=["seconds", "cost"])
def test_a_search_on_rows_ends_before_its_budget_with_the_best_so_far(budget: dict[str, float]) -> None:
    finished, outcome, took = run(rows(budget=budget))
    assert outcome.budget_exhausted
    assert outcome.best is not None
    assert len(outcome.trials) < 2000
    assert took < 15 + BUSY_S if "max_seconds" in budget else finished.bundle.cost.cost_units <= 15 * PRICE


def test_not_one_trial_more_than_allowed_is_tried() -> None:
    _, outcome, _ = run(rows(budget={"max_trials": 3}))
    assert outcome.budget_exhausted
    assert len(outcome.trials) == 3
