"""Ways around the policy that somebody with a key could try, each refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Conflict, Forbidden, Incompatible
from contracts.policies import ExceptionRequest, Policy
from contracts.ports import Once, Write
from contracts.records import TrainedBundle
from mldl_ray.access import ApiKeys
from mldl_ray.bridges.governance_acts import ask
from mldl_ray.journal.documents import load, write
from tests.rooms.test_registry_actor import World as Factory
from tests.rooms.test_registry_approvals import World as Registered


class World(Registered):
    """Income 1.0.0, trained by tom and registered by ana; and whoever tries."""

    @property
    def bundle(self) -> TrainedBundle:
        return self.registry.view("income", "1.0.0").bundle

    def change(self, **changes: Any) -> None:
        """Write the version's record anew, as somebody with the store's password could."""
        bundle, version = load(self.journal, "model_version", "income@1.0.0", TrainedBundle)
        assert bundle is not None
        changed = bundle.model_copy(update=changes)
        self.journal.append([write("model_version", "income@1.0.0", version, changed)], actor="eve", reason="x")

    def rules(self, by: str = "dan") -> list[str]:
        return [finding.rule for finding in self.governance.check("deploy", self.bundle, by=by).findings]

    def exception(self, rule: str, by: str, **more: Any) -> Any:
        asked = {"model_key": "income", "version": "1.0.0", "rule": rule, "lasts_s": 3600.0, "reason": "hotfix"}
        return self.registry.grant_exception(ExceptionRequest.model_validate(asked | more), by=by)

    @property
    def governance(self) -> Any:
        return self.registry._governance


@pytest.fixture
def world() -> World:
    return World()


def test_an_artifact_that_was_swapped_after_approval_has_no_approval(world: World) -> None:
    world.approve()
    world.change(artifact_uri="blobs:sha256:b", validation_hash="sha256:b")
    assert world.rules() == ["approvals_required"]
    assert world.registry.view("income", "1.0.0").approvals == ()


def test_an_artifact_that_was_swapped_under_the_approved_hash_is_refused(world: World) -> None:
    world.approve()
    world.change(artifact_uri="blobs:sha256:b")
    assert world.rules() == ["artifact"]
    with pytest.raises(Incompatible, match="no exception can be made"):
        world.exception("artifact", by="cy")


def test_an_approval_of_an_older_evaluation_does_not_count(world: World) -> None:
    world.approve()
    world.change(evaluation_id="eval-2")
    assert world.rules() == ["approvals_required"]


def test_an_approval_that_is_sent_again_after_its_rejection_changes_nothing(world: World) -> None:
    once = Once(key="k", digest="d")
    world.approve(once=once)
    world.approve(decision="rejected", reason="unfair")
    world.approve(once=once)
    assert world.rules() == ["rejected", "approvals_required"]


def test_an_approval_that_is_copied_to_another_version_of_the_same_bytes_does_not_count(world: World) -> None:
    word = world.approve()
    other = world.bundle.model_copy(update={"version": "1.1.0"})
    world.put("model_version", "income@1.1.0", other.model_dump(mode="json"), by="ana")
    world.put("approval", "income@1.1.0-copy", word.model_dump(mode="json"), by="eve")
    assert world.registry.view("income", "1.1.0").approvals == ()
    assert not world.registry.compliance("income", "1.1.0").allowed


def test_a_second_key_of_the_same_name_is_the_same_person(world: World) -> None:
    keys = ApiKeys(world.journal, world.clock)
    keys.create("ana", "trainer", by="root")
    keys.create("ana", "approver", by="root")
    with pytest.raises(Forbidden, match="ana trained or registered"):
        world.approve(by="ana", role="approver")
    world.registry.set_policy(Policy(approvals_required=2), reason="four eyes", by="cy")
    world.approve(by="bo", role="approver")
    world.approve(by="bo", role="admin")
    assert world.rules() == ["approvals_required"]


@pytest.mark.parametrize("revoked", [False, True])
def test_a_key_that_an_author_made_under_another_name_is_the_authors(world: World, revoked: bool) -> None:
    keys = ApiKeys(world.journal, world.clock)
    key, _ = keys.create("bo", "approver", by="ana")
    if revoked:
        keys.revoke(key.key_id, by="ana", reason="covering tracks")
    with pytest.raises(Forbidden, match="a key of bo was made by somebody who trained or registered"):
        world.approve(by="bo")
    world.approve(by="di")
    assert world.rules() == []


def test_a_key_made_through_a_middleman_is_still_the_authors(world: World) -> None:
    keys = ApiKeys(world.journal, world.clock)
    keys.create("zed", "admin", by="tom")
    keys.create("bo", "approver", by="zed")
    with pytest.raises(Forbidden):
        world.approve(by="bo")


def test_an_approval_stops_counting_when_an_author_makes_its_giver_a_key(world: World) -> None:
    world.approve(by="bo")
    ApiKeys(world.journal, world.clock).create("bo", "approver", by="ana")
    assert world.rules() == ["approvals_required"]


def test_a_team_whose_only_admin_trains_says_so_in_its_policy(world: World) -> None:
    ApiKeys(world.journal, world.clock).create("bo", "approver", by="ana")
    world.registry.set_policy(Policy(key_maker_may_approve=True), reason="ana makes every key", by="cy")
    world.approve(by="bo")
    assert world.rules() == []


@pytest.mark.parametrize(
    "loose", [{"approvals_required": 0}, {"author_may_approve": True}, {"key_maker_may_approve": True}], ids=str
)
def test_a_policy_that_its_beneficiary_loosened_stays_as_it_was_for_them(world: World, loose: dict[str, Any]) -> None:
    ApiKeys(world.journal, world.clock).create("bo", "approver", by="ana")
    world.registry.set_policy(Policy.model_validate(loose), reason="in a hurry", by="ana")
    for name in ("ana", "bo"):
        with pytest.raises(Forbidden):
            world.approve(by=name)
    assert world.rules() == ["approvals_required"]
    world.approve(by="di")
    assert world.rules() == []


def test_two_authors_who_loosen_it_in_turn_gain_nothing(world: World) -> None:
    world.registry.set_policy(Policy(approvals_required=2), reason="four eyes", by="cy")
    world.registry.set_policy(Policy(approvals_required=1), reason="faster", by="tom")
    world.registry.set_policy(Policy(approvals_required=0), reason="faster", by="ana")
    world.approve(by="di")
    assert world.rules() == ["approvals_required"]


def test_a_policy_that_its_author_tightens_holds_at_once_and_for_others_too(world: World) -> None:
    world.approve(by="di")
    world.registry.set_policy(Policy(approvals_required=2), reason="four eyes", by="ana")
    assert world.rules() == ["approvals_required"]


def test_a_policy_that_somebody_else_loosened_is_loose(world: World) -> None:
    world.registry.set_policy(Policy(approvals_required=0), reason="a small team", by="cy")
    assert world.rules() == []


@pytest.mark.parametrize("by", ["ana", "tom", "bo"])
def test_an_exception_that_an_author_grants_themselves_is_forbidden(world: World, by: str) -> None:
    ApiKeys(world.journal, world.clock).create("bo", "admin", by="ana")
    with pytest.raises(Forbidden, match="somebody else has to grant"):
        world.exception("max_cost_units", by=by)


def test_an_exception_does_not_count_for_an_act_of_who_granted_it(world: World) -> None:
    world.registry.set_policy(Policy(approvals_required=0, families=("xgboost",)), reason="r", by="cy")
    world.exception("families", by="dan")
    assert world.rules(by="dan") == ["families"]
    assert world.rules(by="kim") == []


def test_an_exception_stops_counting_when_an_author_makes_its_giver_a_key(world: World) -> None:
    world.registry.set_policy(Policy(approvals_required=0, families=("xgboost",)), reason="r", by="cy")
    world.exception("families", by="di")
    assert world.rules() == []
    ApiKeys(world.journal, world.clock).create("di", "admin", by="ana")
    assert world.rules() == ["families"]


def test_an_exception_stands_in_for_nobody_s_approval(world: World) -> None:
    for rule in ("approvals_required", "approvals_by_role.admin", "rejected", "anything"):
        with pytest.raises(Incompatible, match="no exception can be made"):
            world.exception(rule, by="cy")


def test_a_refusal_is_a_conflict_with_its_findings_and_a_violation_on_record(world: World) -> None:
    with pytest.raises(Conflict, match="policy forbids promoting income") as caught:
        ask(world.governance, world.journal, "promote", world.bundle, "dan")
    (finding,) = caught.value.facts["findings"]
    assert (finding["rule"], finding["value"], finding["bound"]) == ("approvals_required", 0, 1)
    (event,) = world.journal.events(types=["MLDL_VIOLATION"])
    assert (event.actor, event.data["act"], event.data["findings"]) == ("dan", "promote", [finding])


def test_k_of_n_by_role_counts_people_and_not_words(world: World) -> None:
    policy = Policy(approvals_required=2, approvals_by_role={"admin": 1})
    world.registry.set_policy(policy, reason="one of them an admin", by="cy")
    world.approve(by="bo")
    world.approve(by="di")
    assert world.rules() == ["approvals_by_role.admin"]
    world.approve(by="ed", role="admin")
    assert world.rules() == []


def test_a_policy_that_is_rolled_back_to_by_a_beneficiary_is_theirs_too(world: World) -> None:
    world.registry.set_policy(Policy(approvals_required=0), reason="early days", by="cy")
    world.registry.set_policy(Policy(approvals_required=1), reason="grown up", by="cy")
    body = Policy(approvals_required=0).model_dump(mode="json")
    restored = Write(kind="policy", key="default", expected_version=2, body=body)
    world.journal.append([restored], actor="ana", reason="restore")
    assert world.rules() == ["approvals_required"]


def test_a_registration_that_the_policy_forbids_leaves_no_version(tmp_path: Path) -> None:
    factory = Factory(tmp_path)
    factory.registry.set_policy(Policy(families=("xgboost",)), reason="r", by="cy")
    with pytest.raises(Conflict, match=r"policy forbids registering income 1\.0\.0") as caught:
        factory.registered("job-1", family="lr")
    (finding,) = caught.value.facts["findings"]
    assert (finding["rule"], finding["value"], finding["bound"]) == ("families", "lr", ["xgboost"])
    assert factory.registry.search() == []
    assert factory.events()[-1] == "MLDL_VIOLATION"
    assert factory.registered("job-2", family="xgboost").version == "1.0.0"


def test_a_registrar_who_loosens_the_policy_for_their_registration_gains_nothing(tmp_path: Path) -> None:
    factory = Factory(tmp_path)
    factory.registry.set_policy(Policy(families=("xgboost",)), reason="r", by="cy")
    job_id = factory.job("job-1", family="lr")
    factory.registry.set_policy(Policy(), reason="in a hurry", by="ana")
    with pytest.raises(Conflict, match="policy forbids registering"):
        factory.registry.register(job_id, reason="good", by="ana")
    assert factory.registry.register(job_id, reason="good", by="kim").version == "1.0.0"
