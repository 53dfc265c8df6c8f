"""The models' pages: what serves and what waits; each version with its figures, lineage and approvals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from contracts.errors import NotFound, Unavailable
from contracts.evaluations import Interval
from contracts.policies import Compliance
from contracts.records import ModelView, TrainedBundle, VersionView, Waiting
from serve.console.door import Page, acted, page_of_its_own, shown

ROWS = 25
FIGURES_IN_A_ROW = 3


class Figure(NamedTuple):
    """One row of the table of figures."""

    name: str
    value: float
    interval: Interval | None


def _list(page: Page) -> Response:
    text, after = page.query.get("text", "").strip(), page.query.get("after", "")
    found: list[ModelView] = page.actors.registry.models(text=text or None, after=after, limit=ROWS + 1)
    return page.render(
        "models.html", title="Models", found=found[:ROWS], more=len(found) > ROWS, text=text, after=after
    )


def _one(page: Page) -> Response:
    key, after, waiting = page.path["key"], page.query.get("after", ""), page.query.get("waiting") == "1"
    model: ModelView | None = next(iter(page.actors.registry.models(model_key=key, limit=1)), None)
    if model is None:
        raise NotFound(f"there is no model {key}; the list of models shows what there is")
    asked: Any = {"model_key": key, "sort": "-version", "after": after, "limit": ROWS + 1}
    listed = (
        page.actors.registry.waiting(**asked)
        if waiting
        else Waiting(views=tuple(page.actors.registry.search(**asked)), whole=True)
    )
    return page.render(
        "model.html",
        title=key,
        model=model,
        found=listed.views[:ROWS],
        more=len(listed.views) > ROWS,
        whole=listed.whole,
        after=after,
        waiting=waiting,
        most_figures=FIGURES_IN_A_ROW,
    )


def _version(page: Page) -> Response:
    key, asked = page.path["key"], page.path["version"]
    view: VersionView = page.actors.registry.view(key, asked)
    if view.bundle.version != asked:  # an alias could lead elsewhere between reading and approving
        return RedirectResponse(f"/console/models/{key}/{view.bundle.version}", 303)
    graph = page.actors.registry.lineage(key, asked)
    return page.render(
        "version.html",
        title=f"{key} {asked}",
        view=view,
        bundle=view.bundle,
        figures=list(figures_of(view.bundle)),
        compliance=_compliance(page, key, asked),
        picture=Markup(page.actors.registry.lineage_picture(graph, styled=False)),  # it escapes its texts
        at=_at(page),
    )


def figures_of(bundle: TrainedBundle) -> Iterator[Figure]:
    """List a version's figures, each with its interval where it has one: quality, calibration, fairness, robustness."""
    for name, value in bundle.metrics.items():
        yield Figure(name, value, bundle.intervals.get(name))
    calibration, fairness = bundle.calibration, bundle.fairness
    top = calibration.top_label.intervals if calibration.top_label is not None else {}
    others = (
        ("calibration error (ECE)", calibration.ece, top.get("equal_width")),
        ("calibration error, bias removed", calibration.ece_debiased, top.get("equal_mass_debiased")),
        ("fairness: difference in selection", fairness.delta, None),
        ("fairness: equalized odds", fairness.equalized_odds, None),
        ("score lost to noise", bundle.robustness.noise_sensitivity, None),
    )
    for name, found, interval in others:
        if found is not None:
            yield Figure(name, found, interval)


def _compliance(page: Page, key: str, version: str) -> Compliance | None:
    """Give what speaks against a deployment; None while governance cannot be asked."""
    try:
        found: Compliance = page.actors.registry.compliance(key, version)
    except Unavailable:
        return None
    return found


def _card(page: Page) -> Response:
    return page_of_its_own(page.actors.registry.card(page.path["key"], page.path["version"]))


def _approve(page: Page) -> Response:
    return _said(page, "approved")


def _reject(page: Page) -> Response:
    return _said(page, "rejected")


def _said(page: Page, decision: Literal["approved", "rejected"]) -> Response:
    page.actors.registry.approve(
        page.path["key"],
        page.path["version"],
        decision=decision,
        reason=page.reason(),
        by=page.principal.name,
        role=page.principal.role,
    )
    return page.back(_at(page), f"{decision.capitalize()}.")


def _at(page: Page) -> str:
    return f"/console/models/{page.path['key']}/{page.path['version']}"


_VERSION = "/console/models/{key}/{version}"
ROUTES = (
    shown("/console/models", _list),
    shown("/console/models/{key}", _one),
    shown(_VERSION, _version),
    shown(f"{_VERSION}/card", _card),
    acted(f"{_VERSION}/approve", "approve", _approve),
    acted(f"{_VERSION}/reject", "approve", _reject),
)
