"""Moments to go back to, and going back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from contracts.http import Rollback
from contracts.records import RestorePlan
from mldl_ray.terminal.verb import Terminal, Why, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "rollback")(rollback)
    snapshot = group("Moments to go back to.")
    remote(snapshot, "export")(export)
    remote(snapshot, "list")(list_snapshots)
    remote(snapshot, "plan")(plan)
    app.add_typer(snapshot, name="snapshot")


def rollback(
    terminal: Terminal,
    reason: Why,
    snapshot: Annotated[str | None, typer.Option(help="Put everything back as it was then…")] = None,
    deployment: Annotated[str | None, typer.Option(help="…or one model to what served before this deployment.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="To a snapshot even where files of its versions are not there.")
    ] = False,
) -> None:
    """Go back, or only say what that would change."""
    found = terminal.client.rollback(
        snapshot_id=snapshot, deployment_id=deployment, reason=reason, dry_run=dry_run, force=force
    )
    undo = (
        f'\nthe way back: mldl rollback --snapshot {found.undo_snapshot_id} --reason "…"'
        if found.undo_snapshot_id
        else ""
    )
    terminal.show(found, told(found) + undo)


def export(terminal: Terminal, reason: Why) -> None:
    """Name this moment as one to go back to."""
    found = terminal.client.snapshot_export(reason)
    terminal.show(found, f"{found.snapshot_id} at position {found.position}, {sum(found.counts.values())} documents")


def list_snapshots(terminal: Terminal) -> None:
    """List snapshots."""
    found = terminal.client.snapshots()
    rows = [(s.snapshot_id, s.kind, s.position, s.created_by, s.reason) for s in found]
    terminal.show(found, table("snapshot kind position by reason", rows))


def plan(terminal: Terminal, snapshot_id: str) -> None:
    """Show what going back to a snapshot would change, whether it could, and how risky that is."""
    found = terminal.client.snapshot_plan(snapshot_id)
    terminal.show(found, told(found))


def told(found: RestorePlan | Rollback) -> str:
    """Say what a rollback changes or would change, why it is risky, and what it leaves alone."""
    return "\n".join(_lines(found))


def _lines(found: RestorePlan | Rollback) -> Iterator[str]:
    if not found.applied:
        yield f"risk {found.risk_score} of 100 ({found.risk})"
        yield from (f"  because {reason}" for reason in found.risk_reasons)
    yield ("done, forced:" if found.forced else "done:") if found.applied else "would change:"
    yield from (f"  {impact.sentence}" for impact in found.impacts)
    if not found.impacts:
        yield "  nothing changes"
    for trouble in found.troubles:
        verb = "" if trouble.problem == "does not load" else "is "
        yield f"cannot be used: {trouble.file} of {trouble.target} {verb}{trouble.problem} ({trouble.digest})"
    yield from (f"note: {note}" for note in found.notes)
