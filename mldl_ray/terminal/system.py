"""Start, stop and look at the system; the demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from contracts.specs import Json
from mldl_ray import cluster, compose
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from mldl_ray.terminal.verb import Terminal, local, remote, table
from serve.environment import serve_environment


def add(app: typer.Typer) -> None:
    """Add the commands."""
    local(app, "up")(up)
    local(app, "down")(down)
    remote(app, "status")(status)
    local(app, "environment")(environment)
    app.command("demo")(demo)


def up(terminal: Terminal) -> None:
    """Start whatever is missing; on a running system nothing changes. It stays up until `mldl down`."""
    report = compose.up(load_settings(), say=lambda what: terminal.say(f"started {what}"))
    lines = [f"{report.url}/api/mldl/v1/docs"]
    if report.admin_key:
        lines.append(f"The first key, shown only now (role admin): {report.admin_key}")
    terminal.show(report._asdict(), "\n".join(lines))


def down(terminal: Terminal) -> None:
    """Stop the system; the journal and the artifacts stay, and `mldl up` brings everything back."""
    stopped = compose.down(load_settings())
    terminal.show({"processes_stopped": stopped}, f"stopped {stopped} processes" if stopped else "nothing was running")


def status(terminal: Terminal) -> None:
    """Show how every component is and what serves. Exit code 1 when something failed."""
    health = terminal.client.health()
    server = _job_server(terminal.client)
    endpoints = [] if health["status"] != "ok" else terminal.client.endpoints()
    value = health | {"url": terminal.client.url, "job_server": server, "endpoints": endpoints}
    terminal.show(value, table("part is detail", _lines(health, server)))
    if endpoints:
        rows = [(e.model_key, e.stable, e.app_state, e.epoch, e.replicas) for e in endpoints]
        terminal.say("")
        if not terminal.as_json:
            terminal.show(endpoints, table("endpoint stable state epoch replicas", rows))
    if health["status"] != "ok":
        raise typer.Exit(1)


def _lines(health: Json, server: str | None) -> list[tuple[str, str, str | None]]:
    lines: list[tuple[str, str, str | None]] = [("system", health["status"], health["version"])]
    lines += [(name, part["status"], part["detail"]) for name, part in health["components"].items()]
    lines += [(f"family {name}", state, None) for name, state in health["adapters"].items()]
    return lines + ([("job server", server, None)] if server else [])


def _job_server(client: MLDLClient) -> str | None:
    """Give the job server's address when the service is our own on this machine."""
    settings = load_settings()
    if client.url != settings.url or cluster.address(settings) is None:
        return None
    cluster.prepare_environment(settings)
    compose.connect(settings)
    return cluster.job_server(settings)


def environment(terminal: Terminal) -> None:
    """Print what Ray Serve reads from the environment; export it before `ray start` on every node."""
    values = serve_environment(load_settings())
    terminal.show(values, "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))


def demo(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the facts to this file.")] = None,
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop the service at the end.")] = False,
) -> None:
    """Tell the whole lifecycle on census data, in about three minutes."""
    from mldl_ray.demo.story import run  # noqa: PLC0415  # loads the data libraries

    run(json_file=json_file, leave=not exit_after)
