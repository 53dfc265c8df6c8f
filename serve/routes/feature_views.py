"""Feature views: what is made of the columns that callers send."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts.features import FeatureView, FeatureViewLineage, FeatureViewRequest, TransformAnswer, TransformRequest
from serve.access import Reader, Trainer
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath

router = APIRouter(tags=["feature views"], route_class=StrictRoute)
Version = Annotated[str | None, Query(max_length=64, description="The one registered last when absent.")]


@router.post("/feature-views", status_code=201, response_model=FeatureView)
def register_view(body: FeatureViewRequest, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Register a view: checked against its dataset, everything in it fixed; the same view again is the same version."""
    return actors.bridges.register_view(body.view, by=caller.name, reason=body.reason, once=once)


@router.get("/feature-views", response_model=list[FeatureView])
def feature_views(actors: ActorsOf, _: Reader) -> Any:
    """List every version of every view."""
    return actors.bridges.feature_views()


@router.get("/feature-views/{name}", response_model=FeatureView)
def feature_view(name: IdInPath, actors: ActorsOf, _: Reader, version: Version = None) -> Any:
    """Show a view: what callers send, what is done to it, what a model learns from, its statistics."""
    return actors.bridges.feature_view(name, version)


@router.get("/feature-views/{name}/lineage", response_model=FeatureViewLineage)
def view_lineage(name: IdInPath, actors: ActorsOf, _: Reader, version: Version = None) -> Any:
    """Show which datasets a view comes from, and which jobs and versions learned by it."""
    return actors.bridges.view_lineage(name, version)


@router.post("/feature-views/{name}/transform", response_model=TransformAnswer)
def transform(name: IdInPath, body: TransformRequest, actors: ActorsOf, _: Reader, version: Version = None) -> Any:
    """Make features of rows, as a prediction would, without a model."""
    rows = [list(row) if isinstance(row, tuple) else row for row in body.inputs]
    return actors.bridges.transform(name, version, rows)
