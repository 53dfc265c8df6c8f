"""What served at a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.served import ServedVersion
from mldl_ray.terminal.audit import seconds
from mldl_ray.terminal.verb import Terminal, remote, table
from mldl_ray.terminal.watching import moment


def add(app: typer.Typer) -> None:
    """Add the command."""
    remote(app, "served")(served)


def served(
    terminal: Terminal,
    model_key: Annotated[str | None, typer.Argument(help="Whose endpoint; or give --deployment.")] = None,
    at: Annotated[
        str | None, typer.Option(help="The moment, 2026-11-25T04:00:00Z or Unix seconds; now when absent.")
    ] = None,
    deployment: Annotated[str | None, typer.Option(help="Whose endpoint, by one of its deployments.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it as a page to this file.")] = None,
) -> None:
    """Say which versions served at a moment: their traffic, who decided and approved it, on what evidence."""
    asked = {"model_key": model_key, "deployment_id": deployment}
    found = terminal.client.served(**asked, at_s=_moment(at))
    if out is not None:
        out.write_text(terminal.client.served_page(**asked, at_s=found.at_s), encoding="utf-8")
        terminal.show({"file": str(out)}, str(out))
        return
    if not found.versions:
        terminal.say(f"nothing of {found.model_key} served at {moment(found.at_s)}")
    columns = "version role traffic since decided_by why approved_by evidence"
    terminal.show(found, table(columns, [_row(one) for one in found.versions]))


def _row(one: ServedVersion) -> tuple[str | None, ...]:
    approved = ", ".join(word.by for word in one.approvals if word.decision == "approved") or "nobody"
    grounds = [one.evaluation_id or "", one.decision.rule if one.decision is not None else ""]
    traffic, since = f"{one.traffic_pct:g}%", moment(one.since_s)
    return one.version, one.role, traffic, since, one.decided_by, one.why, approved, " ".join(filter(None, grounds))


def _moment(text: str | None) -> float | None:
    """Read Unix seconds, or a moment as one writes it.

    >>> _moment("12.5"), _moment("1970-01-02")
    (12.5, 86400.0)
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        return seconds(text)
