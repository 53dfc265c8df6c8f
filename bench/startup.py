"""How long a user waits: ``mldl up`` to the first prediction, and a route table's way to the replica.

``up_to_first_prediction_s`` is from an empty machine (the journal has one deployed version) to the first answer. A
push is timed from the call that changes the table to the first answer that carries its epoch, idle and under load.
Prints one JSON line.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_breast_cancer

from actors.directory import Remote
from contracts.specs import Json
from mldl_ray import compose
from mldl_ray.client import MLDLClient
from mldl_ray.demo.load import LiveLoad
from mldl_ray.settings import Settings, load_settings

KEY = "startup"
PUSHES = 40


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as folder:
        settings = load_settings({}, home=folder, port=18090)
        try:
            print(json.dumps(_measure(settings, Path(folder))))
        finally:
            compose.down(settings)


def _measure(settings: Settings, folder: Path) -> Json:
    frame = load_breast_cancer(as_frame=True).frame
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "data.parquet")
    rows = frame.drop(columns="target").to_dict("records")
    compose.up(settings)
    client = MLDLClient(settings.url, acting_as="ana")
    _deploy(client, settings, folder / "data.parquet")
    compose.down(settings)

    began = time.perf_counter()
    compose.up(settings)
    up_s = time.perf_counter() - began
    client.wait_serving(KEY)
    client.predict(KEY, rows[:1])
    first_s = time.perf_counter() - began

    idle = _pushes(client)
    with LiveLoad(settings.host, settings.port, KEY, rows, frame["target"].tolist(), per_second=2000, users=16) as load:
        loaded = _pushes(client)
    return {
        "bench": "startup",
        "up_s": round(up_s, 2),
        "up_to_first_prediction_s": round(first_s, 2),
        "push_idle_ms": idle,
        "push_loaded_ms": loaded,
        "failed_requests": len(load.failures),
    }


def _deploy(client: MLDLClient, settings: Settings, data: Path) -> None:
    job = client.train(
        {
            "spec": {"model_key": KEY, "family": "lr"},
            "data": {"uri": str(data), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    client.wait_job(job.job_id)
    bundle = client.register(job.job_id, reason="bench")
    MLDLClient(settings.url, acting_as="bo").approve(KEY, str(bundle.version), reason="bench")
    client.wait_deployment(client.deploy(KEY, str(bundle.version), {}).deployment_id)


def _pushes(client: MLDLClient) -> Json:
    """Time pushes: making or revoking a key changes every endpoint's table."""
    times_ms = []
    deployments = Remote("deployments")
    for number in range(PUSHES):
        epoch = _epoch(deployments)
        began = time.perf_counter()
        client.create_key(f"bench-{number}", "viewer")
        deployments.wait_epoch(KEY, epoch + 1)
        times_ms.append((time.perf_counter() - began) * 1000)
    return {"p50": round(statistics.median(times_ms), 1), "max": round(max(times_ms), 1)}


def _epoch(deployments: Remote) -> int:
    return next(int(item["epoch"]) for item in deployments.endpoints() if item["model_key"] == KEY)


if __name__ == "__main__":
    main()
