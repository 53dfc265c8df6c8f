"""The page of what served at a moment: for whoever has to say so later. Not here: any fact (``served``)."""

from __future__ import annotations

from datetime import UTC, datetime

from contracts.records import Approval
from contracts.served import Served, ServedVersion
from mldl_ray.evaluation.page import number, page, paragraph, section, table, text, tiles

_ROLES = {"stable": "answers everybody else", "candidate": "a rollout's candidate", "shadow": "asked, never answering"}


def served_html(served: Served) -> str:
    """Write what served at a moment as one HTML page that needs nothing else."""
    when = moment(served.at_s)
    parts = [_head(served, when), _tiles(served), *(_version(one) for one in served.versions), _proof(served)]
    return page(f"{served.model_key}: what served at {when}", parts)


def sentence(served: Served) -> str:
    """Say what served in one sentence.

    >>> sentence(Served(model_key="churn", at_s=0, position=0))
    'Nothing of churn served at 1970-01-01 00:00:00 UTC.'
    """
    when = moment(served.at_s)
    shares = [f"{one.version} ({one.traffic_pct:g}%)" for one in served.versions if one.role != "shadow"]
    if not shares:
        return f"Nothing of {served.model_key} served at {when}."
    shadows = [one.version for one in served.versions if one.role == "shadow"]
    aside = f", with copies to {', '.join(shadows)}" if shadows else ""
    return f"{served.model_key} served {', '.join(shares)} at {when}{aside}."


def moment(at_s: float) -> str:
    """Write a moment for people.

    >>> moment(1_700_000_000.25)
    '2023-11-14 22:13:20 UTC'
    """
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _head(served: Served, when: str) -> str:
    asked = f" · asked of deployment {served.deployment_id}" if served.deployment_id else ""
    ends = "It is so still." if served.until_s is None else f"It was so until {moment(served.until_s)}."
    head = f'<p class="soft small">{text(f"What served · {when}{asked}")}</p><h1>{text(served.model_key)}</h1>'
    return f"<header>{head}{paragraph(f'{sentence(served)} {ends}')}</header>"


def _tiles(served: Served) -> str:
    shares = [(f"{one.version}, {one.role}", f"{one.traffic_pct:g}%", _ROLES[one.role]) for one in served.versions]
    back = [("to fall back to", served.previous, "the version before")] if served.previous else []
    return tiles([*shares, *back])


def _version(one: ServedVersion) -> str:
    facts: list[tuple[str, str | None]] = [
        ("since", moment(one.since_s)),
        ("decided by", one.decided_by),
        ("because", one.why),
    ]
    facts += [("deployment", one.deployment_id), ("strategy", one.strategy), ("asked for by", one.requested_by)]
    facts += [("registered by", one.registered_by), ("artifact", one.validation_hash)]
    rows = [(name, value) for name, value in facts if value]
    approved = "approved as the policy of that moment asks" if one.approved else "not approved as the policy asks"
    parts = [table(("What", "Which"), rows), f"<h3>{text(f'Whose word: {approved}')}</h3>", _words(one.approvals)]
    return section(f"{one.version}, {one.role}, {one.traffic_pct:g}%", "", *parts, *_evidence(one))


def _words(words: tuple[Approval, ...]) -> str:
    if not words:
        return paragraph("Nobody's word counted then.")
    rows = [(word.decision, word.by, word.role, moment(word.at_s), word.reason) for word in words]
    return table(("Word", "By", "Role", "When", "Why"), rows)


def _evidence(one: ServedVersion) -> list[str]:
    found = [f"<h3>{text(f'Evidence: evaluation {one.evaluation_id}')}</h3>"] if one.evaluation_id else []
    if one.metrics:
        found.append(table(("Figure", "Value"), [(name, number(value)) for name, value in one.metrics.items()]))
    if one.decision is not None:
        verdict = f"The rollout's verdict at {moment(one.decision.at_s)}: {one.decision.verdict} ({one.decision.rule})."
        found += [paragraph(verdict), paragraph(one.decision.why)]
    return found


def _proof(served: Served) -> str:
    lead = (
        f"Read from the journal as it was at position {served.position}; mldl audit verify proves that nobody has "
        "changed it since. Traffic is what was decided; replicas take it up within a second, and stamp each answer "
        "with its version."
    )
    epoch = [("route table", f"epoch {served.epoch}")] if served.epoch is not None else []
    rows = [*epoch, ("replicas", served.replicas), ("route", served.route)]
    return section("How this is known", lead, table(("What", "Which"), [row for row in rows if row[1] is not None]))
