"""How risky a rollback is: a score from 0 to 100, its level, and every reason in a person's words. Pure.

Each reason has points, the chance in percent that somebody is hurt by it alone. Together they come to the chance that
at least one of them does, as if they were independent: two of 20 make 36, and no number of them makes more than 100.
The points are our judgement, not a measurement; they order plans and say what weighs most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from contracts.consequences import Affected, FeedbackLost, SchemaBreak, Trouble
from contracts.records import Impact

Level = Literal["none", "low", "medium", "high"]
MEDIUM, HIGH = 20, 50
"""Scores from which a plan is called so."""
NOTHING_SERVES, FILES, COLUMNS, MAJOR = 60, 60, 55, 50
BUSY, QUIET, UNAPPROVED, NO_ROWS, RULES = 30, 20, 25, 20, 20
ROLLOUT, APPROVALS, WITHDRAWN, FEEDBACK, RECORDS = 8, 4, 4, 3, 2
"""Points; ``BUSY`` and ``QUIET``: another version at once, with and without requests just now."""

Reason = tuple[int, str]


class Known(NamedTuple):
    """What weighs beside the changes themselves."""

    unapproved: Collection[str] = ()
    """What would be served (``<model_key>@<version>``) and had no approval in the snapshot."""
    troubles: Sequence[Trouble] = ()
    lost_datasets: Sequence[str] = ()
    breaks: Mapping[str, SchemaBreak] = {}
    affected: Sequence[Affected] = ()
    voided: Sequence[str] = ()
    feedback: Sequence[FeedbackLost] = ()


class Risk(NamedTuple):
    """A score, what it is called, and its reasons, gravest first."""

    score: int
    level: Level
    reasons: tuple[str, ...]


def weigh(found: Sequence[Impact], known: Known) -> Risk:
    """Weigh the changes.

    >>> weigh((), Known())
    Risk(score=0, level='none', reasons=())
    """
    reasons = dict.fromkeys(_reasons(found, known))
    if found and not reasons:
        reasons[RECORDS, "only records change; no endpoint would serve anything else"] = None
    ordered = sorted(reasons, key=lambda reason: -reason[0])
    score = together([points for points, _ in ordered])
    return Risk(score, level_of(score), tuple(sentence for _, sentence in ordered))


def together(points: Sequence[int]) -> int:
    """Give the chance in percent that at least one happens, rounded.

    >>> together([]), together([20]), together([20, 20]), together([60] * 9)
    (0, 20, 36, 100)
    """
    none = 1.0
    for one in points:
        none *= 1 - one / 100
    return round(100 * (1 - none))


def level_of(score: int) -> Level:
    """Name a score.

    >>> [level_of(score) for score in (0, 1, 19, 20, 49, 50, 100)]
    ['none', 'low', 'low', 'medium', 'medium', 'high', 'high']
    """
    if score < MEDIUM:
        return "low" if score else "none"
    return "high" if score >= HIGH else "medium"


def _reasons(found: Sequence[Impact], known: Known) -> Iterator[Reason]:
    yield from _files(known)
    for impact in found:
        yield from (reason for rule in _RULES if (reason := rule(impact, known)))
    if known.voided:
        yield (
            APPROVALS,
            f"{_count(len(known.voided), 'approval')} would no longer count and would have to be given again",
        )
    for lost in known.feedback:
        what = f"{_count(lost.labels, 'label')} of {lost.model_key} {lost.version}"
        yield FEEDBACK, f"{what} would no longer speak for what serves; the history keeps them"
    withdrawn = sum(impact.kind == "model_version" and impact.effect == "withdrawn" for impact in found)
    if withdrawn:
        yield WITHDRAWN, f"{_count(withdrawn, 'version')} would leave the registry; the history keeps them"


def _files(known: Known) -> Iterator[Reason]:
    if known.troubles:
        first = known.troubles[0]
        many = _count(len({trouble.target for trouble in known.troubles}), "version")
        what = f"{first.file} of {first.target} {'is ' if first.problem != 'does not load' else ''}{first.problem}"
        yield FILES, f"{many} that would come back or serve cannot be used, the first because {what}; it is refused"
    for key in known.lost_datasets:
        yield NO_ROWS, f"the rows of dataset {key} are gone; nothing can be trained or judged on them"


def _stops(impact: Impact, _: Known) -> Reason | None:
    if impact.kind == "endpoint" and impact.after is None:
        return NOTHING_SERVES, f"{impact.key} would stop answering: nothing served at that moment"
    return None


def _breaks(impact: Impact, known: Known) -> Reason | None:
    if impact.kind != "endpoint" or impact.before is None or impact.after is None:
        return None
    if (broken := known.breaks.get(impact.key)) is not None:
        columns = "; ".join(broken.columns[:5]) + ("; and more" if len(broken.columns) > 5 else "")
        return COLUMNS, f"{impact.key}: who calls {impact.before} today cannot call {impact.after} as it is: {columns}"
    old, new = impact.before.partition(".")[0], impact.after.partition(".")[0]
    words = f"{impact.key} would go from major version {old} to {new}; callers may have to send other columns"
    return (MAJOR, words) if old != new else None


def _serves_other(impact: Impact, known: Known) -> Reason | None:
    if impact.kind != "endpoint" or impact.after is None or impact.before == impact.after:
        return None
    rate = next((reached.requests_per_minute for reached in known.affected if reached.model_key == impact.key), 0.0)
    many = f", {rate:.0f} requests a minute" if rate else ""
    return (BUSY if rate else QUIET), f"users of {impact.key} would get another version at once{many}, without a canary"


def _unapproved(impact: Impact, known: Known) -> Reason | None:
    if impact.kind != "endpoint" or f"{impact.key}@{impact.after}" not in known.unapproved:
        return None
    return UNAPPROVED, f"{impact.key} {impact.after} had no approval at that moment"


def _rules_change(impact: Impact, _: Known) -> Reason | None:
    return (RULES, "the rules for deploying would change") if impact.kind in {"policy", "policy_exception"} else None


def _ends_rollout(impact: Impact, _: Known) -> Reason | None:
    return (ROLLOUT, "a rollout that is under way would end") if impact.kind == "deployment" else None


_RULES: tuple[Callable[[Impact, Known], Reason | None], ...] = (
    _stops,
    _breaks,
    _serves_other,
    _unapproved,
    _rules_change,
    _ends_rollout,
)


def _count(number: int, noun: str) -> str:
    """Count in words.

    >>> _count(1, "version"), _count(2, "version")
    ('1 version', '2 versions')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
