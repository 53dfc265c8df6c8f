"""The registry at scale: searching, registering and opening with 2,000 models of 50 versions with 5 tags each.

MLflow's registry holds the same versions and tags, on SQLite too, in a process and an environment of its own; the same
searches are asked of both in turn. Ours give whole records, with approvals; MLflow's give its rows. Both are called
in their process, without HTTP. The last line printed is the JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from actors.registry import Registry
from bench.peers.environment import environment
from bench.peers.processes import ROOT, clean_environment
from bench.peers.start import PINS
from contracts.evaluations import Calibration, Fairness
from contracts.ports import Write
from contracts.records import Cost, Job, Lineage, TrainedBundle
from contracts.specs import JobSpec, Json, ModelSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SystemClock
from mldl_ray.journal import SqlJournal
from mldl_ray.registry import checkpoint
from mldl_ray.registry.index import Index

TAGS = [[f"{name}-{n % of}" for name, of in (("team", 40), ("site", 25), ("stage", 7), ("grade", 11), ("wave", 101))]
        for n in range(3000)]  # fmt: skip
LIMIT = 50


def main() -> None:
    """Fill both, ask both, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--versions", type=int, default=50)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--registrations", type=int, default=300)
    parser.add_argument("--large", type=int, default=1_000_000, help="versions of the larger index; 0: leave it out")
    parser.add_argument("--alone", action="store_true", help="without MLflow")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-registry-") as folder:
        found = _measured(asked, Path(folder))
    print(json.dumps({"bench": "registry", "models": asked.models, "versions": asked.versions} | found))


def _measured(asked: argparse.Namespace, folder: Path) -> Json:
    journal, blobs = SqlJournal(f"sqlite:///{folder / 'journal.db'}", SystemClock()), MemoryBlobs()
    filled_s = _timed(lambda: _fill(journal, asked.models, asked.versions))
    _say(f"filled in {filled_s:.0f} s")
    before = _rss_mb()
    built_s = _timed(lambda: _registry(journal, blobs, folder).search(limit=1))
    opened = _registry(journal, blobs, folder)
    found: Json = {"build_s": built_s, "open_s": _timed(lambda: opened.search(limit=1))}
    found["memory_mb"] = round(_rss_mb() - before)
    _say(json.dumps(found))
    queries = _queries(asked.queries)
    found |= _searched(opened, queries)
    _say(json.dumps(found))

    def register() -> float:
        return _registered(opened, journal, blobs, asked.registrations)

    found |= (
        {"registered_per_s": register()} if asked.alone else _beside_mlflow(asked, folder, opened, queries, register)
    )
    if asked.large:
        found |= _large(folder, asked.large, asked.versions)
    journal.close()
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def _registry(journal: SqlJournal, blobs: MemoryBlobs, folder: Path) -> Registry:
    clock = SystemClock()
    return Registry(journal, blobs, EmbeddedGovernance(journal, clock), clock, folder / "index")


def _fill(journal: SqlJournal, models: int, versions: int) -> None:
    rng = random.Random(0)
    for model in range(models):
        writes = []
        for version in range(versions):
            bundle = _bundle(f"model-{model:05}", f"1.{version}.0", model * versions + version, rng)
            key = f"{bundle.model_key}@{bundle.version}"
            body = bundle.model_dump(mode="json")
            writes.append(Write(kind="model_version", key=key, expected_version=0, body=body))
        journal.append(writes, actor="bench", reason="fill")


def _bundle(model_key: str, version: str | None, n: int, rng: random.Random, digest: str = "sha256:x") -> TrainedBundle:
    return TrainedBundle(
        model_key=model_key, version=version, artifact_uri=f"blobs:{digest}", validation_hash=digest, created_at="",
        family=("xgb", "lr", "rf", "mlp")[n % 4], task="classification",
        metrics={"auroc": rng.uniform(0.6, 1), "accuracy": rng.uniform(0.6, 1), "logloss": rng.uniform(0.1, 0.7)},
        calibration=Calibration(ece=rng.uniform(0, 0.1), method="isotonic"), fairness=Fairness(delta=rng.random() / 5),
        cost=Cost(cost_units=rng.uniform(0.1, 9)), tags=tuple(TAGS[n % len(TAGS)]), lineage=Lineage(dataset_id="adult"),
    )  # fmt: skip


def _queries(count: int) -> list[list[str]]:
    """Draw tags to search for, one to three of those that some version has together."""
    rng = random.Random(1)
    return [rng.sample(rng.choice(TAGS), 1 + n % 3) for n in range(count)]


def _searched(registry: Registry, queries: list[list[str]]) -> Json:
    """Search by tags; by tags, a bound and an order; and by words."""
    kinds: dict[str, Callable[[list[str]], Any]] = {
        "search": lambda tags: registry.search(tags=tags, limit=LIMIT),
        "search_figures": lambda tags: registry.search(
            tags=tags[:1], bounds=["auroc>=0.8", "ece<=0.05"], family="xgb", sort="-auroc", limit=LIMIT
        ),
        "search_words": lambda tags: registry.search(text=f"{tags[0]} model-00", limit=LIMIT),
    }
    found: Json = {}
    for name, search in kinds.items():
        took = [_timed(lambda q=query, s=search: s(q)) * 1000 for query in queries]  # type: ignore[misc]  # bound now
        found |= {f"{name}_p50_ms": statistics.median(took), f"{name}_p95_ms": float(np.percentile(took, 95))}
    return found


