"""What a deployment's words mean for traffic: its steps, and the route table of every state. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from contracts.rollouts import Deployment, Endpoint
from contracts.routing import Arm, RouteTable
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.spans import DIGITS, Spans
from mldl_ray.settings import DeploymentDefaults

Strategy = Literal["direct", "canary", "shadow", "blue_green"]
COUNTED = frozenset({"canary", "shadow", "promoting", "baking"})
"""States in which what is answered tells about the deployment."""


def strategy_of(spec: DeploymentSpec, stable: str | None) -> Strategy:
    """Choose how a version comes in: directly where nothing serves yet, otherwise as asked, by canary when not said.

    >>> strategy_of(DeploymentSpec(shadow=True), stable="1.0.0")
    'shadow'
    """
    if stable is None:
        return "direct"
    return spec.strategy or ("shadow" if spec.shadow else "canary")


def steps_of(spec: DeploymentSpec, defaults: DeploymentDefaults, strategy: Strategy) -> tuple[float, ...]:
    """List the percentages that a rollout goes through: ``canary_pct`` first, then the configured ones above it.

    >>> steps_of(DeploymentSpec(canary_pct=10), DeploymentDefaults(), "canary")
    (10.0, 25.0, 50.0, 100.0)
    """
    if strategy != "canary":
        return (100.0,)
    if spec.canary_steps is not None:
        return spec.canary_steps
    return (spec.canary_pct, *(step for step in defaults.canary_steps if step > spec.canary_pct))


def candidate_share(deployment: Deployment | None) -> float:
    """Give the share of the sticky keys that the candidate should answer now."""
    return deployment.steps[deployment.step] / 100 if deployment and deployment.status == "canary" else 0.0


def spans_of(deployment: Deployment) -> Spans:
    """Give the parts of the hash space whose keys a candidate answers now; the low end where none are noted."""
    share = candidate_share(deployment)
    return (deployment.spans or ((0.0, share),)) if share else ()


def traffic(endpoint: Endpoint, live: Sequence[Deployment]) -> dict[str, float]:
    """Give the intended share of the requests per version."""
    if endpoint.stable is None:
        return {}
    shares = {deployment.version: share for deployment in live if (share := candidate_share(deployment))}
    return {endpoint.stable: round(1 - sum(shares.values()), 6)} | shares


def route_table(
    endpoint: Endpoint,
    live: Sequence[Deployment],
    manifests: Mapping[str, str],
    *,
    key_roles: Mapping[str, str],
    key_required: bool,
) -> RouteTable | None:
    """Say where the requests of an endpoint go; None while nothing serves.

    Args:
        endpoint: The goal.
        live: The deployments that are going on.
        manifests: Digest of the artifact of each version that may appear.
        key_roles: sha256 of each valid API key → its role.
        key_required: Whether a request needs one.
    """
    if endpoint.stable is None:
        return None
    canaries = [_arm(found, manifests) for found in live if found.status == "canary"]
    left = max(0.0, round(1 - sum(arm.share for arm in canaries), DIGITS))
    stable = Arm(version=endpoint.stable, manifest=manifests[endpoint.stable], share=left)
    before = [found.stable for found in live if found.status in {"promoting", "baking"} and found.stable is not None]
    return RouteTable(
        model_key=endpoint.model_key,
        epoch=endpoint.epoch,
        salt=endpoint.salt,
        arms=(stable, *canaries),
        shadow=next((_arm(found, manifests) for found in live if found.status == "shadow"), None),
        warm=tuple(Arm(version=version, manifest=manifests[version], share=0) for version in before),
        deployment_ids=tuple(found.deployment_id for found in live if found.status in COUNTED),
        key_roles=dict(key_roles),
        key_required=key_required,
        route=endpoint.route,
    )


def _arm(deployment: Deployment, manifests: Mapping[str, str]) -> Arm:
    return Arm(
        version=deployment.version,
        manifest=manifests[deployment.version],
        share=candidate_share(deployment),
        app=deployment.candidate_app,
        deployment_id=deployment.deployment_id,
        spans=spans_of(deployment),
    )
