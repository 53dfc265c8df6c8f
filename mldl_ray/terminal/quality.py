"""Data quality rules: read off good rows, edited as a file, set, and held against a dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from contracts.errors import Incompatible, NotFound
from contracts.quality import QualityRules, QualityRulesVersion
from mldl_ray.terminal.verb import Terminal, Why, group, plain, remote, table

Version = Annotated[str | None, typer.Argument(help="Of the dataset; the latest when absent.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    quality = group("What a dataset's rows must keep, at training and in requests.")
    for name, command in (
        ("show", show_rules),
        ("infer", infer_rules),
        ("set", set_rules),
        ("remove", remove_rules),
        ("history", rules_history),
        ("check", check_rows),
    ):
        remote(quality, name)(command)
    app.add_typer(quality, name="quality")


def show_rules(terminal: Terminal, dataset_id: str) -> None:
    """Show the rules in force, as the YAML that set takes."""
    found = terminal.client.quality_rules(dataset_id)
    terminal.show(found, _yaml(found.rules))


def infer_rules(
    terminal: Terminal,
    dataset_id: str,
    version: Version = None,
    save: Annotated[bool, typer.Option("--save", help="Put them in force as they are.")] = False,
    reason: Annotated[str, typer.Option(help="With --save: why; kept in the journal.")] = "",
) -> None:
    """Read rules off rows that are known to be good, as YAML to edit and set."""
    found = terminal.client.inferred_quality_rules(dataset_id, version)
    if not save:
        terminal.show(found, _yaml(found))
        return
    why = reason or f"read off {found.inferred_from}"
    _tell(terminal, terminal.client.set_quality_rules(dataset_id, found, reason=why))


def set_rules(
    terminal: Terminal,
    dataset_id: str,
    file: Annotated[Path, typer.Argument(help="YAML or JSON, as infer and show write it.")],
    reason: Why,
    expected_number: Annotated[int | None, typer.Option(help="Refused when others were set since.")] = None,
) -> None:
    """Replace the rules by a file."""
    rules = _document(file)
    _tell(
        terminal,
        terminal.client.set_quality_rules(dataset_id, rules, reason=reason, expected_number=expected_number),
    )


def remove_rules(terminal: Terminal, dataset_id: str, reason: Why) -> None:
    """Take the rules out of force; their history stays."""
    found = terminal.client.remove_quality_rules(dataset_id, reason=reason)
    terminal.show(found, f"{dataset_id} has no quality rules any more")


def rules_history(terminal: Terminal, dataset_id: str, limit: int = 20) -> None:
    """List the rules that were set, newest first, with who set each, when and why."""
    found = terminal.client.quality_rules_history(dataset_id, limit)
    rows = [
        (
            one.number,
            datetime.fromtimestamp(one.at_s, UTC).isoformat(timespec="seconds"),
            len(one.rules.rules) if one.rules else "removed",
            one.set_by,
            one.reason,
        )
        for one in found
    ]
    terminal.show(found, table("number set rules by reason", rows))


def check_rows(terminal: Terminal, dataset_id: str, version: Version = None) -> None:
    """Hold a dataset against its rules, as a job that trains on it would."""
    found = terminal.client.check_quality(dataset_id, version)
    terminal.say(f"{found.dataset_id} {found.version}: {found.status}, by rules number {found.rules_number}")
    rows = [(one.severity, one.check, one.column, one.message) for one in found.findings]
    terminal.show(found, table("severity check column what", rows))


def _tell(terminal: Terminal, found: QualityRulesVersion) -> None:
    count = len(found.rules.rules) if found.rules else 0
    terminal.show(found, f"{found.dataset_id}: {count} rules, number {found.number}")


def _yaml(rules: QualityRules | None) -> str:
    return yaml.safe_dump(plain(rules), sort_keys=False, allow_unicode=True).rstrip()


def _document(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Incompatible(f"{file} is neither YAML nor JSON: {error}") from error
    if not isinstance(found, dict):
        raise Incompatible(f"{file} must hold an object with `rules`")
    return found
