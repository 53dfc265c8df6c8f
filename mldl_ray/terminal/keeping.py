"""What is not wanted any more: versions that are retired or deleted."""

from __future__ import annotations

import typer

from mldl_ray.terminal.verb import Terminal, Why, remote


def add_to(registry: typer.Typer) -> None:
    """Add the commands that are about a version."""
    remote(registry, "retire")(retire)
    remote(registry, "reinstate")(reinstate)
    remote(registry, "delete")(delete)


def retire(terminal: Terminal, model_key: str, version: str, reason: Why) -> None:
    """Have a version be deployed no more. Exit code 5 while it serves or goes through a rollout."""
    found = terminal.client.retire(model_key, version, reason=reason)
    terminal.show(found, f"{found.model_key} {found.version} is retired; mldl registry reinstate takes that back")


def reinstate(terminal: Terminal, model_key: str, version: str, reason: Why) -> None:
    """Let a retired version be deployed again."""
    found = terminal.client.reinstate(model_key, version, reason=reason)
    terminal.show(found, f"{found.model_key} {found.version} can be deployed again")


def delete(terminal: Terminal, model_key: str, version: str, reason: Why) -> None:
    """Take a version away for good. Exit code 5 while it serves, is gone back to, has an alias, or is in a snapshot."""
    found = terminal.client.delete_version(model_key, version, reason=reason)
    terminal.show(found, f"{found.model_key} {found.version} is deleted; mldl gc frees what only it needed")
