"""What served at a moment: versions with their traffic, who approved them, on what evidence."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from contracts.served import Served
from contracts.specs import MODEL_KEY_PATTERN
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute
from serve.routes import KeyFilter

router = APIRouter(tags=["registry"], route_class=StrictRoute)
Rollout = Annotated[
    str | None, Query(pattern=MODEL_KEY_PATTERN, description="Of this deployment's endpoint, instead of a model_key.")
]
At = Annotated[float | None, Query(ge=0, le=1e11, description="The moment, Unix seconds; now when absent.")]


@router.get("/served", response_model=Served)
def served(
    actors: ActorsOf, _: Reader, model_key: KeyFilter = None, deployment_id: Rollout = None, at_s: At = None
) -> Any:
    """Say what an endpoint served at a moment: versions, traffic, approvals, evidence, by whose decision."""
    return actors.registry.served(model_key=model_key, deployment_id=deployment_id, at_s=at_s)


@router.get("/served/page", response_class=HTMLResponse)
def served_page(
    actors: ActorsOf, _: Reader, model_key: KeyFilter = None, deployment_id: Rollout = None, at_s: At = None
) -> Any:
    """Show what an endpoint served at a moment as a page."""
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    page = actors.registry.served_page(model_key=model_key, deployment_id=deployment_id, at_s=at_s)
    return HTMLResponse(page, headers=policy)
