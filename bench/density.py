"""What a small model costs in the pool (``route: shared``) beside an endpoint of its own. Prints one JSON line.

One model is trained; every other is a registered copy under its own name, loaded separately. Both routes are up at the
same time and asked in turn, round after round; ratios are of one run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from actors.journal import RemoteJournal
from bench.peers.processes import free_port
from bench.peers.workloads import MAKE
from contracts.records import TrainedBundle
from contracts.specs import Json
from mldl_ray import cluster, compose
from mldl_ray.client import MLDLClient
from mldl_ray.journal.documents import write
from mldl_ray.settings import Settings, load_settings
from mldl_ray.wire import wait

LONG_S = 300.0
ALONE = 3
FIRST = "1.0.0"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.density", description=__doc__)
    parser.add_argument("--models", type=int, default=100, help="in the pool")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="to each route in a round")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mldl-density-", ignore_cleanup_errors=True) as name:
        settings = load_settings({}, home=Path(name) / "home", port=free_port())
        try:
            cluster.start_head(settings)
            compose.connect(settings)
            compose.up(settings)
            print(json.dumps(_measured(settings, Path(name), asked)))
        finally:
            compose.down(settings)


def _measured(settings: Settings, folder: Path, asked: argparse.Namespace) -> Json:
    client = MLDLClient(settings.url, acting_as="bench")
    body = _copies(client, folder, [f"own-{i}" for i in range(ALONE)] + [f"small-{i}" for i in range(asked.models)])
    for i in range(ALONE):
        _deploy(client, f"own-{i}", {"bake_window": 0})
        client.wait_serving(f"own-{i}")
    alone_mb = statistics.mean(_pss_mb(settings, f"ServeReplica:e-own-{i}") for i in range(ALONE))
    first_s = [_until_answered(settings, client, "small-0", body)]
    empty_mb = _pss_mb(settings, "ServeReplica:pool")
    first_s += [_until_answered(settings, client, f"small-{i}", body) for i in range(1, asked.models)]
    pool_mb = _pss_mb(settings, "ServeReplica:pool")
    of_one_mb = (pool_mb - empty_mb) / max(1, asked.models - 1)
    names = {"shared": [f"small-{i}" for i in range(asked.models)], "single": [f"own-{i}" for i in range(ALONE)]}
    rounds = [
        {route: _p95_ms(settings, keys, body, asked.requests) for route, keys in names.items()}
        for _ in range(asked.rounds)
    ]
    return {
        "bench": "density",
        "machine": {"cores": os.cpu_count(), "load": [round(x, 1) for x in os.getloadavg()]},
        "models": asked.models,
        "memory_mb": {"single": round(alone_mb, 1), "pool": round(pool_mb, 1), "shared_each": round(of_one_mb, 2)}
        | {"shared_each_with_its_part_of_the_pool": round(pool_mb / asked.models, 2)},
        "memory_vs_single": round(pool_mb / asked.models / alone_mb, 4),
        "p95_ms": {route: round(statistics.median(one[route] for one in rounds), 2) for route in names},
        "p95_vs_single": round(statistics.median(one["shared"] / one["single"] for one in rounds), 2),
        "pool_start_s": round(first_s[0], 2),
        "live_s": {"median": round(statistics.median(first_s[1:]), 3), "max": round(max(first_s[1:]), 3)},
        "promote_live_s": round(_promoted_s(settings, client, body), 3),
    }


def _copies(client: MLDLClient, folder: Path, keys: Sequence[str]) -> bytes:
    """Train one model and register it under every key, twice; give a request for it."""
    MLDLClient(client.url, acting_as="owner").set_policy({"approvals_required": 0}, reason="bench")
    workload = MAKE["lr"](folder / "lr")
    job = client.train(
        {
            "spec": {"model_key": "origin", "family": workload.family, "hyperparams": workload.hyperparams},
            "data": {"uri": str(workload.file), "target": workload.target},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2},
        }
    )
    client.wait_job(job.job_id, timeout_s=LONG_S)
    client.register(job.job_id, reason="bench")
    journal = RemoteJournal()
    origin = journal.read("model_version", f"origin@{FIRST}")
    assert origin is not None  # it was registered above
    bundle = TrainedBundle.model_validate(origin.body)
    for key in keys:
        copies = [bundle.model_copy(update={"model_key": key, "version": v}) for v in (FIRST, "1.0.1")]
        journal.append(
            [write("model_version", f"{key}@{copy.version}", 0, copy) for copy in copies], actor="bench", reason="bench"
        )
    return workload.bodies()[0].encode()


def _deploy(client: MLDLClient, key: str, spec: Json) -> None:
    ended = client.wait_deployment(client.deploy(key, FIRST, spec).deployment_id, timeout_s=LONG_S)
    if ended.status != "succeeded":
        raise RuntimeError(f"{key} was not deployed: {ended.history[-1].reason}")


def _until_answered(settings: Settings, client: MLDLClient, key: str, body: bytes) -> float:
    """Deploy a first version to the pool; give the seconds from the act to its first answer."""
    began = time.perf_counter()
    deployment_id = client.deploy(key, FIRST, {"route": "shared", "bake_window": 0}).deployment_id
    took_s = _first_answer_s(settings, key, body, FIRST, began)
    client.wait_deployment(deployment_id, timeout_s=LONG_S)
    print(f"{key}: live after {took_s:.3f} s", file=sys.stderr, flush=True)
    return took_s


def _promoted_s(settings: Settings, client: MLDLClient, body: bytes) -> float:
    """Promote a canary of a pooled model; give the seconds from the act to stable's first answer with it."""
    spec: Json = {"canary_steps": [1, 100], "canary_pct": 1, "promotion_window": 1e9, "bake_window": 0}
    deployment_id = client.deploy("small-0", "1.0.1", spec).deployment_id
    wait(lambda: client.deployment(deployment_id).status == "canary" or None, LONG_S, "the canary")
    began = time.perf_counter()
    client.promote(deployment_id, reason="bench", to_pct=100)
    return _first_answer_s(settings, "small-0", body, "1.0.1", began)


def _first_answer_s(settings: Settings, key: str, body: bytes, version: str, began: float) -> float:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=60)
    while time.perf_counter() - began < LONG_S:
        connection.request("POST", f"/api/mldl/v1/predict/{key}", body, {"x-mldl-key": "the-same"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200 and answer.headers["x-mldl-version"] == version:
            return time.perf_counter() - began
        time.sleep(0.005)
    raise RuntimeError(f"{key} {version} did not answer within {LONG_S:g} s")


def _p95_ms(settings: Settings, keys: Sequence[str], body: bytes, requests: int) -> float:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=60)
    taken = []
    for i in range(requests):
        began = time.perf_counter()
        connection.request("POST", f"/api/mldl/v1/predict/{keys[i % len(keys)]}", body)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{keys[i % len(keys)]} answered {answer.status}")
    return statistics.quantiles(taken, n=20)[-1]


def _pss_mb(settings: Settings, title: str) -> float:
    """Measure a replica: its own pages and its part of those it shares."""
    found: list[psutil.Process] = [p for p in cluster.processes(settings) if title in " ".join(p.cmdline())]
    return sum(p.memory_full_info().pss for p in found) / 2**20


if __name__ == "__main__":
    main()
