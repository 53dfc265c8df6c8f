"""The jobs' pages: how far each search is, what it found and cost; its trials; and its end by a person's decision.

What is said of a search is what its report says (``mldl_ray.training.report``): nothing is computed here.
"""

from __future__ import annotations

from typing import get_args

from markupsafe import Markup
from starlette.responses import Response

from contracts.records import Job, JobState
from serve.console.door import Page, acted, shown

ROWS = 50
LIVE: tuple[JobState, ...] = ("queued", "running")


def _list(page: Page) -> Response:
    after, model_key = page.query.get("after", ""), page.query.get("model", "").strip()
    found: list[Job] = page.actors.jobs.jobs(model_key=model_key or None, after=after, limit=ROWS + 1)
    return page.render(
        "jobs.html", title="Jobs", found=found[:ROWS], more=len(found) > ROWS, after=after, model_key=model_key
    )


def _one(page: Page) -> Response:
    from mldl_ray.training.history import Order, listed  # noqa: PLC0415  # loads what judges; predictions never need it
    from mldl_ray.training.report import sections  # noqa: PLC0415  # as above

    job: Job = page.actors.jobs.status(page.path["job_id"])
    asked, after = page.query.get("order", "score"), page.query.get("after", "")
    order: Order = next((known for known in get_args(Order) if known == asked), "score")
    trials = listed(job, order=order, after=after, limit=ROWS + 1)
    return page.render(
        "job.html",
        title=f"{job.job.spec.model_key}: search {job.job_id}",
        job=job,
        live=job.status in LIVE,
        report=Markup(sections(job)),  # it escapes its texts
        trials=trials[:ROWS],
        more=len(trials) > ROWS,
        places={trial.trial_id: place for place, trial in enumerate(job.trials, start=1)},
        order=order,
        after=after,
        at=_at(page),
    )


def _cancel(page: Page) -> Response:
    return page.done(page.actors.jobs.cancel, page.path["job_id"], _at(page), "Cancelled.")


def _at(page: Page) -> str:
    return f"/console/jobs/{page.path['job_id']}"


_ONE = "/console/jobs/{job_id}"
ROUTES = (
    shown("/console/jobs", _list),
    shown(_ONE, _one),
    acted(f"{_ONE}/cancel", "train", _cancel),
)
