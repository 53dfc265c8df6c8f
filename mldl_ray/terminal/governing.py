"""The policy as a file: shown, set, tried on the past; and its exceptions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from contracts.errors import Incompatible, NotFound
from contracts.policies import PolicyException
from mldl_ray.terminal.verb import Terminal, Why, group, plain, remote, table

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400}


def add(app: typer.Typer) -> None:
    """Add the commands."""
    policy = group("What must hold before a version may be registered, deployed or promoted.")
    for name, command in (
        ("show", show_policy),
        ("set", set_policy),
        ("history", policy_history),
        ("dry-run", dry_run),
        ("exceptions", list_exceptions),
        ("except", grant_exception),
        ("end-exception", end_exception),
    ):
        remote(policy, name)(command)
    app.add_typer(policy, name="policy")


def show_policy(terminal: Terminal) -> None:
    """Show the policy, as the YAML that set and dry-run take."""
    found = terminal.client.policy()
    terminal.show(found, yaml.safe_dump(plain(found), sort_keys=False, allow_unicode=True).rstrip())


def set_policy(
    terminal: Terminal,
    policy: Annotated[
        str,
        typer.Argument(help="A YAML or JSON file that is the policy; or fields to change, as in '{max_ece: 0.05}'."),
    ],
    reason: Why,
) -> None:
    """Replace the policy by a file; or change fields of it, and those that are not named stay."""
    given, whole = _read(policy)
    if not whole:
        given = plain(terminal.client.policy()) | given
    found = terminal.client.set_policy(given, reason=reason)
    terminal.show(found, yaml.safe_dump(plain(found), sort_keys=False, allow_unicode=True).rstrip())


def policy_history(terminal: Terminal, limit: int = 20) -> None:
    """List the policies that were set, newest first, with who set each, when and why."""
    found = terminal.client.policy_history(limit)
    rows = [(one.number, _time(one.at_s), one.set_by, one.reason) for one in found]
    terminal.show(found, table("number set by reason", rows))


def dry_run(
    terminal: Terminal,
    policy: Annotated[str, typer.Argument(help="A YAML or JSON file; or fields that differ from the policy in force.")],
    limit: Annotated[int, typer.Option(help="Most registrations, and most deployments; the newest.")] = 500,
) -> None:
    """Say which registrations and deployments so far a policy would have refused; nothing is changed."""
    given, whole = _read(policy)
    if not whole:
        given = plain(terminal.client.policy()) | given
    found = terminal.client.policy_dry_run(given, limit=limit)
    rows = [
        (one.act, one.model_key, one.version, _time(one.at_s), one.by, finding.rule, finding.value, finding.bound)
        for one in found.refused
        for finding in one.findings
    ]
    terminal.say(
        f"{len(found.refused)} of {found.registrations} registrations and {found.deployments} deployments would have "
        f"been refused; {found.left_out} older ones were not looked at"
    )
    terminal.show(found, table("act model version when by rule value bound", rows))


def list_exceptions(
    terminal: Terminal,
    model_key: Annotated[str | None, typer.Option("--model")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--over", help="Only those that count now, or do not.")
    ] = None,
) -> None:
    """List exceptions from the policy, newest first."""
    found = terminal.client.exceptions(model_key=model_key, active=active)
    rows = [
        (one.exception_id, one.model_key, one.version, one.rule, _ends(one), one.granted_by, one.reason)
        for one in found
    ]
    terminal.show(found, table("exception model version rule until by reason", rows))


def grant_exception(
    terminal: Terminal,
    model_key: str,
    version: str,
    rule: Annotated[str, typer.Argument(help="As findings name it, as in metric_bounds.auroc.")],
    reason: Why,
    lasts: Annotated[str, typer.Option("--for", help="How long, as in 90m, 12h or 3d.")] = "24h",
) -> None:
    """Let one version pass one rule for a while."""
    lasts_s = seconds(lasts)
    found = terminal.client.grant_exception(model_key, version, rule, lasts_s=lasts_s, reason=reason)
    terminal.show(
        found, f"{found.exception_id}: {model_key} {version} may pass {rule} until {_time(found.expires_at_s)}"
    )


def end_exception(terminal: Terminal, exception_id: str, reason: Why) -> None:
    """Take an exception back before its time."""
    found = terminal.client.end_exception(exception_id, reason=reason)
    terminal.show(found, f"{found.exception_id} ended")


def seconds(lasts: str) -> float:
    """Read a length of time.

    Raises:
        Incompatible: It is none.

    >>> seconds("90m"), seconds("3d")
    (5400.0, 259200.0)
    """
    try:
        return float(lasts[:-1]) * _UNITS_S[lasts[-1:]]
    except (KeyError, ValueError) as error:
        raise Incompatible(f"--for {lasts!r} is no length of time; write 90m, 12h or 3d") from error


def _read(text: str) -> tuple[dict[str, Any], bool]:
    """Read a policy, and say whether it is the whole of one: a file is, what was typed is not."""
    file = Path(text.removeprefix("@"))
    whole = text.startswith("@") or (not text.lstrip().startswith(("{", "[")) and file.is_file())
    if whole and not file.is_file():
        raise NotFound(f"the policy: there is no file {file}")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8") if whole else text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Incompatible(f"the policy is not JSON and not YAML: {error}") from error
    if isinstance(found, str):
        raise Incompatible(f"the policy {text!r} is no file that is there, and not JSON or YAML of fields")
    if not isinstance(found, dict):
        raise Incompatible("the policy must be an object of fields, as in {approvals_required: 2}")
    return found, whole


def _ends(one: PolicyException) -> str:
    return _time(one.expires_at_s) if one.active else "over"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
