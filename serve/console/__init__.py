"""The console: pages for people at ``/`` and ``/console``, for the same keys and roles as the API."""

from __future__ import annotations

from fastapi import FastAPI

from mldl_ray.clock import SystemClock
from serve.console import alerts, audit, deployments, drift, entrance, jobs, models, overview, snapshots
from serve.console.session import Sessions
from serve.console.trail import Trails

PAGES = (
    *entrance.ROUTES,
    *overview.ROUTES,
    *models.ROUTES,
    *deployments.ROUTES,
    *jobs.ROUTES,
    *snapshots.ROUTES,
    *drift.ROUTES,
    *alerts.ROUTES,
    *audit.ROUTES,
)


def install(app: FastAPI) -> None:
    """Give the app its pages. They are no part of the API's document."""
    state = app.state
    state.sessions = Sessions(state.actors.journal, SystemClock(), keys_required=state.settings.keys_required)
    state.trails = Trails()
    app.router.routes.extend(PAGES)
