"""Asking governance before an act, and recording its refusal. Not here: what it says, and the act."""

from __future__ import annotations

from typing import Protocol

from contracts.errors import Conflict, Forbidden
from contracts.events import Fact
from contracts.policies import Compliance, GovernedAct
from contracts.ports import Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Decision
from contracts.specs import Json
from mldl_ray.bridges.governance import EmbeddedGovernance

_DOING = {"register": "registering", "deploy": "deploying", "promote": "promoting"}


class Governance(Protocol):
    """Whoever says whether an act may be done."""

    def check(self, act: GovernedAct, bundle: TrainedBundle, *, by: str | None = None) -> Compliance:
        """Say so; see ``EmbeddedGovernance``.

        Raises:
            Unavailable: It cannot be asked; the act must wait.
        """
        ...


def ask(governance: Governance, journal: Journal, act: GovernedAct, bundle: TrainedBundle, by: str) -> Compliance:
    """Ask whether an act may be done; a refusal is recorded as a violation.

    Raises:
        Conflict: It may not; ``facts`` hold each rule, value and bound.
        Unavailable: Governance cannot be asked.
    """
    compliance = governance.check(act, bundle, by=by)
    if compliance.allowed:
        return compliance
    facts = _facts(compliance, bundle)
    record(journal, facts, by, f"refused by policy: {act}")
    name = f"{bundle.model_key} {bundle.version}"
    raise Conflict(f"policy forbids {_DOING[act]} {name}: {'; '.join(compliance.reasons)}", facts)


def warn(governance: Governance, journal: Journal, bundle: TrainedBundle, by: str) -> Compliance:
    """Record what speaks against the version that a rollback has gone back to; nothing forbids it."""
    compliance = governance.check("rollback", bundle, by=by)
    if compliance.findings:
        record(journal, _facts(compliance, bundle), by, "went back to a version that the policy would refuse")
    return compliance


def onwards(
    governance: Governance,
    journal: Journal,
    bundle: TrainedBundle,
    decision: Decision,
    before: Decision | None,
    by: str,
) -> Decision:
    """Turn a promotion by evidence into HOLD where policy forbids it by now; a violation is recorded when it begins.

    Args:
        governance: Asked here, and nowhere else: the loop that promotes waits for nobody.
        journal: Where the violation goes.
        bundle: The version that would get more traffic.
        decision: By the evidence.
        before: The one before, so that a violation is told once.
        by: Who asked for the deployment.
    """
    if decision.verdict != "PROMOTE":
        return decision
    compliance = governance.check("promote", bundle, by=by)
    if compliance.allowed:
        return decision
    if before is None or before.rule != "policy":
        record(journal, _facts(compliance, bundle), by, "the evidence would promote it and policy holds it")
    why = f"the evidence would promote it, and policy forbids that: {'; '.join(compliance.reasons)}"
    return decision.model_copy(update={"verdict": "HOLD", "rule": "policy", "why": why})


def check_approver(governance: EmbeddedGovernance, bundle: TrainedBundle, by: str) -> None:
    """Refuse the approval of somebody who stands behind the version.

    Raises:
        Forbidden: They trained or registered it, or somebody who did made a key for them.
    """
    authors = governance.authors(bundle)
    if not any(by in governance.barred(bundle, policy) for policy in governance.held_to(bundle)):
        return
    name, facts = f"{bundle.model_key} {bundle.version}", {"by": by, "authors": sorted(authors)}
    if by in authors:
        raise Forbidden(f"{by} trained or registered {name}, so somebody else has to approve it", facts)
    raise Forbidden(
        f"a key of {by} was made by somebody who trained or registered {name}, so somebody else has to approve it",
        facts,
    )


def record(journal: Journal, facts: Json, by: str, reason: str) -> None:
    """Append a violation of the policy."""
    fact = Fact(type="MLDL_VIOLATION", subject=str(facts["model_key"]), data={"rule": "policy"} | facts)
    journal.append([], [fact], actor=by, reason=reason)


def _facts(compliance: Compliance, bundle: TrainedBundle) -> Json:
    return {
        "act": compliance.act,
        "model_key": bundle.model_key,
        "version": bundle.version,
        "reasons": [finding.sentence for finding in compliance.findings],
        "findings": [finding.model_dump(mode="json") for finding in compliance.findings],
    }
