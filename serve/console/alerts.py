"""The alerts' pages: what is unresolved, what is silenced, which budgets are left; one alert, its grounds, its life."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.responses import Response

from contracts.errors import Incompatible
from contracts.ports import Document
from contracts.records import Alert
from contracts.slos import AlertGroup, SilenceRequest
from contracts.specs import Json
from serve.console.choices import hours_s, one_of, text_of
from serve.console.door import Page, acted, shown

KIND = "alert"
STATUSES = ("open", "acknowledged", "resolved")
SEVERITIES = ("critical", "warning", "info")
SCOPES = {
    "kind": "alerts of this kind, of this version",
    "version": "every alert of this version",
    "model": "every alert of this model",
}
MOST_ROWS, MOST_SOUGHT = 100, 1000


class Step(NamedTuple):
    """One moment of an alert's life."""

    at_s: float
    status: str
    severity: str
    who: str
    why: str


class Grounds(NamedTuple):
    """A list of the evidence, as a table."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def _list(page: Page) -> Response:
    status, severity = one_of(page.query, "status", STATUSES), one_of(page.query, "severity", SEVERITIES)
    model, monitor = text_of(page.query, "model"), page.actors.monitor
    sought = MOST_ROWS + 1 if severity is None else MOST_SOUGHT
    found: list[Alert] = monitor.alerts(status=status, model_key=model, limit=sought)
    wanted = [alert for alert in found if severity in {None, alert.severity}]
    groups: list[AlertGroup] = monitor.alert_groups()
    return page.render(
        "alerts.html",
        title="Alerts",
        groups=[group for group in groups if model in {None, group.model_key}],
        alerts=wanted[:MOST_ROWS],
        more=len(wanted) > MOST_ROWS or len(found) >= MOST_SOUGHT,
        silences=monitor.silences(active=True),
        slos=sorted(monitor.slos(model_key=model), key=lambda view: view.budget_left),
        statuses=STATUSES,
        severities=SEVERITIES,
    )


def _one(page: Page) -> Response:
    alert: Alert = page.actors.monitor.alert(page.path["alert_id"])
    plain, tables = grounds_of(alert.evidence)
    silences = [one for one in page.actors.monitor.silences(active=True) if one.silence_id == alert.silence_id]
    return page.render(
        "alert.html",
        title=f"{alert.kind.replace('_', ' ').capitalize()} alert of {alert.model_key}",
        alert=alert,
        at=_at(page),
        plain=plain,
        tables=tables,
        silence=silences[0] if silences else None,
        steps=life_of(page.actors.journal.history(KIND, alert.alert_id)),
        scopes=SCOPES,
    )


def grounds_of(evidence: Json) -> tuple[list[tuple[str, Any]], list[Grounds]]:
    """Take evidence apart: what is one value each, and lists of records as tables.

    >>> plain, tables = grounds_of({"rows": 100, "columns": [{"column": "age", "p": 0.1}, {"column": "sex"}]})
    >>> plain, tables[0].columns, tables[0].rows
    ([('rows', 100)], ('column', 'p'), (('age', 0.1), ('sex', None)))
    """
    plain, tables = list[tuple[str, Any]](), list[Grounds]()
    for name, value in evidence.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            columns = tuple(dict.fromkeys(key for row in value for key in row))
            rows = tuple(tuple(_cell(row.get(column)) for column in columns) for row in value)
            tables.append(Grounds(name, columns, rows))
        elif isinstance(value, dict):
            plain += [(f"{name}: {key}", _cell(inner)) for key, inner in value.items()]
        else:
            plain.append((name, _cell(value)))
    return plain, tables


def _cell(value: Any) -> Any:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else value


def life_of(versions: list[Document]) -> list[Step]:
    """Tell an alert's life from the versions of its document, the first first."""
    alerts = [(document, Alert.model_validate(document.body)) for document in versions if document.body is not None]
    return [Step(one.at_s, alert.status, alert.severity, one.actor, one.reason) for one, alert in alerts]


def _acknowledge(page: Page) -> Response:
    return page.done(page.actors.monitor.acknowledge, page.path["alert_id"], _at(page), "Acknowledged.")


def _resolve(page: Page) -> Response:
    return page.done(page.actors.monitor.resolve, page.path["alert_id"], _at(page), "Resolved.")


def _silence(page: Page) -> Response:
    alert: Alert = page.actors.monitor.alert(page.path["alert_id"])
    scope = one_of(page.form, "scope", SCOPES) or "kind"
    asked: Json = {"model_key": alert.model_key, "lasts_s": hours_s(page.form, "hours"), "reason": page.reason()}
    if scope != "model":
        asked["version"] = alert.version
    if scope == "kind":
        asked["kind"] = alert.kind
    try:
        request = SilenceRequest.model_validate(asked)
    except ValidationError as error:
        raise Incompatible(f"there is no such silence: {error.errors()[0]['msg']}") from error
    page.actors.monitor.silence(request, by=page.principal.name)
    return page.back(_at(page), f"Silenced: {SCOPES[scope]}.")


def _end_silence(page: Page) -> Response:
    return page.done(
        page.actors.monitor.end_silence, page.path["silence_id"], "/console/alerts", "The silence is over."
    )


def _at(page: Page) -> str:
    return f"/console/alerts/{page.path['alert_id']}"


_ONE = "/console/alerts/{alert_id}"
ROUTES = (
    shown("/console/alerts", _list),
    acted("/console/alerts/silences/{silence_id}/end", "deploy", _end_silence),
    shown(_ONE, _one),
    acted(f"{_ONE}/acknowledge", "deploy", _acknowledge),
    acted(f"{_ONE}/resolve", "deploy", _resolve),
    acted(f"{_ONE}/silence", "deploy", _silence),
)
