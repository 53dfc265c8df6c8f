"""Deployments, and what serves now. A prediction itself is answered by its endpoint, not here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header

from contracts.errors import NotFound, Unavailable
from contracts.http import (
    DeploymentAccepted,
    DeploymentView,
    DeployRequest,
    EndpointView,
    HoldRequest,
    PredictAnswer,
    PredictRequest,
    PromoteRequest,
    ScaleRequest,
)
from contracts.rollouts import LIVE_STATES, Deployment, Endpoint
from mldl_ray.bridges.intelligence import ADVICE
from mldl_ray.deployment.plan import traffic
from serve.access import Deployer, Predictor, Reader
from serve.calls import Actors, ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, KeyInPath, Limit

router = APIRouter(tags=["deployments"], route_class=StrictRoute)
_PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}}},
    }
}


@router.post("/deploy", status_code=202, response_model=DeploymentAccepted)
def deploy(body: DeployRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Have a version serve: directly when it is the first, otherwise by canary, shadow or blue/green."""
    found: Deployment = actors.deployments.deploy(
        body.model_key, body.version, body.spec, by=caller.name, reason=body.reason, once=once
    )
    return DeploymentAccepted(deployment_id=found.deployment_id, status=found.status)


@router.get("/deployments", response_model=list[DeploymentView])
def deployments(actors: ActorsOf, _: Reader, model_key: KeyFilter = None, limit: Limit = 50) -> Any:
    """List deployments, newest first."""
    return [as_view(found) for found in actors.deployments.deployments(model_key=model_key, limit=limit)]


@router.get("/deployments/{deployment_id}", response_model=DeploymentView)
def deployment(deployment_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show a deployment: its step and traffic, and every decision with its grounds."""
    found: Deployment = actors.deployments.deployment(deployment_id)
    advice = actors.journal.read(ADVICE, deployment_id)
    return as_view(found).model_copy(update=now(actors, found) | {"advice": advice.body if advice else None})


@router.post("/canary/promote", response_model=DeploymentView)
def promote(body: PromoteRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Send a rollout on by a person's decision: to its next step, or to a percentage."""
    found = actors.deployments.promote(
        body.deployment_id, to_pct=body.to_pct, reason=body.reason, by=caller.name, once=once
    )
    return as_view(found)


@router.post("/canary/hold", response_model=DeploymentView)
def hold(body: HoldRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Keep a rollout where it is, whatever the evidence, until it is resumed; harm still takes it back."""
    found = actors.deployments.hold(body.deployment_id, reason=body.reason, by=caller.name, once=once)
    return as_view(found)


@router.post("/canary/resume", response_model=DeploymentView)
def resume(body: HoldRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Let a held rollout go on by the evidence; what was seen while it was held counts."""
    found = actors.deployments.resume(body.deployment_id, reason=body.reason, by=caller.name, once=once)
    return as_view(found)


@router.get("/endpoints", response_model=list[EndpointView])
def endpoints(actors: ActorsOf, _: Reader) -> Any:
    """List what serves now, and whether every replica has the current route table."""
    return actors.deployments.endpoints()


@router.post("/endpoints/{model_key}/scale", response_model=EndpointView)
def scale(model_key: KeyInPath, body: ScaleRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Have an endpoint run with another number of replicas; no replica is restarted, no request fails."""
    return actors.deployments.scale(model_key, body.replicas, reason=body.reason, by=caller.name, once=once)


@router.post("/predict/{model_key}", response_model=PredictAnswer, openapi_extra=_PREDICT_BODY)
def predict(
    model_key: KeyInPath,
    actors: ActorsOf,
    _: Predictor,
    x_mldl_key: Annotated[
        str | None, Header(description="Sticky key: its version stays the same in a rollout.")
    ] = None,
) -> Any:
    """Predict. A model_key that serves has an endpoint of its own at this path; only others come here."""
    del x_mldl_key
    document = actors.journal.read("endpoint", model_key)
    if document is not None and document.body is not None and document.body.get("stable"):
        raise Unavailable(f"the endpoint of {model_key} is starting; try again in a moment", {"model_key": model_key})
    raise NotFound(f"no version of {model_key} serves; register one, then POST /deploy", {"model_key": model_key})


def now(actors: Actors, found: Deployment) -> dict[str, Any]:
    """Give today's traffic where others go on beside it: its own history tells of its own moves only."""
    document = actors.journal.read("endpoint", found.model_key) if found.status in LIVE_STATES else None
    endpoint = Endpoint.model_validate(document.body) if document is not None else None
    if endpoint is None or len(endpoint.deployment_ids) < 2:
        return {}
    documents = [actors.journal.read("deployment", name) for name in endpoint.deployment_ids]
    return {"traffic": traffic(endpoint, [Deployment.model_validate(d.body) for d in documents if d is not None])}


def as_view(found: Deployment) -> DeploymentView:
    """Add what readers ask first: which version is on its way, and where the traffic is."""
    traffic = found.history[-1].traffic if found.history else {}
    return DeploymentView(**dict(found), candidate=found.version, traffic=traffic)


SCHEMAS = (PredictRequest,)
"""Bodies that the OpenAPI document describes and no route here reads."""
