"""Deployments and predictions; going back is in ``snapshots``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich.live import Live

from contracts.errors import Incompatible
from contracts.http import DeploymentView
from contracts.specs import Json
from mldl_ray.terminal.rollout_view import line, reason, shares, view
from mldl_ray.terminal.verb import Terminal, Why, group, read_json, remote, table

COMING = frozenset({"requested", "starting", "checking", "promoting"})
LOOK_TIMEOUT_S = 30 * 24 * 3600.0


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "deploy")(deploy)
    deployments = group("Versions on their way to their traffic.")
    remote(deployments, "list")(list_deployments)
    remote(deployments, "show")(show_deployment)
    remote(deployments, "watch")(watch_deployment)
    app.add_typer(deployments, name="deployments")
    remote(app, "promote")(promote)
    remote(app, "hold")(hold)
    remote(app, "resume")(resume)
    remote(app, "predict", flag=False)(predict)
    remote(app, "explain", flag=False)(explain)
    remote(app, "sample")(sample)


def deploy(
    terminal: Terminal,
    model_key: str,
    version: str,
    strategy: Annotated[
        Literal["canary", "shadow", "blue_green"] | None, typer.Option(help="Canary when absent.")
    ] = None,
    canary_pct: Annotated[float | None, typer.Option(help="First step, percent.")] = None,
    window: Annotated[float | None, typer.Option(help="Seconds a step lasts at most.")] = None,
    beside: Annotated[bool, typer.Option("--beside", help="As one more canary beside those going on.")] = False,
    route: Annotated[
        Literal["single", "shared"] | None, typer.Option(help="Shared: in the pool of many models; as now when absent.")
    ] = None,
    spec: Annotated[str | None, typer.Option(help="A DeploymentSpec as JSON, or @file; options win over it.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the journal.")] = "",
    wait: Annotated[Literal["no", "started", "ended"], typer.Option(help="How long to stay and watch.")] = "started",
) -> None:
    """Have a version serve: directly when it is the first, otherwise by canary, shadow or blue/green."""
    body = read_json(spec, "--spec") if spec else {}
    if not isinstance(body, dict):
        raise Incompatible("--spec must be a JSON object: a DeploymentSpec")
    options: Json = {
        "strategy": strategy,
        "canary_pct": canary_pct,
        "promotion_window": window,
        "beside": beside or None,
        "route": route,
    }
    body |= {name: value for name, value in options.items() if value is not None}
    accepted = terminal.client.deploy(model_key, version, body, reason=reason)
    if wait == "no":
        terminal.show(accepted, f"{accepted.deployment_id} {accepted.status}")
        return
    _watch(terminal, accepted.deployment_id, wait)


def list_deployments(
    terminal: Terminal, model_key: Annotated[str | None, typer.Option("--model")] = None, limit: int = 50
) -> None:
    """List deployments, newest first."""
    found = terminal.client.deployments(model_key=model_key, limit=limit)
    rows = [(d.deployment_id, d.status, d.model_key, d.stable, d.candidate, d.strategy, shares(d)) for d in found]
    terminal.show(found, table("deployment status model stable candidate strategy traffic", rows))


def show_deployment(terminal: Terminal, deployment_id: str) -> None:
    """Show a deployment with its history and every decision."""
    found = terminal.client.deployment(deployment_id)
    terminal.show(found, view(found, time.time()))
    if not terminal.as_json:
        terminal.say("\nhistory")
        for change in found.history:
            terminal.say(f"  {change.status}: {change.reason} ({change.actor})")
        for decision in found.decisions:
            terminal.say(f"  {decision.step_pct:g}% {decision.verdict}: {decision.why}")


def watch_deployment(terminal: Terminal, deployment_id: str) -> None:
    """Show a deployment's changes until it ends. Exit code 1 when it does not succeed."""
    _watch(terminal, deployment_id, "ended")


