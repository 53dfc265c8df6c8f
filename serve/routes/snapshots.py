"""Snapshots, and going back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from contracts.archives import Artifacts
from contracts.errors import Conflict
from contracts.http import Rollback, RollbackRequest, Why
from contracts.records import Impact, RestorePlan, Snapshot
from contracts.rollouts import Deployment, Endpoint
from mldl_ray.deployment.by_hand import roll_back
from serve.access import Admin, Deployer, Reader
from serve.calls import Actors, ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath

router = APIRouter(tags=["snapshots"], route_class=StrictRoute)
TAR = "application/x-tar"


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


@router.get(
    "/snapshots/{snapshot_id}/file",
    response_class=StreamingResponse,
    responses={200: {"content": {TAR: {"schema": {"type": "string", "format": "binary"}}}, "description": "A tar."}},
)
def snapshot_file(
    snapshot_id: IdInPath,
    actors: ActorsOf,
    _: Admin,
    artifacts: Annotated[Artifacts, Query(description="Carry the stored files, or only name them.")] = "included",
) -> Any:
    """Give a snapshot as one file: the journal up to its moment, secrets of webhooks too, and what it needs."""
    name = actors.snapshots.file_begin(snapshot_id, artifacts)
    headers = {"Content-Disposition": f'attachment; filename="{snapshot_id}.tar"'}
    return StreamingResponse(_pieces(actors, name), media_type=TAR, headers=headers)


def _pieces(actors: Actors, name: str) -> Iterator[bytes]:
    """Fetch a file piece by piece; one that breaks off ends without its index, which every reader refuses."""
    try:
        while piece := actors.snapshots.file_next(name):
            yield piece
    finally:
        actors.snapshots.file_end(name)


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
        asked = {"reason": body.reason, "by": caller.name, "force": body.force, "once": once}
        return _restored(actors.snapshots.restore(body.snapshot_id, **asked))
    if body.dry_run:
        return _returnable(actors, str(body.deployment_id))
    found = actors.deployments.rollback(body.deployment_id, reason=body.reason, by=caller.name, once=once)
    return _returned(found, applied=True)


def _restored(plan: RestorePlan) -> Rollback:
    return Rollback(**dict(plan))


def _returnable(actors: Actors, deployment_id: str) -> Rollback:
    """Ask the rule that would act, and act on nothing."""
    deployment: Deployment = actors.deployments.deployment(deployment_id)
    document = actors.journal.read("endpoint", deployment.model_key)
    if document is None:
        raise Conflict(f"the endpoint of {deployment.model_key} is gone; there is nothing to roll back")
    roll_back(Endpoint.model_validate(document.body), deployment, now_s=document.at_s, actor="", reason="dry run")
    return _returned(deployment, applied=False)


def _returned(deployment: Deployment, *, applied: bool) -> Rollback:
    sentence = f"all traffic of {deployment.model_key} goes from {deployment.version} back to {deployment.stable}"
    if deployment.stable is None:
        sentence = f"nothing serves {deployment.model_key} any more, as before {deployment.version} came up"
    impact = Impact(
        kind="endpoint",
        key=deployment.model_key,
        effect="returned",
        before=deployment.version,
        after=deployment.stable,
        sentence=sentence,
    )
    return Rollback(deployment_id=deployment.deployment_id, impacts=(impact,), risk="low", applied=applied)
