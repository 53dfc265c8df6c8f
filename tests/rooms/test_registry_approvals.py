"""Approvals and the policy, as callers of the registry see them. What counts is in ``test_governance``."""

from __future__ import annotations

from typing import Any

import pytest

from actors.registry import Registry
from contracts.errors import Conflict, Forbidden, Incompatible, NotFound
from contracts.ports import Once, Write
from contracts.records import Approval, Lineage, Policy, TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal


class World:
    """A registry with income 1.0.0, trained by tom and registered by ana."""

    def __init__(self) -> None:
        self.clock = SettableClock(1000.0)
        self.journal = MemoryJournal(self.clock)
        governance = EmbeddedGovernance(self.journal, self.clock)
        self.registry = Registry(self.journal, MemoryBlobs(), governance, self.clock)
        bundle = TrainedBundle(
            model_key="income",
            version="1.0.0",
            artifact_uri="blobs:sha256:a",
            validation_hash="sha256:a",
            created_at="",
            evaluation_id="eval-1",
            lineage=Lineage(job_id="job-1"),
        )
        self.put("job", "job-1", {"job_id": "job-1"}, by="tom")
        self.put("model_version", "income@1.0.0", bundle.model_dump(mode="json"), by="ana")

    def put(self, kind: str, key: str, body: dict[str, Any], *, by: str) -> None:
        self.journal.append([Write(kind=kind, key=key, expected_version=0, body=body)], actor=by, reason="test")

    def approve(self, version: str = "1.0.0", **changes: Any) -> Approval:
        facts = {"reason": "figures read", "by": "bo", "role": "approver"} | changes
        return self.registry.approve("income", version, **facts)

    def events(self) -> list[str]:
        return [event.type for event in self.journal.events()]


@pytest.fixture
def world() -> World:
    return World()


def test_approval_is_bound_to_what_was_seen_and_lets_the_version_through(world: World) -> None:
    bundle = world.registry.view("income", "1.0.0").bundle
    assert not world.registry.compliance("income", "1.0.0").allowed
    approval = world.approve()
    assert (approval.validation_hash, approval.evaluation_id) == (bundle.validation_hash, "eval-1")
    assert (approval.by, approval.role, approval.at_s, approval.expires_at_s) == ("bo", "approver", 1000.0, None)
    assert world.registry.compliance("income", "1.0.0").allowed
    view = world.registry.view("income", "1.0.0")
    assert (view.approved, view.missing_approvals, view.approvals) == (True, 0, (approval,))
    decided = world.journal.events(types=["MLDL_APPROVAL_DECIDED"])
    assert [(event.actor, event.data["decision"]) for event in decided] == [("bo", "approved")]


@pytest.mark.parametrize("author", ["ana", "tom"])
def test_who_trained_or_registered_may_not_approve_unless_the_policy_says_so(world: World, author: str) -> None:
    with pytest.raises(Forbidden, match=f"{author} trained or registered income 1.0.0"):
        world.approve(by=author, role="admin")
    assert "MLDL_APPROVAL_DECIDED" not in world.events()
    world.registry.set_policy(Policy(author_may_approve=True), reason="one-person team", by="cy")
    world.approve(by=author, role="admin")
    assert world.registry.view("income", "1.0.0").approved


@pytest.mark.parametrize("role", ["viewer", "trainer", "deployer", "", "root"])
def test_role_that_may_not_approve_is_forbidden(world: World, role: str) -> None:
    with pytest.raises(Forbidden, match="admin or approver"):
        world.approve(role=role)


def test_rejection_blocks_until_its_author_approves(world: World) -> None:
    world.approve(by="bo")
    world.approve(by="di", decision="rejected", reason="unfair to the old")
    view = world.registry.view("income", "1.0.0")
    assert (view.approved, view.missing_approvals) == (False, 0)
    assert world.registry.compliance("income", "1.0.0").reasons == ("di rejected it: unfair to the old",)
    world.approve(by="di")
    assert world.registry.compliance("income", "1.0.0").allowed


def test_author_may_reject_their_own(world: World) -> None:
    assert world.approve(by="ana", decision="rejected").decision == "rejected"


def test_lifetime_of_the_policy_is_written_into_the_approval(world: World) -> None:
    world.registry.set_policy(Policy(approval_ttl_s=60), reason="short", by="cy")
    assert world.approve().expires_at_s == 1060.0
    assert world.approve(by="di", decision="rejected").expires_at_s is None
    world.approve(by="di")
    world.clock.advance(60)
    assert not world.registry.view("income", "1.0.0").approved


def test_same_approval_again_gives_the_first_answer(world: World) -> None:
    once = Once(key="k", digest="d")
    first = world.approve(once=once)
    before = world.journal.position()
    world.clock.advance(10)
    assert world.approve(once=once) == first
    assert world.journal.position() == before


def test_idempotency_key_of_another_verb_is_a_conflict(world: World) -> None:
    once = Once(key="k", digest="d")
    world.registry.set_policy(Policy(), reason="why", by="cy", once=once)
    with pytest.raises(Conflict, match="another kind of request"):
        world.approve(once=once)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"version": "latest"}, "exact number"),
        ({"version": "stable"}, "exact number"),
        ({"decision": "maybe"}, "'maybe' must be approved or rejected"),
        ({"reason": ""}, "reason is missing"),
    ],
)
def test_word_that_says_too_little_is_refused(world: World, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(Incompatible, match=said):
        world.approve(**bad)


def test_approving_an_unknown_version_names_the_known_ones(world: World) -> None:
    with pytest.raises(NotFound, match=r"it has: 1\.0\.0"):
        world.approve("2.0.0")


# Policy


def test_policy_judges_versions_approved_before(world: World) -> None:
    world.approve()
    policy = Policy(approvals_required=2)
    assert world.registry.set_policy(policy, reason="four eyes", by="cy") == policy
    assert world.registry.policy() == policy
    assert "1 of 2 approvals" in world.registry.compliance("income", "1.0.0").reasons[0]
    changed = world.journal.events(types=["MLDL_POLICY_CHANGED"])[0]
    assert (changed.actor, changed.reason) == ("cy", "four eyes")
    assert (changed.data["before"]["approvals_required"], changed.data["policy"]["approvals_required"]) == (1, 2)


def test_bad_policy_is_refused_and_the_old_one_stays(world: World) -> None:
    with pytest.raises(Incompatible, match="auroch"):
        world.registry.set_policy(Policy(metric_bounds={"auroch": 0.9}), reason="typo", by="cy")
    with pytest.raises(Incompatible, match="reason is missing"):
        world.registry.set_policy(Policy(), reason="", by="cy")
    assert world.registry.policy() == Policy()
    assert world.events() == []


def test_same_policy_request_again_changes_nothing(world: World) -> None:
    once = Once(key="k", digest="d")
    world.registry.set_policy(Policy(approvals_required=2), reason="why", by="cy", once=once)
    world.registry.set_policy(Policy(approvals_required=0), reason="why", by="cy")
    again = world.registry.set_policy(Policy(approvals_required=2), reason="why", by="cy", once=once)
    assert again.approvals_required == 2
    assert world.registry.policy().approvals_required == 0
