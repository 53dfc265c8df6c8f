"""How a deployment goes on: from what the journal says and what is seen now to its next state. Pure.

One call gives at most one move: new documents and the events that say why. What has to be started or stopped follows
from the documents alone (``needs_candidate``, ``plan.route_table``), so a manager that dies between a move and its
effect finds it missing at its next look and makes up for it.
"""

from __future__ import annotations

from typing import NamedTuple

from contracts.ports import AppState
from contracts.replays import ReplayReport
from contracts.rollouts import Decision, Deployment, Endpoint
from mldl_ray.deployment import replay
from mldl_ray.deployment.beside import considered
from mldl_ray.deployment.moves import (
    Move,
    among,
    begun_at,
    end,
    fact_of,
    fail,
    go_back,
    grounds,
    moved,
    next_epoch,
    step_to,
)

START_TIMEOUT_S = 180.0
SWITCH_TIMEOUT_S = 120.0


class Observed(NamedTuple):
    """What is seen now: of the candidate's own app, of the endpoint's replicas, of the evidence."""

    now_s: float
    app: AppState = "absent"
    app_failure: str | None = None
    endpoint: AppState = "absent"
    endpoint_failure: str | None = None
    applied: bool = False
    drained: bool = False
    decision: Decision | None = None
    replay: ReplayReport | None = None
    new_app: str = ""
    others: tuple[Deployment, ...] = ()


def needs_candidate(deployment: Deployment) -> bool:
    """Say whether the candidate's app must run in this state."""
    running = {"starting", "checking", "canary", "shadow", "promoting", "rolling_back"}
    return deployment.candidate_app is not None and deployment.status in running


def advance(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    """Give the next move of a live deployment; None while there is nothing to do but wait."""
    rules = {
        "requested": _requested,
        "starting": _starting,
        "checking": _checking,
        "canary": _canary,
        "shadow": _shadow,
        "promoting": _promoting,
        "baking": _baking,
        "rolling_back": _rolling_back,
    }
    rule = rules.get(deployment.status)
    looked = seen._replace(decision=considered(seen.decision, deployment, seen.others))
    move = rule(endpoint, deployment, looked) if rule else None
    return move and among(move, seen.others)


def _requested(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if deployment.strategy == "direct" and deployment.held is not None:
        return None
    if deployment.strategy == "direct":
        goal = next_epoch(endpoint, stable=deployment.version)
        return moved(goal, deployment, "promoting", seen.now_s, "nothing serves yet, so all traffic goes to it")
    named = deployment.model_copy(update={"candidate_app": seen.new_app})
    return moved(endpoint, named, "starting", seen.now_s, "bringing the version up beside stable")


def _starting(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.app == "failed":
        return fail(endpoint, deployment, seen.now_s, f"the version did not start: {seen.app_failure}")
    if seen.app != "running":
        late = seen.now_s - _since_s(deployment) > START_TIMEOUT_S
        why = f"the version did not start within {START_TIMEOUT_S:g} s"
        return fail(endpoint, deployment, seen.now_s, why) if late else None
    if deployment.held is not None:
        return None
    if deployment.strategy == "shadow":
        copied = begun_at(deployment, endpoint.epoch + 1, seen.now_s)
        return moved(next_epoch(endpoint), copied, "shadow", seen.now_s, "it is up; requests are copied to it")
    if deployment.strategy == "blue_green":
        return moved(endpoint, deployment, "checking", seen.now_s, "it is up; asking it what stable was asked lately")
    begun = begun_at(deployment, endpoint.epoch + 1, seen.now_s)
    return step_to(endpoint, begun, 0, seen.now_s, f"it is up; {begun.steps[0]:g}% of the sticky keys go to it")


def _checking(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    """Switch only after the replay; a check that was cut begins again, because nothing of it is kept."""
    if seen.app in {"failed", "absent"}:
        return fail(endpoint, deployment, seen.now_s, f"the version went down while it was checked: {seen.app_failure}")
    if deployment.held is not None:
        return None
    late = seen.now_s - _since_s(deployment) > replay.CHECK_TIMEOUT_S
    report = seen.replay or (replay.too_late() if late else None)
    if report is None:
        return None
    decision = replay.decision(report, seen.now_s)
    checked = deployment.model_copy(update={"replay": report})
    if report.passed:
        begun = begun_at(checked, endpoint.epoch + 1, seen.now_s)
        return step_to(endpoint, begun, len(deployment.steps) - 1, seen.now_s, report.why, decision=decision)
    decided = checked.model_copy(update=grounds(checked, decision))
    fact = fact_of("MLDL_VIOLATION", deployment, {"rule": decision.rule, "why": decision.why})
    return fail(endpoint, decided, seen.now_s, f"not switched: {report.why}", fact)


def _canary(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    decision = seen.decision
    if decision is None or decision.verdict == "HOLD":
        return None
    if decision.verdict == "ROLLBACK":
        return go_back(endpoint, deployment, seen.now_s, decision.why, decision=decision)
    return step_to(endpoint, deployment, deployment.step + 1, seen.now_s, decision.why, decision=decision)


def _shadow(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    """A shadow is never promoted by itself: a person asked for a comparison, not for a change."""
    if seen.decision is None or seen.decision.verdict != "ROLLBACK":
        return None
    return go_back(endpoint, deployment, seen.now_s, seen.decision.why, decision=seen.decision)


def _promoting(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.applied and seen.drained and seen.endpoint == "running":
        fact = fact_of("MLDL_DEPLOYMENT_PROMOTED", deployment, {"from": deployment.stable})
        if deployment.strategy == "direct" or not deployment.bake_window_s:
            return end(endpoint, deployment, "succeeded", seen.now_s, "every replica serves it", fact)
        baking = deployment.model_copy(update={"step_started_s": seen.now_s})
        why = f"every replica serves it; the old version stays warm for {deployment.bake_window_s:g} s"
        return moved(endpoint, baking, "baking", seen.now_s, why, fact)
    failed = seen.endpoint == "failed"
    if not failed and seen.now_s - _since_s(deployment) <= SWITCH_TIMEOUT_S:
        return None
    why = str(seen.endpoint_failure) if failed else f"not every replica had it within {SWITCH_TIMEOUT_S:g} s"
    if deployment.stable is None:
        return fail(next_epoch(endpoint, stable=None), deployment, seen.now_s, f"the endpoint did not start: {why}")
    return go_back(endpoint, deployment, seen.now_s, why)


def _baking(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.decision is not None and seen.decision.verdict == "ROLLBACK":
        return go_back(endpoint, deployment, seen.now_s, seen.decision.why, decision=seen.decision)
    over = seen.now_s - (deployment.step_started_s or seen.now_s) >= deployment.bake_window_s
    if not over or deployment.held is not None:
        return None
    return end(endpoint, deployment, "succeeded", seen.now_s, "the bake window passed without harm")


def _rolling_back(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if not (seen.applied and seen.drained):
        return None
    fact = fact_of("MLDL_DEPLOYMENT_ROLLED_BACK", deployment, {"to": endpoint.stable})
    return end(endpoint, deployment, "rolled_back", seen.now_s, f"all traffic is on {endpoint.stable}", fact)


def _since_s(deployment: Deployment) -> float:
    return deployment.history[-1].at_s if deployment.history else deployment.created_at_s
