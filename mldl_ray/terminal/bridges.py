"""The bridges: how each is, what searches found, what the specialists say."""

from __future__ import annotations

import typer

from mldl_ray.terminal.verb import Terminal, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    bridges = group("The six bridges to other kernels.", lists=True)
    remote(bridges, "list")(list_bridges)
    app.add_typer(bridges, name="bridges")


def list_bridges(terminal: Terminal) -> None:
    """List the six bridges: how each is, where it answers, how often it was asked and in vain."""
    found = terminal.client.bridges()
    rows = [
        (
            view.bridge,
            view.status,
            view.remote.url if view.remote else "embedded",
            view.remote.circuit if view.remote else "",
            view.embedded.calls,
            view.remote.counts.calls if view.remote else "",
            view.remote.counts.failures if view.remote else "",
        )
        for view in found
    ]
    terminal.show(found, table("bridge status kernel circuit here asked in_vain", rows))
