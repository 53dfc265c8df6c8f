"""The model families: what each can do, and how it is set."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from contracts.http import FamilyView
from mldl_ray.adapters import describe
from serve.access import Reader
from serve.calls import StrictRoute

router = APIRouter(tags=["families"], route_class=StrictRoute)


@router.get("/families", response_model=list[FamilyView])
def families(_: Reader) -> Any:
    """List every family that this system knows, those that it lacks a package for among them."""
    return describe()
