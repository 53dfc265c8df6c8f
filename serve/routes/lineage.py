"""Lineage: where a version comes from and what came of it, and what learned from a dataset; in three forms each."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Response

from contracts.lineage import LineageGraph
from contracts.specs import Json
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute
from serve.routes import IdInPath, KeyInPath, Limit, VersionInPath

router = APIRouter(tags=["lineage"], route_class=StrictRoute)
AsOf = Annotated[float | None, Query(ge=0, le=1e11, description="As it was then, Unix seconds.")]
OfDataset = Annotated[str | None, Query(max_length=64, description="Of the dataset; all of them when absent.")]
SVG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}}
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/registry/{model_key}/{version}/lineage", response_model=LineageGraph)
def lineage(model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader, as_of_s: AsOf = None) -> Any:
    """Show a version's dataset, feature view, job, evaluation, parent, those that follow it, and its deployments."""
    return actors.registry.lineage(model_key, version, as_of_s=as_of_s)


@router.get("/registry/{model_key}/{version}/lineage/openlineage")
def openlineage(
    model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader, as_of_s: AsOf = None
) -> list[Json]:
    """Tell a version's lineage as OpenLineage run events, oldest first; the same runs whenever asked."""
    found = actors.registry.lineage(model_key, version, as_of_s=as_of_s)
    return cast("list[Json]", actors.registry.openlineage(found))


@router.get("/registry/{model_key}/{version}/lineage/picture", response_class=Response, responses=SVG)
def lineage_picture(
    model_key: KeyInPath, version: VersionInPath, actors: ActorsOf, _: Reader, as_of_s: AsOf = None
) -> Any:
    """Draw a version's lineage."""
    return _drawn(actors, actors.registry.lineage(model_key, version, as_of_s=as_of_s))


@router.get("/datasets/{dataset_id}/lineage", response_model=LineageGraph)
def dataset_lineage(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: OfDataset = None,
    as_of_s: AsOf = None,
    limit: Limit = 200,
) -> Any:
    """Show every model version that learned from a dataset, the newest ones where there are more than `limit`."""
    return actors.registry.dataset_lineage(dataset_id, version, as_of_s=as_of_s, limit=limit)


@router.get("/datasets/{dataset_id}/lineage/openlineage")
def dataset_openlineage(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: OfDataset = None,
    as_of_s: AsOf = None,
    limit: Limit = 200,
) -> list[Json]:
    """Tell as OpenLineage run events what learned from a dataset."""
    found = actors.registry.dataset_lineage(dataset_id, version, as_of_s=as_of_s, limit=limit)
    return cast("list[Json]", actors.registry.openlineage(found))


@router.get("/datasets/{dataset_id}/lineage/picture", response_class=Response, responses=SVG)
def dataset_lineage_picture(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: OfDataset = None,
    as_of_s: AsOf = None,
    limit: Limit = 200,
) -> Any:
    """Draw what learned from a dataset."""
    return _drawn(actors, actors.registry.dataset_lineage(dataset_id, version, as_of_s=as_of_s, limit=limit))


def _drawn(actors: ActorsOf, found: LineageGraph) -> Response:
    return Response(actors.registry.lineage_picture(found), headers=_POLICY, media_type="image/svg+xml")
