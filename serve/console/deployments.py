"""The deployments' pages: traffic, evidence as it grows, both versions' curves, every act, and the acts themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from markupsafe import Markup
from starlette.responses import Response

from contracts.errors import Incompatible
from contracts.rollouts import LIVE_STATES, ArmTelemetry, Decision, Deployment
from contracts.specs import Json
from mldl_ray.monitoring.window import quantile_ms
from serve.console.charts import line_chart
from serve.console.door import Page, acted, shown
from serve.routes.deployments import as_view, now

COLUMNS = ("verdict", "statistic", "bound", "n", "n_stable", "needed", "time_to_decide_s", "words")
PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
MOST_POINTS = 300


def _list(page: Page) -> Response:
    return page.render("deployments.html", title="Deployments", found=page.actors.deployments.deployments(limit=100))


def _one(page: Page) -> Response:
    found: Deployment = page.actors.deployments.deployment(page.path["deployment_id"])
    seen = page.actors.monitor.rollout(found)
    arms = {found.stable or "stable": seen.stable, found.version: seen.candidate}
    return page.render(
        "deployment.html",
        title=f"{found.model_key} {found.version}",
        found=as_view(found).model_copy(update=now(page.actors, found)),
        at=_at(page),
        live=LIVE_STATES,
        can_roll_back=found.status == "succeeded",
        last=found.decisions[-1] if found.decisions else None,
        metrics=metrics_of(found.decisions[-1]) if found.decisions else {},
        growth=_growth(page.trails.looked(found.deployment_id, found.decisions)),
        latency=_latency(arms),
        errors=_errors(arms),
    )


def metrics_of(decision: Decision) -> dict[str, Json]:
    """Give each metric's row of the evidence table; what is not known is None."""
    rows = {name: row for name, row in decision.evidence.items() if isinstance(row, dict) and "verdict" in row}
    return {name: {column: row.get(column) for column in COLUMNS} for name, row in rows.items()}


def _growth(decisions: Sequence[Decision]) -> list[Markup]:
    """Draw each metric's statistic over time, against the bound that it must reach or keep below."""
    if not decisions:
        return []
    drawn, began_s = [], decisions[0].at_s
    for metric, row in metrics_of(decisions[-1]).items():
        looks = [(d.at_s - began_s, metrics_of(d).get(metric, {}).get("statistic")) for d in decisions[-MOST_POINTS:]]
        points = [(at, level) for at, level in looks if _drawable(level)]
        bound = row["bound"] if _drawable(row["bound"]) else None
        if points:
            title = f"{metric}: the statistic on its way to the bound"
            drawn.append(line_chart(title, {metric: points}, x="seconds since the first look", y="", bound=bound))
    return drawn


def _drawable(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _latency(arms: dict[str, tuple[ArmTelemetry, ...]]) -> Markup:
    curves = {}
    for version, epochs in arms.items():
        counts = np.array([arm.latency_counts for arm in epochs], dtype=np.int64).sum(axis=0)
        levels = [(float(p), quantile_ms(counts, p / 100)) for p in PERCENTILES] if epochs else []
        if points := [(at, level) for at, level in levels if level is not None]:
            curves[version] = points
    return line_chart("Latency by percentile", curves, x="percentile", y="ms")


def _errors(arms: dict[str, tuple[ArmTelemetry, ...]]) -> Markup:
    curves = {}
    for version, epochs in arms.items():
        if points := [(float(arm.epoch), 100 * arm.errors / arm.requests) for arm in epochs if arm.requests]:
            curves[version] = sorted(points)
    return line_chart("Errors by epoch of the route table", curves, x="epoch", y="% of requests")


def _promote(page: Page) -> Response:
    text = page.form.get("to_pct", "").strip()
    try:
        to_pct = float(text) if text else None
    except ValueError as error:
        raise Incompatible(f"{text!r} is no percentage; leave it empty for the next step") from error
    if to_pct is not None and not 0 < to_pct <= 100:
        raise Incompatible(f"{text} is no percentage above 0 and up to 100; leave it empty for the next step")
    page.actors.deployments.promote(
        page.path["deployment_id"], to_pct=to_pct, reason=page.reason(), by=page.principal.name
    )
    return page.back(_at(page), "Promoted.")


def _hold(page: Page) -> Response:
    return page.done(page.actors.deployments.hold, page.path["deployment_id"], _at(page), "Held.")


def _resume(page: Page) -> Response:
    return page.done(page.actors.deployments.resume, page.path["deployment_id"], _at(page), "Resumed.")


def _rollback(page: Page) -> Response:
    return page.done(page.actors.deployments.rollback, page.path["deployment_id"], _at(page), "Rolling back.")


def _at(page: Page) -> str:
    return f"/console/deployments/{page.path['deployment_id']}"


_ONE = "/console/deployments/{deployment_id}"
ROUTES = (
    shown("/console/deployments", _list),
    shown(_ONE, _one),
    acted(f"{_ONE}/promote", "deploy", _promote),
    acted(f"{_ONE}/hold", "deploy", _hold),
    acted(f"{_ONE}/resume", "deploy", _resume),
    acted(f"{_ONE}/rollback", "deploy", _rollback),
)
