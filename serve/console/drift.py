"""The drift pages: which versions are watched and how they stand; one version's columns, live beside held-out."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from contracts.drift import DriftView
from contracts.specs import Json
from serve.console.choices import position_of, text_of
from serve.console.door import Page, shown
from serve.console.histograms import histograms

ROWS, DRAWN = 100, 24
MEANT = {
    "kolmogorov_smirnov": "largest gap between both distributions",
    "exact_per_category": "change of that value's share",
    "missing": "change of the share that is missing",
}


def _list(page: Page) -> Response:
    model = text_of(page.query, "model")
    watched = standings(page.actors.monitor.live()["endpoints"], model)
    return page.render("drifts.html", title="Drift", watched=watched[:ROWS], more=max(0, len(watched) - ROWS))


def standings(endpoints: Json, model: str | None = None) -> list[dict[str, Any]]:
    """List the versions of live figures with how their watch stands, those that drift first, then by how surprising.

    >>> found = {"windows": 1, "worst_p": 0.2, "drifted": False}
    >>> live = {"income": {"versions": {"1.0.0": {"drift": found}, "1.1.0": {"drift": {"windows": 0}}}}}
    >>> [(row["version"], row["verdict"]) for row in standings(live)]
    [('1.0.0', 'steady'), ('1.1.0', 'not tested')]
    """
    rows = [
        {"model_key": key, "version": version, "verdict": _verdict(figures["drift"])} | figures["drift"]
        for key, endpoint in endpoints.items()
        if model in {None, key}
        for version, figures in endpoint["versions"].items()
    ]
    surprise = {"drifted": 0, "steady": 1, "not tested": 2}
    return sorted(rows, key=lambda row: (surprise[row["verdict"]], _p(row), row["model_key"], row["version"]))


def _verdict(state: Json) -> str:
    return "not tested" if not state["windows"] else "drifted" if state["drifted"] else "steady"


def _p(row: Json) -> float:
    p = row.get("worst_p")
    return 1.0 if p is None else float(p)


def _one(page: Page) -> Response:
    model_key, version = page.path["model_key"], page.path["version"]
    skip = position_of(page.query, "from") or 0
    view: DriftView = page.actors.monitor.drift(model_key, version, skip=skip, limit=DRAWN)
    onward = skip + DRAWN
    return page.render(
        "drift.html",
        title=f"Drift of {model_key} {version}",
        view=view,
        drawn=[(column, histograms(column)) for column in view.columns],
        meant=MEANT,
        skip=skip,
        onward=onward if onward < view.columns_known else None,
    )


ROUTES = (
    shown("/console/drift", _list),
    shown("/console/drift/{model_key}/{version}", _one),
)
