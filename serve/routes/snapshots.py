"""Snapshots, and going back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from contracts.errors import Conflict
from contracts.http import Rollback, RollbackRequest, Why
from contracts.records import Deployment, Impact, RestorePlan, Snapshot
from serve.access import Deployer, Reader
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath

router = APIRouter(tags=["snapshots"], route_class=StrictRoute)


@router.post("/snapshot/export", status_code=201, response_model=Snapshot)
def export(body: Why, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Name this moment as one to go back to."""
    return actors.snapshots.export(reason=body.reason, by=caller.name, once=once)


@router.get("/snapshots", response_model=list[Snapshot])
def snapshots(actors: ActorsOf, _: Reader) -> Any:
    """List snapshots."""
    return actors.snapshots.snapshots()


@router.get("/snapshots/{snapshot_id}/plan", response_model=RestorePlan)
def plan(snapshot_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show what going back to a snapshot would change, and how risky that is."""
    return actors.snapshots.plan(snapshot_id)


@router.post(
    "/rollback",
    status_code=202,
    response_model=Rollback,
    responses={200: {"model": Rollback, "description": "A dry run: nothing was changed."}},
)
def rollback(body: RollbackRequest, actors: ActorsOf, caller: Deployer, once: OnceOf, response: Response) -> Any:
    """Go back to a snapshot, or to what served before a deployment; or only say what that would change."""
    if body.dry_run:
        response.status_code = 200
    if body.snapshot_id is not None:
        if body.dry_run:
            return _restored(actors.snapshots.plan(body.snapshot_id))
        return _restored(actors.snapshots.restore(body.snapshot_id, reason=body.reason, by=caller.name, once=once))
    if body.dry_run:
        return returned(actors.deployments.deployment(body.deployment_id))
    before = actors.deployments.deployment(body.deployment_id)
    actors.deployments.rollback(body.deployment_id, reason=body.reason, by=caller.name, once=once)
    return returned(before).model_copy(update={"applied": True})


def _restored(plan: RestorePlan) -> Rollback:
    return Rollback(**dict(plan))


def returned(deployment: Deployment) -> Rollback:
    """Say what rolling back a deployment changes: all traffic goes back to the version before it.

    Raises:
        Conflict: It was rolled back already, failed, or another took its place.
    """
    if deployment.status in {"rolled_back", "failed", "superseded"}:
        raise Conflict(f"deployment {deployment.deployment_id} is {deployment.status}; there is nothing to roll back")
    share = deployment.history[-1].traffic.get(deployment.version, 0.0) if deployment.history else 0.0
    stable = deployment.stable or "no version"
    impact = Impact(
        kind="endpoint",
        key=deployment.model_key,
        effect="returned",
        before=deployment.version,
        after=deployment.stable,
        sentence=f"{share:.0%} of {deployment.model_key}'s traffic goes from {deployment.version} back to {stable}",
    )
    return Rollback(deployment_id=deployment.deployment_id, impacts=(impact,), risk="low" if share else "none")
