"""What ``bench.drift`` measures: speed, false alarms where nothing drifts, and how soon planted shifts are found."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binomtest

from bench.drifts.labelled import Labels, with_losses
from bench.drifts.rivals import Rivals
from bench.drifts.streams import SHIFTS, drawn, scored, source
from bench.peers.environment import checked, environment
from contracts.specs import Json
from mldl_ray.monitoring.drift import COLUMNS_SHARE, MONTH_S, alpha_of, compare
from mldl_ray.monitoring.drift_wants import ranked
from mldl_ray.monitoring.reference import Reference

PINS = ("evidently==0.7.23", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1", "pyarrow==26.0.1")
REFERENCE_ROWS = 5_000
WINDOWS_A_MONTH = 30
WINDOWS_A_REFERENCE = 3
BUDGET = 1.0
"""False alarms per month."""
ROWS_PER_S = 1.0
"""Of the streams in which shifts are planted."""


def speed(runs: int) -> Json:
    """Time one test of 5,000 rows against 20,000, the census' 14 columns: ours and Evidently's preset, from tables.

    ``vs_evidently``: theirs divided by ours, with our reference made anew each time, as theirs is;
    ``vs_evidently_reference_kept``: with the reference made once, as the monitor does.
    """
    random = np.random.default_rng(0)
    table = source("adult").table.drop_columns(["label", "score"])
    table = table.rename_columns([name.removeprefix("f.") for name in table.column_names])
    reference, window = drawn(table, random, 20_000), drawn(table, random, 5_000)
    theirs, drifted = _evidently(reference, window, runs)
    reference, window = _telemetry(reference), _telemetry(window)
    whole = _median_s(lambda: compare(Reference.of(reference), window, 0.01), runs)
    kept = Reference.of(reference)
    test = _median_s(lambda: compare(kept, window, 0.01), runs)
    mine = [name.removeprefix("f.") for name in Rivals(reference).evidently_columns(window)]
    return {
        "columns": table.num_columns,
        "evidently_s": round(theirs, 4),
        "mldl_s": round(whole, 4),
        "mldl_reference_kept_s": round(test, 4),
        "vs_evidently": round(theirs / whole, 1),
        "vs_evidently_reference_kept": round(theirs / test, 1),
        "met": theirs / whole >= 20,
        "rules_agree_with_evidently": sorted(mine) == drifted,
    }


def false_alarms(name: str, rows: int, months: int) -> Json:
    """Count alarms per month of ``WINDOWS_A_MONTH`` windows where nothing drifts, with many references."""
    random = np.random.default_rng(rows)
    table = source(name).table
    alpha = alpha_of(MONTH_S / WINDOWS_A_MONTH, rows, false_alarms_per_month=BUDGET, versions=1)
    alarms: Counter[str] = Counter(mldl=0, evidently=0, evidently_any=0, nannyml=0)
    for _ in range(months * WINDOWS_A_MONTH // WINDOWS_A_REFERENCE):
        rows_then = drawn(table, random, REFERENCE_ROWS)
        reference, rivals = Reference.of(rows_then), Rivals(rows_then.drop_columns(["label"]))
        for _ in range(WINDOWS_A_REFERENCE):
            window = drawn(table, random, rows)
            alarms["mldl"] += compare(reference, window, alpha).drifted
            alarms.update({who: int(said) for who, said in rivals.verdicts(window).items()})
    windows = months * WINDOWS_A_MONTH
    low, high = binomtest(alarms["mldl"], windows).proportion_ci()
    return {
        "table": name,
        "window_rows": rows,
        "months": months,
        "budget_per_month": BUDGET,
        "per_month": {who: round(count / months, 3) for who, count in alarms.items()},
        "mldl_95": [round(low * WINDOWS_A_MONTH, 3), round(high * WINDOWS_A_MONTH, 3)],
        "kept": alarms["mldl"] <= BUDGET * months,
    }


def power(kind: str, rows: int, streams: int, windows: int) -> Json:
    """Say how soon a shift that begins at once is found: share of windows with an alarm, rows until the first.

    ``severities``: of our alarms by columns, by what the move seems to cost.
    """
    random = np.random.default_rng(1)
    census = source("adult")
    span_s = rows / ROWS_PER_S
    alpha = COLUMNS_SHARE * alpha_of(span_s, rows, false_alarms_per_month=BUDGET, versions=1)
    severities: Counter[str] = Counter()
    said: dict[str, list[list[bool]]] = {}
    for _ in range(streams):
        rows_then = drawn(census.table, random, REFERENCE_ROWS)
        held_out, rivals = with_losses(rows_then), Rivals(rows_then.drop_columns(["label"]))
        reference, labels = Reference.of(held_out), Labels(held_out, rows, span_s)
        stream: dict[str, list[bool]] = {}
        for _ in range(windows):
            window = scored(census.model, SHIFTS[kind](drawn(census.table, random, rows), random))
            verdict = compare(reference, window, alpha)
            if verdict.drifted:
                severities[ranked(reference, window, verdict).severity] += 1
            verdicts = {"mldl": verdict.drifted} | labels.verdicts(window) | rivals.verdicts(window)
            for who, alarm in verdicts.items():
                stream.setdefault(who, []).append(alarm)
        for who, alarms in stream.items():
            said.setdefault(who, []).append(alarms)
    found = {who: {"power": _power(each), "delay_rows": _delay(each, rows)} for who, each in said.items()}
    return {"shift": kind, "window_rows": rows, "alpha": alpha, "severities": dict(severities), **found}


def _power(streams: Iterable[list[bool]]) -> float:
    return round(float(np.mean([alarm for stream in streams for alarm in stream])), 3)


def _delay(streams: Iterable[list[bool]], rows: int) -> float | None:
    """Give the median over the streams; None when most of them end without an alarm."""
    firsts = sorted(rows * (stream.index(True) + 1) if any(stream) else np.inf for stream in streams)
    median = statistics.median_high(firsts)
    return None if median == np.inf else float(median)


def _evidently(reference: pa.Table, window: pa.Table, runs: int) -> tuple[float, list[str]]:
    python = environment("evidently", PINS) / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as name:
        files = [Path(name) / "reference.parquet", Path(name) / "window.parquet"]
        for file, table in zip(files, (reference, window), strict=True):
            pq.write_table(table, file)
        script = Path(__file__).with_name("evidently_report.py")
        said = json.loads(checked([str(python), str(script), *map(str, files), str(runs)], "Evidently's report"))
    return statistics.median(said["seconds"]), said["drifted"]


def _telemetry(table: pa.Table) -> pa.Table:
    return table.rename_columns([f"f.{name}" for name in table.column_names])


def _median_s(call: Callable[[], object], runs: int) -> float:
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)
