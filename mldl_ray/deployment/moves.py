"""What a move of a deployment is made of: its next documents, the events that tell of it, its history. Pure.

When to move is decided elsewhere: by what is seen in ``advance``, by a person in ``by_hand``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.events import EventType, Fact
from contracts.rollouts import Change, Decision, Deployment, DeploymentState, Endpoint
from contracts.specs import Json
from mldl_ray.deployment.beside import PENDING, placed, superseded
from mldl_ray.deployment.plan import traffic

MANAGER = "deployment-manager"
HOLDABLE = frozenset({"requested", "starting", "checking", "canary", "baking"})
"""States that end by themselves, and in which nothing is lost by staying."""


class Move(NamedTuple):
    """The next documents of an endpoint and its deployment, and why; ``ended`` are others that end by it."""

    endpoint: Endpoint
    deployment: Deployment
    facts: tuple[Fact, ...]
    reason: str
    actor: str = MANAGER
    ended: tuple[Deployment, ...] = ()


def step_to(
    endpoint: Endpoint,
    deployment: Deployment,
    step: int,
    now_s: float,
    reason: str,
    *,
    decision: Decision | None = None,
    actor: str = MANAGER,
) -> Move:
    """Go to a step; the last one makes the version the endpoint's own."""
    entered = deployment.model_copy(update={"step": step, "step_started_s": now_s} | grounds(deployment, decision))
    pct = deployment.steps[step]
    if pct < 100:
        fact = fact_of("MLDL_DEPLOYMENT_STEPPED", deployment, {"pct": pct, "why": reason})
        return moved(next_epoch(endpoint), entered, "canary", now_s, reason, fact, actor=actor)
    goal = next_epoch(endpoint, stable=deployment.version, previous=endpoint.stable)
    fact = fact_of("MLDL_DEPLOYMENT_STEPPED", deployment, {"pct": 100, "why": reason})
    return moved(goal, entered, "promoting", now_s, reason, fact, actor=actor)


def go_back(
    endpoint: Endpoint,
    deployment: Deployment,
    now_s: float,
    reason: str,
    *,
    decision: Decision | None = None,
    actor: str = MANAGER,
) -> Move:
    """Give everything back to the version before."""
    ids = dict.fromkeys((*endpoint.deployment_ids, deployment.deployment_id))
    goal = next_epoch(endpoint, stable=deployment.stable, deployment_ids=tuple(ids))
    decided = deployment.model_copy(update=grounds(deployment, decision))
    facts = [fact_of("ROLLBACK_REQUESTED", deployment, {"why": reason, "to": deployment.stable})]
    if decision is not None:
        facts.append(fact_of("MLDL_VIOLATION", deployment, {"rule": decision.rule, "why": decision.why}))
    return moved(goal, decided, "rolling_back", now_s, reason, *facts, actor=actor)


def fail(endpoint: Endpoint, deployment: Deployment, now_s: float, why: str, *facts: Fact) -> Move:
    """End without success; stable was never touched."""
    fact = fact_of("MLDL_DEPLOYMENT_ROLLED_BACK", deployment, {"to": endpoint.stable, "why": why})
    return end(endpoint, deployment, "failed", now_s, why, fact, *facts)


def end(
    endpoint: Endpoint,
    deployment: Deployment,
    status: DeploymentState,
    now_s: float,
    reason: str,
    *facts: Fact,
    actor: str = MANAGER,
) -> Move:
    """Let go of the deployment; its candidate and its warm versions leave the table."""
    left = tuple(name for name in endpoint.deployment_ids if name != deployment.deployment_id)
    return moved(next_epoch(endpoint, deployment_ids=left), deployment, status, now_s, reason, *facts, actor=actor)


def among(move: Move, others: Sequence[Deployment]) -> Move:
    """Fit a move in among the other live rollouts: its spans, the traffic of all, and the end of those that lost."""
    moved, endpoint = move.deployment, move.endpoint
    lost = [other for other in others if other.status in PENDING] if moved.status == "promoting" else []
    live = [other for other in others if other not in lost]
    moved = placed(moved, live)
    names = {other.deployment_id for other in lost}
    left = tuple(name for name in endpoint.deployment_ids if name not in names)
    endpoint = endpoint.model_copy(update={"deployment_ids": left})
    shares = traffic(endpoint, [*live, moved])
    told = moved.history[-1].model_copy(update={"traffic": shares})
    moved = moved.model_copy(update={"history": (*moved.history[:-1], told)})
    ended = tuple(superseded(other, moved, shares, told.at_s, move.actor) for other in lost)
    facts = [
        fact_of("MLDL_DEPLOYMENT_ROLLED_BACK", other, {"to": endpoint.stable, "why": other.history[-1].reason})
        for other in ended
    ]
    return move._replace(endpoint=endpoint, deployment=moved, facts=(*move.facts, *facts), ended=ended)


def moved(
    endpoint: Endpoint,
    deployment: Deployment,
    status: DeploymentState,
    now_s: float,
    reason: str,
    *facts: Fact,
    actor: str = MANAGER,
) -> Move:
    """Enter a state, and write it into the history."""
    held = deployment.held if status in HOLDABLE else None
    entered = deployment.model_copy(update={"status": status, "held": held})
    shares = traffic(endpoint, [entered])
    change = Change(at_s=now_s, status=status, traffic=shares, actor=actor, reason=reason)
    entered = entered.model_copy(update={"history": (*deployment.history, change)})
    return Move(endpoint, entered, facts, reason, actor)


def begun_at(deployment: Deployment, epoch: int, now_s: float) -> Deployment:
    """Note from which epoch on its answers count."""
    return deployment.model_copy(update={"first_epoch": epoch, "step_started_s": now_s})


def next_epoch(endpoint: Endpoint, **changes: str | tuple[str, ...] | None) -> Endpoint:
    """Change the endpoint's goal, under the next epoch."""
    return endpoint.model_copy(update={"epoch": endpoint.epoch + 1, **changes})


def grounds(deployment: Deployment, decision: Decision | None) -> dict[str, tuple[Decision, ...]]:
    """Add a decision to the ones that are kept."""
    return {"decisions": (*deployment.decisions, decision)} if decision is not None else {}


def fact_of(kind: EventType, deployment: Deployment, data: Json) -> Fact:
    """Say what happened to a deployment."""
    about = {"model_key": deployment.model_key, "version": deployment.version}
    return Fact(type=kind, subject=deployment.deployment_id, data=about | data)
