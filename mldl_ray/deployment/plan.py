"""What a deployment's words mean for traffic: its steps, and the route table of every state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from contracts.rollouts import Deployment, Endpoint
from contracts.routing import Arm, RouteTable
from contracts.specs import DeploymentSpec
from mldl_ray.settings import DeploymentDefaults

Strategy = Literal["direct", "canary", "shadow", "blue_green"]


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


def traffic(endpoint: Endpoint, deployment: Deployment | None) -> dict[str, float]:
    """Give the intended share of the requests per version."""
    if endpoint.stable is None:
        return {}
    share = candidate_share(deployment)
    shares = {endpoint.stable: round(1 - share, 6)}
    if deployment is not None and share:
        shares[deployment.version] = share
    return shares


def route_table(
    endpoint: Endpoint,
    deployment: Deployment | None,
    manifests: Mapping[str, str],
    *,
    key_roles: Mapping[str, str],
    key_required: bool,
) -> RouteTable | None:
    """Say where the requests of an endpoint go; None while nothing serves.

    Args:
        endpoint: The goal.
        deployment: The live one, if any.
        manifests: Digest of the artifact of each version that may appear.
        key_roles: sha256 of each valid API key → its role.
        key_required: Whether a request needs one.
    """
    if endpoint.stable is None:
        return None
    share = candidate_share(deployment)
    arms = [Arm(version=endpoint.stable, manifest=manifests[endpoint.stable], share=1 - share)]
    shadow: Arm | None = None
    warm: tuple[Arm, ...] = ()
    if deployment is not None:
        mine = Arm(
            version=deployment.version,
            manifest=manifests[deployment.version],
            share=share,
            app=deployment.candidate_app,
        )
        if deployment.status == "canary":
            arms.append(mine)
        elif deployment.status == "shadow":
            shadow = mine
        elif deployment.status in {"promoting", "baking"} and deployment.stable is not None:
            warm = (Arm(version=deployment.stable, manifest=manifests[deployment.stable], share=0),)
    return RouteTable(
        model_key=endpoint.model_key,
        epoch=endpoint.epoch,
        salt=endpoint.salt,
        arms=tuple(arms),
        shadow=shadow,
        warm=warm,
        deployment_id=deployment.deployment_id if deployment else None,
        key_roles=dict(key_roles),
        key_required=key_required,
    )
