"""Several canaries at once on one endpoint, with one stable (A/B/n): who may join, who may grow, who has to go. Pure.

Each candidate is compared with stable alone, on the same people and over the same time. Who of several candidates takes
over is a person's choice, never a race's: while another candidate is there, the evidence takes none of them to 100%.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import Conflict
from contracts.rollouts import Change, Decision, Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.plan import spans_of
from mldl_ray.deployment.spans import grown

MOST_LIVE = 8
"""Rollouts of one endpoint at once: each candidate is a process of its own."""
PENDING = frozenset({"requested", "starting", "canary"})
"""States of a candidate that has traffic, or will have."""


def taken_pct(others: Sequence[Deployment]) -> float:
    """Give the percent of the sticky keys that candidates have, or will have as soon as they are up."""
    return sum(other.steps[other.step] for other in others if other.status in PENDING)


def check_join(
    endpoint: Endpoint, spec: DeploymentSpec, version: str, first_pct: float, live: Sequence[Deployment]
) -> None:
    """Refuse a deployment that cannot go on at the same time as the live ones.

    Raises:
        Conflict: It is not asked to be beside them, one of them is alone by its nature, it would be the second of the
            same version, or there is no room for it.
    """
    if not live:
        return
    facts = {"deployment_ids": list(endpoint.deployment_ids), "deployment_id": endpoint.deployment_ids[0]}
    alone = [other for other in live if other.status != "rolling_back" and not _is_canary(other)]
    same = [other for other in live if other.version == version]
    going_on = f"deployment {(alone or same or live)[0].deployment_id} of {endpoint.model_key} is still going on"
    if not spec.beside:
        words = "wait for its end, roll it back, or deploy a canary beside it (beside: true)"
        raise Conflict(f"{going_on}; {words}", facts)
    if alone:
        raise Conflict(f"{going_on}: it is {_kind(alone[0])}, and nothing runs beside that; wait for its end", facts)
    if same:
        raise Conflict(f"{going_on}, with the same version {version}", facts)
    if len(live) >= MOST_LIVE:
        raise Conflict(f"{len(live)} deployments of {endpoint.model_key} are going on; that is the most at once", facts)
    if (taken := taken_pct(live)) + first_pct > 100 or first_pct == 100:
        raise Conflict(_no_room(first_pct, taken, live), facts)


def check_room(deployment: Deployment, pct: float, others: Sequence[Deployment]) -> None:
    """Refuse a step to less than 100% for which the other candidates leave no room.

    Raises:
        Conflict: Together they would have more than 100%.
    """
    if pct < 100 and (taken := taken_pct(others)) + pct > 100:
        raise Conflict(_no_room(pct, taken, others), {"deployment_id": deployment.deployment_id, "taken_pct": taken})


def considered(decision: Decision | None, deployment: Deployment, others: Sequence[Deployment]) -> Decision | None:
    """Turn a promotion by evidence into HOLD where a person holds the rollout, or other candidates stand in its way."""
    if decision is None or decision.verdict != "PROMOTE" or deployment.status != "canary":
        return decision
    if (held := deployment.held) is not None:
        return _instead(decision, "held", f"{held.by} holds it here: {held.reason}; the evidence would promote it")
    pct, pending = deployment.steps[deployment.step + 1], [other for other in others if other.status in PENDING]
    if pct == 100 and pending:
        names = " and ".join(other.version for other in pending)
        words = f"ready for 100%, but {names} runs beside it: promote one by hand, or roll the others back"
        return _instead(decision, "beside", words)
    if (taken := taken_pct(pending)) + pct > 100:
        return _instead(decision, "beside", _no_room(pct, taken, pending))
    return decision


def placed(deployment: Deployment, others: Sequence[Deployment]) -> Deployment:
    """Give a canary the spans of its step, beside those of the others; in every other state it has none."""
    if deployment.status != "canary":
        return deployment.model_copy(update={"spans": ()})
    share = deployment.steps[deployment.step] / 100
    spans = grown(deployment.spans, [spans_of(other) for other in others], share)
    return deployment.model_copy(update={"spans": spans})


def superseded(
    other: Deployment, winner: Deployment, traffic: dict[str, float], now_s: float, actor: str
) -> Deployment:
    """End a candidate because another one became stable: what was learnt about it was against the stable before."""
    why = (
        f"{winner.version} was promoted to 100% ({winner.deployment_id}); deploy this one again to compare it with that"
    )
    change = Change(at_s=now_s, status="superseded", traffic=traffic, actor=actor, reason=why)
    ended = {"status": "superseded", "spans": (), "held": None, "history": (*other.history, change)}
    return other.model_copy(update=ended)


def _is_canary(deployment: Deployment) -> bool:
    return deployment.strategy == "canary" and deployment.status in PENDING


def _kind(deployment: Deployment) -> str:
    return deployment.status if deployment.strategy == "canary" else f"a {deployment.strategy} ({deployment.status})"


def _no_room(pct: float, taken: float, others: Sequence[Deployment]) -> str:
    if not taken:
        return f"{pct:g}% leaves nothing to the others"
    names = ", ".join(f"{other.version} {other.steps[other.step]:g}%" for other in others if other.status in PENDING)
    return f"{pct:g}% is more than is left: {taken:g}% is taken ({names}); all together may have 100% at most"


def _instead(decision: Decision, rule: str, why: str) -> Decision:
    return decision.model_copy(update={"verdict": "HOLD", "rule": rule, "why": f"{why} ({decision.why})"})
