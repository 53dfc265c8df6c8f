"""What a deployment's words mean for traffic: strategy, steps, and the route table of every state."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.rollouts import Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.plan import candidate_share, route_table, steps_of, strategy_of, traffic
from mldl_ray.settings import DeploymentDefaults

MANIFESTS = {"1.0.0": "sha256:1", "2.0.0": "sha256:2"}


def endpoint(stable: str | None = "1.0.0") -> Endpoint:
    return Endpoint(model_key="m", stable=stable, deployment_ids=("dep-1",), epoch=4, salt="s")


def deployment(status: str, *, step: int = 0, stable: str | None = "1.0.0", **more: Any) -> Deployment:
    facts: dict[str, Any] = {
        "deployment_id": "dep-1",
        "model_key": "m",
        "version": "2.0.0",
        "spec": {},
        "strategy": "canary",
        "status": status,
        "stable": stable,
        "steps": (5, 25, 100),
        "step": step,
        "promotion_window_s": 60,
        "bake_window_s": 10,
        "candidate_app": "m-m-v2-abc",
    }
    return Deployment.model_validate(facts | more)


def table_of(where: Endpoint, wanted: Deployment | None) -> Any:
    live = [wanted] if wanted else []
    return route_table(where, live, MANIFESTS, key_roles={"hash": "viewer"}, key_required=True)


@pytest.mark.parametrize(
    ("spec", "stable", "strategy"),
    [
        ({}, "1.0.0", "canary"),
        ({"shadow": True}, "1.0.0", "shadow"),
        ({"strategy": "blue_green"}, "1.0.0", "blue_green"),
        ({"strategy": "canary", "shadow": True}, "1.0.0", "canary"),
        ({}, None, "direct"),
        ({"strategy": "canary"}, None, "direct"),
    ],
)
def test_the_strategy_is_the_one_asked_for_and_direct_where_nothing_serves(
    spec: dict[str, Any], stable: str | None, strategy: str
) -> None:
    assert strategy_of(DeploymentSpec.model_validate(spec), stable) == strategy


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        ({}, (5, 25, 50, 100)),
        ({"canary_pct": 1}, (1, 5, 25, 50, 100)),
        ({"canary_pct": 30}, (30, 50, 100)),
        ({"canary_pct": 100}, (100,)),
        ({"canary_steps": [2, 40, 100], "canary_pct": 30}, (2, 40, 100)),
    ],
)
def test_a_canary_goes_through_its_first_percentage_and_the_configured_ones_above(
    spec: dict[str, Any], steps: tuple[float, ...]
) -> None:
    assert steps_of(DeploymentSpec.model_validate(spec), DeploymentDefaults(), "canary") == steps


@pytest.mark.parametrize("strategy", ["direct", "shadow", "blue_green"])
def test_every_other_strategy_has_one_step(strategy: Any) -> None:
    assert steps_of(DeploymentSpec(), DeploymentDefaults(), strategy) == (100,)


def test_while_nothing_serves_there_is_no_table_and_no_traffic() -> None:
    for wanted in (None, deployment("starting", stable=None)):
        assert table_of(endpoint(None), wanted) is None
        assert traffic(endpoint(None), [wanted] if wanted else []) == {}


def test_without_a_deployment_stable_has_everything() -> None:
    table = table_of(endpoint(), None)
    assert [(arm.version, arm.manifest, arm.share, arm.app) for arm in table.arms] == [("1.0.0", "sha256:1", 1, None)]
    assert (table.shadow, table.warm, table.deployment_ids) == (None, (), ())
    assert (table.epoch, table.salt, table.key_roles, table.key_required) == (4, "s", {"hash": "viewer"}, True)
    assert traffic(endpoint(), []) == {"1.0.0": 1}


@pytest.mark.parametrize(("step", "share"), [(0, 0.05), (1, 0.25), (2, 1.0)])
def test_a_canary_has_the_share_of_its_step_in_an_app_of_its_own(step: int, share: float) -> None:
    wanted = deployment("canary", step=step)
    table = table_of(endpoint(), wanted)
    stable, candidate = table.arms
    assert (stable.version, stable.app) == ("1.0.0", None)
    assert (candidate.version, candidate.manifest, candidate.app) == ("2.0.0", "sha256:2", "m-m-v2-abc")
    assert candidate.share == share == candidate_share(wanted)
    assert stable.share + candidate.share == pytest.approx(1)
    assert table.deployment_ids == ("dep-1",)
    assert (candidate.deployment_id, candidate.spans, stable.spans) == ("dep-1", ((0, share),) if share else (), ())
    assert sum(traffic(endpoint(), [wanted]).values()) == pytest.approx(1)


def test_a_shadow_gets_copies_and_no_answers() -> None:
    table = table_of(endpoint(), deployment("shadow", strategy="shadow"))
    assert [arm.version for arm in table.arms] == ["1.0.0"]
    assert (table.shadow.version, table.shadow.app, table.shadow.share) == ("2.0.0", "m-m-v2-abc", 0)
    assert traffic(endpoint(), [deployment("shadow")]) == {"1.0.0": 1}


@pytest.mark.parametrize("status", ["promoting", "baking"])
def test_after_the_switch_the_old_version_stays_warm_without_traffic(status: str) -> None:
    table = table_of(endpoint("2.0.0"), deployment(status))
    assert [(arm.version, arm.share, arm.app) for arm in table.arms] == [("2.0.0", 1, None)]
    assert [(arm.version, arm.share) for arm in table.warm] == [("1.0.0", 0)]


@pytest.mark.parametrize("status", ["requested", "starting", "rolling_back", "rolled_back", "failed", "superseded"])
def test_in_every_other_state_stable_has_everything(status: str) -> None:
    table = table_of(endpoint(), deployment(status, step=1))
    assert [(arm.version, arm.share) for arm in table.arms] == [("1.0.0", 1)]
    assert (table.shadow, table.warm) == (None, ())
    assert traffic(endpoint(), [deployment(status, step=1)]) == {"1.0.0": 1}