def promote(
    terminal: Terminal,
    deployment_id: str,
    reason: Why,
    to_pct: Annotated[float | None, typer.Option("--to", help="Percent; the next step when absent.")] = None,
) -> None:
    """Send a rollout on by your decision."""
    found = terminal.client.promote(deployment_id, to_pct=to_pct, reason=reason)
    terminal.show(found, line(found))


def hold(terminal: Terminal, deployment_id: str, reason: Why) -> None:
    """Keep a rollout where it is, whatever the evidence, until you resume it; harm still takes it back."""
    found = terminal.client.hold(deployment_id, reason=reason)
    terminal.show(found, line(found))


def resume(terminal: Terminal, deployment_id: str, reason: Why) -> None:
    """Let a held rollout go on by the evidence."""
    found = terminal.client.resume(deployment_id, reason=reason)
    terminal.show(found, line(found))


def predict(
    terminal: Terminal,
    model_key: str,
    body: Annotated[str, typer.Option("--json", help='As in \'{"inputs": [{"age": 39}]}\'; @file, or - for stdin.')],
    sticky: Annotated[str | None, typer.Option(help="Sticky key: its version stays the same in a rollout.")] = None,
) -> None:
    """Predict; prints the answer as JSON."""
    asked = read_json(body, "--json")
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list) or set(asked) - {"inputs", "keys"}:
        raise Incompatible('--json must look like {"inputs": [{"age": 39, …}]}, with "keys" beside it if you like')
    terminal.show(terminal.client.predict(model_key, asked["inputs"], keys=asked.get("keys"), key=sticky))


def explain(
    terminal: Terminal,
    model_key: str,
    body: Annotated[str, typer.Option("--json", help='As in \'{"inputs": [{"age": 39}]}\'; @file, or - for stdin.')],
    version: Annotated[str, typer.Option(help="A number, latest or stable.")] = "stable",
) -> None:
    """Say how much each column moved a version's scores for some rows; prints the answer as JSON."""
    asked = read_json(body, "--json")
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list) or set(asked) - {"inputs"}:
        raise Incompatible('--json must look like {"inputs": [{"age": 39, …}]}')
    terminal.show(terminal.client.explain(model_key, asked["inputs"], version))


def sample(
    terminal: Terminal,
    model_key: str,
    rows: Annotated[int, typer.Option(help="How many.")] = 10,
    version: Annotated[str, typer.Option(help="A number, or latest.")] = "latest",
    seed: Annotated[int, typer.Option(help="Same seed, same rows.")] = 0,
) -> None:
    """Have a version that generates rows make some; prints them as JSON lines."""
    found = terminal.client.sample(model_key, rows, version, seed=seed)
    terminal.show(found, "\n".join(json.dumps(row, default=str) for row in found))


def _watch(terminal: Terminal, deployment_id: str, until: Literal["started", "ended"]) -> None:
    client = terminal.client
    with _screen(terminal) as show:
        if until == "started":
            found = client.wait_deployment(deployment_id, on_change=show, until=lambda d: d.status not in COMING)
        else:
            found = client.wait_deployment(deployment_id, on_change=show, timeout_s=LOOK_TIMEOUT_S)
    if terminal.as_json:
        terminal.show(found)
    if found.status in {"failed", "rolled_back", "superseded"}:
        terminal.say(reason(found))
        raise typer.Exit(1)


@contextmanager
def _screen(terminal: Terminal) -> Iterator[Callable[[DeploymentView], None]]:
    """Give what shows a rollout's changes: drawn over on a screen; elsewhere a line for each move and its reason."""
    if terminal.out.is_terminal and not terminal.as_json:
        with Live(console=terminal.out, auto_refresh=False) as live:
            yield lambda found: live.update(view(found, time.time()), refresh=True)
        return
    last = ""

    def show(found: DeploymentView) -> None:
        nonlocal last
        if (told := line(found)) != last:
            terminal.say(f"{told}  {found.history[-1].reason if found.history else ''}".rstrip())
            last = told

    yield show
