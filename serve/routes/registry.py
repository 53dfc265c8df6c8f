"""Registered versions: search, approvals, cards. The policy that they are held to is in ``policy``."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from contracts.errors import Incompatible, NotFound
from contracts.http import (
    ApproveRequest,
    ExplainAnswer,
    ExplainRequest,
    RegisterRequest,
    SampleAnswer,
    SampleRequest,
)
from contracts.records import Approval, ModelView, TrainedBundle, VersionView
from contracts.specs import Json, Task
from serve.access import Approver, Reader, Registrar
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import KeyFilter, KeyInPath, Limit, VersionInPath

router = APIRouter(tags=["registry"], route_class=StrictRoute)
Bounds = Annotated[list[str], Query(description="`metric:least`, as in `auroc:0.9`; all must hold.", max_length=20)]
Figures = Annotated[
    list[str],
    Query(description="`figure>=number` or `figure<=number`, as in `ece<=0.05`; all must hold.", max_length=20),
]
AsOf = Annotated[float | None, Query(ge=0, le=1e11, description="As it was then, Unix seconds.")]
Sort = Annotated[
    str,
    Query(max_length=64, description="`model`, `created`, `version` or a figure; with `-` before it, from the top."),
]
Tags = Annotated[list[str], Query(max_length=20)]


@router.post("/register", status_code=201, response_model=TrainedBundle)
def register(body: RegisterRequest, actors: ActorsOf, caller: Registrar, once: OnceOf) -> Any:
    """Make a job's model a version; its number says what changed, unless another is wanted, with a reason."""
    return actors.registry.register(
        body.job_id, tags=body.tags, number=body.number, reason=body.reason, by=caller.name, once=once
    )


@router.get("/registry", response_model=list[VersionView])
def search(
    actors: ActorsOf,
    _: Reader,
    model_key: KeyFilter = None,
    task: Task | None = None,
    family: Annotated[str | None, Query(max_length=128)] = None,
    tag: Tags = [],  # noqa: B006  # FastAPI reads the default and copies it for each call
    min_metric: Bounds = [],  # noqa: B006  # the same
    bound: Figures = [],  # noqa: B006  # the same
    calibration: Annotated[str | None, Query(max_length=64, description="Its method, or `none`.")] = None,
    serving: Annotated[bool | None, Query(description="Takes traffic, or does not.")] = None,
    approved: bool | None = None,
    text: Annotated[str | None, Query(max_length=200)] = None,
    sort: Sort = "model",
    as_of_s: AsOf = None,
    after: Annotated[str, Query(max_length=300, description="`model_key@version` of the last one seen.")] = "",
    limit: Limit = 50,
) -> Any:
    """Search versions by key, task, family, tags, figures, traffic, approval or words, now or at a moment."""
    return actors.registry.search(
        model_key=model_key,
        task=task,
        family=family,
        tags=tuple(tag),
        min_metrics=least_metrics(min_metric) or None,
        bounds=tuple(bound),
        calibration=calibration,
        serving=serving,
        approved=approved,
        text=text,
        sort=sort,
        as_of_s=as_of_s,
        after=after,
        limit=limit,
    )


@router.get("/models", response_model=list[ModelView])
def models(
    actors: ActorsOf,
    _: Reader,
    model_key: KeyFilter = None,
    text: Annotated[str | None, Query(max_length=128, description="What their keys hold.")] = None,
    after: Annotated[str, Query(max_length=128, description="The last `model_key` seen.")] = "",
    limit: Limit = 50,
) -> Any:
    """List models by key: the newest version of each, where its aliases lead, how many versions wait for approval."""
    return actors.registry.models(model_key=model_key, text=text, after=after, limit=limit)


@router.get("/registry/{model_key}", response_model=list[VersionView])
def versions(
    model_key: KeyInPath,
    actors: ActorsOf,
    _: Reader,
    after: Annotated[str, Query(max_length=300)] = "",
    limit: Limit = 50,
) -> Any:
    """List the versions of one model."""
    found = actors.registry.search(model_key=model_key, after=after, limit=limit)
    if not found and not after:
        raise NotFound(f"there is no model {model_key}; GET /registry lists what there is", {"model_key": model_key})
    return found


@router.get("/registry/{model_key}/{version}", response_model=VersionView)
def view(
    model_key: KeyInPath,
    version: VersionInPath,
    actors: ActorsOf,
    _: Reader,
    as_of_s: AsOf = None,
) -> Any:
    """Show a version with its approvals and lineage."""
    return actors.registry.view(model_key, version, as_of_s=as_of_s)


@router.post("/registry/{model_key}/{version}/explain", response_model=ExplainAnswer)
def explain(model_key: KeyInPath, version: VersionInPath, body: ExplainRequest, actors: ActorsOf, _: Reader) -> Any:
    """Attribute a version's scores for some rows to their columns."""
    return actors.jobs.explain(model_key, version, list(body.inputs))


@router.post("/registry/{model_key}/{version}/sample", response_model=SampleAnswer)
def sample(model_key: KeyInPath, version: VersionInPath, body: SampleRequest, actors: ActorsOf, _: Reader) -> Any:
    """Have a version that generates rows make some."""
    return actors.jobs.sample(model_key, version, body.rows, body.seed)


@router.get("/registry/{model_key}/{version}/card.json")
def card_facts(model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader) -> Json:
    """Show a version's card as JSON: both records whole, and what one should watch for."""
    return cast("Json", actors.registry.card_facts(model_key, version))


@router.get("/registry/{model_key}/{version}/card", response_class=HTMLResponse)
def card(model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show a version's card: what it is for, how good it is and for whom, as a page."""
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    return HTMLResponse(actors.registry.card(model_key, version), headers=policy)


@router.post("/registry/{model_key}/{version}/approvals", status_code=201, response_model=Approval)
def approve(
    model_key: KeyInPath,
    version: VersionInPath,
    body: ApproveRequest,
    actors: ActorsOf,
    caller: Approver,
    once: OnceOf,
) -> Any:
    """Approve or reject a version, as one of the people whose word the policy asks for."""
    return actors.registry.approve(
        model_key,
        version,
        decision=body.decision,
        reason=body.reason,
        by=caller.name,
        role=caller.role,
        once=once,
    )


def least_metrics(bounds: list[str]) -> dict[str, float]:
    """Read lower bounds of metrics.

    Raises:
        Incompatible: One is not ``metric:number``.

    >>> least_metrics(["auroc:0.9", "f1:.5"])
    {'auroc': 0.9, 'f1': 0.5}
    """
    found = {}
    for bound in bounds:
        match = re.fullmatch(r"([A-Za-z0-9_]{1,64}):(-?\d{0,15}\.?\d{1,15})", bound)
        if match is None:
            raise Incompatible(f"min_metric {bound[:100]!r} is not metric:number, as in auroc:0.9")
        found[match[1]] = float(match[2])
    return found
