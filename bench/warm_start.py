"""What experience saves: how many trials a search needs that begins with what did well on other data.

Leave one source out: every table is searched cold; then again with the experience of all tables that come from
elsewhere. ``ratio`` is the trials that the warm search needs to reach the score that the cold one ended with, divided
by those that the cold one needed for it; ``share`` divides them by those that the cold one was given.

Reaching is counted twice. ``exact``: to within 1e-4, relative. ``within_noise``: to within one standard error of the
difference to the cold one's best configuration, fold by fold, on the same folds (the one-standard-error rule: Breiman
et al., Classification and Regression Trees, 1984), for the cold search and for the warm one. A third search, ``again``,
cold as the first but with other draws, says what luck alone gives. The last line printed is the JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bench.tables import EXAMPLES, FASHION
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
"""Of a score, relative: what counts as reaching it exactly, as where a search has plateaued."""
OTHER_DRAWS = 1_000_003
"""Added to the seed of a search that is to draw otherwise; its folds stay."""


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

    @property
    def noise(self) -> float:
        """Give the standard error of a difference to the best trial over its folds: the median over the better half.

        Those that are no rival of the best say nothing of how well rivals can be told apart.
        """
        best, scored = self.best, [trial for trial in self.trials if trial.score is not None]
        rivals = sorted(scored, key=lambda trial: trial.score or 0.0)[1 : 1 + len(scored) // 2]
        gaps = [np.subtract(trial.fold_scores, best.fold_scores) for trial in rivals]
        return statistics.median(float(np.std(gap, ddof=1)) / math.sqrt(len(gap)) for gap in gaps)

    def needed(self, score: float) -> float:
        """Give how many trials it took to reach a loss; infinite when none did."""
        reached = (n for n, trial in enumerate(self.trials, 1) if trial.score is not None and trial.score <= score)
        return next(reached, math.inf)


def main() -> None:
    """Search every table cold and warm, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="xgb")
    parser.add_argument("--strategy", default="bayes", choices=("bayes", "random"))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rows", type=int, default=600, help="of a table at most, drawn by the seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=[10, 11], help="the method was chosen on 0 and 1")
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
        again = _search(asked, name, rows, seed, other_draws=True)
        found.append(_compared(name, seed, cold[name], warm, again))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def _search(
    asked: argparse.Namespace,
    name: str,
    rows: Rows,
    seed: int,
    journal: MemoryJournal | None = None,
    *,
    other_draws: bool = False,
) -> Searched:
    job = read_job({
        "spec": {"model_key": name, "family": asked.family},
        "hpo": {"strategy": asked.strategy, "max_trials": asked.trials, "metric": "logloss", "early_stop": False},
        "cv": {"folds": 3},
        "seed": seed * len(TABLES) + list(TABLES).index(name),  # else all cold searches would draw the same
    })  # fmt: skip
    plan = Plan.of(job, TrainingRows.of_arrays(rows.X, rows.y, "classification"), Defaults())
    if other_draws:  # the folds are decided already
        told = job.model_copy(update={"seed": job.seed + OTHER_DRAWS})
        plan = replace(plan, job=told, proposals=replace(plan.proposals, job=told))
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


def _compared(name: str, seed: int, cold: Searched, warm: Searched, again: Searched) -> Json:
    score, noise = cold.best.score or 0.0, cold.noise
    return {
        "table": name,
        "seed": seed,
        "cold_logloss": round(score, 4),
        "warm_logloss": round(warm.best.score or 0.0, 4),
        "again_logloss": round(again.best.score or 0.0, 4),
        "default_logloss": round(cold.trials[0].score or 0.0, 4),
        "noise": round(noise, 5),
        "from_experience": warm.warm,
        "exact": _needed(score + SAME * abs(score), cold, warm, again),
        "within_noise": _needed(score + noise, cold, warm, again),
    }


def _needed(score: float, cold: Searched, warm: Searched, again: Searched) -> Json:
    """Give the trials that each search needs for a score; None where it was not reached."""
    told = {"cold": cold.needed(score), "warm": warm.needed(score), "again": again.needed(score)}
    return {name: None if math.isinf(count) else int(count) for name, count in told.items()}


def _summary(asked: argparse.Namespace, found: Sequence[Json]) -> Json:
    exact, noisy = (_figures(found, how, asked.trials) for how in ("exact", "within_noise"))
    return {
        "bench": "warm_start",
        "family": asked.family,
        "strategy": asked.strategy,
        "trials": asked.trials,
        "rows": asked.rows,
        "seeds": asked.seeds,
        "tables": len(TABLES),
        "median_trials_ratio": exact["warm"]["ratio"],
        "target": TARGET,
        "met": (exact["warm"]["ratio"] or math.inf) <= TARGET,
        "exact": exact,
        "within_noise": noisy,
        "warm_ends_better": _better(found, "warm_logloss"),
        "again_ends_better": _better(found, "again_logloss"),
        "cases": list(found),
    }


def _figures(found: Sequence[Json], how: str, trials: int) -> Json:
    """Give the medians of one way to count, for the warm search and for the cold one with other draws."""
    told: Json = {}
    for who in ("warm", "again"):
        needed = [math.inf if case[how][who] is None else case[how][who] for case in found]
        ratios = [count / case[how]["cold"] for count, case in zip(needed, found, strict=True)]
        told[who] = {
            "ratio": _median(ratios),
            "share": _median(count / trials for count in needed),
            "sooner": sum(ratio < 1 for ratio in ratios),
            "later": sum(1 < ratio < math.inf for ratio in ratios),
            "never": sum(math.isinf(ratio) for ratio in ratios),
            "by_table": _by_table(found, ratios),
        }
    told["nothing_to_save"] = sum(case[how]["cold"] == 1 for case in found)  # the defaults reach it
    told["does_not_help"] = [name for name, ratio in told["warm"]["by_table"].items() if ratio is None or ratio >= 1]
    return told


def _by_table(found: Sequence[Json], ratios: Sequence[float]) -> Json:
    return {
        name: _median(ratio for case, ratio in zip(found, ratios, strict=True) if case["table"] == name)
        for name in TABLES
    }


def _better(found: Sequence[Json], figure: str) -> str:
    return f"{sum(case[figure] < case['cold_logloss'] for case in found)} of {len(found)}"


def _median(values: Iterable[float]) -> float | None:
    middle = statistics.median(values)
    return None if math.isinf(middle) else round(middle, 3)


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


def _fashion() -> Rows:
    """10,000 images of 28 × 28, each square of 4 × 4 as its mean."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((FASHION / f"t10k-{part}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for part, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    squares = pixels.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
    return Rows("fashion", pa.table({f"p{i}": column for i, column in enumerate(squares.T)}), labels.astype(np.int64))


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

if FASHION.exists():  # Debian: apt install dataset-fashion-mnist
    TABLES["fashion"] = _fashion

if __name__ == "__main__":
    main()
