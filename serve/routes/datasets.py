"""Registered datasets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts.http import DatasetRequest
from contracts.records import Dataset
from serve.access import Reader, Trainer
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath

router = APIRouter(tags=["datasets"], route_class=StrictRoute)


@router.post("/datasets", status_code=201, response_model=Dataset)
def register_dataset(body: DatasetRequest, actors: ActorsOf, caller: Trainer, once: OnceOf) -> Any:
    """Register a file's rows: stored by digest, described once; the same rows again are the same dataset."""
    return actors.bridges.register_dataset(
        body.data, dataset_id=body.dataset_id, by=caller.name, reason=body.reason, once=once
    )


@router.get("/datasets", response_model=list[Dataset])
def datasets(actors: ActorsOf, _: Reader) -> Any:
    """List datasets."""
    return actors.bridges.datasets()


@router.get("/datasets/{dataset_id}", response_model=Dataset)
def dataset(
    dataset_id: IdInPath,
    actors: ActorsOf,
    _: Reader,
    version: Annotated[str | None, Query(max_length=64, description="The latest when absent.")] = None,
) -> Any:
    """Show a dataset: its columns, roles and statistics."""
    return actors.bridges.dataset(dataset_id, version)
