"""Events, alerts, figures, the audit, keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from contracts.access import Role
from contracts.events import Event
from mldl_ray.terminal import levels
from mldl_ray.terminal.verb import Terminal, Why, group, plain, remote, table

Types = Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be given again.")]
Subject = Annotated[str | None, typer.Option(help="Only about this model_key, job_id, deployment_id…")]
After = Annotated[int, typer.Option(help="Only after this journal position.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "events")(events)
    remote(app, "metrics")(metrics)
    alerts = group("What a person should know.")
    remote(alerts, "list")(list_alerts)
    remote(alerts, "show")(show_alert)
    remote(alerts, "ack")(acknowledge)
    remote(alerts, "resolve")(resolve)
    levels.add_to_alerts(alerts)
    app.add_typer(alerts, name="alerts")
    levels.add(app)
    audit = group("Who did what, when, why; and the proof that nobody rewrote it.")
    remote(audit, "list")(list_audit)
    remote(audit, "verify")(verify)
    app.add_typer(audit, name="audit")
    keys = group("Bearer keys.")
    remote(keys, "create")(create_key)
    remote(keys, "list")(list_keys)
    remote(keys, "revoke")(revoke_key)
    app.add_typer(keys, name="keys")
    webhooks = group("Addresses that events are posted to.")
    remote(webhooks, "create")(create_webhook)
    remote(webhooks, "list")(list_webhooks)
    remote(webhooks, "remove")(remove_webhook)
    app.add_typer(webhooks, name="webhooks")


def events(
    terminal: Terminal,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each new one.")] = False,
    after: After = 0,
    limit: int = 100,
    types: Types = None,
    subject: Subject = None,
) -> None:
    """List what has happened, in order."""
    if follow:
        for event in terminal.client.follow(after=after, types=types or (), subject=subject):
            _event_line(terminal, event)
        return
    found = terminal.client.events(after=after, limit=limit, types=types or (), subject=subject)
    rows = [(e.position, moment(e.at_s), e.type, e.subject, e.actor, e.reason) for e in found]
    terminal.show(found, table("position when event subject by why", rows))


def metrics(
    terminal: Terminal, prometheus: Annotated[bool, typer.Option("--prometheus", help="In its text format.")] = False
) -> None:
    """Show live figures per endpoint and version."""
    if prometheus:
        print(terminal.client.metrics(), end="")
        return
    live = terminal.client.metrics_live()
    columns = ("requests", "qps", "p50_ms", "p95_ms", "p99_ms", "errors", "accuracy", "ece")
    rows = [
        (key, version, *(_figure(figures.get(name)) for name in columns))
        for key, endpoint in live.get("endpoints", {}).items()
        for version, figures in endpoint.get("versions", {}).items()
    ]
    terminal.show(live, table("model version " + " ".join(columns), rows))
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
    terminal.show(found, f"{found.alert_id} {found.status} {found.severity}: {found.message}\n{evidence}")


def acknowledge(terminal: Terminal, alert_id: str, reason: Why) -> None:
    """Say that you look after an alert."""
    found = terminal.client.acknowledge(alert_id, reason=reason)
    terminal.show(found, f"{found.alert_id} {found.status}")


def resolve(terminal: Terminal, alert_id: str, reason: Why) -> None:
    """Close an alert."""
    found = terminal.client.resolve(alert_id, reason=reason)
    terminal.show(found, f"{found.alert_id} {found.status}")


def list_audit(terminal: Terminal, after: After = 0, limit: int = 100, subject: Subject = None) -> None:
    """List who did what, when and why."""
    found = terminal.client.audit(after=after, limit=limit, subject=subject)
    rows = [(e.position, moment(e.at_s), e.actor, e.type, e.subject, e.reason) for e in found]
    terminal.show(found, table("position when who what subject why", rows))


def verify(terminal: Terminal) -> None:
    """Recompute the hash chain of the whole journal. Exit code 7 when it does not hold."""
    found = terminal.client.audit_verify()
    good = f"{found.positions} appends, none edited, removed or reordered; head {found.head}"
    terminal.show(found, good if found.ok else f"THE JOURNAL DOES NOT VERIFY: {found.problem}")
    if not found.ok:
        raise typer.Exit(7)


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


def create_webhook(
    terminal: Terminal,
    address: Annotated[str, typer.Argument(help="http or https.")],
    secret: Annotated[str, typer.Option(envvar="MLDL_WEBHOOK_SECRET", help="Shared with the receiver.")],
    types: Types = None,
) -> None:
    """Have events posted to an address, in order, at least once, signed."""
    found = terminal.client.subscribe(address, secret=secret, types=types or ())
    terminal.show(found, f"{found.subscription_id}: events after position {found.position} go to {found.url}")


def list_webhooks(terminal: Terminal) -> None:
    """List who gets which events, how far each is, and what holds it up."""
    found = terminal.client.webhooks()
    rows = [(w.subscription_id, w.url, w.position, " ".join(w.types) or "all", w.error) for w in found]
    terminal.show(found, table("webhook address position events trouble", rows))


def remove_webhook(terminal: Terminal, subscription_id: str, reason: Why) -> None:
    """Post no more events to an address."""
    terminal.client.unsubscribe(subscription_id, reason=reason)
    terminal.show({"removed": subscription_id}, f"{subscription_id} is removed")


def moment(at_s: float) -> str:
    """Write a moment for people, in UTC.

    >>> moment(0.0)
    '1970-01-01 00:00:00Z'
    """
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _event_line(terminal: Terminal, event: Event) -> None:
    if terminal.as_json:
        print(json.dumps(plain(event), ensure_ascii=False), flush=True)
    else:
        terminal.say(
            f"{event.position} {moment(event.at_s)} {event.type} {event.subject} {event.actor}: {event.reason}"
        )


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
