"""Registered rows: list, show, register, and what is wrong with them."""

from __future__ import annotations

from typing import Annotated

import typer

from contracts.specs import Task
from mldl_ray.terminal.verb import Terminal, group, remote, table


def add(app: typer.Typer) -> None:
    """Add the commands."""
    datasets = group("Registered rows.")
    remote(datasets, "list")(list_datasets)
    remote(datasets, "show")(show_dataset)
    remote(datasets, "register")(register_dataset)
    remote(datasets, "quality")(dataset_quality)
    remote(datasets, "recommend")(recommend_family)
    app.add_typer(datasets, name="datasets")


def list_datasets(terminal: Terminal) -> None:
    """List registered datasets."""
    found = terminal.client.datasets()
    rows = [(d.dataset_id, d.version, d.rows, len(d.columns), d.target, d.source) for d in found]
    terminal.show(found, table("dataset version rows columns target source", rows))


def show_dataset(terminal: Terminal, dataset_id: str, version: Annotated[str | None, typer.Argument()] = None) -> None:
    """Show a dataset: its columns, roles and statistics."""
    found = terminal.client.dataset(dataset_id, version)
    terminal.show(found, table("column type", found.columns.items()))


def dataset_quality(
    terminal: Terminal, dataset_id: str, version: Annotated[str | None, typer.Argument()] = None
) -> None:
    """Show what is wrong with a dataset's rows, held against the version before it."""
    terminal.show(terminal.client.quality(dataset_id, version))


def recommend_family(
    terminal: Terminal,
    dataset_id: str,
    version: Annotated[str | None, typer.Argument()] = None,
    task: Annotated[Task | None, typer.Option(help="Guessed from the target when absent.")] = None,
    latency_ms: Annotated[float | None, typer.Option(help="How fast a prediction must be.")] = None,
) -> None:
    """Show which family the specialists would train on a dataset, and why."""
    found = terminal.client.recommended_family(dataset_id, version, task=task, latency_ms=latency_ms)
    rows = [(vote.specialist, vote.family or "abstains", vote.confidence, vote.reason) for vote in found.votes]
    terminal.show(found, table("specialist family confidence reason", rows))
    terminal.say(found.why)


def register_dataset(
    terminal: Terminal,
    data: Annotated[str, typer.Argument(help="Parquet or CSV file, or URI.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    name: Annotated[str | None, typer.Option(help="The file's when absent.")] = None,
    exclude: str = "",
    sensitive: str = "",
    reason: Annotated[str, typer.Option(help="Why; kept in the journal.")] = "",
) -> None:
    """Register a file's rows: stored by digest, never changed."""
    ref = {"uri": data, "target": target, "exclude": listed(exclude), "sensitive": listed(sensitive)}
    found = terminal.client.register_dataset(ref, dataset_id=name, reason=reason)
    terminal.show(found, f"{found.dataset_id} {found.version}: {found.rows} rows, {len(found.columns)} columns")


def listed(text: str) -> list[str]:
    """Read names that are separated by commas.

    >>> listed("age, sex,")
    ['age', 'sex']
    """
    return [part.strip() for part in text.split(",") if part.strip()]
