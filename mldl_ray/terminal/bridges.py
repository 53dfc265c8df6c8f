"""The bridges: how each is; and the key figures of the whole system."""

from __future__ import annotations

from typing import Annotated

import typer

from contracts.kpis import KpiGroup
from mldl_ray.terminal.verb import Terminal, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    bridges = group("The six bridges to other kernels.", lists=True)
    remote(bridges, "list")(list_bridges)
    app.add_typer(bridges, name="bridges")
    remote(app, "kpis")(kpis)


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


def kpis(
    terminal: Terminal,
    days: Annotated[float, typer.Option(help="How far back rollouts, jobs and events count.")] = 7.0,
    group: Annotated[KpiGroup | None, typer.Option(help="Only these.")] = None,
) -> None:
    """Show the key figures: quality, operation, risk. --json adds what each means and comes from."""
    found = terminal.client.kpis(window_s=days * 86_400, group=group)
    rows = [
        (k.group, k.name, "" if k.value is None else f"{k.value:.4g}", k.unit, k.cases, k.why or _parts(k.by))
        for k in found
    ]
    terminal.show(found, table("group figure value unit cases by", rows))


def _parts(by: dict[str, float]) -> str:
    """Write the largest parts of a figure.

    >>> _parts({"churn": 0.5, "income": 0.25})
    'churn 0.5, income 0.25'
    """
    first = sorted(by.items(), key=lambda pair: -pair[1])[:5]
    more = f" and {len(by) - 5} more" if len(by) > 5 else ""
    return ", ".join(f"{name} {value:.4g}" for name, value in first) + more
