"""Aliases of versions: where they lead, moving and removing own ones."""

from __future__ import annotations

from typing import Annotated

import typer

from mldl_ray.terminal.audit import seconds
from mldl_ray.terminal.verb import Terminal, Why, group, remote, table
from mldl_ray.terminal.watching import moment

AsOf = Annotated[str | None, typer.Option(help="As it was then: 2026-11-25 or 2026-11-25T04:00:00Z (UTC).")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    alias = group("Names that lead to a version; use them wherever a version is asked for.")
    remote(alias, "list")(list_aliases)
    remote(alias, "move")(move)
    remote(alias, "remove")(remove)
    app.add_typer(alias, name="alias")


def list_aliases(terminal: Terminal, model_key: str, as_of: AsOf = None) -> None:
    """List where latest, stable, candidate and a model's own aliases lead."""
    found = terminal.client.aliases(model_key, as_of_s=seconds(as_of))
    rows = [
        (one.alias, one.version or "nowhere", "by itself" if one.derived else one.moved_by, _when(one.at_s), one.reason)
        for one in found
    ]
    terminal.show(found, table("alias version who when why", rows))


def move(
    terminal: Terminal,
    model_key: str,
    alias: str,
    version: Annotated[str, typer.Argument(help="Where to: a number, or an alias as it leads now.")],
    reason: Why,
    expected: Annotated[
        str | None, typer.Option("--from", help="The number that it leads to now; left out for a new one.")
    ] = None,
) -> None:
    """Have an own alias lead to a version. Exit code 5 when it leads elsewhere than --from says."""
    found = terminal.client.move_alias(model_key, alias, version, expected_version=expected, reason=reason)
    terminal.show(found, f"{found.model_key} {found.alias} leads to {found.version}")


def remove(
    terminal: Terminal,
    model_key: str,
    alias: str,
    reason: Why,
    expected: Annotated[str, typer.Option("--from", help="The number that it leads to now.")],
) -> None:
    """Take an own alias away. Exit code 5 when it leads elsewhere than --from says."""
    found = terminal.client.remove_alias(model_key, alias, expected_version=expected, reason=reason)
    terminal.show(found, f"{found.model_key} has no alias {found.alias} any more")


def _when(at_s: float | None) -> str:
    return "" if at_s is None else moment(at_s)
