"""Alerts, figures, keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from contracts.access import Role
from mldl_ray.terminal import levels
from mldl_ray.terminal.verb import Terminal, Why, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "metrics")(metrics)
    alerts = group("What a person should know.")
    remote(alerts, "list")(list_alerts)
    remote(alerts, "show")(show_alert)
    remote(alerts, "ack")(acknowledge)
    remote(alerts, "resolve")(resolve)
    levels.add_to_alerts(alerts)
    app.add_typer(alerts, name="alerts")
    levels.add(app)
    keys = group("Bearer keys.")
    remote(keys, "create")(create_key)
    remote(keys, "list")(list_keys)
    remote(keys, "revoke")(revoke_key)
    app.add_typer(keys, name="keys")


def metrics(
    terminal: Terminal, prometheus: Annotated[bool, typer.Option("--prometheus", help="In its text format.")] = False
) -> None:
    """Show live figures per endpoint and version."""
    if prometheus:
        print(terminal.client.metrics(), end="")
        return
    live = terminal.client.metrics_live()
    columns = ("requests", "qps", "p50_ms", "p95_ms", "p99_ms", "errors")
    labelled = ("accuracy", "f1_macro", "auroc", "rmse", "ece")
    rows = [
        (
            key,
            version,
            *(_figure(figures.get(name)) for name in columns),
            *(_bounded(figures, name) for name in labelled),
        )
        for key, endpoint in live.get("endpoints", {}).items()
        for version, figures in endpoint.get("versions", {}).items()
    ]
    terminal.show(live, table("model version " + " ".join((*columns, *labelled)), rows))
    if not terminal.as_json:
        terminal.show(live, table("kpi value", [(name, _figure(v)) for name, v in live.get("kpis", {}).items()]))


def list_alerts(
    terminal: Terminal,
    status: Annotated[str | None, typer.Option(help="open, acknowledged or resolved.")] = None,
    model_key: Annotated[str | None, typer.Option("--model")] = None,
    limit: int = 100,
) -> None:
    """List alerts, newest first."""
    found = terminal.client.alerts(status=status, model_key=model_key, limit=limit)
    rows = [(a.alert_id, a.status, a.severity, a.kind, a.model_key, a.message) for a in found]
    terminal.show(found, table("alert status severity kind model message", rows))


def show_alert(terminal: Terminal, alert_id: str) -> None:
    """Show an alert with its evidence."""
    found = terminal.client.alert(alert_id)
    evidence = json.dumps(found.evidence, indent=2)
    done = found.retraining
    trained = f"\nretraining {done.outcome}{f' as {done.job_id}' if done.job_id else ''}: {done.why}" if done else ""
    terminal.show(found, f"{found.alert_id} {found.status} {found.severity}: {found.message}\n{evidence}{trained}")


def acknowledge(terminal: Terminal, alert_id: str, reason: Why) -> None:
    """Say that you look after an alert."""
    found = terminal.client.acknowledge(alert_id, reason=reason)
    terminal.show(found, f"{found.alert_id} {found.status}")


def resolve(terminal: Terminal, alert_id: str, reason: Why) -> None:
    """Close an alert."""
    found = terminal.client.resolve(alert_id, reason=reason)
    terminal.show(found, f"{found.alert_id} {found.status}")


def create_key(
    terminal: Terminal,
    name: str,
    role: Annotated[Role, typer.Option(help="What it may do.")],
) -> None:
    """Make a key; its secret is shown once."""
    found = terminal.client.create_key(name, role)
    terminal.show(found, f"{found.key_id} for {found.name}, {found.role}; shown only now:\n{found.secret}")


def list_keys(terminal: Terminal) -> None:
    """List keys, revoked ones too."""
    found = terminal.client.keys()
    rows = [(k.key_id, k.name, k.role, moment(k.created_at_s), "revoked" if k.revoked else "") for k in found]
    terminal.show(found, table("key name role made state", rows))


def revoke_key(terminal: Terminal, key_id: str, reason: Why) -> None:
    """Revoke a key, at once and for ever."""
    found = terminal.client.revoke_key(key_id, reason=reason)
    terminal.show(found, f"{found.key_id} of {found.name} is revoked")


def moment(at_s: float) -> str:
    """Write a moment for people, in UTC.

    >>> moment(0.0)
    '1970-01-01 00:00:00Z'
    """
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _bounded(figures: dict[str, Any], name: str) -> str:
    """Write a figure with its 95% interval, where it has one.

    >>> _bounded({"accuracy": 0.88, "intervals": {"accuracy": {"low": 0.8017, "high": 0.93}}}, "accuracy")
    '0.88 [0.802, 0.93]'
    """
    bounds = figures.get("intervals", {}).get(name)
    written = _figure(figures.get(name))
    return f"{written} [{bounds['low']:.3g}, {bounds['high']:.3g}]" if written and bounds else written
