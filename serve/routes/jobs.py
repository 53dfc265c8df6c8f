"""Training jobs and evaluations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from contracts.http import EvaluateRequest, JobAccepted, Why
from contracts.records import Evaluation, Job
from contracts.specs import JobSpec
from serve.access import Reader, Trainer
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, Limit

router = APIRouter(tags=["jobs"], route_class=StrictRoute)


@router.post("/train", status_code=202, response_model=JobAccepted)
def train(body: JobSpec, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Start a training job: its data is checked now, the search runs in the background."""
    job: Job = actors.jobs.submit(body, by=caller.name, once=once)
    return JobAccepted(job_id=job.job_id, status=job.status)


@router.get("/jobs", response_model=list[Job])
def jobs(actors: ActorsOf, _: Reader, model_key: KeyFilter = None, limit: Limit = 50) -> Any:
    """List jobs, newest first."""
    return actors.jobs.jobs(model_key=model_key, limit=limit)


@router.get("/jobs/{job_id}/status", response_model=Job)
def status(job_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show how far a job is, its trials, its cost, and what came of it."""
    return actors.jobs.status(job_id)


@router.post("/jobs/{job_id}/cancel", response_model=Job)
def cancel(job_id: IdInPath, body: Why, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Stop a job; what it has spent stays on its bill."""
    return actors.jobs.cancel(job_id, by=caller.name, reason=body.reason, once=once)


@router.post("/evaluate", response_model=Evaluation)
def evaluate(body: EvaluateRequest, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Judge a job's model or a version: quality with intervals, calibration, fairness, robustness."""
    return actors.jobs.evaluate(
        job_id=body.job_id,
        model_key=body.model_key,
        version=body.version,
        data=body.data,
        metrics=body.metrics,
        by=caller.name,
        once=once,
    )
