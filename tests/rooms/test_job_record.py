"""A job's document keeps every hand's change, and an ended job stays as it ended."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from actors.job_record import JobRecord, LiveProgress
from contracts.errors import Conflict, NotFound, Unavailable
from contracts.ports import Receipt
from contracts.records import Job, TrialRecord
from contracts.specs import DataRef, JobSpec
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import load, write
from mldl_ray.settings import Defaults
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows

SPEC = JobSpec.model_validate({"spec": {"model_key": "m", "family": "lr"}})


class LosesAnswers(MemoryJournal):
    """Writes, and then the answer is lost on its way; or is away before it writes."""

    lose_after = lose_before = 0

    def append(self, *args: Any, **kwargs: Any) -> Receipt:
        if self.lose_before:
            self.lose_before -= 1
            raise Unavailable("restarting")
        receipt = super().append(*args, **kwargs)
        if self.lose_after:
            self.lose_after -= 1
            raise Unavailable("restarting")
        return receipt


@pytest.fixture
def journal() -> LosesAnswers:
    journal = LosesAnswers(SettableClock())
    job = Job(job_id="job-1", status="queued", job=SPEC)
    journal.append([write("job", "job-1", 0, job)], actor="ana", reason="test")
    return journal


def costing(units: float) -> Any:
    return lambda job: job.model_copy(update={"cost_units": job.cost_units + units})


def test_a_change_that_raced_with_another_is_decided_again(journal: LosesAnswers) -> None:
    record, other = (JobRecord(journal, "job-1", by) for by in ("ana", "bo"))
    raced = []

    def change(job: Job) -> Job:
        if not raced:
            raced.append(other.change(costing(1), reason="first"))
        return Job(**(job.model_copy(update={"cost_units": job.cost_units + 2}).__dict__))

    assert record.change(change, reason="second").cost_units == 3


@pytest.mark.parametrize("lost", ["lose_after", "lose_before"])
def test_a_lost_answer_neither_loses_nor_repeats_a_change(journal: LosesAnswers, lost: str) -> None:
    setattr(journal, lost, 1)
    assert JobRecord(journal, "job-1", "ana").change(costing(1), reason="once").cost_units == 1
    job, version = load(journal, "job", "job-1", Job)
    assert job is not None
    assert (job.cost_units, version) == (1, 2)


def test_an_ended_job_stays_as_it_ended(journal: LosesAnswers) -> None:
    record = JobRecord(journal, "job-1", "ana")
    record.change(lambda job: job.model_copy(update={"status": "cancelled"}), reason="enough")
    with pytest.raises(Conflict, match="ended already: cancelled"):
        record.change(costing(1), reason="late")
    assert record.read().cost_units == 0


def test_a_job_that_nobody_knows_is_not_found(journal: LosesAnswers) -> None:
    with pytest.raises(NotFound, match="job-2"):
        JobRecord(journal, "job-2", "ana").read()


def test_a_job_that_breaks_down_keeps_its_trials_and_why_each_was_passed_over(journal: LosesAnswers) -> None:
    table = pa.table({"a": list(range(60)), "y": [i % 2 for i in range(60)]})
    rows = TrainingRows.of(table, DataRef(uri="x", target="y"), "classification")
    problem = Plan.of(SPEC, rows, Defaults()).problem(started_s=0)
    record = JobRecord(journal, "job-1", "ana")
    trial = TrialRecord(trial_id="t0", config={"C": 1.0}, score=0.5, status="completed", seconds=2)

    def broken() -> None:
        with LiveProgress(record, 0.1) as live:
            live.note(trial, problem)
            live.note(trial.model_copy(update={"passed_over": "is too dear"}), problem)
            raise Conflict("none keeps the constraints")

    with pytest.raises(Conflict):
        broken()
    job = record.read()
    assert [(kept.trial_id, kept.passed_over) for kept in job.trials] == [("t0", "is too dear")]
    assert (job.cost_units, job.progress.best_score) == (0.2, None)
