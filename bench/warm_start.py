"""What experience saves: how many trials a search needs that begins with what did best on other data.

Leave one source out: every table is searched cold; then again with the experience of all tables that come from
elsewhere. ``ratio`` is the trials that the warm search needs to reach the score that the cold one ended with, divided
by those that the cold one needed for it. The last line printed is the JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bench.tables import EXAMPLES
from contracts.records import Cost, Job, TrainedBundle, TrialRecord
from contracts.specs import Json
from mldl_ray.bridges.mlt import meta_of, record_experience, warm_starts
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials

TARGET = 0.5
SAME = 1e-4
"""Of a score, relative: what counts as reaching it, as where a search has plateaued."""


class Rows(NamedTuple):
    """A table, what is asked of it, and the source that it shares with no experience it may learn from."""

    source: str
    X: pa.Table
    y: npt.NDArray[Any]


@dataclass(frozen=True)
class Searched:
    """A search that is over: its trials in order, and how many of them came from experience."""

    plan: Plan
    trials: tuple[TrialRecord, ...]
    warm: int = 0

    @property
    def best(self) -> TrialRecord:
        """Give the trial that won."""
        return min((trial for trial in self.trials if trial.score is not None), key=lambda trial: trial.score or 0.0)

    def needed(self, score: float) -> float:
        """Give how many trials it took to reach a loss; infinite when none did."""
        reached = (n for n, trial in enumerate(self.trials, start=1) if _reaches(trial.score, score))
        return next(reached, math.inf)


def main() -> None:
    """Search every table cold and warm, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="xgb")
    parser.add_argument("--strategy", default="bayes", choices=("bayes", "random"))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rows", type=int, default=600, help="of a table at most, drawn by the seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    asked = parser.parse_args()
    began = time.perf_counter()
    with threadpool_limits(1):
        found = [case for seed in asked.seeds for case in _leave_one_out(asked, seed)]
    print(json.dumps(_summary(asked, found) | {"seconds": round(time.perf_counter() - began)}))


def _leave_one_out(asked: argparse.Namespace, seed: int) -> list[Json]:
    tables = {name: _drawn(make(), asked.rows, seed) for name, make in TABLES.items()}
    cold = {name: _search(asked, name, rows, seed) for name, rows in tables.items()}
    found = []
    for name, rows in tables.items():
        journal = MemoryJournal(SystemClock())
        for other, searched in cold.items():
            if tables[other].source != rows.source:
                _remember(journal, other, tables[other], searched)
        warm = _search(asked, name, rows, seed, journal)
        found.append(_compared(name, seed, cold[name], warm))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def _search(
    asked: argparse.Namespace, name: str, rows: Rows, seed: int, journal: MemoryJournal | None = None
) -> Searched:
    job = read_job({
        "spec": {"model_key": name, "family": asked.family},
        "hpo": {"strategy": asked.strategy, "max_trials": asked.trials, "metric": "logloss", "early_stop": False},
        "cv": {"folds": 3},
        "seed": seed * len(TABLES) + list(TABLES).index(name),  # else all cold searches would draw the same
    })  # fmt: skip
    plan = Plan.of(job, TrainingRows.of_arrays(rows.X, rows.y, "classification"), Defaults())
    known = [] if journal is None else warm_starts(journal, _meta(plan), asked.family)
    settings = [start.config for start in known]
    clock = SystemClock()
    outcome = SerialTrials(clock).search(plan.problem(started_s=clock.now_s(), warm=settings), lambda _: None)
    return Searched(plan, outcome.trials, len(plan.proposals.warmed(settings)))


def _remember(journal: MemoryJournal, name: str, rows: Rows, searched: Searched) -> None:
    spec, best = searched.plan.job.spec, searched.best
    job = Job(job_id=f"job-{name}", status="succeeded", job=searched.plan.job, metric="logloss", trials=searched.trials)
    bundle = TrainedBundle(
        model_key=name, artifact_uri="", validation_hash="", created_at="", family=spec.family, task=spec.task,
        spec=spec, hyperparams=best.config, cv_score=best.score, cost=Cost(),
    )  # fmt: skip
    record_experience(journal, job, bundle, _meta(searched.plan), by="bench")


