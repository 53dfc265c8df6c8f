"""A model with versions good and bad, and ways to hurt the system that serves it; shared by the tests of rollouts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.directory import Remote
from contracts.http import DeploymentAccepted, DeploymentView
from contracts.rollouts import LIVE_STATES
from mldl_ray import cluster
from mldl_ray.client import MLDLClient
from mldl_ray.demo.load import LiveLoad
from mldl_ray.settings import Settings

ROLLBACK_ON = ["metric_drop", "violation"]
"""Without ``drift_spike``: the same few hundred rows again and again are not like the held-out ones, and it is seen."""
CANARY: dict[str, Any] = {
    "canary_steps": [10, 50, 100],
    "promotion_window": 2,
    "bake_window": 1,
    "harm_budget": 0.1,
    "guardrails": {"rollback_on": ROLLBACK_ON},
}


class Rollouts:
    """One endpoint, ``rollout``: 1.0.0 served first, 1.0.1 and 1.0.2 are as good, 2.0.0 needs a column nobody sends."""

    key = "rollout"

    def __init__(self, system: Settings, good: Path, wider: Path) -> None:
        self.system, self.file = system, good
        self.client = MLDLClient(system.url, acting_as="ana")
        table = pq.read_table(good)
        self.rows, self.labels = table.drop_columns(["target"]).to_pylist(), table["target"].to_pylist()
        versions = [
            self.train(self.key, file, c=c) for file, c in ((good, 1.0), (good, 0.5), (good, 0.2), (wider, 1.0))
        ]
        assert versions == ["1.0.0", "1.0.1", "1.0.2", "2.0.0"]
        first = self.client.deploy(self.key, "1.0.0", CANARY)
        assert self.client.wait_deployment(first.deployment_id).status == "succeeded"

    def train(self, key: str, file: Path, *, c: float = 1.0) -> str:
        """Train, register and approve a version."""
        job = self.client.train(
            {
                "spec": {"model_key": key, "family": "lr", "hyperparams": {"C": c}},
                "data": {"uri": str(file), "target": "target"},
                "hpo": {"strategy": "random", "max_trials": 1},
                "cv": {"folds": 2},
            }
        )
        assert self.client.wait_job(job.job_id).status == "succeeded"
        version = str(self.client.register(job.job_id, reason="test").version)
        MLDLClient(self.system.url, acting_as="bo").approve(key, version, reason="test")
        return version

    def deploy(self, version: str, **more: Any) -> DeploymentAccepted:
        """Ask for a quick canary."""
        return self.client.deploy(self.key, version, CANARY | more)

    def begin(self, version: str, status: str = "canary", **more: Any) -> str:
        """Ask for a rollout and wait until it is in a state; give its id."""
        asked = self.deploy(version, **more)
        self.until_status(asked.deployment_id, status)
        return asked.deployment_id

    def until_status(self, deployment_id: str, status: str) -> None:
        """Wait until a deployment is, or has been, in a state."""

        def reached() -> bool:
            found = self.client.deployment(deployment_id)
            return status in {found.status, *(change.status for change in found.history)}

        self.until(reached, f"{deployment_id} to be {status}")

    def ended(self, deployment_id: str) -> DeploymentView:
        """Wait for its end."""
        return self.client.wait_deployment(deployment_id, timeout_s=180)

    @property
    def stable(self) -> str:
        """The version that serves."""
        return str(self.client.version(self.key, "stable").bundle.version)

    def make_stable(self, version: str) -> None:
        """Have a version serve, whatever served before or is left going on by a test that failed."""
        for left in self.client.deployments(model_key=self.key):
            if left.status in LIVE_STATES:
                self.client.rollback(deployment_id=left.deployment_id, reason="test")
                self.ended(left.deployment_id)
        if self.stable != version:
            asked = self.client.deploy(self.key, version, {"strategy": "blue_green", "bake_window": 0})
            ended = self.ended(asked.deployment_id)
            assert ended.status == "succeeded", ended.history[-1]

    @contextmanager
    def callers(self, key: str | None = None, per_second: float = 150) -> Iterator[LiveLoad]:
        """People who never stop asking."""
        address = (self.system.host, self.system.port, key or self.key)
        with LiveLoad(*address, self.rows, self.labels, per_second=per_second, users=4) as load:
            yield load

    def replicas(self, app: str) -> list[psutil.Process]:
        """Find the living processes of a Serve app whose name begins so."""
        return [p for p in cluster.processes(self.system) if f"ServeReplica:{app}" in " ".join(p.cmdline())]

    def candidates(self) -> list[psutil.Process]:
        """Find the living processes of candidates, those that drain included; Ray names these in another way."""
        return [p for p in cluster.processes(self.system) if ":candidate" in " ".join(p.cmdline())]

    def kill_replica(self, app: str) -> None:
        """Kill one process of an app."""
        found = self.replicas(app)
        assert found, f"no living replica of {app}"
        found[0].kill()

    def live_replicas(self, key: str) -> int:
        """Count the replicas that the deployment manager hears of."""
        return next(found.live_replicas for found in self.client.endpoints() if found.model_key == key)

    @staticmethod
    def kill_actor(name: str) -> None:
        """Kill an actor's process."""
        os.kill(Remote(name).pid(), signal.SIGKILL)

    @staticmethod
    def until(look: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait for something to be true."""
        deadline = time.monotonic() + timeout_s
        while not look():
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def rollouts(system: Settings, breast_cancer: Path, tmp_path_factory: pytest.TempPathFactory) -> Rollouts:
    """The endpoint and its versions, made once."""
    table = pq.read_table(breast_cancer)
    wider = tmp_path_factory.mktemp("wider") / "wider.parquet"
    pq.write_table(table.append_column("score", pa.array([float(i % 7) for i in range(table.num_rows)])), wider)
    return Rollouts(system, breast_cancer, wider)


@pytest.fixture
def load(rollouts: Rollouts) -> Iterator[LiveLoad]:
    """Callers of that endpoint, for the time of one test."""
    with rollouts.callers() as callers:
        yield callers
