"""How a deployment goes on: from what the journal says and what is seen now to its next state. Pure.

One call gives at most one move: new documents and the events that say why. What has to be started or stopped follows
from the documents alone (``needs_candidate``, ``plan.route_table``), so a manager that dies between a move and its
effect finds it missing at its next look and makes up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.errors import Conflict
from contracts.events import EventType, Fact
from contracts.ports import AppState
from contracts.replays import ReplayReport
from contracts.rollouts import Change, Decision, Deployment, DeploymentState, Endpoint, Hold
from contracts.specs import Json
from mldl_ray.deployment import replay
from mldl_ray.deployment.beside import PENDING, check_room, considered, placed, superseded
from mldl_ray.deployment.plan import traffic

MANAGER = "deployment-manager"
START_TIMEOUT_S = 180.0
SWITCH_TIMEOUT_S = 120.0
HOLDABLE = frozenset({"requested", "starting", "checking", "canary", "baking"})
"""States that end by themselves, and in which nothing is lost by staying."""


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


class Move(NamedTuple):
    """The next documents of an endpoint and its deployment, and why; ``ended`` are others that end by it."""

    endpoint: Endpoint
    deployment: Deployment
    facts: tuple[Fact, ...]
    reason: str
    actor: str = MANAGER
    ended: tuple[Deployment, ...] = ()


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
    return move and _among(move, seen.others)


def promote(
    endpoint: Endpoint,
    deployment: Deployment,
    to_pct: float | None,
    *,
    now_s: float,
    actor: str,
    reason: str,
    others: Sequence[Deployment] = (),
) -> Move:
    """Go on by a person's word, to the next step or to the step with ``to_pct``. At 100% the other candidates end.

    Raises:
        Conflict: The deployment is not between steps, has no later step of that size, or the others leave no room.
    """
    if deployment.status not in {"canary", "shadow"}:
        raise Conflict(
            f"deployment {deployment.deployment_id} is {deployment.status}; only a canary or a shadow can be promoted",
            {"status": deployment.status},
        )
    later = [] if deployment.status == "shadow" else list(deployment.steps[deployment.step + 1 :])
    wanted = to_pct if to_pct is not None else (later or [100.0])[0]
    if wanted != 100 and wanted not in later:
        steps = ", ".join(f"{step:g}" for step in later) or "100"
        raise Conflict(f"{wanted:g}% is not a later step of this rollout; choose from {steps}", {"steps": later})
    check_room(deployment, wanted, others)
    step = deployment.steps.index(wanted) if wanted in deployment.steps else len(deployment.steps) - 1
    return _among(_step(endpoint, deployment, step, now_s, reason, actor=actor), others)


def hold(
    endpoint: Endpoint,
    deployment: Deployment,
    *,
    now_s: float,
    actor: str,
    reason: str,
    others: Sequence[Deployment] = (),
) -> Move:
    """Keep a rollout where it is by a person's word, until it is resumed; harm still takes it back.

    Raises:
        Conflict: It is held already, or in a state that cannot be held.
    """
    name, status = deployment.deployment_id, deployment.status
    if (held := deployment.held) is not None:
        raise Conflict(f"{held.by} holds deployment {name} already: {held.reason}", {"held_by": held.by})
    if status not in HOLDABLE:
        words = "a shadow is never promoted by itself" if status == "shadow" else "it does not stand at a step"
        raise Conflict(f"deployment {name} is {status} and cannot be held: {words}", {"status": status})
    held = Hold(at_s=now_s, by=actor, reason=reason)
    fact = _fact("MLDL_DEPLOYMENT_HELD", deployment, {"why": reason})
    return _kept(endpoint, deployment, held, now_s, actor, f"held: {reason}", fact, others)


def resume(
    endpoint: Endpoint,
    deployment: Deployment,
    *,
    now_s: float,
    actor: str,
    reason: str,
    others: Sequence[Deployment] = (),
) -> Move:
    """Let a held rollout go on by the evidence; what it saw while it was held counts.

    Raises:
        Conflict: Nobody holds it.
    """
    if deployment.held is None:
        name, status = deployment.deployment_id, deployment.status
        raise Conflict(f"nobody holds deployment {name}; it is {status}", {"status": status})
    fact = _fact("MLDL_DEPLOYMENT_RESUMED", deployment, {"why": reason, "held_by": deployment.held.by})
    return _kept(endpoint, deployment, None, now_s, actor, f"resumed: {reason}", fact, others)


def roll_back(
    endpoint: Endpoint,
    deployment: Deployment,
    *,
    now_s: float,
    actor: str,
    reason: str,
    others: Sequence[Deployment] = (),
) -> Move:
    """Go back by a person's word: a live rollout to stable, a finished one to the version before it.

    A first version that is still coming up ends, and nothing serves, as before it.

    Raises:
        Conflict: It ended otherwise already, another deployment is live, or there is no version to go back to.
    """
    name, status = deployment.deployment_id, deployment.status
    served = status == "succeeded" and endpoint.stable == deployment.version
    live = name in endpoint.deployment_ids and status != "rolling_back"
    if served and endpoint.deployment_ids:
        going_on = " and ".join(endpoint.deployment_ids)
        raise Conflict(
            f"deployment {name} cannot be rolled back while {going_on} is compared with it; roll that back first",
            {"deployment_ids": list(endpoint.deployment_ids)},
        )
    if not (served or live):
        raise Conflict(f"deployment {name} is {status}; there is nothing of it to roll back", {"status": status})
    if live and deployment.stable is None:
        facts = [_fact(kind, deployment, {"why": reason, "to": None}) for kind in _GONE_BACK]
        goal = _next_epoch(endpoint, stable=None)
        return _end(goal, deployment, "rolled_back", now_s, reason, *facts, actor=actor)
    if deployment.stable is None:
        raise Conflict(
            f"deployment {name} was the first of {endpoint.model_key}; there is no earlier version to go back to"
        )
    return _among(_go_back(endpoint, deployment, now_s, reason, actor=actor), others)


def _requested(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if deployment.strategy == "direct" and deployment.held is not None:
        return None
    if deployment.strategy == "direct":
        goal = _next_epoch(endpoint, stable=deployment.version)
        return _move(goal, deployment, "promoting", seen.now_s, "nothing serves yet, so all traffic goes to it")
    named = deployment.model_copy(update={"candidate_app": seen.new_app})
    return _move(endpoint, named, "starting", seen.now_s, "bringing the version up beside stable")


def _starting(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.app == "failed":
        return _fail(endpoint, deployment, seen.now_s, f"the version did not start: {seen.app_failure}")
    if seen.app != "running":
        late = seen.now_s - _since_s(deployment) > START_TIMEOUT_S
        why = f"the version did not start within {START_TIMEOUT_S:g} s"
        return _fail(endpoint, deployment, seen.now_s, why) if late else None
    if deployment.held is not None:
        return None
    if deployment.strategy == "shadow":
        copied = _begin(deployment, endpoint.epoch + 1, seen.now_s)
        return _move(_next_epoch(endpoint), copied, "shadow", seen.now_s, "it is up; requests are copied to it")
    if deployment.strategy == "blue_green":
        return _move(endpoint, deployment, "checking", seen.now_s, "it is up; asking it what stable was asked lately")
    begun = _begin(deployment, endpoint.epoch + 1, seen.now_s)
    return _step(endpoint, begun, 0, seen.now_s, f"it is up; {begun.steps[0]:g}% of the sticky keys go to it")


def _checking(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    """Switch only after the replay; a check that was cut begins again, because nothing of it is kept."""
    if seen.app in {"failed", "absent"}:
        return _fail(
            endpoint, deployment, seen.now_s, f"the version went down while it was checked: {seen.app_failure}"
        )
    if deployment.held is not None:
        return None
    late = seen.now_s - _since_s(deployment) > replay.CHECK_TIMEOUT_S
    report = seen.replay or (replay.too_late() if late else None)
    if report is None:
        return None
    decision = replay.decision(report, seen.now_s)
    checked = deployment.model_copy(update={"replay": report})
    if report.passed:
        begun = _begin(checked, endpoint.epoch + 1, seen.now_s)
        return _step(endpoint, begun, len(deployment.steps) - 1, seen.now_s, report.why, decision=decision)
    decided = checked.model_copy(update=_decided(checked, decision))
    fact = _fact("MLDL_VIOLATION", deployment, {"rule": decision.rule, "why": decision.why})
    return _fail(endpoint, decided, seen.now_s, f"not switched: {report.why}", fact)


def _canary(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    decision = seen.decision
    if decision is None or decision.verdict == "HOLD":
        return None
    if decision.verdict == "ROLLBACK":
        return _go_back(endpoint, deployment, seen.now_s, decision.why, decision=decision)
    return _step(endpoint, deployment, deployment.step + 1, seen.now_s, decision.why, decision=decision)


def _shadow(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    """A shadow is never promoted by itself: a person asked for a comparison, not for a change."""
    if seen.decision is None or seen.decision.verdict != "ROLLBACK":
        return None
    return _go_back(endpoint, deployment, seen.now_s, seen.decision.why, decision=seen.decision)


def _promoting(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.applied and seen.drained and seen.endpoint == "running":
        fact = _fact("MLDL_DEPLOYMENT_PROMOTED", deployment, {"from": deployment.stable})
        if deployment.strategy == "direct" or not deployment.bake_window_s:
            return _end(endpoint, deployment, "succeeded", seen.now_s, "every replica serves it", fact)
        baking = deployment.model_copy(update={"step_started_s": seen.now_s})
        why = f"every replica serves it; the old version stays warm for {deployment.bake_window_s:g} s"
        return _move(endpoint, baking, "baking", seen.now_s, why, fact)
    failed = seen.endpoint == "failed"
    if not failed and seen.now_s - _since_s(deployment) <= SWITCH_TIMEOUT_S:
        return None
    why = str(seen.endpoint_failure) if failed else f"not every replica had it within {SWITCH_TIMEOUT_S:g} s"
    if deployment.stable is None:
        return _fail(_next_epoch(endpoint, stable=None), deployment, seen.now_s, f"the endpoint did not start: {why}")
    return _go_back(endpoint, deployment, seen.now_s, why)


def _baking(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if seen.decision is not None and seen.decision.verdict == "ROLLBACK":
        return _go_back(endpoint, deployment, seen.now_s, seen.decision.why, decision=seen.decision)
    over = seen.now_s - (deployment.step_started_s or seen.now_s) >= deployment.bake_window_s
    if not over or deployment.held is not None:
        return None
    return _end(endpoint, deployment, "succeeded", seen.now_s, "the bake window passed without harm")


def _rolling_back(endpoint: Endpoint, deployment: Deployment, seen: Observed) -> Move | None:
    if not (seen.applied and seen.drained):
        return None
    fact = _fact("MLDL_DEPLOYMENT_ROLLED_BACK", deployment, {"to": endpoint.stable})
    return _end(endpoint, deployment, "rolled_back", seen.now_s, f"all traffic is on {endpoint.stable}", fact)


def _step(
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
    entered = deployment.model_copy(update={"step": step, "step_started_s": now_s} | _decided(deployment, decision))
    pct = deployment.steps[step]
    if pct < 100:
        fact = _fact("MLDL_DEPLOYMENT_STEPPED", deployment, {"pct": pct, "why": reason})
        return _move(_next_epoch(endpoint), entered, "canary", now_s, reason, fact, actor=actor)
    goal = _next_epoch(endpoint, stable=deployment.version, previous=endpoint.stable)
    fact = _fact("MLDL_DEPLOYMENT_STEPPED", deployment, {"pct": 100, "why": reason})
    return _move(goal, entered, "promoting", now_s, reason, fact, actor=actor)


def _go_back(
    endpoint: Endpoint,
    deployment: Deployment,
    now_s: float,
    reason: str,
    *,
    decision: Decision | None = None,
    actor: str = MANAGER,
) -> Move:
    ids = dict.fromkeys((*endpoint.deployment_ids, deployment.deployment_id))
    goal = _next_epoch(endpoint, stable=deployment.stable, deployment_ids=tuple(ids))
    decided = deployment.model_copy(update=_decided(deployment, decision))
    facts = [_fact("ROLLBACK_REQUESTED", deployment, {"why": reason, "to": deployment.stable})]
    if decision is not None:
        facts.append(_fact("MLDL_VIOLATION", deployment, {"rule": decision.rule, "why": decision.why}))
    return _move(goal, decided, "rolling_back", now_s, reason, *facts, actor=actor)


def _fail(endpoint: Endpoint, deployment: Deployment, now_s: float, why: str, *facts: Fact) -> Move:
    fact = _fact("MLDL_DEPLOYMENT_ROLLED_BACK", deployment, {"to": endpoint.stable, "why": why})
    return _end(endpoint, deployment, "failed", now_s, why, fact, *facts)


def _end(
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
    return _move(_next_epoch(endpoint, deployment_ids=left), deployment, status, now_s, reason, *facts, actor=actor)


def _kept(
    endpoint: Endpoint,
    deployment: Deployment,
    held: Hold | None,
    now_s: float,
    actor: str,
    reason: str,
    fact: Fact,
    others: Sequence[Deployment],
) -> Move:
    """Note a person's word; traffic, step and epoch stay."""
    noted = deployment.model_copy(update={"held": held})
    return _among(_move(endpoint, noted, deployment.status, now_s, reason, fact, actor=actor), others)


