"""What is not wanted any more: versions, retired, taken back or deleted, and stored files that nothing needs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from contracts.http import Why
from contracts.life import Collected, CollectRequest, Deletion
from contracts.records import TrainedBundle
from serve.access import Admin, Registrar
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import KeyInPath, VersionInPath, WhyInQuery

router = APIRouter(tags=["registry"], route_class=StrictRoute)


@router.post("/registry/{model_key}/{version}/retire", response_model=TrainedBundle)
def retire(
    model_key: KeyInPath, version: VersionInPath, body: Why, actors: ActorsOf, caller: Registrar, once: OnceOf
) -> Any:
    """Have a version be deployed no more; a conflict while it serves or goes through a rollout."""
    return actors.registry.retire(model_key, version, reason=body.reason, by=caller.name, once=once)


@router.post("/registry/{model_key}/{version}/reinstate", response_model=TrainedBundle)
def reinstate(
    model_key: KeyInPath, version: VersionInPath, body: Why, actors: ActorsOf, caller: Registrar, once: OnceOf
) -> Any:
    """Let a retired version be deployed again."""
    return actors.registry.reinstate(model_key, version, reason=body.reason, by=caller.name, once=once)


@router.delete("/registry/{model_key}/{version}", response_model=Deletion)
def delete_version(
    model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, caller: Admin, reason: WhyInQuery, once: OnceOf
) -> Any:
    """Take a version away for good; a conflict while it serves, is gone back to, has an alias, or is in a snapshot."""
    return actors.registry.delete_version(model_key, version, reason=reason, by=caller.name, once=once)


@router.post("/gc", response_model=Collected)
def collect_garbage(body: CollectRequest, actors: ActorsOf, caller: Admin, once: OnceOf) -> Any:
    """Free the stored files that neither the state, a snapshot nor a job needs; a dry run, the default, only counts."""
    return actors.registry.collect_garbage(body, by=caller.name, once=once)
