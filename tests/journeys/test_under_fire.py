"""What is hurt in the middle of a rollout, under live HTTP load: nobody notices, and all ends where it should."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from actors.directory import Remote
from mldl_ray.demo.load import LiveLoad

SECONDS_TO_SETTLE = 90
"""A candidate's app drains before it goes; in HAProxy mode Serve waits 31 s for that."""


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Have a process hang: it lives, holds its connections, and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("state", "spec"),
    [
        ("starting", {}),
        ("canary", {}),
        ("promoting", {}),
        ("baking", {"bake_window": 3}),
        ("starting", {"strategy": "blue_green"}),
        ("shadow", {"strategy": "shadow"}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("strategy", "canary"),
)
def test_the_manager_killed_in_any_state_goes_on_where_it_was(rollouts, load: LiveLoad, state: str, spec: dict) -> None:
    rollouts.make_stable("1.0.1")
    asked = rollouts.begin("1.0.2", state, **spec)
    rollouts.kill_actor("deployments")
    if state == "shadow":
        rollouts.client.rollback(deployment_id=asked, reason="test")
    ended = rollouts.ended(asked)
    wanted = ("rolled_back", "1.0.1") if state == "shadow" else ("succeeded", "1.0.2")
    assert (ended.status, rollouts.stable) == wanted, ended.history[-1]
    assert load.failures == []


@pytest.mark.timeout(300)
def test_the_manager_killed_while_it_rolls_back_ends_on_stable(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    asked = rollouts.begin("1.0.2", promotion_window=3600)
    rollouts.client.rollback(deployment_id=asked, reason="test")
    rollouts.kill_actor("deployments")
    assert rollouts.ended(asked).status == "rolled_back"
    assert rollouts.stable == "1.0.1"
    assert load.failures == []


@pytest.mark.timeout(300)
def test_a_candidate_that_hangs_is_rolled_back_and_its_callers_are_answered(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    asked = rollouts.begin("1.0.2", promotion_window=3600)
    rollouts.until(lambda: load.by_version["1.0.2"] > 0, "the candidate to answer")
    with frozen(rollouts.replicas("m-rollout-v1.0.2")[0].pid):
        rollouts.until_status(asked, "rolling_back")
    ended = rollouts.ended(asked)
    assert ended.status == "rolled_back"
    assert ended.decisions[-1].rule in {"max_consecutive_errors", "error_rate"}
    assert load.failures == []


@pytest.mark.timeout(300)
def test_while_the_journal_is_away_predictions_go_on_and_changes_are_refused_for_now(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    asked = rollouts.begin("1.0.2", promotion_window=3600)
    with frozen(Remote("journal").pid()):
        began, served = time.monotonic(), load.served
        url = f"{rollouts.system.url}/api/mldl/v1/registry/{rollouts.key}/stable"
        refused = httpx.get(url, timeout=60)
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        rollouts.until(lambda: time.monotonic() > began + 30, "half a minute without a journal")
        assert load.served > served + 1000
    rollouts.until(lambda: rollouts.client.health()["status"] == "ok", "the system to be well again")
    rollouts.client.rollback(deployment_id=asked, reason="test")
    assert rollouts.ended(asked).status == "rolled_back"
    assert rollouts.client.audit_verify().ok
    assert load.failures == []


@pytest.mark.timeout(300)
def test_after_rollouts_of_each_kind_nothing_is_left_running(rollouts, load: LiveLoad) -> None:
    rollouts.make_stable("1.0.1")
    for spec in ({}, {"strategy": "shadow"}):
        asked = rollouts.begin("1.0.2", spec.get("strategy", "canary"), promotion_window=3600, **spec)
        rollouts.client.rollback(deployment_id=asked, reason="test")
        assert rollouts.ended(asked).status == "rolled_back"
    rollouts.until(lambda: not rollouts.candidates(), "candidates to go", SECONDS_TO_SETTLE)
    apps = {endpoint.model_key: endpoint for endpoint in rollouts.client.endpoints()}
    assert apps[rollouts.key].applied
    assert len(rollouts.replicas(f"e-{rollouts.key}")) == apps[rollouts.key].replicas
    assert load.failures == []