def _among(move: Move, others: Sequence[Deployment]) -> Move:
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
        _fact("MLDL_DEPLOYMENT_ROLLED_BACK", other, {"to": endpoint.stable, "why": other.history[-1].reason})
        for other in ended
    ]
    return move._replace(endpoint=endpoint, deployment=moved, facts=(*move.facts, *facts), ended=ended)


def _move(
    endpoint: Endpoint,
    deployment: Deployment,
    status: DeploymentState,
    now_s: float,
    reason: str,
    *facts: Fact,
    actor: str = MANAGER,
) -> Move:
    held = deployment.held if status in HOLDABLE else None
    entered = deployment.model_copy(update={"status": status, "held": held})
    shares = traffic(endpoint, [entered])
    change = Change(at_s=now_s, status=status, traffic=shares, actor=actor, reason=reason)
    entered = entered.model_copy(update={"history": (*deployment.history, change)})
    return Move(endpoint, entered, facts, reason, actor)


_GONE_BACK: tuple[EventType, ...] = ("ROLLBACK_REQUESTED", "MLDL_DEPLOYMENT_ROLLED_BACK")


def _begin(deployment: Deployment, epoch: int, now_s: float) -> Deployment:
    return deployment.model_copy(update={"first_epoch": epoch, "step_started_s": now_s})


def _next_epoch(endpoint: Endpoint, **changes: str | tuple[str, ...] | None) -> Endpoint:
    return endpoint.model_copy(update={"epoch": endpoint.epoch + 1, **changes})


def _decided(deployment: Deployment, decision: Decision | None) -> dict[str, tuple[Decision, ...]]:
    return {"decisions": (*deployment.decisions, decision)} if decision is not None else {}


def _since_s(deployment: Deployment) -> float:
    return deployment.history[-1].at_s if deployment.history else deployment.created_at_s


def _fact(kind: EventType, deployment: Deployment, data: Json) -> Fact:
    about = {"model_key": deployment.model_key, "version": deployment.version}
    return Fact(type=kind, subject=deployment.deployment_id, data=about | data)
