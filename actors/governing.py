"""What the registry's actor does for governance: the policy, its past, its exceptions, and who may do what.

What survives a restart: everything. Not here: what the rules mean (``mldl_ray.bridges.governance``).
"""

from __future__ import annotations

from actors.changes import check_reason, settled, written
from contracts.events import Fact
from contracts.policies import Compliance, DryRun, ExceptionRequest, Policy, PolicyException, PolicyVersion
from contracts.ports import Clock, Journal, Once, Receipt
from mldl_ray.bridges.governance import POLICY_KEY, EmbeddedGovernance, check_policy
from mldl_ray.bridges.governance_exceptions import PolicyExceptions
from mldl_ray.bridges.governance_past import dry_run
from mldl_ray.journal.documents import load, write
from mldl_ray.registry.catalog import Catalog


class Governing:
    """Keep the policy and its exceptions, and answer what they mean for a version."""

    def __init__(self, journal: Journal, governance: EmbeddedGovernance, clock: Clock) -> None:
        self._journal, self._governance = journal, governance
        self._exceptions = PolicyExceptions(journal, governance, clock)

    def policy(self) -> Policy:
        """Give the policy in force."""
        return self._governance.policy()

    def policy_history(self, limit: int = 100) -> list[PolicyVersion]:
        """List the policies that were set, newest first, with who set each, when and why."""
        past = self._journal.history("policy", POLICY_KEY)[-limit:]
        return [
            PolicyVersion(
                number=document.version,
                policy=Policy.model_validate(document.body or {}),
                set_by=document.actor,
                reason=document.reason,
                at_s=document.at_s,
            )
            for document in reversed(past)
        ]

    def set_policy(self, policy: Policy, *, reason: str, by: str, once: Once | None = None) -> Policy:
        """Put another policy in force; it judges the next act, also on versions approved before.

        Raises:
            Incompatible: A figure out of range, an unknown metric, another name than ``default``, or no reason.
        """
        check_reason(reason)
        check_policy(policy)

        def change() -> Receipt:
            before, version = load(self._journal, "policy", POLICY_KEY, Policy)
            data = {"policy": policy.model_dump(mode="json"), "before": (before or Policy()).model_dump(mode="json")}
            fact = Fact(type="MLDL_POLICY_CHANGED", subject=POLICY_KEY, data=data)
            writes = [write("policy", POLICY_KEY, version, policy)]
            return self._journal.append(writes, [fact], actor=by, reason=reason, once=once)

        return Policy.model_validate(written(settled(change), "policy"))

    def policy_dry_run(self, policy: Policy, limit: int = 500) -> DryRun:
        """Say which registrations and deployments so far a policy would have refused, and by which rule.

        Raises:
            Incompatible: A policy that could not be set.
        """
        check_policy(policy)
        return dry_run(self._journal, self._governance, policy, limit)

    def grant_exception(self, asked: ExceptionRequest, *, by: str, once: Once | None = None) -> PolicyException:
        """Let a version pass a rule for a while; see ``PolicyExceptions.grant``."""
        check_reason(asked.reason)
        return self._exceptions.grant(asked, by=by, once=once)

    def end_exception(self, exception_id: str, *, reason: str, by: str, once: Once | None = None) -> PolicyException:
        """Take an exception back before its time; see ``PolicyExceptions.end``."""
        check_reason(reason)
        return settled(lambda: self._exceptions.end(exception_id, reason=reason, by=by, once=once))

    def exceptions(self, *, model_key: str | None = None, active: bool | None = None) -> list[PolicyException]:
        """List exceptions, newest first."""
        return self._exceptions.list(model_key=model_key, active=active)

    def compliance(self, model_key: str, version: str) -> Compliance:
        """Say whether a version may be deployed now, and everything that speaks against it.

        Raises:
            NotFound: No such model or version.
            Unavailable: The governance bridge cannot be asked.
        """
        return self._governance.check("deploy", Catalog(self._journal).bundle(model_key, version))
