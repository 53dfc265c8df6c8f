"""Lineage: of a version, and of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.lineage import LineageGraph
from mldl_ray.terminal.audit import seconds
from mldl_ray.terminal.verb import Terminal, group, remote, table

AsOf = Annotated[str | None, typer.Option(help="As it was then: 2026-11-25 or 2026-11-25T04:00:00Z (UTC).")]
Events = Annotated[bool, typer.Option("--openlineage", help="As OpenLineage run events (JSON).")]
Out = Annotated[Path | None, typer.Option(help="Draw it into this SVG file.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    lineage = group("What came of what.")
    remote(lineage, "show")(show)
    remote(lineage, "dataset")(dataset)
    app.add_typer(lineage, name="lineage")


def show(
    terminal: Terminal,
    model_key: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
    as_of: AsOf = None,
    openlineage: Events = False,
    out: Out = None,
) -> None:
    """Show what a version comes from and what came of it."""
    at_s = seconds(as_of)
    if openlineage:
        terminal.show(terminal.client.lineage_events(model_key, version, as_of_s=at_s))
    elif out is not None:
        _keep(terminal, out, terminal.client.lineage_picture(model_key, version, as_of_s=at_s))
    else:
        _list(terminal, terminal.client.lineage(model_key, version, as_of_s=at_s))


def dataset(
    terminal: Terminal,
    dataset_id: str,
    version: Annotated[str | None, typer.Argument(help="Of the dataset; all when absent.")] = None,
    as_of: AsOf = None,
    limit: Annotated[int, typer.Option(help="Most model versions, the newest ones.")] = 200,
    openlineage: Events = False,
    out: Out = None,
) -> None:
    """Show every model version that learned from a dataset."""
    client, at_s = terminal.client, seconds(as_of)
    if openlineage:
        terminal.show(client.dataset_lineage_events(dataset_id, version, as_of_s=at_s, limit=limit))
    elif out is not None:
        _keep(terminal, out, client.dataset_lineage_picture(dataset_id, version, as_of_s=at_s, limit=limit))
    else:
        _list(terminal, client.dataset_lineage(dataset_id, version, as_of_s=at_s, limit=limit))


def _keep(terminal: Terminal, out: Path, picture: str) -> None:
    out.write_text(picture, encoding="utf-8")
    terminal.show({"file": str(out)}, str(out))


def _list(terminal: Terminal, found: LineageGraph) -> None:
    nodes = {node.node_id: node for node in found.nodes}
    rows = [
        (
            nodes[edge.source].kind,
            nodes[edge.source].name,
            edge.relation,
            nodes[edge.target].kind,
            nodes[edge.target].name,
        )
        for edge in found.edges
    ]
    if found.left_out:
        terminal.say(f"{found.left_out} older versions are not shown; raise --limit")
    root = nodes[found.root]
    facts = [(name, str(value)) for name, value in root.facts.items() if not isinstance(value, dict)]
    if not rows:
        terminal.say(f"nothing came of {root.name} yet, and nothing is known of where it comes from")
    terminal.show(found, table("kind from is kind to", rows) if rows else table("what is", facts))
