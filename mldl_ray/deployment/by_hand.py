"""What a person's word does to a rollout: promote, hold, resume, roll back. Pure; no evidence is asked."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import Conflict
from contracts.events import EventType, Fact
from contracts.rollouts import Deployment, Endpoint, Hold
from mldl_ray.deployment.beside import check_room
from mldl_ray.deployment.moves import HOLDABLE, Move, among, end, fact_of, go_back, moved, next_epoch, step_to

_GONE_BACK: tuple[EventType, ...] = ("ROLLBACK_REQUESTED", "MLDL_DEPLOYMENT_ROLLED_BACK")


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
    return among(step_to(endpoint, deployment, step, now_s, reason, actor=actor), others)


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
    fact = fact_of("MLDL_DEPLOYMENT_HELD", deployment, {"why": reason})
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
    fact = fact_of("MLDL_DEPLOYMENT_RESUMED", deployment, {"why": reason, "held_by": deployment.held.by})
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
        facts = [fact_of(kind, deployment, {"why": reason, "to": None}) for kind in _GONE_BACK]
        goal = next_epoch(endpoint, stable=None)
        return end(goal, deployment, "rolled_back", now_s, reason, *facts, actor=actor)
    if deployment.stable is None:
        raise Conflict(
            f"deployment {name} was the first of {endpoint.model_key}; there is no earlier version to go back to"
        )
    return among(go_back(endpoint, deployment, now_s, reason, actor=actor), others)


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
    return among(moved(endpoint, noted, deployment.status, now_s, reason, fact, actor=actor), others)
