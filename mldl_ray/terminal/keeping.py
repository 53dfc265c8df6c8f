"""What is not wanted any more: versions that are retired or deleted, and stored files that nothing needs."""

from __future__ import annotations

from typing import Annotated

import typer

from mldl_ray.terminal.verb import Terminal, Why, remote


def add(app: typer.Typer) -> None:
    """Add the command that is about files."""
    remote(app, "gc")(collect)


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


def collect(
    terminal: Terminal,
    apply: Annotated[bool, typer.Option("--apply", help="Free them; otherwise they are only counted.")] = False,
    grace: Annotated[float, typer.Option(help="Hours; files stored within so many are spared.")] = 24.0,
    reason: Annotated[str, typer.Option(help="Why; needed with --apply.")] = "",
) -> None:
    """Count, or free, the stored files that neither the state, a snapshot nor a job needs."""
    found = terminal.client.collect_garbage(dry_run=not apply, grace_s=3600 * grace, reason=reason)
    done = "were freed" if apply else "would be freed (add --apply and a --reason)"
    lines = [f"{found.stored} files are stored: {found.needed} are needed, {found.spared} too young to judge"]
    lines += [f"{found.freed} files, {found.freed_bytes:,} bytes, {done}"]
    lines += [f"the manifest {digest} cannot be read; nothing is freed while that is so" for digest in found.unreadable]
    terminal.show(found, "\n".join(lines))
