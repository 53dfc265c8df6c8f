"""Live figures, labels, alerts, silences and service level objectives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from contracts.drift import DriftView
from contracts.errors import Unavailable
from contracts.http import FeedbackAnswer, FeedbackFile, FeedbackRequest, Why
from contracts.records import Alert
from contracts.slos import AlertGroup, Silence, SilenceRequest, Slo, SloRequest, SloView
from contracts.specs import Json
from serve.access import Deployer, Predictor, Reader
from serve.calls import Actors, ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, KeyInPath, Limit, VersionInPath, WhyInQuery

router = APIRouter(tags=["monitoring"], route_class=StrictRoute)
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.post("/feedback", response_model=FeedbackAnswer)
def feedback(body: FeedbackRequest, actors: ActorsOf, _: Predictor) -> Any:
    """Tell what turned out to be true for predictions, by their request_id, or by key and time."""
    return actors.monitor.feedback([item.model_dump(exclude_none=True) for item in body.items])


@router.post("/feedback/file", response_model=FeedbackAnswer)
def feedback_file(body: FeedbackFile, actors: ActorsOf, _: Deployer) -> Any:
    """Tell the same in bulk: a Parquet or CSV file that the service can read."""
    return actors.monitor.feedback_file(body.uri, model_key=body.model_key)


@router.get("/metrics/live", response_model=Json)
def live(actors: ActorsOf, _: Reader) -> Any:
    """Show rates, latencies, errors, accuracy, calibration and cost per endpoint and version, and the KPIs."""
    return actors.monitor.live()


@router.get("/metrics/drift/{model_key}/{version}", response_model=DriftView)
def drift(
    model_key: KeyInPath,
    version: VersionInPath,
    actors: ActorsOf,
    _: Reader,
    skip: Annotated[int, Query(ge=0, le=100_000, description="Columns left out at the beginning.")] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="Most columns in the answer.")] = 30,
) -> Any:
    """Show a version's live rows beside its held-out ones, column by column, those that cost most first."""
    exact = actors.registry.view(model_key, version).bundle.version
    return actors.monitor.drift(model_key, exact, skip=skip, limit=limit)


@router.get("/metrics", response_class=PlainTextResponse)
def prometheus(actors: ActorsOf, _: Reader) -> Any:
    """Show the same in Prometheus' text format."""
    return PlainTextResponse(actors.monitor.prometheus() + _of_bridges(actors), media_type=PROMETHEUS)


@router.get("/alerts", response_model=list[Alert])
def alerts(
    actors: ActorsOf,
    _: Reader,
    status: Annotated[Literal["open", "acknowledged", "resolved"] | None, Query()] = None,
    model_key: KeyFilter = None,
    limit: Limit = 100,
) -> Any:
    """List alerts, newest first."""
    return actors.monitor.alerts(status=status, model_key=model_key, limit=limit)


@router.get("/alerts/groups", response_model=list[AlertGroup])
def alert_groups(actors: ActorsOf, _: Reader) -> Any:
    """List the alerts that are not resolved, put together by version; the worst first."""
    return actors.monitor.alert_groups()


@router.get("/alerts/silences", response_model=list[Silence])
def silences(actors: ActorsOf, _: Reader, active: bool | None = None) -> Any:
    """List silences: all, those that last still, or those that are over."""
    return actors.monitor.silences(active=active)


@router.post("/alerts/silences", status_code=201, response_model=Silence)
def silence(body: SilenceRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Tell nobody of matching alerts for a while; they are listed, and guard rollouts, all the same."""
    return actors.monitor.silence(body, by=caller.name, once=once)


@router.delete("/alerts/silences/{silence_id}", response_model=Silence)
def end_silence(silence_id: IdInPath, actors: ActorsOf, caller: Deployer, reason: WhyInQuery, once: OnceOf) -> Any:
    """End a silence before its time."""
    return actors.monitor.end_silence(silence_id, reason=reason, by=caller.name, once=once)


@router.get("/alerts/{alert_id}", response_model=Alert)
def alert(alert_id: IdInPath, actors: ActorsOf, _: Reader) -> Any:
    """Show an alert with its evidence."""
    return actors.monitor.alert(alert_id)


@router.post("/alerts/{alert_id}/acknowledge", response_model=Alert)
def acknowledge(alert_id: IdInPath, body: Why, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Say that somebody looks after an alert."""
    return actors.monitor.acknowledge(alert_id, reason=body.reason, by=caller.name, once=once)


@router.post("/alerts/{alert_id}/resolve", response_model=Alert)
def resolve(alert_id: IdInPath, body: Why, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Close an alert; the same cause opens a new one."""
    return actors.monitor.resolve(alert_id, reason=body.reason, by=caller.name, once=once)


@router.get("/slos", response_model=list[SloView])
def slos(actors: ActorsOf, _: Reader, model_key: KeyFilter = None) -> Any:
    """List service level objectives: how much of each error budget is left, and how fast it goes."""
    return actors.monitor.slos(model_key=model_key)


@router.put("/slos", response_model=SloView)
def set_slo(body: SloRequest, actors: ActorsOf, caller: Deployer, once: OnceOf) -> Any:
    """Set an objective, or replace the one of its name."""
    return actors.monitor.set_slo(body.slo, reason=body.reason, by=caller.name, once=once)


@router.delete("/slos/{name}", response_model=Slo)
def remove_slo(name: IdInPath, actors: ActorsOf, caller: Deployer, reason: WhyInQuery, once: OnceOf) -> Any:
    """Remove an objective."""
    return actors.monitor.remove_slo(name, reason=reason, by=caller.name, once=once)


def _of_bridges(actors: Actors) -> str:
    """Give the bridges' figures; a scrape goes on without them while that actor restarts."""
    try:
        return str(actors.bridges.prometheus())
    except Unavailable:
        return ""
