"""The audit: who did what, when, why; and the proof that nobody rewrote it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import Incompatible, NotFound
from contracts.ports import Verification
from mldl_ray.journal import export
from mldl_ray.terminal.events import After, Subject
from mldl_ray.terminal.verb import Terminal, group, local, remote, table
from mldl_ray.terminal.watching import moment

Since = Annotated[str | None, typer.Option(help="Only from this moment on: 2026-11-25 or 2026-11-25T04:00:00Z (UTC).")]
Until = Annotated[str | None, typer.Option(help="Only up to this moment.")]
OUT_OF_ORDER = 7


def add(app: typer.Typer) -> None:
    """Add the commands."""
    audit = group("Who did what, when, why; and the proof that nobody rewrote it.", lists=True)
    remote(audit, "list")(list_audit)
    remote(audit, "verify")(verify)
    remote(audit, "export")(export_audit)
    local(audit, "check")(check)
    app.add_typer(audit, name="audit")


def list_audit(
    terminal: Terminal,
    after: After = 0,
    limit: int = 100,
    subject: Subject = None,
    actor: Annotated[str | None, typer.Option("--actor", "--by", help="Only what they did.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this type of event or kind of document.")] = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """List who did what, when and why."""
    times = {"since_s": seconds(since), "until_s": seconds(until)}
    found = terminal.client.audit(after=after, limit=limit, subject=subject, actor=actor, kind=kind, **times)
    rows = [(e.position, moment(e.at_s), e.actor, e.type, e.subject, e.reason) for e in found]
    terminal.show(found, table("position when who what subject why", rows))


def verify(terminal: Terminal) -> None:
    """Recompute the hash chain of the whole journal. Exit code 7 when it does not hold."""
    found = terminal.client.audit_verify()
    good = f"{found.positions} appends, none edited, removed or reordered; head {found.head}"
    terminal.show(found, good if found.ok else f"THE JOURNAL DOES NOT VERIFY: {found.problem}")
    if not found.ok:
        raise typer.Exit(OUT_OF_ORDER)


def export_audit(
    terminal: Terminal,
    file: Annotated[Path, typer.Argument(help="Where to; - for standard output.")],
    after: After = 0,
) -> None:
    """Write the whole chain as JSON lines, for an auditor, who checks it with `mldl audit check`."""
    lines = terminal.client.audit_export(after=after)
    if str(file) == "-":
        sys.stdout.writelines(lines)
        return
    with file.open("w", encoding="utf-8") as out:
        written = sum(1 for line in lines if out.write(line))
    terminal.show({"appends": written, "file": str(file)}, f"{written} appends in {file}")


def check(
    terminal: Terminal,
    file: Path,
    head: Annotated[
        str | None, typer.Option(help="The hash that `mldl audit verify` showed; else not compared.")
    ] = None,
) -> None:
    """Check an exported file, without the service. Exit code 7 when it does not hold."""
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    with file.open(encoding="utf-8") as lines:
        found: Verification = export.check(lines, head=head)
    good = f"appends up to {found.positions}, none edited, removed or reordered; head {found.head}"
    terminal.show(found, good if found.ok else f"THE FILE DOES NOT VERIFY: {found.problem}")
    if not found.ok:
        raise typer.Exit(OUT_OF_ORDER)


def seconds(text: str | None) -> float | None:
    """Read a moment that was typed, in UTC unless it says otherwise, as Unix seconds.

    Raises:
        Incompatible: It is none.

    >>> seconds("1970-01-02"), seconds("1970-01-01T01:00:00+01:00")
    (86400.0, 0.0)
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Incompatible(f"{text!r} is no moment; give one as 2026-11-25 or 2026-11-25T04:00:00Z") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
