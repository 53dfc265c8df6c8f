"""What grows with a search: the driver's memory and a trial's overhead over 1,000 trials, memory with a large table."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.hpo_usage import Usage, files_below, own_bytes
from contracts.specs import DataRef, Json
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows

FLAT = 2.0
"""How much more the last tenth of the trials may take, each, than the second tenth."""
COLUMNS = 100
MEBI = 2**20


def many(quick: bool) -> Json:
    """Run 1,000 trials of almost no work, by ``random`` and by ``bayes``, and see what each costs as they pile up."""
    trials = 100 if quick else 1000
    return {strategy: _many(trials, strategy) for strategy in ("random", "bayes")} | {"trials": trials}


def _many(trials: int, strategy: str) -> Json:
    from actors.trials import RayTrials  # noqa: PLC0415  # Ray reads its environment at import

    plan, moments, held = _plan(_drawn(200, 5), strategy, trials, 2), list[float](), list[int]()

    def heard(_: Any) -> None:
        moments.append(time.perf_counter())
        held.append(own_bytes())

    before = files_below(Path(tempfile.gettempdir()) / "ray") + _ours()
    with Usage() as usage:
        found = RayTrials(SystemClock()).search(plan.problem(started_s=time.time()), heard)
    tenth = trials // 10
    early, late = (_each_ms(moments[at : at + tenth]) for at in (tenth, len(moments) - tenth))
    return {
        "ended": len(found.trials),
        "trial_ms_early": early,
        "trial_ms_late": late,
        "overhead_growth": round(late / early, 2),
        "flat": late <= FLAT * early,
        "cpu_ms_per_trial": round(1000 * usage.cpu_s / trials, 2),
        "driver_mib_early": round(held[tenth] / MEBI, 1),
        "driver_mib_late": round(held[-1] / MEBI, 1),
        "driver_kib_per_trial": round((held[-1] - held[tenth]) / 1024 / (len(held) - tenth), 2),
        "files_left": files_below(Path(tempfile.gettempdir()) / "ray") + _ours() - before,
    }


def memory(quick: bool) -> Json:
    """Search on a table of 1 GB with two trials at a time; shared is the object store, private is the rest."""
    from actors.trials import RayTrials  # noqa: PLC0415  # as above

    size = 100_000_000 if quick else 1_000_000_000
    plan = _plan(_drawn(size // (8 * COLUMNS), COLUMNS), "random", 2, 2, family="naive_bayes", holdout=0.001)
    problem = plan.problem(started_s=time.time())
    encoded = sum(part.M.nbytes for fold in problem.folds for part in (fold.train, fold.judge))
    found: Json = {"table_mb": size // 10**6, "folds_mb": encoded // 10**6}
    for trials in (2, 8):
        plan = _plan(_drawn(size // (8 * COLUMNS), COLUMNS), "random", trials, 2, family="naive_bayes", holdout=0.001)
        problem = plan.problem(started_s=time.time())
        with Usage(memory=True) as usage:
            RayTrials(SystemClock()).search(problem, lambda _: None)
        found[f"shared_mb_{trials}_trials"] = usage.peak_shared // 10**6
        found[f"private_mb_{trials}_trials"] = usage.peak_private // 10**6
    found["held_once"] = found["shared_mb_8_trials"] <= 1.2 * found["folds_mb"]
    return found


def _plan(table: pa.Table, strategy: str, trials: int, folds: int, family: str = "lr", holdout: float = 0.2) -> Plan:
    job = {
        "spec": {"model_key": "bench", "family": family},
        "cv": {"folds": folds},
        "hpo": {"strategy": strategy, "max_trials": trials, "metric": "logloss", "early_stop": False},
        "holdout_share": holdout,
        "calibration": "none",
    }
    rows = TrainingRows.of(table, DataRef(uri="bench.parquet", target="y"), "classification")
    return Plan.of(read_job(job), rows, Defaults())


def _drawn(rows: int, columns: int) -> pa.Table:
    rng = np.random.default_rng(0)
    drawn = {f"x{i}": rng.normal(size=rows) for i in range(columns)}
    y = (drawn["x0"] + drawn["x1"] + rng.normal(size=rows) > 0).astype(int)
    return pa.table(drawn | {"y": y})


def _each_ms(moments: list[float]) -> float:
    return round(1000 * float(statistics.median(np.diff(moments))), 2) if len(moments) > 1 else 0.0


def _ours() -> int:
    return sum(files_below(folder) for folder in Path(tempfile.gettempdir()).glob("mldl-tune-*"))
