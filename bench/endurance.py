"""What many deployments leave behind: memory by process, apps and replicas, and requests that failed meanwhile.

Versions take turns as canary under steady load; every other one is promoted by hand, the rest are rolled back. Memory
is what each of our own processes has for itself (unique set), summed by what they are, after the first ``SETTLING``
deployments and after the last. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_breast_cancer

from contracts.specs import Json
from mldl_ray import cluster, compose
from mldl_ray.client import MLDLClient
from mldl_ray.demo.load import LiveLoad
from mldl_ray.settings import Settings, load_settings
from mldl_ray.wire import wait

KEY = "endurance"
SETTLING = 5
DRAIN_S = 90.0
"""A deleted app drains for 31 s in HAProxy mode."""
ROLLOUT: Json = {"canary_steps": [10, 100], "promotion_window": 1e6, "bake_window": 0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=50)
    wanted = parser.parse_args().deployments
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as folder:
        settings = load_settings({}, home=folder, port=18091)
        try:
            print(json.dumps(_measure(settings, Path(folder), wanted)))
        finally:
            compose.down(settings)


def _measure(settings: Settings, folder: Path, wanted: int) -> Json:
    frame = load_breast_cancer(as_frame=True).frame
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "data.parquet")
    rows, labels = frame.drop(columns="target").to_dict("records"), frame["target"].tolist()
    compose.up(settings)
    client = MLDLClient(settings.url, acting_as="ana")
    versions = [_version(client, settings, folder / "data.parquet", c) for c in (1.0, 0.5)]
    client.wait_deployment(client.deploy(KEY, versions[0], {}).deployment_id)
    client.wait_serving(KEY)
    with LiveLoad(settings.host, settings.port, KEY, rows, labels, per_second=100, users=4) as load:
        for number in range(SETTLING):
            _rollout(client, versions, promoted=number % 2 == 0)
        _settled(settings)
        before = _memory_mib(settings)
        for number in range(wanted):
            _rollout(client, versions, promoted=number % 2 == 0)
            print(f"{number + 1} of {wanted}", file=sys.stderr)
        _settled(settings)
        after = _memory_mib(settings)
    return {
        "bench": "endurance",
        "deployments": wanted,
        "memory_mib": {kind: [before[kind], after[kind]] for kind in sorted(before | after)},
        "memory_growth": round(sum(after.values()) / sum(before.values()), 3),
        "candidates_left": len(_candidates(settings)),
        "requests": load.served,
        "failed_requests": len(load.failures),
    }


def _version(client: MLDLClient, settings: Settings, data: Path, c: float) -> str:
    job = client.train(
        {
            "spec": {"model_key": KEY, "family": "lr", "hyperparams": {"C": c}},
            "data": {"uri": str(data), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    client.wait_job(job.job_id)
    version = str(client.register(job.job_id, reason="bench").version)
    MLDLClient(settings.url, acting_as="bo").approve(KEY, version, reason="bench")
    return version


def _rollout(client: MLDLClient, versions: list[str], *, promoted: bool) -> None:
    """Bring in the version that does not serve, then promote it or send it back.

    Raises:
        RuntimeError: It ended in another way.
    """
    stable = str(client.version(KEY, "stable").bundle.version)
    asked = client.deploy(KEY, next(v for v in versions if v != stable), ROLLOUT).deployment_id
    wait(lambda: client.deployment(asked).status == "canary" or None, 120, "the canary to begin")
    if promoted:
        client.promote(asked, reason="bench")
    else:
        client.rollback(deployment_id=asked, reason="bench")
    ended = client.wait_deployment(asked, timeout_s=120)
    if ended.status != ("succeeded" if promoted else "rolled_back"):
        raise RuntimeError(f"{asked} ended as {ended.status}: {ended.history[-1].reason}")


def _candidates(settings: Settings) -> list[psutil.Process]:
    return [p for p in cluster.processes(settings) if ":candidate" in " ".join(p.cmdline())]


def _settled(settings: Settings) -> None:
    wait(lambda: not _candidates(settings) or None, DRAIN_S, "candidates to go")


def _memory_mib(settings: Settings) -> Counter[str]:
    found: Counter[str] = Counter()
    for process in cluster.processes(settings):
        try:
            title, size = process.cmdline(), process.memory_full_info().uss
        except psutil.Error:
            continue
        found[_kind(title)] += round(size / 2**20)
    return found


def _kind(title: list[str]) -> str:
    """Name a process by what it is for.

    >>> _kind(["ray::ServeReplica:e-churn:endpoint"]), _kind(["ray::1-8ffac4df:candidate.predict"])
    ('ServeReplica', 'candidate')
    """
    if not title:
        return "gone"
    if ":candidate" in title[0]:
        return "candidate"
    script = next((part for part in title[1:] if part.endswith(".py")), title[0])
    return re.split(r"[:.]", Path(script).name.removeprefix("ray::"))[0]


if __name__ == "__main__":
    main()
