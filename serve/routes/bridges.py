"""What the neighbours know: compliance, the specialists' advice, data quality, experience; and webhooks for systems."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts.advice import FamilyAdvice
from contracts.bridges import BridgeView
from contracts.http import WebhookRequest, WebhookView
from contracts.records import Compliance
from contracts.specs import Json, Task
from serve.access import Admin, Reader
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, KeyInPath, Limit, VersionInPath, WhyInQuery

router = APIRouter(tags=["bridges"], route_class=StrictRoute)


@router.get("/bridges", response_model=list[BridgeView])
def bridges(actors: ActorsOf, _: Reader) -> Any:
    """List the six bridges: how each is, where it answers, how often it was asked and in vain."""
    return actors.bridges.views()


@router.get("/registry/{model_key}/{version}/compliance", response_model=Compliance)
def compliance(model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show whether the policy lets a version be deployed, and everything that speaks against it."""
    return actors.registry.compliance(model_key, version)


@router.get("/registry/{model_key}/{version}/recommendation", response_model=Json)
def recommendation(model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show the specialists' consensus on deploying a version, and each vote with its reason."""
    number = actors.registry.view(model_key, version).bundle.version
    return actors.bridges.recommend(model_key, number)


@router.get("/datasets/{dataset_id}/quality", response_model=Json)
def quality(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: Annotated[str | None, Query(max_length=64, description="The latest when absent.")] = None,
) -> Any:
    """Show what is wrong with a dataset's rows, held against the version before it."""
    return actors.bridges.quality(dataset_id, version)


@router.get("/datasets/{dataset_id}/recommendation", response_model=FamilyAdvice)
def recommended_family(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: Annotated[str | None, Query(max_length=64, description="The latest when absent.")] = None,
    task: Annotated[Task | None, Query(description="Guessed from the target when absent.")] = None,
    latency_ms: Annotated[float | None, Query(gt=0, description="How fast a prediction must be.")] = None,
) -> Any:
    """Show which family the specialists would train on a dataset, each vote with its reason."""
    return actors.bridges.family(dataset_id, version, task=task, latency_ms=latency_ms)


@router.get("/experience", response_model=list[Json])
def experience(actors: ActorsOf, _: Reader, model_key: KeyFilter = None, limit: Limit = 100) -> Any:
    """List what searches found on which data, newest first: new searches begin from it."""
    return actors.bridges.experience(model_key, limit)


@router.post("/webhooks", status_code=201, response_model=WebhookView)
def subscribe(body: WebhookRequest, actors: ActorsOf, caller: Admin, once: OnceOf) -> Any:
    """Have events posted to an address from now on, in order, at least once, signed with the secret."""
    return actors.bridges.subscribe(body.url, types=body.types, secret=body.secret, by=caller.name, once=once)


@router.get("/webhooks", response_model=list[WebhookView])
def webhooks(actors: ActorsOf, _: Admin) -> Any:
    """List who gets which events, how far each is, and what holds it up."""
    return actors.bridges.subscriptions()


@router.delete("/webhooks/{subscription_id}", status_code=204)
def unsubscribe(subscription_id: IdInPath, reason: WhyInQuery, actors: ActorsOf, caller: Admin) -> None:
    """Post no more events to an address."""
    actors.bridges.unsubscribe(subscription_id, by=caller.name, reason=reason)
