"""Jobs on a real cluster: each in a process of its own, recorded in a real journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.util import placement_group_table

from actors.job_process import scratch
from actors.jobs import Jobs
from contracts.errors import Conflict, Incompatible, NotFound
from contracts.ports import Journal, Once
from contracts.records import Job
from contracts.specs import DataRef, JobSpec
from mldl_ray import cluster
from mldl_ray.blobs import open_blobs
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Settings


@pytest.fixture(scope="module")
def jobs(ray_cluster: Settings, journal: Journal) -> Jobs:
    return Jobs(ray_cluster, journal, open_blobs(ray_cluster.artifact_uri), SystemClock())


def wanted(path: Path, **parts: Any) -> JobSpec:
    base = {
        "spec": {"model_key": "cancer", "family": "lr", "tags": ["test"]},
        "data": {"uri": str(path), "target": "target"},
        "cv": {"folds": 3},
        "hpo": {"strategy": "bayes", "max_trials": 3},
    }
    return JobSpec.model_validate(base | parts)


def long_search(path: Path) -> JobSpec:
    return wanted(
        path,
        spec={"model_key": "cancer", "family": "xgb", "hyperparams": {"n_estimators": 400, "learning_rate": 0.001}},
        hpo={"strategy": "random", "max_trials": 500, "early_stop": False},
        early_stopping={"patience": 400},
    )


def until(jobs: Jobs, job_id: str, when: Callable[[Job], bool], seconds: float = 90) -> Job:
    deadline = time.monotonic() + seconds
    while not when(job := jobs.status(job_id)):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def ended(jobs: Jobs, job_id: str) -> Job:
    return until(jobs, job_id, lambda job: job.status not in {"queued", "running"})


def trial_processes(settings: Settings) -> list[psutil.Process]:
    found = []
    for process in cluster.processes(settings):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
            found += [process] if "TuneTrial" in " ".join(process.cmdline()) else []
    return found


def held_groups() -> list[Any]:
    return [group for group in placement_group_table().values() if group["state"] != "REMOVED"]


def test_a_job_ends_with_a_judged_model_and_the_events_that_say_so(
    jobs: Jobs, journal: Journal, breast_cancer: Path
) -> None:
    submitted = jobs.submit(wanted(breast_cancer), by="ana")
    assert submitted.status == "queued"
    job = ended(jobs, submitted.job_id)
    assert job.status == "succeeded", job.error
    assert job.progress.trials_done == len(job.trials) == 3
    bundle = job.bundle
    assert bundle is not None
    assert bundle.metrics["auroc"] > 0.95
    assert {"f1", "auroc", "logloss", "calibration", "precision"} <= set(bundle.metrics)
    assert bundle.lineage.dataset_id == "breast_cancer"
    assert bundle.lineage.job_id == job.job_id
    assert bundle.cost.cost_units == job.cost_units > 0
    assert journal.read("evaluation", str(bundle.evaluation_id)) is not None
    assert journal.read("experience", job.job_id) is not None
    told = [event.type for event in journal.events(subject=job.job_id)]
    assert told == ["MLDL_TRAINING_STARTED", "MLDL_CANDIDATE_READY", "MLDL_TRAINING_ENDED"]
    assert {event.actor for event in journal.events(subject=job.job_id)} == {"ana"}


def test_a_repeated_request_is_the_same_job(jobs: Jobs, breast_cancer: Path) -> None:
    once = Once(key="again", digest="d")
    first = jobs.submit(wanted(breast_cancer), by="ana", once=once)
    assert jobs.submit(wanted(breast_cancer), by="ana", once=once).job_id == first.job_id
    with pytest.raises(Conflict):
        jobs.submit(wanted(breast_cancer), by="ana", once=Once(key="again", digest="other"))
    assert ended(jobs, first.job_id).status == "succeeded"


def test_bad_jobs_are_refused_before_anything_is_written(jobs: Jobs, journal: Journal, breast_cancer: Path) -> None:
    before = journal.position()
    with pytest.raises(Incompatible, match="target"):
        jobs.submit(wanted(breast_cancer, data={"uri": str(breast_cancer), "target": "cancer"}), by="ana")
    with pytest.raises(Incompatible, match="no family"):
        jobs.submit(wanted(breast_cancer, spec={"model_key": "m", "family": "oracle"}), by="ana")
    with pytest.raises(NotFound, match="nowhere"):
        jobs.submit(wanted(breast_cancer, data={"uri": "/nowhere.csv", "target": "y"}), by="ana")
    with pytest.raises(Incompatible, match="no machine has that"):
        jobs.submit(wanted(breast_cancer, resources={"cpus": 1000}), by="ana")
    with pytest.raises(Incompatible, match="data is missing"):
        jobs.submit(JobSpec.model_validate({"spec": {"model_key": "m", "family": "lr"}}), by="ana")
    assert journal.position() == before


def test_a_cancelled_job_leaves_nothing_running(
    jobs: Jobs, journal: Journal, ray_cluster: Settings, breast_cancer: Path
) -> None:
    job_id = jobs.submit(long_search(breast_cancer), by="ana").job_id
    until(jobs, job_id, lambda job: job.status == "running" and bool(trial_processes(ray_cluster)))
    cancelled = jobs.cancel(job_id, by="bo", reason="no longer wanted")
    assert cancelled.status == "cancelled"
    deadline = time.monotonic() + 20
    while trial_processes(ray_cluster) or held_groups() or scratch(job_id).exists():
        assert time.monotonic() < deadline, (trial_processes(ray_cluster), held_groups())
        time.sleep(0.1)
    with pytest.raises(ValueError, match="Failed to look up"):
        ray.get_actor(f"mldl.job.{job_id}", namespace="mldl")
    assert jobs.status(job_id).status == "cancelled"
    assert jobs.cancel(job_id, by="bo", reason="again").status == "cancelled"
    assert journal.events(subject=job_id)[-1].data["status"] == "cancelled"


def test_a_job_that_has_ended_cannot_be_cancelled(jobs: Jobs, breast_cancer: Path) -> None:
    job_id = jobs.submit(wanted(breast_cancer), by="ana").job_id
    assert ended(jobs, job_id).status == "succeeded"
    with pytest.raises(Conflict, match="succeeded"):
        jobs.cancel(job_id, by="bo", reason="too late")


def test_more_jobs_than_fit_wait_their_turn(jobs: Jobs, breast_cancer: Path) -> None:
    first, second, third = (jobs.submit(long_search(breast_cancer), by="ana").job_id for _ in range(3))
    until(jobs, second, lambda job: job.status == "running")
    assert jobs.status(third).status == "queued"
    urgent = jobs.submit(long_search(breast_cancer).model_copy(update={"priority": 1}), by="ana").job_id
    jobs.cancel(first, by="ana", reason="make room")
    until(jobs, urgent, lambda job: job.status == "running" and job.began_at_s is not None)
    assert jobs.status(third).status == "queued"
    jobs.cancel(urgent, by="ana", reason="make room")
    until(jobs, third, lambda job: job.status == "running")
    for job_id in (second, third):
        jobs.cancel(job_id, by="ana", reason="seen enough")


def test_a_search_whose_every_configuration_fails_says_why(jobs: Jobs, breast_cancer: Path) -> None:
    spec = {"model_key": "cancer", "family": "lr", "hyperparams": {"l1_ratio": 0.5, "solver": "lbfgs"}}
    job = ended(jobs, jobs.submit(wanted(breast_cancer, spec=spec), by="ana").job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "incompatible"
    assert "no configuration could be fitted" in job.error["message"]
    assert {trial.status for trial in job.trials} == {"failed"}


def test_a_killed_process_is_begun_again_with_the_trials_it_had(jobs: Jobs, breast_cancer: Path) -> None:
    job_id = jobs.submit(long_search(breast_cancer), by="ana").job_id
    before = until(jobs, job_id, lambda job: len(job.trials) >= 2)
    ray.kill(ray.get_actor(f"mldl.job.{job_id}", namespace="mldl"), no_restart=True)
    after = until(jobs, job_id, lambda job: len(job.trials) > len(before.trials))
    assert after.trials[: len(before.trials)] == before.trials
    jobs.cancel(job_id, by="ana", reason="seen enough")


def test_a_new_actor_takes_up_what_the_old_one_was_doing(
    ray_cluster: Settings, journal: Journal, breast_cancer: Path
) -> None:
    blobs, clock = open_blobs(ray_cluster.artifact_uri), SystemClock()
    old = Jobs(ray_cluster, journal, blobs, clock)
    job_id = old.submit(wanted(breast_cancer, hpo={"strategy": "random", "max_trials": 20}), by="ana").job_id
    until(old, job_id, lambda job: job.status == "running")
    again = Jobs(ray_cluster, journal, blobs, clock)
    assert ended(again, job_id).status == "succeeded"
    assert [event.type for event in journal.events(subject=job_id)].count("MLDL_TRAINING_STARTED") == 1


def test_evaluating_again_gives_the_stored_figures_and_others_on_request(jobs: Jobs, breast_cancer: Path) -> None:
    job = ended(jobs, jobs.submit(wanted(breast_cancer), by="ana").job_id)
    assert jobs.evaluate(job_id=job.job_id, by="ana") == job.evaluation
    more = jobs.evaluate(job_id=job.job_id, metrics=("accuracy", "f1"), by="ana")
    assert job.evaluation is not None
    assert more.metrics["f1"] == pytest.approx(job.evaluation.metrics["f1"])
    assert more.rows == job.evaluation.rows
    other = jobs.evaluate(job_id=job.job_id, data=DataRef(uri=str(breast_cancer), target="target"), by="ana")
    assert other.rows == 569
