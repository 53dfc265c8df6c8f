"""Training jobs, their searches, and evaluations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from contracts.evaluations import Evaluation
from contracts.http import EvaluateRequest, JobAccepted, Why
from contracts.records import Job, TrialRecord
from contracts.specs import JobSpec
from serve.access import Reader, Trainer
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, Limit

router = APIRouter(tags=["jobs"], route_class=StrictRoute)
PARQUET = "application/vnd.apache.parquet"
TrialStatus = Annotated[Literal["completed", "pruned", "failed"] | None, Query(description="Only those.")]
TrialOrder = Annotated[
    Literal["ended", "score", "seconds"],
    Query(description="As they ended; by score, the best first; or by seconds, the longest first."),
]


@router.post("/train", status_code=202, response_model=JobAccepted)
def train(body: JobSpec, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Start a training job: its data is checked now, the search runs in the background."""
    job: Job = actors.jobs.submit(body, by=caller.name, once=once)
    return JobAccepted(job_id=job.job_id, status=job.status, family=job.job.spec.family)


@router.get("/jobs", response_model=list[Job])
def jobs(
    actors: ActorsOf,
    _: Reader,
    model_key: KeyFilter = None,
    after: Annotated[str, Query(max_length=300, description="`job_id` of the last one seen.")] = "",
    limit: Limit = 50,
) -> Any:
    """List jobs, newest first."""
    return actors.jobs.jobs(model_key=model_key, after=after, limit=limit)


@router.get("/jobs/{job_id}/status", response_model=Job)
def status(job_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show how far a job is, its trials, its cost, and what came of it."""
    return actors.jobs.status(job_id)


@router.get("/jobs/{job_id}/trials", response_model=list[TrialRecord])
def trials(
    job_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    status: TrialStatus = None,
    sort: TrialOrder = "ended",
    after: Annotated[str, Query(max_length=300, description="`trial_id` of the last one seen.")] = "",
    limit: Limit = 50,
) -> Any:
    """List what a job's search tried, also while it runs."""
    from mldl_ray.training.history import listed  # noqa: PLC0415  # loads what judges models; predictions never need it

    return listed(actors.jobs.status(job_id), status=status, order=sort, after=after, limit=limit)


@router.get(
    "/jobs/{job_id}/trials.parquet",
    response_class=Response,
    responses={200: {"content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}}}},
)
def trials_table(job_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Give all trials of a job as one Parquet file, a column for each setting."""
    from mldl_ray.blobs.tables import parquet_bytes  # noqa: PLC0415  # as above
    from mldl_ray.training.history import trials_table as table_of  # noqa: PLC0415  # as above

    named = {"Content-Disposition": f'attachment; filename="{job_id}-trials.parquet"'}
    return Response(parquet_bytes(table_of(actors.jobs.status(job_id))), media_type=PARQUET, headers=named)


@router.get("/jobs/{job_id}/report", response_class=HTMLResponse)
def report(job_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show a job's search as a page: how it went, what mattered, what was tried, what it cost."""
    from mldl_ray.training.report import report_html  # noqa: PLC0415  # as above

    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    return HTMLResponse(report_html(actors.jobs.status(job_id)), headers=policy)


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
