"""Labels in bulk, drift, service level objectives, silences, and alerts put together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from contracts.drift import Cost
from contracts.slos import SloView
from mldl_ray.blobs.tables import read_table
from mldl_ray.terminal.governing import seconds
from mldl_ray.terminal.verb import Terminal, Why, group, remote, table

Model = Annotated[str | None, typer.Option("--model", help="Only of this model_key.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "feedback")(feedback)
    remote(app, "drift")(drift)
    slo = group("Service level objectives and what is left of their error budgets.")
    remote(slo, "list")(list_slos)
    remote(slo, "set")(set_slo)
    remote(slo, "remove")(remove_slo)
    app.add_typer(slo, name="slo")


def add_to_alerts(alerts: typer.Typer) -> None:
    """Add what concerns alerts."""
    remote(alerts, "groups")(alert_groups)
    remote(alerts, "silence")(silence)
    remote(alerts, "silences")(list_silences)
    remote(alerts, "unsilence")(end_silence)


def drift(
    terminal: Terminal,
    model_key: str,
    version: Annotated[str, typer.Argument(help="A version, or an alias of one.")] = "stable",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most columns.")] = 30,
) -> None:
    """Show how a version's live inputs and answers differ from its held-out ones, what costs most first."""
    found = terminal.client.drift(model_key, version, limit=limit)
    rows = [
        (column.column, "moved" if column.drifted else "", f"{column.p:.2g}", _cost(column.cost), column.moved)
        for column in found.columns
        if column.p is not None
    ]
    terminal.show(found, found.words)
    if not terminal.as_json:
        terminal.show(found, table("column drifted p cost how", rows))


def _cost(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.loss:.3g} ({cost.low:.3g} to {cost.high:.3g})"


def feedback(
    terminal: Terminal,
    file: Annotated[str, typer.Argument(help="Parquet or CSV: request_id, label; or key, at_s, label.")],
    model_key: Annotated[str | None, typer.Option("--model", help="Whose, for labels by key and time.")] = None,
    there: Annotated[bool, typer.Option("--there", help="The service reads the file; it is not sent.")] = False,
) -> None:
    """Tell what turned out to be true for predictions, in bulk."""
    if there:
        found = terminal.client.feedback_file(file, model_key=model_key)
    else:
        found = terminal.client.feedback_table(read_table(file), model_key=model_key)
    terminal.show(found, f"{found.accepted} labels met their prediction, {found.unknown} met none")


def list_slos(terminal: Terminal, model_key: Model = None) -> None:
    """List objectives: attained share, budget left, and the burn rates of each pair of windows."""
    found = terminal.client.slos(model_key=model_key)
    terminal.show(found, table("slo model kind bound objective attained left burns events", map(_row, found)))


def set_slo(
    terminal: Terminal,
    name: str,
    model_key: str,
    kind: Annotated[
        str, typer.Argument(help="latency, availability, quality, calibration, fairness, freshness or cost.")
    ],
    reason: Why,
    objective: Annotated[float, typer.Option(help="Share of good events.")] = 0.99,
    bound: Annotated[
        float | None, typer.Option(help="Of a good event: ms of latency, s of freshness, ECE, difference, cost units.")
    ] = None,
    window: Annotated[str, typer.Option(help="How long the budget is for, as in 7d.")] = "30d",
) -> None:
    """Set an objective, or replace the one of that name."""
    asked = {"name": name, "model_key": model_key, "kind": kind, "objective": objective, "bound": bound}
    found = terminal.client.set_slo(asked | {"window_s": seconds(window)}, reason=reason)
    terminal.show(found, f"{name}: {objective:g} of {kind} events of {model_key} over {window}")


def remove_slo(terminal: Terminal, name: str, reason: Why) -> None:
    """Remove an objective."""
    found = terminal.client.remove_slo(name, reason=reason)
    terminal.show(found, f"{found.name} removed")


def alert_groups(terminal: Terminal) -> None:
    """List unresolved alerts put together by version, the worst first."""
    found = terminal.client.alert_groups()
    rows = [
        (one.severity, one.model_key, one.version, len(one.alert_ids), _list(one.kinds), one.message) for one in found
    ]
    terminal.show(found, table("severity model version alerts kinds worst", rows))


def silence(
    terminal: Terminal,
    reason: Why,
    lasts: Annotated[str, typer.Option("--for", help="How long, as in 30m, 12h or 3d.")],
    model_key: Model = None,
    version: Annotated[str | None, typer.Option(help="Only of this version.")] = None,
    kind: Annotated[str | None, typer.Option(help="drift, slo, guardrail, traffic or data_quality.")] = None,
) -> None:
    """Tell nobody of matching alerts for a while; they are listed, and guard rollouts, all the same."""
    found = terminal.client.silence(
        model_key=model_key, version=version, kind=kind, lasts_s=seconds(lasts), reason=reason
    )
    terminal.show(found, f"{found.silence_id} until {_time(found.ends_at_s)}")


def list_silences(
    terminal: Terminal,
    active: Annotated[bool | None, typer.Option("--active/--over", help="Only those that last, or do not.")] = None,
) -> None:
    """List silences."""
    found = terminal.client.silences(active=active)
    rows = [
        (one.silence_id, one.model_key, one.version, one.kind, _time(one.ends_at_s), one.by, one.reason)
        for one in found
    ]
    terminal.show(found, table("silence model version kind until by reason", rows))


def end_silence(terminal: Terminal, silence_id: str, reason: Why) -> None:
    """End a silence before its time."""
    found = terminal.client.end_silence(silence_id, reason=reason)
    terminal.show(found, f"{found.silence_id} ended")


def _row(view: SloView) -> tuple[object, ...]:
    slo = view.slo
    attained = None if view.attained is None else f"{view.attained:.5f}"
    rates = " ".join("-" if rate is None else f"{rate:.3g}" for one in view.burns for rate in (one.long, one.short))
    left = f"{view.budget_left:.1%}"
    return slo.name, slo.model_key, slo.kind, slo.bound, slo.objective, attained, left, rates, view.events


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words)


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
