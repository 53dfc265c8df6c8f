"""The policy: what it asks for, what it was, what another would have refused, and the exceptions from it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from contracts.http import PolicyRequest
from contracts.policies import DryRun, DryRunRequest, ExceptionRequest, Policy, PolicyException, PolicyVersion
from serve.access import Admin, Approver, Reader
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, KeyFilter, Limit, WhyInQuery

router = APIRouter(tags=["policy"], route_class=StrictRoute)


@router.get("/policy", response_model=Policy)
def policy(actors: ActorsOf, _: Reader) -> Any:
    """Show what must hold before a version may be registered, deployed or promoted."""
    return actors.registry.policy()


@router.put("/policy", response_model=Policy)
def set_policy(body: PolicyRequest, actors: ActorsOf, caller: Admin, once: OnceOf) -> Any:
    """Replace the policy."""
    return actors.registry.set_policy(body.policy, reason=body.reason, by=caller.name, once=once)


@router.get("/policy/history", response_model=list[PolicyVersion])
def policy_history(actors: ActorsOf, _: Reader, limit: Limit = 100) -> Any:
    """List the policies that were set, newest first, with who set each, when and why."""
    return actors.registry.policy_history(limit)


@router.post("/policy/dry-run", response_model=DryRun)
def policy_dry_run(body: DryRunRequest, actors: ActorsOf, _: Approver) -> Any:
    """Say which registrations and deployments so far a policy would have refused; nothing is changed."""
    return actors.registry.policy_dry_run(body.policy, body.limit)


@router.get("/policy/exceptions", response_model=list[PolicyException])
def exceptions(actors: ActorsOf, _: Reader, model_key: KeyFilter = None, active: bool | None = None) -> Any:
    """List exceptions, newest first: those that count now, those that do not, or all."""
    return actors.registry.exceptions(model_key=model_key, active=active)


@router.post("/policy/exceptions", status_code=201, response_model=PolicyException)
def grant_exception(body: ExceptionRequest, actors: ActorsOf, caller: Admin, once: OnceOf) -> Any:
    """Let one version pass one rule for a while."""
    return actors.registry.grant_exception(body, by=caller.name, once=once)


@router.delete("/policy/exceptions/{exception_id}", response_model=PolicyException)
def end_exception(exception_id: IdInPath, actors: ActorsOf, caller: Admin, reason: WhyInQuery, once: OnceOf) -> Any:
    """Take an exception back before its time."""
    return actors.registry.end_exception(exception_id, reason=reason, by=caller.name, once=once)
