"""Our side: a fresh system with keys required, a deployed version, and a second one that stays a 5% canary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.peers.processes import ask, free_port
from bench.peers.workloads import Workload
from bench.peers.wrk import Target
from contracts.rollouts import LIVE_STATES
from contracts.specs import Json
from mldl_ray import compose
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from mldl_ray.wire import wait

CANARY_PCT = 5.0
FOREVER_S = 1e9
START_S = 120.0
ROLLOUT: Json = {
    "canary_pct": CANARY_PCT,
    "canary_steps": [CANARY_PCT, 100],
    "promotion_window": FOREVER_S,
    "guardrails": {"rollback_on": ["metric_drop", "violation"]},
}
"""Without ``drift_spike``: 200 rows again and again are not like the held-out ones, and the monitor sees it."""


class Rollout(NamedTuple):
    """A version on its way out, and how it is taken back."""

    version: str
    back: Callable[[], object]


class Ours:
    """The running system, and who acts on it."""

    def __init__(self, url: str, admin_key: str) -> None:
        self._url = url
        self._admin = MLDLClient(url, key=admin_key)
        self._trainer = MLDLClient(url, key=self._admin.create_key("trainer", "trainer").secret)
        self._approver = MLDLClient(url, key=self._admin.create_key("approver", "approver").secret)
        self._caller_key = self._admin.create_key("caller", "viewer").secret
        self._rollouts: dict[str, tuple[str, str]] = {}

    def deploy(self, workload: Workload) -> Target:
        """Train, register and approve two versions; deploy the first, and the second as a canary.

        Raises:
            RuntimeError: A job or a deployment did not end well.
        """
        stable, candidate = (self._version(workload, seed) for seed in (0, 1))
        first = self._admin.deploy(workload.name, stable, {"bake_window": 0}).deployment_id
        ended = self._admin.wait_deployment(first, timeout_s=START_S)
        if ended.status != "succeeded":
            raise RuntimeError(f"{workload.name} {stable} was not deployed: {ended.status}, {ended.history[-1].reason}")
        second = self._admin.deploy(workload.name, candidate, ROLLOUT).deployment_id
        wait(lambda: self._canary(second) or None, START_S, f"{workload.name} {candidate} to be a canary")
        self._admin.wait_serving(workload.name)
        self._rollouts[workload.name] = (second, candidate)
        key = {"authorization": f"Bearer {self._caller_key}"}
        return Target("mldl", f"{self._url}/api/mldl/v1/predict/{workload.name}", workload.bodies(), key)

    def versions_seen(self, target: Target, rounds: int = 1) -> Counter[str]:
        """Send every request of a target ``rounds`` times and count the answers by version."""
        seen: Counter[str] = Counter()
        with httpx.Client(timeout=10) as client:
            for body in list(target.bodies) * rounds:
                seen[ask(client, target, body).raise_for_status().headers["x-mldl-version"]] += 1
        return seen

    def candidate(self, workload: Workload) -> str:
        """Give the version that is the canary.

        Raises:
            RuntimeError: It no longer is one: then what was measured is not what this bench is about.
        """
        deployment_id, version = self._rollouts[workload.name]
        found = self._admin.deployment(deployment_id)
        if found.status != "canary" or found.step:
            why = "; ".join(change.reason for change in found.history)
            raise RuntimeError(f"{version} did not stay a canary: {found.status}, {why}")
        return version

    def form(self, workload: Workload) -> str:
        """Say what serves the stable version: ``onnx`` or ``native``."""
        form = self._admin.version(workload.name, "stable").bundle.serving_form
        return form.kind if form else "native"

    def back(self, workload: Workload) -> None:
        """End the canary: what is measured next is stable alone."""
        deployment_id, _ = self._rollouts[workload.name]
        self._ended(deployment_id)

    @contextmanager
    def rollout(self, workload: Workload, spec: Json, state: str) -> Iterator[Rollout]:
        """Have the second version go out as a spec says, from when it is in a state until the block ends."""
        _, version = self._rollouts[workload.name]
        deployment_id = self._admin.deploy(workload.name, version, spec).deployment_id
        wait(lambda: self._admin.deployment(deployment_id).status == state or None, START_S, f"{version} to be {state}")
        try:
            yield Rollout(version, lambda: self._admin.rollback(deployment_id=deployment_id, reason="bench"))
        finally:
            self._ended(deployment_id)

    def scale(self, workload: Workload, replicas: int) -> None:
        """Have the endpoint run with so many replicas, all of them answering."""
        self._admin.scale(workload.name, replicas, reason="bench")

        def there() -> bool | None:
            found = next(one for one in self._admin.endpoints() if one.model_key == workload.name)
            return found.live_replicas == replicas or None

        wait(there, START_S, f"{replicas} replicas")

    def _ended(self, deployment_id: str) -> None:
        if self._admin.deployment(deployment_id).status in LIVE_STATES:
            self._admin.rollback(deployment_id=deployment_id, reason="bench")
        self._admin.wait_deployment(deployment_id, timeout_s=START_S)

    def _canary(self, deployment_id: str) -> bool:
        found = self._admin.deployment(deployment_id)
        if found.status not in LIVE_STATES:
            raise RuntimeError(f"the canary ended as {found.status}: {found.history[-1].reason}")
        return found.status == "canary"

    def _version(self, workload: Workload, seed: int) -> str:
        job = self._trainer.train(
            {
                "spec": {"model_key": workload.name, "family": workload.family, "hyperparams": workload.hyperparams},
                "data": {"uri": str(workload.file), "target": workload.target},
                "hpo": {"strategy": "random", "max_trials": 1},
                "cv": {"folds": 2},
                "early_stopping": {"patience": 1000},  # all the trees, as the peers have
                "seed": seed,
            }
        )
        ended = self._trainer.wait_job(job.job_id)
        if ended.status != "succeeded":
            raise RuntimeError(f"training {workload.name} {ended.status}: {ended.error}")
        bundle = self._trainer.register(job.job_id, reason="bench")
        self._approver.approve(workload.name, str(bundle.version), reason="bench")
        return str(bundle.version)


@contextmanager
def system(folder: Path) -> Iterator[Ours]:
    """Have a system of our own run until the block ends, with keys required and nothing in it."""
    settings = load_settings({}, home=folder / "mldl", port=free_port(), require_keys=True)
    try:
        report = compose.up(settings)
        if report.admin_key is None:
            raise RuntimeError("a fresh system that requires keys gave no first key")
        yield Ours(settings.url, report.admin_key)
    finally:
        compose.down(settings)
