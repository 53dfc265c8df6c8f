"""What serves now, and on how many replicas."""

from __future__ import annotations

from typing import Annotated

import typer

from mldl_ray.terminal.verb import Terminal, Why, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    endpoints = group("What serves now, and on how many replicas.")
    remote(endpoints, "list")(list_endpoints)
    remote(endpoints, "scale")(scale)
    app.add_typer(endpoints, name="endpoints")


def list_endpoints(terminal: Terminal) -> None:
    """List what serves each model, and whether every replica has the current route table."""
    found = terminal.client.endpoints()
    rows = [
        (e.model_key, e.stable, e.app_state, e.epoch, f"{e.live_replicas}/{e.replicas}", "yes" if e.applied else "no")
        for e in found
    ]
    terminal.show(found, table("endpoint stable state epoch replicas applied", rows))


def scale(
    terminal: Terminal,
    model_key: str,
    replicas: Annotated[int, typer.Argument(min=1, max=256, help="How many it should have from now on.")],
    reason: Why,
) -> None:
    """Have an endpoint run with another number of replicas, without restarting any."""
    found = terminal.client.scale(model_key, replicas, reason=reason)
    terminal.show(found, f"{found.model_key}: {found.replicas} wanted, {found.live_replicas} live")
