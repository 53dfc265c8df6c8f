"""Policy over the whole system: a version is refused, excepted, approved, deployed, and held to what holds by now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Conflict, Forbidden
from contracts.policies import Policy
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

KEY = "governed"


@pytest.fixture
def clients(system: Settings) -> Iterator[dict[str, MLDLClient]]:
    """Who takes part; the built-in policy holds again in the end."""
    found = {name: MLDLClient(system.url, acting_as=name) for name in ("tom", "ana", "bo", "cy", "dan", "eve")}
    yield found
    found["cy"].set_policy(Policy(), reason="the test is over")
    for client in found.values():
        client.close()


def rules(error: Conflict) -> list[tuple[Any, ...]]:
    return [(one["rule"], one["value"], one["bound"]) for one in error.facts["findings"]]


def test_a_version_is_held_to_the_policy_from_its_registration_to_its_rollback(
    clients: dict[str, MLDLClient], breast_cancer: Path
) -> None:
    tom, ana, bo, cy, dan, eve = clients.values()
    cy.set_policy(Policy(families=("xgb",), approvals_by_role={"admin": 1}), reason="trees only")
    job = tom.train(
        {
            "spec": {"model_key": KEY, "family": "lr"},
            "data": {"uri": str(breast_cancer), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    assert tom.wait_job(job.job_id).status == "succeeded"
    with pytest.raises(Conflict, match="policy forbids registering") as caught:
        ana.register(job.job_id, reason="good")
    assert rules(caught.value) == [("families", "lr", ["xgb"])]

    policy = {"metric_bounds": {"auroc": 1.0}, "data": {"min_rows": 500}, "card_requires": ["intervals", "dataset"]}
    cy.set_policy(policy, reason="linear models too")
    version = str(ana.register(job.job_id, reason="good").version)
    with pytest.raises(Forbidden):
        tom.approve(KEY, version, reason="mine")
    bo.approve(KEY, version, reason="figures read")
    with pytest.raises(Conflict) as caught:
        dan.deploy(KEY, version)
    ((rule, value, bound),) = rules(caught.value)
    assert (rule, bound) == ("metric_bounds.auroc", 1.0)
    assert 0.9 < value < 1.0

    with pytest.raises(Forbidden):
        ana.grant_exception(KEY, version, rule, lasts_s=600, reason="mine")
    granted = eve.grant_exception(KEY, version, rule, lasts_s=600, reason="the old model is worse")
    assert dan.compliance(KEY, version).excepted[0].exception_id == granted.exception_id
    asked = dan.deploy(KEY, version, {"bake_window": 0, "promotion_window": 1})
    assert dan.wait_deployment(asked.deployment_id).status == "succeeded"

    tried = cy.policy_dry_run({"families": ["xgb"]})
    assert {("register", version), ("deploy", version)} <= {
        (r.act, r.version) for r in tried.refused if r.model_key == KEY
    }
    eve.end_exception(granted.exception_id, reason="retrained")
    assert not dan.compliance(KEY, version).allowed
    told = [event for event in cy.events(types=["MLDL_VIOLATION"], limit=1000) if event.data.get("model_key") == KEY]
    assert [(event.actor, event.data["act"]) for event in told] == [("ana", "register"), ("dan", "deploy")]
