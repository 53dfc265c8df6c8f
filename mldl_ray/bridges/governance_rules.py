"""The rules of a policy, each a pure question about one version. Not here: reading what they ask about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from contracts.evaluations import Evaluation
from contracts.policies import PERIOD_S, CardPart, Freeze, GovernedAct, Policy, PolicyFinding
from contracts.records import Approval, Dataset, TrainedBundle
from mldl_ray.evaluation.gate import findings as figures_of

PEOPLES = frozenset({"approvals_required", "approvals_by_role", "rejected", "artifact"})
"""Rules about people's words and the bytes that they saw: no exception stands in for them."""
FIGURES = frozenset(
    {
        "metric_bounds",
        "fairness_delta_max",
        "max_ece",
        "stable_margin",
        "max_noise_sensitivity",
        "adversarial_bounds",
    }
)
"""The policy's fields that an evaluation answers."""
_LICENCE = "licence:"


class Case(NamedTuple):
    """A version, and what is known about it at the moment of an act."""

    act: GovernedAct
    bundle: TrainedBundle
    policy: Policy
    standing: tuple[Approval, ...]
    evaluation: Evaluation | None
    dataset: Dataset | None
    stable: str | None
    now_s: float


def against(case: Case) -> list[PolicyFinding]:
    """List what speaks against an act; of a registration, only the rules that are asked already then."""
    rules = (approvals, artifact, figures, cost, data, card, family, licences, freezes)
    found = [finding for rule in rules for finding in rule(case)]
    if case.act != "register":
        return found
    early = {*case.policy.asked_at_registration, "freezes"}
    return [finding for finding in found if field_of(finding.rule) in early]


def field_of(rule: str) -> str:
    """Name the policy's field that a rule is of.

    >>> field_of("metric_bounds.auroc")
    'metric_bounds'
    """
    return rule.partition(".")[0]


def approvals(case: Case) -> Iterator[PolicyFinding]:
    """Ask for enough people's words, and for no rejection."""
    yield from objections(case.standing, case.policy)


def objections(standing: Iterable[Approval], policy: Policy) -> Iterator[PolicyFinding]:
    """Say what is wrong with the words that count: a rejection, or too few approvals, in all or of a role."""
    standing = tuple(standing)
    for word in standing:
        if word.decision == "rejected":
            sentence = f"{word.by} rejected it: {word.reason}"
            yield PolicyFinding(rule="rejected", value=word.by, sentence=sentence)
    approved = [word for word in standing if word.decision == "approved"]
    if (missing := policy.approvals_required - len(approved)) > 0:
        people = "person" if missing == 1 else "people"
        yield PolicyFinding(
            rule="approvals_required",
            value=len(approved),
            bound=policy.approvals_required,
            sentence=f"it has {len(approved)} of {policy.approvals_required} approvals; {missing} more {people} with "
            "role approver or admin must approve it",
        )
    for role, least in policy.approvals_by_role.items():
        held = sum(word.role == role for word in approved)
        if held < least:
            sentence = f"{held} of its approvals are by an {role}; the policy asks for {least}"
            yield PolicyFinding(rule=f"approvals_by_role.{role}", value=held, bound=least, sentence=sentence)


def artifact(case: Case) -> Iterator[PolicyFinding]:
    """Ask that what would be served is what was judged: both names of the bytes agree."""
    where, digest = case.bundle.artifact_uri, case.bundle.validation_hash
    if where.startswith("blobs:") and where != f"blobs:{digest}":
        sentence = f"its artifact is {where.removeprefix('blobs:')}, and what was judged is {digest}; register it anew"
        yield PolicyFinding(rule="artifact", value=where, bound=f"blobs:{digest}", sentence=sentence)


def figures(case: Case) -> Iterator[PolicyFinding]:
    """Ask for the bounds on what an evaluation found."""
    asked = sorted(name for name in FIGURES if getattr(case.policy, name) not in (None, {}))
    if not asked:
        return
    if case.evaluation is not None:
        yield from figures_of(case.evaluation, case.policy, stable=case.stable)
        return
    sentence = "it was never evaluated, and the policy sets bounds on its figures; evaluate it first"
    yield PolicyFinding(rule=asked[0], bound=getattr(case.policy, asked[0]), sentence=sentence)


def cost(case: Case) -> Iterator[PolicyFinding]:
    """Ask that training was not too dear."""
    most, spent = case.policy.max_cost_units, case.bundle.cost.cost_units
    if most is not None and spent > most:
        sentence = f"training it cost {spent:.4g} cost units; the policy asks for at most {most:g}"
        yield PolicyFinding(rule="max_cost_units", value=spent, bound=most, sentence=sentence)


