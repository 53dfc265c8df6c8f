"""Rollouts under live HTTP load: nobody notices a promotion, a rollback, or a process that is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.rollouts import Deployment
from mldl_ray import cluster
from mldl_ray.client import MLDLClient
from mldl_ray.demo.load import LiveLoad
from mldl_ray.settings import Settings

KEY = "rollout"
CANARY: dict[str, Any] = {"canary_steps": [10, 50, 100], "promotion_window": 2, "bake_window": 1, "harm_budget": 0.1}


@pytest.fixture(scope="module")
def client(system: Settings, breast_cancer: Path, tmp_path_factory: pytest.TempPathFactory) -> MLDLClient:
    """Four versions: 1.0.0 serves, 1.0.1 and 1.0.2 are as good, 2.0.0 needs a column that nobody sends."""
    client = MLDLClient(system.url, acting_as="ana")
    table = pq.read_table(breast_cancer)
    wider = tmp_path_factory.mktemp("wider") / "wider.parquet"
    pq.write_table(table.append_column("score", pa.array([float(i % 7) for i in range(table.num_rows)])), wider)
    versions = [
        train(client, system, KEY, file, c=c)
        for file, c in ((breast_cancer, 1.0), (breast_cancer, 0.5), (breast_cancer, 0.2), (wider, 1.0))
    ]
    assert versions == ["1.0.0", "1.0.1", "1.0.2", "2.0.0"]
    first = client.deploy(KEY, "1.0.0", CANARY)
    assert client.wait_deployment(first.deployment_id).status == "succeeded"
    return client


def train(client: MLDLClient, system: Settings, key: str, file: Path, *, c: float = 1.0) -> str:
    """Train, register and approve a version."""
    job = client.train(
        {
            "spec": {"model_key": key, "family": "lr", "hyperparams": {"C": c}},
            "data": {"uri": str(file), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    assert client.wait_job(job.job_id).status == "succeeded"
    bundle = client.register(job.job_id, reason="test")
    MLDLClient(system.url, acting_as="bo").approve(key, str(bundle.version), reason="test")
    return str(bundle.version)


def live_replicas(client: MLDLClient, key: str) -> int:
    return next(found.live_replicas for found in client.endpoints() if found.model_key == key)


@pytest.fixture
def load(system: Settings, client: MLDLClient, breast_cancer: Path) -> Iterator[LiveLoad]:
    """Callers who never stop."""
    table = pq.read_table(breast_cancer)
    rows, labels = table.drop_columns(["target"]).to_pylist(), table["target"].to_pylist()
    with LiveLoad(system.host, system.port, KEY, rows, labels, per_second=150, users=4) as callers:
        yield callers


def until(look: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.1)


def stable(client: MLDLClient) -> str:
    return str(client.version(KEY, "stable").bundle.version)


def kill_replica(system: Settings, app: str) -> None:
    found = [p for p in cluster.processes(system) if f"ServeReplica:{app}" in " ".join(p.cmdline())]
    assert found, f"no living replica of {app}"
    found[0].kill()


def canary(client: MLDLClient, version: str, **more: Any) -> Deployment:
    asked = client.deploy(KEY, version, CANARY | more)
    until(lambda: client.deployment(asked.deployment_id).status == "canary", "the canary to begin")
    return asked


@pytest.mark.timeout(240)
def test_a_good_version_is_promoted_step_by_step_without_a_failed_request(client: MLDLClient, load: LiveLoad) -> None:
    asked = client.deploy(KEY, "1.0.1", CANARY)
    ended = client.wait_deployment(asked.deployment_id, timeout_s=180)
    assert ended.status == "succeeded", ended.history[-1]
    shares = [change.traffic.get("1.0.1", 0.0) for change in ended.history]
    assert shares == sorted(shares)
    assert {0.1, 0.5, 1.0} <= set(shares)
    assert [decision.verdict for decision in ended.decisions] == ["PROMOTE", "PROMOTE"]
    assert stable(client) == "1.0.1"
    assert load.failures == []
    assert load.by_version["1.0.1"] > 0


@pytest.mark.timeout(240)
def test_a_broken_version_is_rolled_back_by_itself_without_a_failed_request(client: MLDLClient, load: LiveLoad) -> None:
    asked = client.deploy(KEY, "2.0.0", CANARY)
    ended = client.wait_deployment(asked.deployment_id, timeout_s=120)
    assert ended.status == "rolled_back", ended.history[-1]
    assert ended.decisions[-1].rule in {"max_consecutive_errors", "error_rate"}
    assert stable(client) == "1.0.1"
    assert load.failures == []
    assert load.by_version["2.0.0"] == 0


@pytest.mark.timeout(240)
def test_a_sticky_key_keeps_its_version_within_a_step(client: MLDLClient, rows: list[dict[str, float]]) -> None:
    asked = canary(client, "1.0.2", promotion_window=3600)
    people = [f"person-{i}" for i in range(300)]
    first = {who: client.predict(KEY, rows[:1], key=who)["model_version"] for who in people}
    again = {who: client.predict(KEY, rows[:1], key=who)["model_version"] for who in people}
    assert first == again
    client.promote(asked.deployment_id, reason="test", to_pct=50)
    until(lambda: client.deployment(asked.deployment_id).step == 1, "the second step")
    until(lambda: all(found.applied for found in client.endpoints()), "replicas to apply it")
    wider = {who: client.predict(KEY, rows[:1], key=who)["model_version"] for who in people}
    inside = [who for who in people if first[who] == "1.0.2"]
    assert 10 < len(inside) < 60
    assert all(wider[who] == "1.0.2" for who in inside)
    client.rollback(deployment_id=asked.deployment_id, reason="test")
    assert client.wait_deployment(asked.deployment_id).status == "rolled_back"


@pytest.mark.timeout(240)
def test_a_killed_candidate_harms_nobody_and_the_rollout_ends_defined(
    system: Settings, client: MLDLClient, load: LiveLoad
) -> None:
    asked = canary(client, "1.0.2")
    kill_replica(system, "m-rollout")
    ended = client.wait_deployment(asked.deployment_id, timeout_s=180)
    assert ended.status in {"rolled_back", "succeeded"}
    assert load.failures == []


@pytest.mark.timeout(240)
def test_one_of_two_replicas_killed_fails_no_request(system: Settings, client: MLDLClient, breast_cancer: Path) -> None:
    version = train(client, system, "twin", breast_cancer)
    asked = client.deploy("twin", version, {"replicas": 2})
    assert client.wait_deployment(asked.deployment_id).status == "succeeded"
    until(lambda: live_replicas(client, "twin") == 2, "both replicas")
    table = pq.read_table(breast_cancer)
    sent, labels = table.drop_columns(["target"]).to_pylist(), table["target"].to_pylist()
    with LiveLoad(system.host, system.port, "twin", sent, labels, per_second=150, users=4) as callers:
        until(lambda: callers.served > 100, "load")
        kill_replica(system, "e-twin")
        served = callers.served
        until(lambda: callers.served > served + 300, "answers to go on")
        until(lambda: live_replicas(client, "twin") == 2, "a new replica")
    assert callers.failures == []


@pytest.mark.timeout(240)
def test_the_only_replica_killed_comes_back_with_the_same_table(
    system: Settings, client: MLDLClient, load: LiveLoad
) -> None:
    before = stable(client)
    kill_replica(system, f"e-{KEY}")
    served = load.served
    until(lambda: load.served > served + 50, "answers to come again")
    client.wait_serving(KEY)
    assert stable(client) == before
