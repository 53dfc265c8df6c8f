"""A rollout as a person on call sees it: where it is, who moved it last and why, and what the evidence says so far.

The evidence is shown as it comes: one line per metric, whatever metrics the judge looks at. Not here: its meaning.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from contracts.http import DeploymentView
from contracts.rollouts import LIVE_STATES, Decision
from contracts.specs import Json

COLOURS = {"harm": "bold red", "too_little": "yellow", "shown": "green", "no_harm": "green"}
_FIRST = ("harm", "too_little", "no_harm", "shown")
_COLUMNS = ("metric", "verdict", "statistic", "bound", "n", "n stable", "decides in", "what it says")


def line(found: DeploymentView) -> str:
    """Say in one line which rollout, where it is, and who gets what."""
    held = f"  held by {found.held.by}" if found.held else ""
    return f"{found.deployment_id} {found.status:<12} {shares(found)}".rstrip() + held


def shares(found: DeploymentView) -> str:
    """Say which version gets how much."""
    return ", ".join(f"{version} {share:.4g}%" for version, share in _percent(found.traffic))


def reason(found: DeploymentView) -> str:
    """Give the grounds of the last act."""
    if found.decisions and found.decisions[-1].verdict == "ROLLBACK":
        return found.decisions[-1].why
    return found.history[-1].reason if found.history else ""


def view(found: DeploymentView, now_s: float) -> RenderableType:
    """Draw a rollout.

    Args:
        found: The deployment.
        now_s: Unix seconds; ages and what is left are counted from here.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, words in _facts(found, now_s):
        facts.add_row(name, Text(words))
    head = Text(f"{found.deployment_id}  {found.model_key} {found.candidate}  {found.status}", style="bold")
    last = found.decisions[-1] if found.decisions else None
    tested = last is not None and any(isinstance(entry, dict) for entry in last.evidence.values())
    return Group(head, facts, "", _evidence(last)) if last is not None and tested else Group(head, facts)


def _facts(found: DeploymentView, now_s: float) -> Iterator[tuple[str, str]]:
    yield "traffic", shares(found) or "none yet"
    yield "step", _step(found, now_s)
    if found.held is not None:
        yield "held", f"by {found.held.by}, {_ago(now_s - found.held.at_s)}: {found.held.reason}"
    if found.advice is not None:
        yield "advice", str(found.advice.get("why"))
    if found.decisions:
        last = found.decisions[-1]
        yield ("now" if last.verdict == "HOLD" else "decided"), f"{last.verdict} ({last.rule}): {last.why}"
    if found.history:
        act = found.history[-1]
        yield "last act", f"{act.status}: {act.reason} ({act.actor}, {_ago(now_s - act.at_s)})"


def _step(found: DeploymentView, now_s: float) -> str:
    steps = " → ".join(f"[{pct:g}%]" if i == found.step else f"{pct:g}%" for i, pct in enumerate(found.steps))
    if found.status not in LIVE_STATES or found.step_started_s is None:
        return steps
    window_s = found.bake_window_s if found.status == "baking" else found.promotion_window_s
    return f"{steps}   {now_s - found.step_started_s:.0f} s of {window_s:g} s"


def _evidence(decision: Decision) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", justify="right" if name in _COLUMNS[2:7] else "left")
    entries = [(metric, entry) for metric, entry in decision.evidence.items() if isinstance(entry, dict)]
    for metric, entry in sorted(entries, key=lambda pair: _rank(pair[1])):
        verdict = str(entry.get("verdict", ""))
        figures = [_figure(entry.get(name)) for name in ("statistic", "bound", "n", "n_stable")]
        told = Text(verdict.replace("_", " "), style=COLOURS.get(verdict, "dim"))
        table.add_row(
            metric.replace("_", " "),
            told,
            *figures,
            _in(entry.get("time_to_decide_s")),
            Text(str(entry.get("words", ""))),
        )
    return table


def _rank(entry: Json) -> int:
    verdict = entry.get("verdict")
    return _FIRST.index(verdict) if verdict in _FIRST else len(_FIRST)


def _figure(value: object) -> str:
    """Say a figure shortly.

    >>> _figure(0.00123), _figure(240), _figure(None)
    ('0.00123', '240', '')
    """
    if value is None or isinstance(value, bool | str):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _in(seconds: object) -> str:
    return f"{seconds:,.0f} s" if isinstance(seconds, int | float) else ""


def _ago(seconds: float) -> str:
    """Say how long ago.

    >>> _ago(12.3), _ago(600), _ago(90000)
    ('12 s ago', '10 min ago', '25 h ago')
    """
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _percent(traffic: dict[str, float]) -> list[tuple[str, float]]:
    return [(version, share * 100) for version, share in traffic.items()]
