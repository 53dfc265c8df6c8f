"""Many models in one process, over real HTTP: each lives its own life, and none notices another's trouble."""

from __future__ import annotations

import time

import httpx
import pytest

from actors.directory import Remote
from mldl_ray.blobs import open_blobs
from mldl_ray.client import MLDLClient

SHARED = {"route": "shared", "bake_window": 0, "promotion_window": 3600, "canary_steps": [50, 100]}


@pytest.fixture(scope="module")
def pool(rollouts):
    """Two models in the pool: ``pool-a`` with a second version that waits, and ``pool-b``."""
    for key in ("pool-a", "pool-b"):
        rollouts.train(key, rollouts.file)
        serve(rollouts, key, "1.0.0")
    assert rollouts.train("pool-a", rollouts.file, c=0.5) == "1.0.1"
    return rollouts


def serve(rollouts, key: str, version: str, **more: object) -> None:
    """Have a version serve from the pool."""
    asked = rollouts.client.deploy(key, version, SHARED | more)
    ended = rollouts.ended(asked.deployment_id)
    assert ended.status == "succeeded", ended.history[-1]


def stable_of(rollouts, key: str) -> str:
    return str(rollouts.client.version(key, "stable").bundle.version)


def processes(rollouts, app: str) -> int:
    return len(rollouts.replicas(app))


@pytest.mark.timeout(600)
def test_models_of_the_pool_share_one_process_and_have_none_of_their_own(pool) -> None:
    for key in ("pool-a", "pool-b"):
        assert pool.client.predict(key, pool.rows[:2])["model_version"] == stable_of(pool, key)
    assert processes(pool, "pool") == 1
    assert processes(pool, "e-pool") == 0


@pytest.mark.timeout(600)
def test_an_unknown_model_is_answered_as_by_the_control_plane(pool) -> None:
    answer = httpx.post(f"{pool.system.url}/api/mldl/v1/predict/nobody", json={"inputs": [{}]})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.timeout(600)
def test_a_canary_of_one_model_is_promoted_and_rolled_back_while_its_neighbour_serves(pool) -> None:
    with pool.callers("pool-a", 50) as mine, pool.callers("pool-b", 50) as theirs:
        asked = pool.client.deploy("pool-a", "1.0.1", SHARED | {"bake_window": 600}).deployment_id
        pool.until_status(asked, "canary")
        pool.until(lambda: min(mine.by_version["1.0.0"], mine.by_version["1.0.1"]) > 10, "both versions to answer")
        began = time.monotonic()
        pool.client.promote(asked, to_pct=100, reason="test")
        while pool.client.predict("pool-a", pool.rows[:1], key="someone")["model_version"] != "1.0.1":
            assert time.monotonic() - began < 10
        pool.until_status(asked, "baking")
        pool.client.rollback(deployment_id=asked, reason="test")
        assert pool.ended(asked).status == "rolled_back"
        assert stable_of(pool, "pool-a") == "1.0.0"
        assert theirs.served > 50
    assert mine.failures == theirs.failures == []


@pytest.mark.timeout(600)
def test_a_broken_artifact_fails_alone_and_at_once(pool) -> None:
    version = pool.train("pool-broken", pool.file)
    manifest = pool.client.version("pool-broken", version).bundle.validation_hash
    open_blobs(pool.system.artifact_uri).remove(manifest)
    with pool.callers("pool-b", 50) as neighbours:
        asked = pool.client.deploy("pool-broken", version, SHARED)
        ended = pool.ended(asked.deployment_id)
        assert ended.status == "failed"
        assert "did not start" in ended.history[-1].reason
        refused = httpx.post(f"{pool.system.url}/api/mldl/v1/predict/pool-broken", json={"inputs": pool.rows[:1]})
        assert refused.status_code in {404, 503}
        served = neighbours.served
        pool.until(lambda: neighbours.served > served + 20, "neighbours to be answered")
    assert neighbours.failures == []


@pytest.mark.timeout(600)
def test_a_model_that_serves_alone_moves_to_the_pool_without_a_failed_request(pool) -> None:
    first, second = pool.train("mover", pool.file), pool.train("mover", pool.file, c=0.5)
    assert pool.ended(pool.client.deploy("mover", first, {}).deployment_id).status == "succeeded"
    with pool.callers("mover", 50) as callers:
        serve(pool, "mover", second, strategy="blue_green")
        pool.until(lambda: processes(pool, "e-mover") == 0, "its own process to end", 90)
        served = callers.served
        pool.until(lambda: callers.served > served + 50, "answers from the pool")
    assert callers.failures == []
    assert pool.client.predict("mover", pool.rows[:1])["model_version"] == second


@pytest.mark.timeout(600)
def test_telemetry_of_pooled_models_is_counted_for_each(pool) -> None:
    pool.client.predict("pool-b", pool.rows[:3])
    pool.until(lambda: "pool-b" in Remote("monitor").live()["endpoints"], "the monitor to hear of it")
    assert MLDLClient(pool.system.url).health()["status"] == "ok"
