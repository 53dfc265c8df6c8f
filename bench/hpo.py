"""How quick a search is, beside Optuna, a plain Ray Tune trainable and scikit-learn's grid: same folds, same axes.

``adult``: census, boosted trees, 30 configurations of 5 folds, three seeds. ``tiny``: breast cancer, logistic
regression, 50 of 5. ``many``: 1,000 configurations in one job. ``memory``: a table of 1 GB. What is timed is the search
alone, on a Ray that is up and with libraries that are loaded; what each took until its first configuration was judged
is said beside it, and ``tiny`` leaves it out. ``cpu`` are the same ratios by cpu seconds of all processes, which hold
on a machine that others use too. The last line printed is the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
from sklearn.datasets import load_breast_cancer

from bench import hpo_many, tables
from bench.hpo_usage import Usage
from bench.peers.searches import SEARCHES, Found, Work, lr, xgb
from contracts.specs import DataRef, Json
from mldl_ray.adapters import adapter_class
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows

OURS = "mldl"
TARGETS = {
    "adult": {"time_vs_optuna": 0.5, "time_vs_plain_tune": 0.4},
    "tiny": {"time_vs_gridsearch": 1.5, "time_vs_plain_tune": 0.1},
}
SAME = 0.001
"""Of log loss: what is no difference between two searches on the same folds; the folds themselves differ by more."""
QUICK_ROWS, QUICK_TRIALS = 4000, 12


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts asked for, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.hpo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer rows and configurations: no verdict")
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help="only this (with others that are named)")
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--peers", nargs="*", choices=list(SEARCHES), default=list(SEARCHES))
    parser.add_argument("--json", action="store_true", help="nothing but the JSON")
    asked = parser.parse_args(arguments)
    asked.seeds = asked.seeds or ([0] if asked.quick else [0, 1, 2])
    named = [part for part in PARTS if getattr(asked, part)] or list(PARTS)
    result: Json = {"bench": "hpo", "quick": asked.quick, "seeds": asked.seeds, "cpus": 2}
    with _ray():
        for part in named:
            result[part] = PARTS[part](asked)
            if not asked.json:
                _say(json.dumps({part: result[part]}, indent=1))
    print(json.dumps(result))


def _adult(asked: argparse.Namespace) -> Json:
    table = tables.adult(0)
    X, y = (table.X.slice(0, QUICK_ROWS), table.y[:QUICK_ROWS]) if asked.quick else (table.X, table.y)
    trials = QUICK_TRIALS if asked.quick else 30
    found = []
    for seed in asked.seeds:
        plan = plan_of(X.append_column("y", pa.array(y)), "xgb", seed, {"strategy": "bayes", "max_trials": trials})
        axes = {n: (a.kind, a.low, a.high, a.log) for n, a in adapter_class("xgb").search_space().items()}
        work = _work(plan, xgb(plan.train.features.to_pandas()), axes, trials, ())
        found.append(_round(plan, work, [p for p in asked.peers if p != "gridsearch"]))
    return _summary("adult", found, whole=True) | {"rows": len(y), "trials": trials, "folds": 5}


def _tiny(asked: argparse.Namespace) -> Json:
    X, y = load_breast_cancer(return_X_y=True)
    table = pa.table({f"x{i}": X[:, i] for i in range(X.shape[1])} | {"y": y})
    points = [10 ** (-4 + 6 * i / 49) for i in range(50)]
    space = {"C": {"kind": "categorical", "choices": points}}
    found = []
    for seed in asked.seeds:
        plan = plan_of(table, "lr", seed, {"strategy": "grid", "max_trials": 50, "search_space": space})
        work = _work(plan, lr(), {}, 50, [{"C": point} for point in points])
        found.append(_round(plan, work, [p for p in asked.peers if p != "optuna"]))
    return _summary("tiny", found, whole=False) | {"rows": len(y), "trials": 50, "folds": 5}


def plan_of(table: pa.Table, family: str, seed: int, hpo: Json, folds: int = 5) -> Plan:
    """Plan a search by log loss; a thousandth of the rows is held out, as nothing is made of the winner here."""
    job = {
        "spec": {"model_key": "bench", "family": family},
        "seed": seed,
        "cv": {"folds": folds},
        "hpo": hpo | {"metric": "logloss", "max_concurrent": 2},
        "holdout_share": 0.05,
        "calibration": "none",
    }
    rows = TrainingRows.of(table, DataRef(uri="bench.parquet", target="y"), "classification")
    return Plan.of(read_job(job), rows, Defaults())


def _work(plan: Plan, pipeline: Any, axes: Any, trials: int, points: Sequence[Json]) -> Work:
    """Give peers the very rows and folds of our plan."""
    folds = [(split.train, split.judge) for split in plan.folds]
    features = plan.train.features.to_pandas()
    return Work(pipeline, features, plan.train.positions, folds, axes, trials, plan.job.seed, points)


def _round(plan: Plan, work: Work, peers: Sequence[str]) -> Json:
    """Run every system once, ours first after one small search that nobody counts."""
    found: Json = {"seed": plan.job.seed, OURS: _measured(lambda: ours(plan))}
    for peer in peers:
        found[peer] = _measured(partial(SEARCHES[peer], work))
    _say(json.dumps(found))
    return found


def ours(plan: Plan) -> Found:
    """Search as a job does, encoding included."""
    from actors.trials import RayTrials  # noqa: PLC0415  # Ray reads its environment at import
    from mldl_ray.clock import SystemClock  # noqa: PLC0415

    began, first = time.perf_counter(), [0.0]

    def heard(_: Any) -> None:
        first[0] = first[0] or time.perf_counter() - began

    outcome = RayTrials(SystemClock()).search(plan.problem(started_s=time.time()), heard)
    assert outcome.best is not None
    assert outcome.best.score is not None
    return Found(-outcome.best.score, first[0], time.perf_counter() - began)


def _measured(search: Callable[[], Found]) -> Json:
    with Usage() as usage:
        found = search()
    return {
        "score": round(found.score, 5),
        "first_s": round(found.first_s, 3),
        "total_s": round(found.total_s, 3),
        "cpu_s": round(usage.cpu_s, 2),
    }


def _summary(part: str, rounds: Sequence[Json], *, whole: bool) -> Json:
    """Compare by the median of the rounds' own ratios; a better score is a positive ``score_gain``."""
    said: Json = {"rounds": list(rounds), "cold_start_s": _median([one[OURS]["first_s"] for one in rounds])}
    for peer in [name for name in rounds[0] if name not in {"seed", OURS}]:
        pairs = [(one[OURS], one[peer]) for one in rounds]
        said[f"time_vs_{peer}"] = _median([_seconds(a, whole) / _seconds(b, whole) for a, b in pairs])
        said[f"cpu_vs_{peer}"] = _median([a["cpu_s"] / b["cpu_s"] for a, b in pairs])
        gains = [round(a["score"] - b["score"], 5) for a, b in pairs]
        said[f"score_gain_vs_{peer}"] = gains
        if (target := TARGETS[part].get(f"time_vs_{peer}")) is not None:
            said[f"met_vs_{peer}"] = said[f"time_vs_{peer}"] <= target and statistics.fmean(gains) >= -SAME
    return said | {"targets": TARGETS[part]}


def _seconds(one: Json, whole: bool) -> float:
    """Give all of a search's time, or what came after its first configuration."""
    return float(one["total_s"] if whole else one["total_s"] - one["first_s"])


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


@contextmanager
def _ray() -> Iterator[None]:
    """Have a Ray of our own with two cpus, whose processes are all below this one."""
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # noqa: PLC0415  # it reads its environment at import

    with tempfile.TemporaryDirectory(prefix="mldl-b-", ignore_cleanup_errors=True) as name:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
            _temp_dir=name, _system_config={},
        )  # fmt: skip
        try:
            yield
        finally:
            ray.shutdown()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


PARTS: dict[str, Callable[[argparse.Namespace], Json]] = {
    "adult": _adult,
    "tiny": _tiny,
    "many": lambda asked: hpo_many.many(asked.quick),
    "memory": lambda asked: hpo_many.memory(asked.quick),
}

if __name__ == "__main__":
    main()
