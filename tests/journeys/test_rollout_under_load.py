"""Rollouts under live HTTP load: nobody notices a promotion, a rollback, or a process that is killed."""

from __future__ import annotations

import pytest

from mldl_ray.demo.load import LiveLoad


@pytest.mark.timeout(240)
def test_a_good_version_is_promoted_step_by_step_without_a_failed_request(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.0")
    ended = rollouts.ended(rollouts.deploy("1.0.1").deployment_id)
    assert ended.status == "succeeded", ended.history[-1]
    shares = [change.traffic.get("1.0.1", 0.0) for change in ended.history]
    assert shares == sorted(shares)
    assert {0.1, 0.5, 1.0} <= set(shares)
    assert [decision.verdict for decision in ended.decisions] == ["PROMOTE", "PROMOTE"]
    assert rollouts.stable == "1.0.1"
    assert load.failures == []
    assert load.by_version["1.0.1"] > 0


@pytest.mark.timeout(240)
def test_a_broken_version_is_rolled_back_by_itself_without_a_failed_request(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    ended = rollouts.ended(rollouts.deploy("2.0.0").deployment_id)
    assert ended.status == "rolled_back", ended.history[-1]
    assert ended.decisions[-1].rule in {"max_consecutive_errors", "error_rate"}
    assert rollouts.stable == "1.0.1"
    assert load.failures == []
    assert load.by_version["2.0.0"] == 0


@pytest.mark.timeout(240)
def test_a_sticky_key_keeps_its_version_within_a_step(rollouts) -> None:
    rollouts.make_stable("1.0.1")
    client, key, row = rollouts.client, rollouts.key, rollouts.rows[:1]
    asked = rollouts.begin("1.0.2", promotion_window=3600)
    rollouts.until(lambda: all(found.applied for found in client.endpoints()), "replicas to apply it")
    people = [f"person-{i}" for i in range(300)]
    first = {who: client.predict(key, row, key=who)["model_version"] for who in people}
    again = {who: client.predict(key, row, key=who)["model_version"] for who in people}
    assert first == again
    client.promote(asked, reason="test", to_pct=50)
    rollouts.until(lambda: client.deployment(asked).step == 1, "the second step")
    rollouts.until(lambda: all(found.applied for found in client.endpoints()), "replicas to apply it")
    wider = {who: client.predict(key, row, key=who)["model_version"] for who in people}
    inside = [who for who in people if first[who] == "1.0.2"]
    assert 10 < len(inside) < 60
    assert all(wider[who] == "1.0.2" for who in inside)
    client.rollback(deployment_id=asked, reason="test")
    assert rollouts.ended(asked).status == "rolled_back"


@pytest.mark.timeout(240)
def test_a_killed_candidate_harms_nobody_and_the_rollout_ends_defined(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    asked = rollouts.begin("1.0.2")
    rollouts.kill_replica("m-rollout")
    assert rollouts.ended(asked).status in {"rolled_back", "succeeded"}
    assert load.failures == []


@pytest.mark.timeout(240)
def test_one_of_two_replicas_killed_fails_no_request(rollouts) -> None:
    version = rollouts.train("twin", rollouts.file)
    asked = rollouts.client.deploy("twin", version, {"replicas": 2})
    assert rollouts.ended(asked.deployment_id).status == "succeeded"
    rollouts.until(lambda: rollouts.live_replicas("twin") == 2, "both replicas")
    with rollouts.callers("twin") as callers:
        rollouts.until(lambda: callers.served > 100, "load")
        rollouts.kill_replica("e-twin")
        served = callers.served
        rollouts.until(lambda: callers.served > served + 300, "answers to go on")
        rollouts.until(lambda: rollouts.live_replicas("twin") == 2, "a new replica")
    assert callers.failures == []


@pytest.mark.timeout(240)
def test_the_only_replica_killed_comes_back_with_the_same_table(rollouts, load: LiveLoad) -> None:
    before = rollouts.stable
    rollouts.kill_replica(f"e-{rollouts.key}")
    served = load.served
    rollouts.until(lambda: load.served > served + 50, "answers to come again")
    rollouts.client.wait_serving(rollouts.key)
    assert rollouts.stable == before
