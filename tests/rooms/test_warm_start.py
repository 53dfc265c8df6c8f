"""Searches that begin with experience: what they try first, and what stays for exploration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.job_process import begin_warm
from actors.job_record import JobRecord
from contracts.errors import Incompatible
from contracts.ports import Write
from contracts.records import Job, Progress, TrialRecord, WarmStart
from contracts.specs import Json
from mldl_ray.clock import SettableClock, SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import Defaults
from mldl_ray.terminal.training import _outcome
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.proposals import WARM_SHARE
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials

META: Json = {"task": "classification", "rows": 100, "columns": 2, "classes": 2}
WARM: list[Json] = [{"n_estimators": 60 + i, "learning_rate": 0.05, "max_depth": 3 + i % 6} for i in range(20)]


def plan_of(family: str = "xgb", **hpo: Any) -> Plan:
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.normal(size=120), "b": rng.normal(size=120)})
    y = (table["a"].to_numpy() + rng.normal(size=120) > 0).astype(int)
    job = {"spec": {"model_key": "m", "family": family}, "cv": {"folds": 2}, "hpo": {"max_trials": 12} | hpo}
    return Plan.of(read_job(job), TrainingRows.of_arrays(table, y, "classification"), Defaults())


def points(plan: Plan, warm: list[Json]) -> tuple[Json, ...]:
    return plan.problem(started_s=0, warm=warm).points


@pytest.mark.parametrize("strategy", ["bayes", "random", "hyperband"])
def test_experience_comes_right_after_the_defaults_and_takes_a_third_of_the_trials_at_most(strategy: str) -> None:
    plan = plan_of(strategy=strategy)
    cold, warm = points(plan, []), points(plan, WARM)
    taken = [config for _, config in plan.proposals.warmed(WARM)]
    assert len(taken) == int(12 * WARM_SHARE) == 4
    assert list(warm[:5]) == [cold[0], *taken]


@pytest.mark.parametrize("strategy", ["random", "hyperband"])
def test_what_is_explored_is_what_would_have_been_explored_without_experience(strategy: str) -> None:
    plan = plan_of(strategy=strategy)
    cold, warm = points(plan, []), points(plan, WARM)
    assert warm[5:] == cold[1:8]
    assert len(warm) == len(cold) == 12


def test_a_grid_is_the_grid_whatever_is_known() -> None:
    plan = plan_of(strategy="grid", max_trials=5)
    assert points(plan, WARM) == points(plan, [])
    assert plan.proposals.warmed(WARM) == []


@pytest.mark.parametrize("strategy", ["bayes", "random", "hyperband"])
def test_a_job_that_wants_none_begins_as_if_nothing_were_known(strategy: str) -> None:
    plan = plan_of(strategy=strategy, warm_start=False)
    assert points(plan, WARM) == points(plan, [])


def test_a_search_of_two_trials_has_none_to_spare_for_experience() -> None:
    assert plan_of(max_trials=2).proposals.warmed(WARM) == []


def test_settings_that_an_earlier_job_left_alone_are_the_defaults_here() -> None:
    plan = plan_of()
    ((_, config),) = plan.proposals.warmed([{"max_depth": 4}])
    assert config["max_depth"] == 4
    assert config["subsample"] == 1.0
    assert set(config) == set(plan.proposals.space)


def test_settings_off_the_axes_and_the_defaults_themselves_take_no_place() -> None:
    plan = plan_of()
    warm = [{"max_depth": 60}, {"max_depth": 6}, {"max_depth": 4}]
    assert [place for place, _ in plan.proposals.warmed(warm)] == [2]


def test_a_whole_search_tries_what_won_elsewhere_first() -> None:
    plan = plan_of("lr", max_trials=6, early_stop=False)
    problem = plan.problem(started_s=SystemClock().now_s(), warm=[{"C": 0.02}, {"C": 0.5}])
    outcome = SerialTrials(SystemClock()).search(problem, lambda _: None)
    assert [trial.config["C"] for trial in outcome.trials][1:3] == [0.02, 0.5]
    assert len(outcome.trials) == 6


def started(plan: Plan, family: str = "lr") -> tuple[MemoryJournal, JobRecord]:
    """Give a job that runs, where another one of the same family has left its experience."""
    journal = MemoryJournal(SettableClock())
    remembered = {"model_key": "churn", "family": family, "task": "classification", "meta": META, "config": {"C": 0.5}}
    job = Job(job_id="job-2", status="running", job=plan.job)
    journal.append(
        [Write(kind="experience", key="job-1", expected_version=0, body=remembered), write("job", "job-2", 0, job)],
        actor="ana",
        reason="test",
    )
    return journal, JobRecord(journal, "job-2", "ana")


def test_a_job_writes_down_what_it_begins_with_before_its_first_trial() -> None:
    journal, record = started(plan := plan_of("lr"))
    warm = begin_warm(journal, record, plan, META)
    assert warm == record.read().warm_started_from
    assert [(start.config, start.job_id, start.model_key, start.distance) for start in warm] == [
        ({"C": 0.5}, "job-1", "churn", 0.0)
    ]


def test_a_job_that_is_taken_up_again_begins_the_same_whatever_was_learned_meanwhile() -> None:
    journal, record = started(plan := plan_of("lr"))
    before = begin_warm(journal, record, plan, META)
    later = {"model_key": "x", "family": "lr", "task": "classification", "meta": META, "config": {"C": 3.0}}
    journal.append([Write(kind="experience", key="job-3", expected_version=0, body=later)], actor="a", reason="later")
    assert begin_warm(journal, record, plan, META) == before


@pytest.mark.parametrize("hpo", [{"warm_start": False}, {"strategy": "grid"}])
def test_a_job_that_begins_cold_writes_nothing(hpo: dict[str, Any]) -> None:
    journal, record = started(plan := plan_of("lr", **hpo))
    position = journal.position()
    assert begin_warm(journal, record, plan, META) == ()
    assert journal.position() == position


def test_another_familys_experience_is_none() -> None:
    journal, record = started(plan := plan_of("lr"), family="xgb")
    assert begin_warm(journal, record, plan, META) == ()


def test_a_job_shows_where_its_first_configurations_are_from_and_what_came_of_them() -> None:
    plan = plan_of("lr")
    tried = TrialRecord(trial_id="t1", config={"C": 0.5}, score=0.875, status="completed", seconds=1.0)
    starts = tuple(
        WarmStart(config={"C": value}, job_id="job-1", model_key="churn", distance=0.25) for value in (0.5, 0.02)
    )
    job = Job(
        job_id="job-2", status="running", job=plan.job, trials=(tried,), progress=Progress(trials_done=1),
        warm_started_from=starts,
    )  # fmt: skip
    said = _outcome(job)
    assert "began with {'C': 0.5} from job-1 (churn, 0.25 away): 0.8750" in said
    assert "began with {'C': 0.02} from job-1 (churn, 0.25 away): not tried yet" in said


def test_whether_to_begin_warm_is_yes_or_no() -> None:
    with pytest.raises(Incompatible, match=r"hpo\.warm_start"):
        read_job({"spec": {"model_key": "m", "family": "lr"}, "hpo": {"warm_start": "maybe"}})
