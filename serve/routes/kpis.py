"""The key figures of the whole system."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from contracts.kpis import Kpi, KpiGroup
from mldl_ray.monitoring.facts import WEEK_S, gather
from mldl_ray.monitoring.scorecard import scorecard
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute

router = APIRouter(tags=["monitoring"], route_class=StrictRoute)
Window = Annotated[float, Query(ge=60, le=366 * 86_400, description="How far back rollouts, jobs and events count.")]


@router.get("/kpis", response_model=list[Kpi])
def kpis(
    request: Request, actors: ActorsOf, _: Reader, window_s: Window = WEEK_S, group: KpiGroup | None = None
) -> Any:
    """List the key figures (quality, operational, risk): each with its definition, unit, window and sources."""
    price = request.app.state.settings.mldl.training.cost_per_cpu_second
    now_s, live = time.time(), actors.monitor.live()
    found = scorecard(gather(actors.journal, live, now_s=now_s, window_s=window_s, cost_per_second=price))
    return [kpi for kpi in found if group in {None, kpi.group}]
