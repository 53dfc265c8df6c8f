"""Versions and approvals. The policy is in ``governing``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import Incompatible
from contracts.records import VersionView
from mldl_ray.terminal import keeping
from mldl_ray.terminal.verb import Terminal, Why, group, plain, remote, table

Where = Annotated[
    list[str] | None, typer.Option("--where", help="A figure's bound, as in 'ece<=0.05'; may be given again.")
]
Bounds = Annotated[list[str] | None, typer.Option("--min-metric", help="As in auroc=0.9; may be given again.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "register")(register)
    remote(app, "approve")(approve)
    registry = group("Registered versions.")
    remote(registry, "models")(models)
    remote(registry, "search")(search)
    remote(registry, "show")(show)
    remote(registry, "card")(card)
    remote(registry, "advise")(advise)
    keeping.add_to(registry)
    app.add_typer(registry, name="registry")


def register(
    terminal: Terminal,
    job_id: str,
    reason: Why,
    tag: Annotated[list[str] | None, typer.Option(help="May be given again.")] = None,
    number: Annotated[
        str | None, typer.Option("--number", help="Have this one, as 2.0.0; what changed decides when absent.")
    ] = None,
    number_reason: Annotated[str | None, typer.Option(help="Why this number.")] = None,
    allow_lower: Annotated[
        bool, typer.Option("--allow-lower", help="Also where the change demands a higher number.")
    ] = False,
) -> None:
    """Make a job's model a version; its number says what changed, unless --number is given."""
    wanted = {"version": number, "reason": number_reason, "allow_lower": allow_lower or None}
    given = {name: value for name, value in wanted.items() if value is not None}
    bundle = terminal.client.register(job_id, tags=tag or (), number=given or None, reason=reason)
    terminal.show(
        bundle, f"{bundle.model_key} {bundle.version} ({bundle.version_why})\nartifact {bundle.validation_hash}"
    )


def approve(
    terminal: Terminal,
    model_key: str,
    version: str,
    reason: Why,
    reject: Annotated[bool, typer.Option("--reject", help="Say no instead.")] = False,
) -> None:
    """Approve a version, or reject it."""
    decision = "rejected" if reject else "approved"
    found = terminal.client.approve(model_key, version, decision=decision, reason=reason)
    terminal.show(found, f"{found.model_key} {found.version} {found.decision} by {found.by}")


def models(
    terminal: Terminal,
    text: Annotated[str | None, typer.Argument(help="What their keys hold.")] = None,
    after: Annotated[str, typer.Option(help="Go on after this key.")] = "",
    limit: int = 50,
) -> None:
    """List models: what is stable, what is on its way, the newest version, how many wait for approval."""
    found = terminal.client.models(text=text, after=after, limit=limit)
    rows = [
        (one.model_key, str(one.versions), one.aliases.get("stable"), one.aliases.get("candidate"),
         one.newest.bundle.version, str(one.waiting))
        for one in found
    ]  # fmt: skip
    terminal.show(found, table("model versions stable candidate newest waiting", rows))


def search(
    terminal: Terminal,
    text: Annotated[str | None, typer.Argument(help="Words to look for.")] = None,
    model_key: Annotated[str | None, typer.Option("--model")] = None,
    task: str | None = None,
    family: str | None = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given again.")] = None,
    min_metric: Bounds = None,
    where: Where = None,
    calibration: Annotated[str | None, typer.Option(help="Calibrated by this method, or none.")] = None,
    serving: Annotated[bool | None, typer.Option(help="Only those that take traffic, or only others.")] = None,
    approved: Annotated[bool | None, typer.Option(help="Only approved ones, or only others.")] = None,
    sort: Annotated[str, typer.Option(help="model, created, version or a figure; -auroc: from the top.")] = "model",
    as_of: Annotated[float | None, typer.Option(help="As it was then, Unix seconds.")] = None,
    after: Annotated[str, typer.Option(help="Go on after this one, as income@1.0.0.")] = "",
    limit: int = 50,
) -> None:
    """Search versions by key, task, family, tags, figures, traffic, approval or words, now or at a moment."""
    found = terminal.client.search(
        model_key=model_key,
        task=task,
        family=family,
        tags=tag or (),
        min_metrics=dict(_bound(bound) for bound in min_metric or ()),
        bounds=where or (),
        calibration=calibration,
        serving=serving,
        approved=approved,
        text=text,
        sort=sort,
        as_of_s=as_of,
        after=after,
        limit=limit,
    )
    terminal.show(found, table("model version family task approved aliases metrics", [_row(view) for view in found]))


def show(
    terminal: Terminal,
    model_key: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
) -> None:
    """Show a version with its approvals and lineage."""
    found = terminal.client.version(model_key, version)
    bundle, lineage = found.bundle, found.bundle.lineage
    rows = [
        ("version", f"{bundle.model_key} {bundle.version}"),
        ("status", bundle.status),
        ("family", bundle.family),
        ("task", bundle.task),
    ]
    rows += [(name, f"{value:.4f}") for name, value in bundle.metrics.items()]
    rows += [("calibration error", str(bundle.calibration.ece)), ("fairness delta", str(bundle.fairness.delta))]
    rows += [("dataset", f"{lineage.dataset_id}@{lineage.version}"), ("job", lineage.job_id), ("after", lineage.parent)]
    rows += [("artifact", bundle.validation_hash), ("registered by", found.registered_by)]
    rows += [("aliases", " ".join(found.aliases))]
    rows += [(a.decision, f"{a.by}: {a.reason}") for a in found.approvals]
    rows += [("approvals missing", str(found.missing_approvals))]
    terminal.show(found, table("what is", rows))


def card(
    terminal: Terminal,
    model_key: str,
    version: Annotated[str, typer.Argument()] = "latest",
    out: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
) -> None:
    """Give a version's card as an HTML page, or with --json as facts."""
    if terminal.as_json and out is None:
        terminal.show(terminal.client.card_facts(model_key, version), "")
        return
    page = terminal.client.card(model_key, version)
    if out is not None:
        out.write_text(page, encoding="utf-8")
        page = str(out)
    terminal.show({"file": str(out)}, page)


def advise(
    terminal: Terminal,
    model_key: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
) -> None:
    """Say whether a version should be deployed: what the policy lacks, and how the specialists vote."""
    compliance = terminal.client.compliance(model_key, version)
    advice = terminal.client.recommendation(model_key, version)
    rows = [("policy", "allows" if compliance.allowed else "forbids", "; ".join(compliance.reasons))]
    rows += [("consensus", advice["verdict"], advice["why"])]
    rows += [(str(vote["specialist"]), str(vote["verdict"]), str(vote["reason"])) for vote in advice["votes"]]
    terminal.show({"compliance": plain(compliance), "recommendation": advice}, table("who says why", rows))


def _bound(text: str) -> tuple[str, float]:
    name, _, least = text.replace(":", "=").partition("=")
    try:
        return name, float(least)
    except ValueError as error:
        raise Incompatible(f"--min-metric {text!r} is not metric=number, as in auroc=0.9") from error


def _row(view: VersionView) -> tuple[str | None, ...]:
    bundle = view.bundle
    metrics = " ".join(f"{name}={value:.3f}" for name, value in bundle.metrics.items())
    approved = "yes" if view.approved else f"{view.missing_approvals} missing"
    approved = "retired" if bundle.status == "retired" else approved
    return bundle.model_key, bundle.version, bundle.family, bundle.task, approved, " ".join(view.aliases), metrics
