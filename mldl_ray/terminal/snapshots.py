"""Moments to go back to, and going back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from contracts.errors import Conflict, Incompatible, Unavailable
from contracts.http import Rollback
from contracts.records import RestorePlan
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from mldl_ray.terminal.verb import Terminal, Why, group, local, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "rollback")(rollback)
    snapshot = group("Moments to go back to.")
    remote(snapshot, "export")(export)
    remote(snapshot, "list")(list_snapshots)
    remote(snapshot, "plan")(plan)
    remote(snapshot, "export-file")(export_file)
    local(snapshot, "import-file")(import_file)
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


def export_file(
    terminal: Terminal,
    snapshot_id: str,
    file: Annotated[Path, typer.Argument(help="Where to, as in moved.tar.")],
    artifacts: Annotated[
        Literal["included", "referenced"], typer.Option(help="Carry the stored files, or only name them.")
    ] = "included",
) -> None:
    """Write a snapshot as one file, for another cluster. It holds the whole journal: keep it as safe."""
    path = terminal.client.snapshot_file(snapshot_id, file, artifacts=artifacts)
    size = path.stat().st_size
    terminal.show({"file": str(path), "size_bytes": size, "artifacts": artifacts}, f"{path}, {size} bytes")


def import_file(terminal: Terminal, file: Path) -> None:
    """Make the state of a snapshot's file this machine's, before `mldl up`; its journal must be empty."""
    from mldl_ray.blobs import open_blobs  # noqa: PLC0415  # slow to import; no other command should wait for it
    from mldl_ray.journal import open_journal  # noqa: PLC0415  # the same
    from mldl_ray.snapshots.unpack import Archive, RecordedClock, unpack  # noqa: PLC0415  # the same

    settings = load_settings()
    if _answers(settings.url):
        raise Conflict(f"a system answers at {settings.url}; stop it first with: mldl down")
    if "memory:" in {settings.journal_url, settings.artifact_uri}:
        raise Incompatible("a journal and artifacts in memory keep nothing; set a journal and an artifact folder")
    archive, clock = Archive(file), RecordedClock()
    found = unpack(archive, open_journal(settings.journal_url, clock), clock, open_blobs(settings.artifact_uri))
    words = f"{found.snapshot_id}: {found.appends} appends up to position {found.position}, {found.files} stored files"
    terminal.show(found, f"{words}; start it with: mldl up")


def _answers(url: str) -> bool:
    try:
        MLDLClient(url).health()
    except Unavailable:
        return False
    return True


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
