"""Drift tests: how fast, how often they cry wolf on real tables, how soon they find planted shifts; beside rivals.

Ours is the real test, ``mldl_ray.monitoring.drift``. What the figures mean and who the rivals are: ``bench/README.md``.
Progress goes to standard error, one JSON line to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from bench.drifts.labelled import label_false_alarms
from bench.drifts.measured import false_alarms, power, speed
from bench.drifts.streams import SHIFTS, TARGETS
from bench.ingest import measured as ingest
from contracts.specs import Json

PARTS = ("speed", "ingest", "false_alarms", "power")
WINDOWS = (100, 1_000, 10_000)
MONTHS = {100: 20, 1_000: 15, 10_000: 4}
LABEL_MONTHS = 200
BATCHES = 40
STREAMS, LONGEST = 8, 10
"""Streams a shift, windows a stream."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shifts", nargs="+", choices=list(SHIFTS), default=list(SHIFTS))
    parser.add_argument("--quick", action="store_true", help="a quarter of the repetitions")
    asked = parser.parse_args(arguments)
    share = 4 if asked.quick else 1
    result: Json = {"bench": "drift", "cpus": os.cpu_count(), "quick": asked.quick}
    if "speed" in asked.parts:
        result["speed"] = _said(speed(max(3, 8 // share)))
        result["vs_evidently"] = result["speed"]["vs_evidently"]
    if "ingest" in asked.parts:
        result["ingest_rows_per_s"] = _said(ingest(BATCHES // share))["ingest_rows_per_s"]
    if "false_alarms" in asked.parts:
        result["false_alarms"] = [
            _said(false_alarms(name, rows, max(1, MONTHS[rows] // share))) for name in TARGETS for rows in WINDOWS
        ]
        result["label_false_alarms"] = [_said(label_false_alarms(name, LABEL_MONTHS // share)) for name in TARGETS]
    if "power" in asked.parts:
        result["power"] = [_said(power(kind, 1_000, STREAMS // share, LONGEST)) for kind in asked.shifts]
    print(json.dumps(result))


def _said(found: Json) -> Json:
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
