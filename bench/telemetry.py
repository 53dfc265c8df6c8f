"""What it costs the data plane that every prediction is seen: one replica's app with all its telemetry and without.

One-row requests at 16 connections, round after round, both up the whole time; the monitor has a process of its own, on
the same machine. Prints one JSON line. Ray has no part in it.
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

from bench.batching import command, saved
from bench.peers import wrk
from bench.peers.processes import running
from bench.peers.replica_app import REFERENCE
from bench.peers.workloads import MAKE, Workload
from contracts.specs import Json
from contracts.telemetry import FEATURE

MODES = {"seen": "seen", "unseen": "batched"}
MOST_COST, MOST_REFERENCE = 0.05, 5000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry", description=__doc__)
    parser.add_argument("--workload", nargs="+", choices=list(MAKE), default=list(MAKE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as name:
        found = {
            one: measure(MAKE[one](Path(name) / one), Path(name) / f"{one}-saved", asked) for one in asked.workload
        }
    print(json.dumps({"bench": "telemetry"} | found))


def measure(workload: Workload, folder: Path, asked: argparse.Namespace) -> Json:
    """Serve one model both ways and compare."""
    saved(workload, workload.family, workload.hyperparams, folder)
    _keep_reference(workload, folder)
    with ExitStack() as stack:
        commands = {name: command(folder, mode, workload) for name, mode in MODES.items()}
        targets = {
            name: stack.enter_context(running(starts, target._replace(name=name), folder=folder))
            for name, (starts, target) in commands.items()
        }
        rounds = [
            {name: wrk.load(target, folder, asked.seconds) for name, target in targets.items()}
            for _ in range(asked.rounds)
        ]
    costs = [1 - one["seen"].req_s / one["unseen"].req_s for one in rounds]
    print(f"{workload.name}: {costs}", file=sys.stderr, flush=True)
    cost = round(statistics.median(costs), 3)
    return {
        "telemetry_cost": cost,
        "targets_met": {"telemetry_cost": cost <= MOST_COST},
        "errors": sum(found.errors for one in rounds for found in one.values()),
    } | {name: [one[name]._asdict() for one in rounds] for name in MODES}


def _keep_reference(workload: Workload, folder: Path) -> None:
    """Put rows of the same kind where the drift test looks for them; scores are not needed for its cost."""
    rows = pq.read_table(workload.file).drop_columns([workload.target])
    rows = rows.slice(rows.num_rows // 2, MOST_REFERENCE)
    pq.write_table(rows.rename_columns([FEATURE + name for name in rows.column_names]), folder / REFERENCE)


if __name__ == "__main__":
    main()
