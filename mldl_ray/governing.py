"""The client's verbs of governance: the policy, what it would have refused, its exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.http import PolicyRequest
from contracts.policies import (
    Compliance,
    DryRun,
    DryRunRequest,
    ExceptionRequest,
    Policy,
    PolicyException,
    PolicyVersion,
)
from mldl_ray.wire import Caller, in_path, parsed, read, version_path


class Governing(Caller):
    """Read and change what must hold."""

    def policy(self) -> Policy:
        """Show the policy."""
        return self._get(Policy, "/policy")

    def set_policy(self, policy: Policy | Mapping[str, Any], *, reason: str) -> Policy:
        """Replace the policy."""
        body = read(PolicyRequest, {"policy": policy, "reason": reason})
        return parsed(Policy, self._transport.call("PUT", "/policy", body=body))

    def policy_history(self, limit: int = 100) -> list[PolicyVersion]:
        """List the policies that were set, newest first."""
        return self._get(list[PolicyVersion], "/policy/history", limit=limit)

    def policy_dry_run(self, policy: Policy | Mapping[str, Any], *, limit: int = 500) -> DryRun:
        """Say which registrations and deployments so far a policy would have refused; nothing is changed."""
        return self._post(DryRun, "/policy/dry-run", read(DryRunRequest, {"policy": policy, "limit": limit}))

    def compliance(self, model_key: str, version: str = "latest") -> Compliance:
        """Show whether the policy lets a version be deployed: each rule that does not hold, its value and bound."""
        return self._get(Compliance, f"{version_path(model_key, version)}/compliance")

    def exceptions(self, *, model_key: str | None = None, active: bool | None = None) -> list[PolicyException]:
        """List exceptions from the policy, newest first; those that count now, or do not, when asked."""
        return self._get(list[PolicyException], "/policy/exceptions", model_key=model_key, active=active)

    def grant_exception(
        self, model_key: str, version: str, rule: str, *, lasts_s: float, reason: str
    ) -> PolicyException:
        """Let one version pass one rule for some seconds; the rule as findings name it."""
        asked = {"model_key": model_key, "version": version, "rule": rule, "lasts_s": lasts_s, "reason": reason}
        return self._post(PolicyException, "/policy/exceptions", read(ExceptionRequest, asked))

    def end_exception(self, exception_id: str, *, reason: str) -> PolicyException:
        """Take an exception back before its time."""
        path = f"/policy/exceptions/{in_path(exception_id)}"
        return parsed(PolicyException, self._transport.call("DELETE", path, query={"reason": reason}))
