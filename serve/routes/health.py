"""How the system is. Answers without a key, and never hangs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from contracts.http import Health
from serve.calls import ActorsOf, StrictRoute
from serve.probes import Probes

router = APIRouter(tags=["health"], route_class=StrictRoute)


@router.get("/health", response_model=Health)
def health(request: Request, actors: ActorsOf) -> Any:
    """Show how every component is, and which model families are available."""
    probes: Probes = request.app.state.probes
    return probes.health(actors)