def _meta(plan: Plan) -> Json:
    return meta_of(plan.train.features, plan.train.y.tolist(), plan.train.task)


def _compared(name: str, seed: int, cold: Searched, warm: Searched) -> Json:
    score = cold.best.score or 0.0
    own, helped = cold.needed(score), warm.needed(score)
    return {
        "table": name,
        "seed": seed,
        "cold_logloss": round(score, 4),
        "warm_logloss": round(warm.best.score or 0.0, 4),
        "default_logloss": round(cold.trials[0].score or 0.0, 4),
        "from_experience": warm.warm,
        "cold_trials": int(own),
        "warm_trials": None if math.isinf(helped) else int(helped),
        "ratio": None if math.isinf(helped) else round(helped / own, 3),
    }


def _summary(asked: argparse.Namespace, found: Sequence[Json]) -> Json:
    ratios = [math.inf if case["ratio"] is None else case["ratio"] for case in found]
    middle = statistics.median(ratios)
    by_table = {
        name: statistics.median(ratio for case, ratio in zip(found, ratios, strict=True) if case["table"] == name)
        for name in TABLES
    }
    return {
        "bench": "warm_start",
        "family": asked.family,
        "strategy": asked.strategy,
        "trials": asked.trials,
        "rows": asked.rows,
        "seeds": asked.seeds,
        "median_trials_ratio": _finite(middle),
        "target": TARGET,
        "met": middle <= TARGET,
        "by_table": {name: _finite(value) for name, value in by_table.items()},
        "does_not_help": [name for name, value in by_table.items() if value >= 1],
        "never_reached": f"{sum(math.isinf(ratio) for ratio in ratios)} of {len(ratios)}",
        "warm_ends_better": f"{sum(c['warm_logloss'] < c['cold_logloss'] for c in found)} of {len(found)}",
        "cases": list(found),
    }


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 3)


def _reaches(score: float | None, wanted: float) -> bool:
    return score is not None and score <= wanted + SAME * abs(wanted)


def _drawn(rows: Rows, most: int, seed: int) -> Rows:
    places = np.random.default_rng(seed).permutation(len(rows.y))[:most]
    return Rows(rows.source, rows.X.take(places), rows.y[places])


def _shipped(load: Callable[..., Any], source: str) -> Callable[[], Rows]:
    def make() -> Rows:
        X, y = load(return_X_y=True)
        columns = {f"x{i}": np.ascontiguousarray(X[:, i]) for i in range(X.shape[1])}
        target = y > np.median(y) if source == "diabetes" else y
        return Rows(source, pa.table(columns), target.astype(np.int64))

    return make


def _adult(target: str) -> Callable[[], Rows]:
    def make() -> Rows:
        table = pq.read_table(EXAMPLES / "adult.parquet").replace_schema_metadata(None)
        y = table[target].to_numpy()
        wanted = y > np.median(y) if target == "hours_per_week" else y
        return Rows("adult", table.drop_columns(["split", "fnlwgt", target]), wanted.astype(np.int64))

    return make


def _rainfall() -> Rows:
    table = pq.read_table(EXAMPLES / "rainfall.parquet").replace_schema_metadata(None)
    return Rows("rainfall", table.drop_columns(["rain"]), table["rain"].to_numpy())


def _vowels() -> Rows:
    table = pq.read_table(EXAMPLES / "japanese_vowels.parquet").replace_schema_metadata(None)
    names = [name for name in table.column_names if name.startswith("lpc_")]
    return Rows("vowels", table.select(names), table["speaker"].to_numpy())


TABLES: dict[str, Callable[[], Rows]] = {
    "breast_cancer": _shipped(datasets.load_breast_cancer, "breast_cancer"),
    "wine": _shipped(datasets.load_wine, "wine"),
    "iris": _shipped(datasets.load_iris, "iris"),
    "diabetes": _shipped(datasets.load_diabetes, "diabetes"),
    "digits": _shipped(datasets.load_digits, "digits"),
    "adult_income": _adult("income"),
    "adult_hours": _adult("hours_per_week"),
    "rainfall": _rainfall,
    "vowels": _vowels,
}

if __name__ == "__main__":
    main()
