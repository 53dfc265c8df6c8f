"""An endpoint scaled up and down, and a switch that is checked first, under live HTTP load."""

from __future__ import annotations

import pytest

from contracts.errors import NotFound
from mldl_ray.demo.load import LiveLoad

DRAIN_TIMEOUT_S = 60
"""In HAProxy mode Serve keeps a replica that it takes away for 31 s, until nobody can send to it any more."""


@pytest.mark.timeout(300)
def test_an_endpoint_goes_from_one_replica_to_three_and_back_without_a_failed_request(rollouts, load: LiveLoad) -> None:
    client, key, app = rollouts.client, rollouts.key, f"e-{rollouts.key}"
    (first,) = [process.pid for process in rollouts.replicas(app)]
    assert client.scale(key, 3, reason="test").replicas == 3
    rollouts.until(lambda: rollouts.live_replicas(key) == 3, "three replicas")
    assert first in {process.pid for process in rollouts.replicas(app)}
    rollouts.kill_actor("deployments")
    served = load.served
    rollouts.until(lambda: load.served > served + 300, "answers from all of them")
    rollouts.until(lambda: rollouts.live_replicas(key) == 3, "the number to outlive the manager")
    assert client.scale(key, 1, reason="test").replicas == 1
    rollouts.until(lambda: len(rollouts.replicas(app)) == 1, "two replicas to drain", DRAIN_TIMEOUT_S)
    rollouts.until(lambda: rollouts.live_replicas(key) == 1, "them to be forgotten", 2)
    assert load.failures == []
    (event,) = client.events(types=["MLDL_ENDPOINT_SCALED"], subject=key)[-1:]
    assert (event.actor, event.reason, event.data["to"]) == ("ana", "test", 1)


@pytest.mark.timeout(300)
def test_a_rollout_does_not_wait_for_replicas_that_are_taken_away(rollouts, load: LiveLoad) -> None:
    client, key = rollouts.client, rollouts.key
    rollouts.make_stable("1.0.1")
    client.scale(key, 2, reason="test")
    rollouts.until(lambda: rollouts.live_replicas(key) == 2, "two replicas")
    client.scale(key, 1, reason="test")
    asked = client.deploy(key, "1.0.2", {"strategy": "blue_green", "bake_window": 0})
    ended = rollouts.ended(asked.deployment_id)
    switch = {change.status: change.at_s for change in ended.history}
    assert ended.status == "succeeded", ended.history[-1]
    assert switch["succeeded"] - switch["promoting"] < 5
    assert load.failures == []


@pytest.mark.timeout(300)
def test_green_is_asked_what_was_asked_lately_before_the_switch(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    rollouts.until(lambda: load.served > 100, "load")
    asked = rollouts.deploy("1.0.2", strategy="blue_green")
    ended = rollouts.ended(asked.deployment_id)
    assert ended.status == "succeeded", ended.history[-1]
    assert ended.replay is not None
    assert (ended.replay.source, ended.replay.failures) == ("traffic", 0)
    assert ended.replay.rows > 20
    assert ended.replay.agreement > 0.9
    assert ended.replay.latency_p95_ms > 0
    assert load.failures == []


@pytest.mark.timeout(300)
def test_green_that_refuses_what_callers_send_is_never_switched_to(rollouts, load: LiveLoad) -> None:
    before = rollouts.stable
    asked = rollouts.client.deploy(rollouts.key, "2.0.0", {"strategy": "blue_green"})
    ended = rollouts.ended(asked.deployment_id)
    assert ended.status == "failed"
    assert "failed that stable answered" in ended.history[-1].reason
    assert ended.replay is not None
    assert ended.replay.failures == ended.replay.rows
    assert rollouts.stable == before
    assert load.by_version["2.0.0"] == 0
    assert load.failures == []


def test_an_unknown_endpoint_is_not_scaled(rollouts) -> None:
    with pytest.raises(NotFound):
        rollouts.client.scale("nobody", 2, reason="test")
