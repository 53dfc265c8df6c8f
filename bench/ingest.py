"""How many telemetry rows a second one monitor takes on one core: 14 features, batches as replicas send them.

Everything that a batch costs is in it: reading, counting, remembering answers, the drift tests that fall due, SLOs, and
history on disk. CPU time of the process, so that neighbours do not count. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.monitor import Monitor
from contracts.ports import Write
from contracts.records import TrainedBundle
from contracts.slos import Slo
from contracts.specs import Json
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_settings

KEY, VERSION, FEATURES, BATCH_ROWS = "bench", "1.0.0", 14, 5000


def reference() -> pa.Table:
    """Draw 5,000 rows of 14 features."""
    random = np.random.default_rng(0)
    columns = {f"f.x{i}": random.normal(size=5000) for i in range(FEATURES)} | {"score": random.random(5000)}
    return pa.table(columns)


def monitor(home: Path, rows: pa.Table) -> Monitor:
    """Make a monitor that knows one version with reference rows and one SLO."""
    clock = SystemClock()
    journal, blobs, folder = MemoryJournal(clock), MemoryBlobs(), home / "artifact"
    folder.mkdir()
    (folder / "adapter.json").write_text(json.dumps({"task": "classification", "classes": [0, 1]}))
    pq.write_table(rows, folder / "reference.parquet")
    digest = store_artifact(blobs, folder, {"family": "lr"})
    bundle = TrainedBundle(
        model_key=KEY,
        version=VERSION,
        artifact_uri=f"blobs:{digest}",
        validation_hash=digest,
        created_at="2026-01-01",
        task="classification",
    )
    body = bundle.model_dump(mode="json")
    journal.append(
        [Write(kind="model_version", key=f"{KEY}@{VERSION}", expected_version=0, body=body)], actor="a", reason="b"
    )
    made = Monitor(load_settings({}, home=home), journal, blobs, clock)
    made.set_slo(Slo(name="fast", model_key=KEY, kind="latency", bound=20.0), reason="bench", by="bench")
    return made


def batch(number: int) -> bytes:
    """Write one batch as ``serve.recorder`` does."""
    random, rows = np.random.default_rng(number + 1), BATCH_ROWS
    columns = {
        "request_id": pa.array([f"r{number}-{i}" for i in range(rows)]),
        "key": pa.array([f"k{i}" for i in random.integers(0, 100_000, rows)]),
        "at_s": pa.array(time.time() + np.arange(rows) / 1000),
        "latency_ms": pa.array(random.gamma(2, 3, rows)),
        "status": pa.array([200] * rows, pa.int16()),
        "role": pa.array(["stable"] * rows),
        "prediction": pa.array([str(i) for i in random.integers(0, 2, rows)]),
        "score": pa.array(random.random(rows)),
    } | {f"f.x{i}": pa.array(random.normal(size=rows)) for i in range(FEATURES)}
    facts = {"model_key": KEY, "version": VERSION, "epoch": 1, "share": 0.0, "deployment_id": "", "lost": 0}
    table = pa.table(columns).replace_schema_metadata({name: str(value) for name, value in facts.items()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def measured(batches: int) -> Json:
    """Let a fresh monitor take batches of ``BATCH_ROWS``."""
    with tempfile.TemporaryDirectory() as home:
        taking, sent = monitor(Path(home), reference()), [batch(number) for number in range(batches + 2)]
        for one in sent[:2]:
            taking.ingest(one)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for one in sent[2:]:
            taking.ingest(one)
        taking.flush()
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    rows = batches * BATCH_ROWS
    return {
        "bench": "ingest",
        "ingest_rows_per_s": round(rows / cpu_s),
        "rows_per_wall_s": round(rows / wall_s),
        "rows": rows,
        "features": FEATURES,
        "batch_rows": BATCH_ROWS,
        "cpu_s": round(cpu_s, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40)
    print(json.dumps(measured(parser.parse_args().batches)))


if __name__ == "__main__":
    main()
