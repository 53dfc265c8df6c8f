"""Exceptions and the dry run, as callers of the registry see them."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.policies import DataBounds, ExceptionRequest, Policy, PolicyException
from contracts.ports import Once
from contracts.rollouts import Deployment
from contracts.specs import DeploymentSpec
from tests.rooms.test_registry_approvals import World as Registered

STRICT = Policy(approvals_required=0, families=("xgboost",), max_cost_units=1.0)


class World(Registered):
    """Income 1.0.0 of no known family, and a policy that asks for one."""

    def __init__(self) -> None:
        super().__init__()
        self.registry.set_policy(STRICT, reason="r", by="cy")

    def grant(self, once: Once | None = None, by: str = "di", **changes: Any) -> PolicyException:
        asked = {"model_key": "income", "version": "1.0.0", "rule": "families", "lasts_s": 60.0, "reason": "hotfix"}
        return self.registry.grant_exception(ExceptionRequest.model_validate(asked | changes), by=by, once=once)

    @property
    def allowed(self) -> bool:
        return self.registry.compliance("income", "1.0.0").allowed


@pytest.fixture
def world() -> World:
    return World()


def test_an_exception_lets_one_rule_pass_until_it_ends_and_is_named_in_the_answer(world: World) -> None:
    assert not world.allowed
    granted = world.grant()
    told = world.registry.compliance("income", "1.0.0")
    assert (told.allowed, told.findings) == (True, ())
    assert [(one.rule, one.exception_id) for one in told.excepted] == [("families", granted.exception_id)]
    world.clock.advance(59.9)
    assert world.allowed
    world.clock.advance(0.1)
    assert not world.allowed


@pytest.mark.parametrize("changes", [{"rule": "max_cost_units"}, {"rule": "freezes.x"}])
def test_an_exception_from_another_rule_changes_nothing(world: World, changes: dict[str, Any]) -> None:
    world.grant(**changes)
    assert not world.allowed


def test_an_exception_is_of_the_bytes_that_it_was_granted_for(world: World) -> None:
    world.grant()
    bundle = world.registry.view("income", "1.0.0").bundle
    other = bundle.model_copy(update={"artifact_uri": "blobs:sha256:b", "validation_hash": "sha256:b"})
    assert not world.registry._governance.check("deploy", other).allowed


def test_an_exception_is_listed_with_whether_it_counts_and_is_on_record(world: World) -> None:
    first = world.grant(lasts_s=10)
    world.clock.advance(20)
    second = world.grant(reason="again")
    listed = world.registry.exceptions()
    assert [(one.exception_id, one.active) for one in listed] == [
        (second.exception_id, True),
        (first.exception_id, False),
    ]
    assert world.registry.exceptions(active=False)[0].exception_id == first.exception_id
    assert world.registry.exceptions(model_key="other") == []
    events = world.journal.events(types=["MLDL_EXCEPTION_CHANGED"])
    assert [(event.actor, event.reason, event.data["change"]) for event in events] == [
        ("di", "hotfix", "granted"),
        ("di", "again", "granted"),
    ]


def test_an_exception_is_taken_back_once(world: World) -> None:
    granted = world.grant()
    ended = world.registry.end_exception(granted.exception_id, reason="fixed", by="cy")
    assert (ended.ended_by, ended.active, world.allowed) == ("cy", False, False)
    with pytest.raises(Conflict, match="cy took"):
        world.registry.end_exception(granted.exception_id, reason="fixed", by="cy")
    with pytest.raises(NotFound, match="exc-none"):
        world.registry.end_exception("exc-none", reason="fixed", by="cy")


def test_an_exception_lasts_no_longer_than_the_policy_allows(world: World) -> None:
    with pytest.raises(Incompatible, match=r"longer than the policy allows.*604800"):
        world.grant(lasts_s=604_801)
    world.grant(lasts_s=3600)
    world.clock.advance(120)
    world.registry.set_policy(STRICT.model_copy(update={"exception_max_s": 60}), reason="r", by="cy")
    assert not world.allowed
    with pytest.raises(ValueError, match="less than or equal"):
        ExceptionRequest(model_key="m", version="1.0.0", rule="families", lasts_s=31 * 86_400, reason="r")


def test_the_same_request_for_an_exception_is_one_exception(world: World) -> None:
    once = Once(key="k", digest="d")
    assert world.grant(once) == world.grant(once)
    assert len(world.registry.exceptions()) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"version": "latest"}, Incompatible), ({"version": "9.0.0"}, NotFound), ({"reason": " "}, Incompatible)],
)
def test_an_exception_for_nothing_is_refused(world: World, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        world.grant(**changes)


# The dry run and the past


def deployed(world: World, deployment_id: str) -> None:
    spec = DeploymentSpec()
    one = Deployment(
        deployment_id=deployment_id,
        model_key="income",
        version="1.0.0",
        spec=spec,
        strategy="canary",
        status="succeeded",
        stable=None,
        steps=(100.0,),
        promotion_window_s=1,
        bake_window_s=1,
        history=(),
        requested_by="dan",
        created_at_s=world.clock.now_s(),
    )
    world.put("deployment", deployment_id, one.model_dump(mode="json"), by="dan")


def test_a_dry_run_judges_each_act_by_the_words_of_its_own_moment(world: World) -> None:
    world.clock.advance(10)
    deployed(world, "dep-1")
    world.clock.advance(10)
    world.approve()
    world.clock.advance(10)
    deployed(world, "dep-2")
    before = world.journal.position()
    told = world.registry.policy_dry_run(Policy(approvals_required=1, data=DataBounds(min_rows=10)))
    assert [(one.act, one.deployment_id, one.by) for one in told.refused] == [
        ("deploy", "dep-2", "dan"),
        ("deploy", "dep-1", "dan"),
        ("register", None, "ana"),
    ]
    assert [[finding.rule for finding in one.findings] for one in told.refused] == [
        ["data.min_rows"],
        ["approvals_required", "data.min_rows"],
        ["data.min_rows"],
    ]
    assert told.by_rule == {"data.min_rows": 3, "approvals_required": 1}
    assert (told.registrations, told.deployments, told.left_out) == (1, 2, 0)
    assert set(told.changed) == {"approvals_required", "data", "families", "max_cost_units"}
    assert world.journal.position() == before


def test_a_dry_run_looks_at_the_newest_and_counts_the_rest(world: World) -> None:
    deployed(world, "dep-1")
    world.clock.advance(10)
    deployed(world, "dep-2")
    told = world.registry.policy_dry_run(Policy(approvals_required=9), limit=1)
    assert ([one.deployment_id for one in told.refused], told.left_out) == (["dep-2"], 1)


def test_a_dry_run_of_a_policy_that_could_not_be_set_is_refused(world: World) -> None:
    with pytest.raises(Incompatible, match="auroch"):
        world.registry.policy_dry_run(Policy(metric_bounds={"auroch": 0.9}))


def test_the_policy_s_past_says_who_set_what_when_and_why(world: World) -> None:
    world.clock.advance(10)
    world.registry.set_policy(Policy(), reason="too strict", by="di")
    past = world.registry.policy_history()
    assert [(one.number, one.set_by, one.reason, one.at_s) for one in past] == [
        (2, "di", "too strict", 1010.0),
        (1, "cy", "r", 1000.0),
    ]
    assert past[1].policy == STRICT
