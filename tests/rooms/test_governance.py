"""Whose word counts, and what a policy asks for before a version may be deployed."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable, Calibration, Evaluation, Interval
from contracts.ports import Write
from contracts.records import Approval, Lineage, Policy, TrainedBundle
from contracts.rollouts import Endpoint
from contracts.specs import Words
from mldl_ray.bridges.governance import EmbeddedGovernance, check_policy
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal

BUNDLE = TrainedBundle(
    model_key="income",
    version="1.0.0",
    artifact_uri="blobs:sha256:a",
    validation_hash="sha256:a",
    created_at="",
    evaluation_id="eval-1",
    lineage=Lineage(job_id="job-1"),
)


class World:
    """A journal with one version, trained by tom and registered by ana."""

    def __init__(self) -> None:
        self.clock = SettableClock(1000.0)
        self.journal = MemoryJournal(self.clock)
        self.governance = EmbeddedGovernance(self.journal, self.clock)
        self.words = 0
        self.put("job", "job-1", {"job_id": "job-1"}, by="tom")
        self.put("job", "job-1", {"job_id": "job-1", "status": "succeeded"}, by="jobs", before=1)
        self.put("model_version", "income@1.0.0", BUNDLE, by="ana")

    def put(self, kind: str, key: str, body: Words | dict[str, Any], *, by: str = "cy", before: int = 0) -> None:
        plain = body.model_dump(mode="json") if isinstance(body, Words) else body
        write = Write(kind=kind, key=key, expected_version=before, body=plain)
        self.journal.append([write], actor=by, reason="test")

    def policy(self, *, before: int = 0, **changes: Any) -> None:
        self.put("policy", "default", Policy(**changes), before=before)

    def says(self, by: str, decision: str = "approved", **changes: Any) -> None:
        self.words += 1
        word: dict[str, Any] = {
            "approval_id": f"income@1.0.0-{by}{self.words}",
            "model_key": "income",
            "version": "1.0.0",
            "decision": decision,
            "by": by,
            "role": "approver",
            "reason": f"{by} read it",
            "validation_hash": "sha256:a",
            "evaluation_id": "eval-1",
            "at_s": self.clock.now_s(),
        }
        approval = Approval(**(word | changes))
        self.put("approval", approval.approval_id, approval, by=by)

    def reasons(self) -> tuple[str, ...]:
        compliance = self.governance.check("deploy", BUNDLE)
        assert compliance.allowed is (not compliance.reasons)
        return compliance.reasons


@pytest.fixture
def world() -> World:
    return World()


def test_nobody_set_a_policy_so_one_approval_is_needed(world: World) -> None:
    assert world.governance.policy() == Policy()
    assert "0 of 1 approvals; 1 more person" in world.reasons()[0]
    world.says("bo")
    assert world.reasons() == ()


def test_policy_that_asks_for_no_approval_lets_a_version_through(world: World) -> None:
    world.policy(approvals_required=0)
    assert world.reasons() == ()


def test_two_of_two_must_be_two_people(world: World) -> None:
    world.policy(approvals_required=2)
    world.says("bo")
    world.says("bo")
    assert "1 of 2 approvals" in world.reasons()[0]
    world.says("di", role="admin")
    assert world.reasons() == ()


@pytest.mark.parametrize("author", ["ana", "tom"])
def test_word_of_who_trained_or_registered_does_not_count(world: World, author: str) -> None:
    world.says(author)
    assert "0 of 1" in world.reasons()[0]
    world.policy(author_may_approve=True)
    assert world.reasons() == ()


def test_authors_are_those_who_asked_and_not_the_actor_that_ran_the_job(world: World) -> None:
    assert world.governance.authors(BUNDLE) == {"ana", "tom"}


@pytest.mark.parametrize("role", ["viewer", "trainer", "deployer", "owner"])
def test_word_of_another_role_does_not_count(world: World, role: str) -> None:
    world.says("bo", role=role)
    assert "0 of 1" in world.reasons()[0]


@pytest.mark.parametrize("saw", [{"validation_hash": "sha256:b"}, {"evaluation_id": "eval-0"}, {"evaluation_id": None}])
def test_word_on_other_bytes_or_another_evaluation_does_not_count(world: World, saw: dict[str, Any]) -> None:
    world.says("bo", **saw)
    assert world.governance.approvals(BUNDLE) == ()
    assert "0 of 1" in world.reasons()[0]


def test_word_on_another_version_does_not_count(world: World) -> None:
    world.says("bo", approval_id="income@1.0.01-x", version="1.0.01")
    assert world.governance.approvals(BUNDLE) == ()


def test_rejection_blocks_whatever_others_say_until_its_author_approves(world: World) -> None:
    world.says("bo")
    world.says("di", "rejected")
    world.says("ed")
    assert world.reasons() == ("di rejected it: di read it",)
    world.says("di")
    assert world.reasons() == ()


def test_latest_word_of_a_person_counts_even_within_one_second(world: World) -> None:
    world.says("bo")
    world.says("bo", "rejected")
    assert "bo rejected it" in world.reasons()[0]
    assert [word.decision for word in world.governance.approvals(BUNDLE)] == ["rejected"]


def test_author_may_reject(world: World) -> None:
    world.says("bo")
    world.says("ana", "rejected")
    assert "ana rejected it" in world.reasons()[0]


def test_approval_ends_at_its_expiry_and_a_rejection_does_not(world: World) -> None:
    world.says("bo", expires_at_s=1060.0)
    world.clock.advance(59.9)
    assert world.reasons() == ()
    world.clock.advance(0.1)
    assert "0 of 1" in world.reasons()[0]
    world.says("bo", "rejected", expires_at_s=1061.0)
    world.clock.advance(1e6)
    assert "bo rejected it" in world.reasons()[0]


def test_shorter_lifetime_set_later_cuts_earlier_approvals(world: World) -> None:
    world.says("bo")
    world.clock.advance(100)
    assert world.reasons() == ()
    world.policy(approval_ttl_s=50)
    assert "0 of 1" in world.reasons()[0]


def test_longer_lifetime_set_later_does_not_revive_an_ended_approval(world: World) -> None:
    world.says("bo", expires_at_s=1010.0)
    world.clock.advance(20)
    world.policy(approval_ttl_s=1e6)
    assert "0 of 1" in world.reasons()[0]


def test_past_moment_is_judged_by_its_own_words_policy_and_time(world: World) -> None:
    world.says("bo", expires_at_s=1060.0)
    world.clock.advance(30)
    world.policy(approvals_required=3)
    world.clock.advance(100)
    assert world.governance.check("deploy", BUNDLE, as_of_s=1010.0).allowed
    assert world.governance.policy(as_of_s=1010.0) == Policy()
    assert not world.governance.check("deploy", BUNDLE, as_of_s=1040.0).allowed
    assert world.governance.approvals(BUNDLE, as_of_s=999.0) == ()


def evaluation(**intervals: Interval) -> Evaluation:
    return Evaluation(
        evaluation_id="eval-1",
        model_key="income",
        rows=1000,
        metrics={name: interval.value for name, interval in intervals.items()},
        intervals=intervals,
        calibration=Calibration(ece=0.02),
    )


@pytest.mark.parametrize(
    "policy",
    [{"metric_bounds": {"auroc": 0.9}}, {"fairness_delta_max": 0.1}, {"max_ece": 0.05}, {"metric_bounds": {"rmse": 3}}],
)
def test_bound_is_kept_by_the_worse_end_of_the_interval(world: World, policy: dict[str, Any]) -> None:
    figures = {
        "auroc": Interval(value=0.91, low=0.905, high=0.915),
        "rmse": Interval(value=2.8, low=2.6, high=2.9),
        "fairness_delta": Interval(value=0.05, low=0.02, high=0.09),
        "ece_debiased": Interval(value=0.02, low=0.0, high=0.04),
    }
    world.policy(approvals_required=0, **policy)
    world.put("evaluation", "eval-1", evaluation(**figures))
    assert world.reasons() == ()
    unsure = {
        name: interval.model_copy(update={"low": interval.low - 0.2, "high": interval.high + 0.2})
        for name, interval in figures.items()
    }
    world.put("evaluation", "eval-1", evaluation(**unsure), before=1)
    assert len(world.reasons()) == 1


def test_every_objection_is_told_at_once(world: World) -> None:
    world.policy(metric_bounds={"auroc": 0.9}, max_ece=0.05)
    world.put("evaluation", "eval-1", evaluation(auroc=Interval(value=0.91, low=0.85, high=0.95)))
    world.says("di", "rejected")
    assert len(world.reasons()) == 4


def compared(version: str, low: float) -> AgainstStable:
    return AgainstStable(
        version=version, metric="f1", candidate=0.8, stable=0.8, difference=0.0, low=low, high=0.02, rows=500
    )


def test_version_must_surely_not_be_worse_than_what_serves_now(world: World) -> None:
    world.policy(approvals_required=0, stable_margin=0.01)
    world.put("evaluation", "eval-1", evaluation())
    assert world.reasons() == ()  # nothing serves yet
    world.put("endpoint", "income", Endpoint(model_key="income", stable="0.9.0", salt="s"))
    assert "not compared" in world.reasons()[0]
    world.put("comparison", "income@1.0.0", compared("0.9.0", low=-0.02))
    assert len(world.reasons()) == 1
    world.put("comparison", "income@1.0.0", compared("0.9.0", low=-0.005), before=1)
    assert world.reasons() == ()
    world.put("endpoint", "income", Endpoint(model_key="income", stable="0.9.1", salt="s"), before=1)
    assert "not compared" in world.reasons()[0]  # a comparison with what served before says nothing


def test_version_that_serves_itself_is_not_compared(world: World) -> None:
    world.policy(approvals_required=0, stable_margin=0.0)
    world.put("evaluation", "eval-1", evaluation())
    world.put("endpoint", "income", Endpoint(model_key="income", stable="1.0.0", salt="s"))
    assert world.reasons() == ()


def test_version_without_evaluation_cannot_meet_a_bound(world: World) -> None:
    world.policy(approvals_required=0, metric_bounds={"auroc": 0.5})
    assert "never evaluated" in world.reasons()[0]


def test_act_that_no_policy_speaks_about_is_refused(world: World) -> None:
    with pytest.raises(Incompatible, match="deploy"):
        world.governance.check("retire", BUNDLE)  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (Policy(name="strict"), "strict"),
        (Policy(approval_ttl_s=0), "approval_ttl_s 0"),
        (Policy(approval_ttl_s=-5), "approval_ttl_s -5"),
        (Policy(fairness_delta_max=1.5), "fairness_delta_max 1.5"),
        (Policy(max_ece=-0.1), "max_ece -0.1"),
        (Policy(metric_bounds={"auroch": 0.9}), "auroch.*auroc"),
    ],
)
def test_policy_that_nothing_could_meet_is_refused_by_name_and_value(policy: Policy, named: str) -> None:
    with pytest.raises(Incompatible, match=named):
        check_policy(policy)