def _registered(registry: Registry, journal: SqlJournal, blobs: MemoryBlobs, count: int) -> float:
    jobs = [_job(journal, blobs, n) for n in range(count)]
    return count / _timed(lambda: [registry.register(job, reason="bench", by="ana") for job in jobs])


def _job(journal: SqlJournal, blobs: MemoryBlobs, n: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.json").write_text(str(n))
        digest = store_artifact(blobs, Path(folder), {"classes": [0, 1]})
    bundle = _bundle(f"model-{n:05}", None, n, random.Random(n), digest)
    spec = ModelSpec(model_key=bundle.model_key, family="xgb")
    job = Job(job_id=f"job-{n}", status="succeeded", job=JobSpec(spec=spec), bundle=bundle)
    write = Write(kind="job", key=job.job_id, expected_version=0, body=job.model_dump(mode="json"))
    journal.append([write], actor="tom", reason="bench")
    return job.job_id


def _beside_mlflow(
    asked: argparse.Namespace, folder: Path, registry: Registry, queries: list[list[str]], register: Callable[[], float]
) -> Json:
    with _mlflow(folder / "mlflow.db") as ask:
        filled = ask({"verb": "fill", "models": asked.models, "versions": asked.versions, "tags": TAGS})
        _say(f"MLflow {filled['mlflow']} filled in {filled['seconds']:.0f} s")
        ask({"verb": "search", "queries": queries[:2], "limit": LIMIT})
        ours, theirs = [], []
        for query in queries:
            began = time.perf_counter()
            page = registry.search(tags=query, limit=LIMIT)
            ours.append((time.perf_counter() - began) * 1000)
            answer = ask({"verb": "search", "queries": [query], "limit": LIMIT})
            if answer["found"][0] != len(page):
                raise RuntimeError(f"MLflow found {answer['found'][0]} versions for {query}, ours {len(page)}")
            theirs += answer["ms"]
        per_second = register()  # only now: both hold the same while they are searched
        registered = ask({"verb": "register", "count": asked.registrations, "tags": TAGS[0]})
    ratio = [them / we for we, them in zip(ours, theirs, strict=True)]
    return {
        "mlflow": filled["mlflow"],
        "mlflow_search_p50_ms": statistics.median(theirs),
        "mlflow_search_p95_ms": float(np.percentile(theirs, 95)),
        "search_vs_mlflow": statistics.median(ratio),
        "registered_per_s": per_second,
        "mlflow_registered_per_s": registered["per_second"],
        "register_vs_mlflow": per_second / registered["per_second"],
    }


@contextmanager
def _mlflow(database: Path) -> Iterator[Callable[[Json], Json]]:
    python = environment("mlflow", PINS) / "bin" / "python"
    process = subprocess.Popen(
        [str(python), "-m", "bench.peers.mlflow_registry", str(database)],
        cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def ask(question: Json) -> Json:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("MLflow's process has no pipes")
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("MLflow's process ended; its words are above")
        answer: Json = json.loads(line)
        return answer

    try:
        yield ask
    finally:
        process.terminate()
        process.wait()


def _large(folder: Path, count: int, versions: int) -> Json:
    """Search an index of many versions, opened from its file; without the journal, which gives the page's records."""
    from mldl_ray.registry.search import Query, meant, ordered  # noqa: PLC0415  # only here

    gc.collect()
    before, index = _rss_mb(), _grown(count, versions)
    checkpoint.save(index, folder / "large")
    found: Json = {"large_versions": count, "large_memory_mb": round(_rss_mb() - before)}
    found["large_columns_mb"] = round(index.size_bytes / 2**20)

    def search(tags: list[str]) -> None:
        rows = np.flatnonzero(meant(index, Query(tags=tags)))
        [row for row, _ in zip(ordered(index, rows, "model", most=LIMIT), range(LIMIT), strict=False)]

    took = [_timed(lambda q=query: search(q)) * 1000 for query in _queries(60)]  # type: ignore[misc]  # bound now
    return found | {"large_search_p95_ms": float(np.percentile(took, 95))}


def _grown(count: int, versions: int) -> Index:
    from contracts.ports import Document  # noqa: PLC0415  # only here

    index, rng = Index(), random.Random(0)
    for n in range(count):
        key = f"model-{n // versions:05}@1.{n % versions}.0"
        body = {
            "family": ("xgb", "lr", "rf", "mlp")[n % 4], "task": "classification", "tags": TAGS[n % len(TAGS)],
            "metrics": {"auroc": rng.random(), "accuracy": rng.random(), "logloss": rng.random()},
        }  # fmt: skip
        index.take(
            Document(kind="model_version", key=key, version=1, body=body, position=n + 1, at_s=0, actor="b", reason="")
        )
    return index


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _rss_mb() -> float:
    """Give this process's memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
