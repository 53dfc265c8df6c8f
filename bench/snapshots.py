"""Snapshots of a large registry: ``python -m bench.snapshots [--versions 100000]``; prints one JSON line.

On SQLite as ``mldl up`` opens it (WAL, ``synchronous=FULL``), in this process. Snapshot: seconds and bytes. Plan and
restore: after ten, and after a thousand, of the versions were changed since.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.snapshot_store import SnapshotStore
from contracts.ports import Journal, Write
from contracts.records import TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SystemClock
from mldl_ray.journal import open_journal

AT_ONCE = 1000
PER_MODEL = 50


def main() -> None:
    """Fill a journal, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=100_000)
    versions = parser.parse_args().versions
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as name:
        journal = open_journal(f"sqlite:///{Path(name) / 'journal.db'}", SystemClock())
        filled_s, _ = timed(lambda: fill(journal, versions))
        print(json.dumps(measure(journal) | {"versions": versions, "fill_s": filled_s}))


def fill(journal: Journal, versions: int) -> None:
    """Write the versions, a thousand in an append."""
    for start in range(0, versions, AT_ONCE):
        writes = [write(n, 0, {}) for n in range(start, min(start + AT_ONCE, versions))]
        journal.append(writes, actor="bench", reason="fill")


def write(n: int, expected_version: int, tags: dict[str, str]) -> Write:
    """Make a version's document, with artifact elsewhere: files are not what is measured."""
    model_key, version = f"model-{n // PER_MODEL}", f"1.0.{n % PER_MODEL}"
    bundle = TrainedBundle(
        model_key=model_key, version=version, artifact_uri="file:elsewhere", validation_hash="sha256:0",
        created_at="2026-01-01T00:00:00Z", metrics={"f1": 0.9},
    )  # fmt: skip
    body = bundle.model_dump(mode="json") | {"tags": sorted(tags)}
    return Write(kind="model_version", key=f"{model_key}@{version}", expected_version=expected_version, body=body)


def measure(journal: Journal) -> dict[str, Any]:
    """Take a snapshot, then plan and restore after more and more changes."""
    store = SnapshotStore(journal, MemoryBlobs(), SystemClock())
    snapshot_s, taken = timed(lambda: store.export(reason="bench", by="bench"))
    found: dict[str, Any] = {"snapshot_s": snapshot_s, "snapshot_bytes": len(taken.model_dump_json())}
    for changed in (10, 1000):
        taken = store.export(reason="bench", by="bench")
        past = {n: journal.history("model_version", write(n, 0, {}).key)[-1].version for n in range(changed)}
        journal.append([write(n, past[n], {"changed": "yes"}) for n in past], actor="bench", reason="change")
        found[f"plan_{changed}_s"], plan = timed(lambda taken=taken: store.plan(taken.snapshot_id))  # type: ignore[misc]  # bound at once
        found[f"restore_{changed}_s"], _ = timed(
            lambda taken=taken: store.restore(taken.snapshot_id, reason="bench", by="bench")  # type: ignore[misc]  # bound at once
        )
        if len(plan.impacts) != changed:
            raise SystemExit(f"the plan tells of {len(plan.impacts)} changes, not of {changed}")
    return found


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Give the seconds of an act, and what it gave."""
    start = time.perf_counter()
    answer = act()
    return round(time.perf_counter() - start, 4), answer


if __name__ == "__main__":
    main()