def data(case: Case) -> Iterator[PolicyFinding]:
    """Ask for enough rows, whole enough, young enough."""
    bounds, dataset = case.policy.data, case.dataset
    asked = [name for name, bound in bounds if bound is not None]
    if asked and dataset is None:
        sentence = "it learned from no registered dataset, and the policy sets bounds on its data"
        yield PolicyFinding(rule=f"data.{asked[0]}", bound=getattr(bounds, asked[0]), sentence=sentence)
    if dataset is None:
        return
    name, share = _worst_column(dataset)
    age_s = case.now_s - dataset.created_at_s
    if bounds.min_rows is not None and dataset.rows < bounds.min_rows:
        sentence = f"its dataset has {dataset.rows:,} rows; the policy asks for at least {bounds.min_rows:,}"
        yield PolicyFinding(rule="data.min_rows", value=dataset.rows, bound=bounds.min_rows, sentence=sentence)
    if bounds.max_missing_share is not None and share > bounds.max_missing_share:
        most = bounds.max_missing_share
        sentence = f"column {name!r} of its dataset is missing in {share:.1%} of the rows; the policy allows {most:.1%}"
        yield PolicyFinding(rule="data.max_missing_share", value=share, bound=most, sentence=sentence)
    if bounds.max_age_s is not None and age_s > bounds.max_age_s:
        sentence = f"its dataset is {_days(age_s)} old; the policy allows {_days(bounds.max_age_s)}"
        yield PolicyFinding(rule="data.max_age_s", value=age_s, bound=bounds.max_age_s, sentence=sentence)


def card(case: Case) -> Iterator[PolicyFinding]:
    """Ask that the model card has what its readers need."""
    for part in case.policy.card_requires:
        if not _has(part, case.evaluation, case.dataset):
            sentence = f"its model card says nothing about {part}, which the policy asks for"
            yield PolicyFinding(rule=f"card_requires.{part}", value=None, bound="present", sentence=sentence)


def family(case: Case) -> Iterator[PolicyFinding]:
    """Ask for a family that is allowed."""
    allowed, own = case.policy.families, case.bundle.family
    if allowed is not None and own not in allowed:
        sentence = f"its family is {own or 'not known'}; the policy allows {', '.join(allowed) or 'none'}"
        yield PolicyFinding(rule="families", value=own, bound=list(allowed), sentence=sentence)


def licences(case: Case) -> Iterator[PolicyFinding]:
    """Ask that every licence that its tags name is allowed, and that they name one."""
    allowed = case.policy.licences
    if allowed is None:
        return
    own = [tag.removeprefix(_LICENCE) for tag in case.bundle.tags if tag.startswith(_LICENCE)]
    bad = [name for name in own if name not in allowed]
    if own and not bad:
        return
    names = f"its licence is {', '.join(bad)}" if bad else "no tag licence:<name> says its licence"
    sentence = f"{names}; the policy allows {', '.join(allowed) or 'none'}"
    yield PolicyFinding(rule="licences", value=bad or None, bound=list(allowed), sentence=sentence)


def freezes(case: Case) -> Iterator[PolicyFinding]:
    """Ask that nothing moves while it is frozen."""
    for freeze in case.policy.freezes:
        until_s = frozen_until_s(freeze, case.now_s)
        if until_s is not None and case.act in freeze.acts:
            until = datetime.fromtimestamp(until_s, freeze.end.tzinfo or UTC).isoformat()
            sentence = f"{freeze.name}: nothing may {case.act} until {until}"
            now = datetime.fromtimestamp(case.now_s, UTC).isoformat()
            yield PolicyFinding(rule=f"freezes.{freeze.name}", value=now, bound=until, sentence=sentence)


def frozen_until_s(freeze: Freeze, now_s: float) -> float | None:
    """Give the end of a freeze that holds now (Unix seconds); None when it does not hold.

    >>> night = Freeze(name="n", start="2026-01-01T22:00:00Z", end="2026-01-02T06:00:00Z", repeats="daily")
    >>> start_s = night.start.timestamp()
    >>> frozen_until_s(night, start_s + 86_400 + 3600) == start_s + 86_400 + 8 * 3600
    True
    >>> frozen_until_s(night, start_s - 1), frozen_until_s(night, start_s + 8 * 3600)
    (None, None)
    """
    start_s, lasts_s = freeze.start.timestamp(), (freeze.end - freeze.start).total_seconds()
    if freeze.repeats is not None and now_s >= start_s:
        start_s += (now_s - start_s) // PERIOD_S[freeze.repeats] * PERIOD_S[freeze.repeats]
    return start_s + lasts_s if start_s <= now_s < start_s + lasts_s else None


def _has(part: CardPart, evaluation: Evaluation | None, dataset: Dataset | None) -> bool:
    if part == "dataset":
        return dataset is not None
    if evaluation is None:
        return False
    robustness = evaluation.robustness
    there: dict[CardPart, bool] = {
        "intervals": bool(evaluation.intervals),
        "calibration": evaluation.calibration.ece is not None,
        "fairness": evaluation.fairness.delta is not None,
        "robustness": robustness.noise_sensitivity is not None or robustness.adversarial is not None,
        "influence": bool(evaluation.picture.influence),
    }
    return there[part]


def _worst_column(dataset: Dataset) -> tuple[str | None, float]:
    """Name the column with the largest share of missing values."""
    shares = {name: facts.get("missing", 0) / max(1, dataset.rows) for name, facts in dataset.statistics.items()}
    worst = max(shares, key=shares.__getitem__, default=None)
    return worst, shares[worst] if worst is not None else 0.0


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.3g} days"
