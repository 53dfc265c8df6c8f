"""The audit: who did what, when, why; and the proof that nobody rewrote it."""

from __future__ import annotations

import typer

from mldl_ray.terminal.events import After, Subject
from mldl_ray.terminal.verb import Terminal, group, remote, table
from mldl_ray.terminal.watching import moment


def add(app: typer.Typer) -> None:
    """Add the commands."""
    audit = group("Who did what, when, why; and the proof that nobody rewrote it.", lists=True)
    remote(audit, "list")(list_audit)
    remote(audit, "verify")(verify)
    app.add_typer(audit, name="audit")


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
