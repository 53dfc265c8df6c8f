"""The first page: what serves, what burns, what waits for somebody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from contracts.errors import Unavailable
from contracts.records import Waiting
from contracts.rollouts import Deployment
from contracts.specs import Json
from serve.console.door import Page, shown

MOST_ROWS = 50


def _overview(page: Page) -> Response:
    away: list[str] = []

    def asked(name: str, ask: Callable[[], Any], otherwise: Any) -> Any:
        """Show the rest of the page while one actor restarts."""
        try:
            return ask()
        except Unavailable:
            away.append(name)
            return otherwise

    actors = page.actors
    endpoints = [dict(found) for found in asked("endpoints", actors.deployments.endpoints, [])]
    live = asked("figures", actors.monitor.live, {"endpoints": {}})["endpoints"]
    values = {
        "endpoints": [row | figures_of(live, row) for row in endpoints[:MOST_ROWS]],
        "more": max(0, len(endpoints) - MOST_ROWS),
        "groups": asked("alerts", actors.monitor.alert_groups, [])[:MOST_ROWS],
        "slos": sorted(asked("objectives", actors.monitor.slos, []), key=lambda view: view.budget_left)[:MOST_ROWS],
        "held": asked("holds", lambda: _held(page, endpoints), []),
        "approvals": asked("approvals", lambda: actors.registry.waiting(limit=10), Waiting(views=(), whole=True)),
    }
    return page.render("overview.html", title="Overview", away=away, **values)


def figures_of(live: Json, row: Json) -> Json:
    """Sum an endpoint's versions: requests a second, the worst p95, the share of errors in the last minute.

    >>> one = {"qps": 2.0, "p95_ms": 5.0, "recent": {"requests": 100, "errors": 1}}
    >>> figures_of({"income": {"versions": {"1.0.0": one}}}, {"model_key": "income"})
    {'qps': 2.0, 'p95_ms': 5.0, 'error_rate': 0.01}
    """
    versions = list(live.get(row["model_key"], {"versions": {}})["versions"].values())
    requests = sum(found["recent"]["requests"] for found in versions)
    return {
        "qps": sum(found["qps"] for found in versions),
        "p95_ms": max((found["p95_ms"] for found in versions if found["p95_ms"] is not None), default=None),
        "error_rate": sum(found["recent"]["errors"] for found in versions) / requests if requests else None,
    }


def _held(page: Page, endpoints: list[Json]) -> list[Deployment]:
    names = [name for row in endpoints for name in row["deployment_ids"]][:MOST_ROWS]
    documents = [page.actors.journal.read("deployment", name) for name in names]
    found = [Deployment.model_validate(document.body) for document in documents if document is not None]
    return [one for one in found if one.held is not None]


ROUTES = (shown("/", _overview),)
