"""What sharing a run between callers gives, for a model where it pays: one replica's app with it and without.

At 64 connections and at one, round after round, both up the whole time. Prints one JSON line. Ray has no part in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from bench.ingest import KEY
from bench.peers import wrk
from bench.peers.processes import free_port, running
from bench.peers.replica_app import ROWS
from bench.peers.workloads import Workload, adult
from bench.peers.wrk import Target
from contracts.specs import Json
from mldl_ray.adapters import create_adapter
from mldl_ray.serving_form import ServingModel, compile_form

MODES = ("batched", "unbatched")
CONNECTIONS = (64, 1)
TRAINING_ROWS = 2000
MODELS: dict[str, tuple[str, Json]] = {
    "mlp": ("mlp", {"width": 1024, "depth": 3, "epochs": 1}),
    "xgb": ("xgb", {"n_estimators": 3000, "max_depth": 8}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.batching", description=__doc__)
    parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as name:
        workload = adult(Path(name) / "adult")
        found = {model: measure(workload, model, Path(name) / model, asked) for model in asked.model}
    print(json.dumps({"bench": "batching"} | found))


def measure(workload: Workload, model: str, folder: Path, asked: argparse.Namespace) -> Json:
    """Serve one model both ways and compare."""
    answer = saved(workload, *MODELS[model], folder)
    with ExitStack() as stack:
        targets = [stack.enter_context(running(*command(folder, mode, workload), folder=folder)) for mode in MODES]
        for connections in CONNECTIONS:
            rounds = [
                {target.name: wrk.load(target, folder, asked.seconds, connections) for target in targets}
                for _ in range(asked.rounds)
            ]
            ratios = [one["batched"].req_s / one["unbatched"].req_s for one in rounds]
            answer[f"at_{connections}"] = {
                "vs_unbatched": round(statistics.median(ratios), 2),
                "errors": sum(found.errors for one in rounds for found in one.values()),
            } | {mode: [one[mode]._asdict() for one in rounds] for mode in MODES}
            print(f"{model} at {connections}: {ratios}", file=sys.stderr, flush=True)
    return answer


def command(folder: Path, mode: str, workload: Workload) -> tuple[list[str], Target]:
    """Say how a saved version is served in one of the modes, and where it is asked."""
    port = free_port()
    starts = [sys.executable, "-m", "bench.peers.replica_app", str(folder), str(port), mode]
    return starts, Target(mode, f"http://127.0.0.1:{port}/{KEY}", workload.bodies())


def saved(workload: Workload, family: str, hyperparams: Json, folder: Path) -> Json:
    """Train and save a version; give the kind of its form, and whether batching pays."""
    table = pq.read_table(workload.file).slice(0, TRAINING_ROWS)
    features, target = table.drop_columns([workload.target]), table[workload.target].to_pylist()
    adapter = create_adapter(family, model_key="m", **hyperparams).fit(features, target)
    folder.mkdir(parents=True)
    adapter.save(folder)
    rows = [list(row.values()) if isinstance(row, dict) else row for row in workload.rows[:8]]
    (folder / ROWS).write_text(json.dumps(rows), encoding="utf-8")
    form = compile_form(adapter, folder, features.slice(0, 200))
    loaded = ServingModel.load(folder)
    loaded.warm_up(rows)
    pace = loaded.pace
    return {"form": form.kind, "pace": pace and pace._asdict(), "pays": pace is not None and pace.pays}


if __name__ == "__main__":
    main()
