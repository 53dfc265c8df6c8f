"""Feature views: what is made of the columns that callers send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from contracts.errors import Incompatible, NotFound
from mldl_ray.terminal.verb import Terminal, Why, group, read_json, remote, table

Version = Annotated[str | None, typer.Argument(help="The one registered last when absent.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    views = group("Feature views.", lists=True)
    remote(views, "list")(list_views)
    remote(views, "show")(show_view)
    remote(views, "register")(register_view)
    remote(views, "lineage")(lineage)
    remote(views, "transform")(transform)
    app.add_typer(views, name="views")


def list_views(terminal: Terminal) -> None:
    """List every version of every view."""
    found = terminal.client.feature_views()
    rows = [(v.name, v.version, v.dataset_id, len(v.inputs), len(v.steps), len(v.outputs)) for v in found]
    terminal.show(found, table("view version dataset inputs steps outputs", rows))


def show_view(terminal: Terminal, name: str, version: Version = None) -> None:
    """Show a view: what a model learns from, and every step. --json has the statistics."""
    found = terminal.client.feature_view(name, version)
    rows: list[tuple[str, str, str]] = [("in", column.name, column.kind) for column in found.inputs]
    rows += [("join", found.join.dataset_id, f"by {found.join.key} until {found.join.time}")] if found.join else []
    rows += [("step", step.op, step.model_dump_json(exclude={"op"}, exclude_none=True)) for step in found.steps]
    rows += [("out", column.name, column.kind) for column in found.outputs]
    terminal.show(found, table("part name what", rows))


def register_view(
    terminal: Terminal,
    file: Annotated[Path, typer.Argument(help="YAML or JSON: name, dataset_id, join, steps…")],
    reason: Why,
) -> None:
    """Register a view from a file; the same view again is the same version."""
    found = terminal.client.register_view(_document(file), reason=reason)
    terminal.show(found, f"{found.reference}: {len(found.inputs)} columns in, {len(found.outputs)} out")


def lineage(terminal: Terminal, name: str, version: Version = None) -> None:
    """Show what a view comes from, and which jobs and versions learned by it."""
    found = terminal.client.view_lineage(name, version)
    rows = [("dataset", d) for d in found.datasets] + [("job", j) for j in found.jobs]
    terminal.show(found, table("part name", rows + [("version", v) for v in found.versions]))


def transform(
    terminal: Terminal,
    name: str,
    inputs: Annotated[str, typer.Argument(help="Rows as JSON, @FILE, or - for standard input.")],
    version: Annotated[str | None, typer.Option("--version", help="The one registered last when absent.")] = None,
) -> None:
    """Make features of rows, as a prediction would."""
    rows = read_json(inputs, "inputs")
    if not isinstance(rows, list):
        raise Incompatible(f"inputs must be a list of rows, got {type(rows).__name__}")
    terminal.show(terminal.client.transform(name, rows, version))


def _document(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Incompatible(f"{file} is neither YAML nor JSON: {error}") from error
    if not isinstance(found, dict):
        raise Incompatible(f"{file} must hold one view, as an object")
    return found
