"""What was acknowledged survives: one actor killed, or every process of the system."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import ray

from actors.directory import Remote
from mldl_ray import cluster, compose
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

KEY = "survivor"


@pytest.fixture(scope="module")
def client(system: Settings, breast_cancer: Path) -> MLDLClient:
    """A client of the system, with one model trained, approved and deployed."""
    client = MLDLClient(system.url)
    job = client.train(
        {
            "spec": {"model_key": KEY, "family": "lr"},
            "data": {"uri": str(breast_cancer), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    assert client.wait_job(job.job_id).status == "succeeded"
    bundle = client.register(job.job_id, reason="test")
    MLDLClient(system.url, acting_as="bo").approve(KEY, bundle.version, reason="test")
    deployment = client.deploy(KEY, bundle.version, {})
    assert client.wait_deployment(deployment.deployment_id).status == "succeeded"
    return client


@pytest.mark.parametrize("name", ["journal", "registry", "jobs", "monitor", "snapshots", "bridges", "deployments"])
@pytest.mark.timeout(180)
def test_killed_actor_comes_back_with_the_same_state(client: MLDLClient, name: str, rows: list[dict]) -> None:
    before = client.version(KEY, "stable")
    pid = Remote(name).pid()
    os.kill(pid, signal.SIGKILL)
    assert client.predict(KEY, rows)["model_version"] == before.bundle.version
    deadline = time.monotonic() + 60
    while client.health()["status"] != "ok":
        assert time.monotonic() < deadline, client.health()
        time.sleep(0.2)
    assert Remote(name).pid() != pid
    assert client.version(KEY, "stable") == before
    assert client.predict(KEY, rows)["model_version"] == before.bundle.version


@pytest.mark.timeout(300)
def test_everything_killed_comes_back_with_the_same_state_and_traffic(
    system: Settings, client: MLDLClient, rows: list[dict]
) -> None:
    before = client.version(KEY, "stable")
    position = client.audit_verify().positions
    ray.shutdown()
    for process in list(cluster.processes(system)):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    assert cluster.address(system) is None

    report = compose.up(system)
    assert "Ray head" in report.started
    assert client.version(KEY, "stable") == before
    verification = client.audit_verify()
    assert verification.ok
    assert verification.positions >= position
    client.wait_serving(KEY)
    assert client.predict(KEY, rows)["model_version"] == before.bundle.version


@pytest.mark.timeout(120)
def test_up_on_a_running_system_changes_nothing(system: Settings) -> None:
    pids = {name: Remote(name).pid() for name in ("journal", "deployments", "monitor")}
    position = MLDLClient(system.url).audit_verify().positions
    assert compose.up(system).started == ()
    assert {name: Remote(name).pid() for name in pids} == pids
    assert MLDLClient(system.url).audit_verify().positions == position
