"""How good every model family is on real data, and how quick: floors over three seeds, latency native and compiled.

A floor is the median over the seeds of one figure on rows (or episodes) that taught nothing, with the family's own
defaults but for the settings given here. Latencies are of one process, records in and answers out, median of many
calls: ``native`` by the framework on a table, ``form`` by what serves. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression, RidgeCV
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from bench import tables
from bench.tables import Table
from contracts.specs import Json, Task
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import table_of
from mldl_ray.evaluation import score
from mldl_ray.serving_form import ServingModel, compile_form
from mldl_ray.serving_form.prove import sample_rows

SEEDS = (0, 1, 2)
CALLS = 200


@dataclass(frozen=True)
class Case:
    """A floor: what a family must reach on which data."""

    family: str
    data: str
    metric: str
    least: float
    settings: Json = field(default_factory=dict)
    task: Task = "classification"


CASES = (
    Case("lr", "adult", "auroc", 0.90),
    Case("naive_bayes", "adult", "auroc", 0.84),
    Case("tree", "adult", "auroc", 0.85),
    Case("forest", "adult", "auroc", 0.915),
    Case("gbm", "adult", "auroc", 0.925),
    Case("xgb", "adult", "auroc", 0.925),
    Case("mlp", "adult", "auroc", 0.905),
    Case("svm", "digits", "accuracy", 0.98),
    Case("knn", "digits", "accuracy", 0.98, {"n_neighbors": 4}),
    Case("cnn", "digits", "accuracy", 0.985),
    Case("cnn", "fashion", "accuracy", 0.91),
    Case("rnn", "vowels", "accuracy", 0.93),
    Case("lstm", "vowels", "accuracy", 0.96),
    Case("transformer", "vowels", "accuracy", 0.96),
    Case("linear", "diabetes", "rmse_vs_best", 1 / 1.03, task="regression"),
    Case("svr", "diabetes", "rmse_vs_best", 1 / 1.03, task="regression"),
    Case("gan", "digits", "train_on_generated", 0.85, {"condition": "label"}, task="generation"),
    Case("kmeans", "digits", "ari", 0.65, {"n_clusters": 10}, task="clustering"),
    Case("q_learning", "FrozenLake-v1", "mean_return", 0.73, {"environment": "FrozenLake-v1"}, task="reinforcement"),
    Case("q_learning", "Taxi-v4", "mean_return", 7.5, {"environment": "Taxi-v4"}, task="reinforcement"),
    Case("dqn", "CartPole-v1", "mean_return", 475, {"environment": "CartPole-v1"}, task="reinforcement"),
    Case("pg", "CartPole-v1", "mean_return", 475, {"environment": "CartPole-v1"}, task="reinforcement"),
)


def main() -> None:
    """Measure the cases asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", nargs="*", help="only these")
    parser.add_argument("--data", nargs="*", help="only on these")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    asked = parser.parse_args()
    found = []
    for case in CASES:
        if (asked.family and case.family not in asked.family) or (asked.data and case.data not in asked.data):
            continue
        found.append(_measured(case, asked.seeds))
        _say(json.dumps(found[-1]))
    print(json.dumps({"bench": "families", "seeds": asked.seeds, "cases": found}))


def _measured(case: Case, seeds: list[int]) -> Json:
    values, seconds, serving = [], [], {}
    for seed in seeds:
        began = time.perf_counter()
        value, model, rows = _TASKS[case.task](case, seed)
        seconds.append(round(time.perf_counter() - began, 1))
        values.append(round(value, 4))
        _say(f"{case.family} on {case.data}, seed {seed}: {case.metric} {value:.4f} in {seconds[-1]} s")
        if seed == seeds[-1] and rows is not None:
            serving = _serving(model, rows)
    median = statistics.median(values)
    return {
        "family": case.family,
        "data": case.data,
        "metric": case.metric,
        "least": round(case.least, 4),
        "median": median,
        "met": median >= case.least,
        "values": values,
        "seconds": seconds,
        "serving": serving,
    }


def _supervised(case: Case, seed: int) -> tuple[float, BaseModelAdapter, Any]:
    table: Table = getattr(tables, case.data)(seed)
    model = create_adapter(case.family, task=case.task, seed=seed, **case.settings).fit(table.X, table.y)
    if case.metric == "rmse_vs_best":
        mine = score("rmse", table.y_judge, model.predict(table.X_judge))
        return _best_rmse(table) / mine, model, table.X_judge
    place = {label: i for i, label in enumerate(model.classes)}
    truth = [place[label] for label in table.y_judge.tolist()]
    return score(case.metric, truth, model.predict_proba(table.X_judge)), model, table.X_judge


def _best_rmse(table: Table) -> float:
    """Give the least error on the judging rows that scikit-learn's own searches reach on these training rows."""
    X, X_judge = (np.array([t[name].to_numpy() for name in t.column_names]).T for t in (table.X, table.X_judge))
    svr = {"svr__C": [1, 10, 30, 100, 300], "svr__gamma": [0.003, 0.01, 0.03, 0.1], "svr__epsilon": [1, 10, 20]}
    rivals = (
        RidgeCV(np.logspace(-4, 2, 30)),
        LassoCV(),
        ElasticNetCV(l1_ratio=[0.1, 0.5, 0.9]),
        GridSearchCV(make_pipeline(StandardScaler(), SVR()), svr),
    )
    fitted = [make_pipeline(StandardScaler(), rival).fit(X, table.y) for rival in rivals]
    return min(score("rmse", table.y_judge, rival.predict(X_judge)) for rival in fitted)


def _clusters(case: Case, seed: int) -> tuple[float, BaseModelAdapter, Any]:
    table: Table = getattr(tables, case.data)(seed)
    model = create_adapter(case.family, task=case.task, seed=seed, **case.settings).fit(table.X)
    return adjusted_rand_score(table.y_judge, model.predict(table.X_judge)), model, table.X_judge


def _generated(case: Case, seed: int) -> tuple[float, Any, None]:
    """Train a classifier on generated images only and judge it on real ones; a digit that is missing fails the case."""
    table: Table = getattr(tables, case.data)(seed)
    labels = [str(label) for label in table.y]
    model: Any = create_adapter(case.family, task=case.task, seed=seed, **case.settings)
    made = model.fit(table.X.append_column("label", [labels])).sample(2000, seed=seed)
    digits = np.array(made["label"].to_pylist()).astype(int)
    if len(np.unique(digits)) < len(np.unique(table.y)):
        return 0.0, model, None
    fake, real = (np.array([t[n].to_numpy() for n in table.X.column_names]).T for t in (made, table.X_judge))
    judge = LogisticRegression(max_iter=1000).fit(fake / 16, digits)
    return float((judge.predict(real / 16) == table.y_judge).mean()), model, None


def _policy(case: Case, seed: int) -> tuple[float, BaseModelAdapter, Any]:
    from mldl_ray.training.policies import observations  # noqa: PLC0415  # needs gymnasium

    policy: Any = create_adapter(case.family, task=case.task, seed=seed, **case.settings).learn()  # type: ignore[attr-defined]
    episodes = 100 if case.data.startswith("CartPole") else 2000
    return float(policy.mean_return(episodes, seed=seed + 10**6).mean()), policy, observations(policy, 300, seed)


_TASKS: dict[str, Callable[[Case, int], tuple[float, Any, Any]]] = {
    "classification": _supervised,
    "regression": _supervised,
    "clustering": _clusters,
    "generation": _generated,
    "reinforcement": _policy,
}


def _serving(model: BaseModelAdapter, rows: Any) -> Json:
    """Time one row and 64 rows, natively and as it serves."""
    with tempfile.TemporaryDirectory(prefix="mldl-bench-") as name:
        folder = Path(name)
        model.save(folder)
        form = compile_form(model, folder, rows.slice(0, 500))
        serving = ServingModel.load(folder)
    plain = sample_rows(model.schema, rows.slice(0, 64))
    records = [dict(zip(model.schema.names, row, strict=True)) for row in plain]
    found: Json = {"form": form.kind, "why_native": form.why_native, "largest_difference": form.largest_difference}
    for count in (1, 64):
        found[f"native_{count}_us"] = _median_us(lambda n=count: model.predict(table_of(model.schema, plain[:n])))
        found[f"form_{count}_us"] = _median_us(lambda n=count: serving.predict(records[:n]))
    return found


def _median_us(call: Callable[[], Any]) -> float:
    call()
    took = []
    for _ in range(CALLS):
        at = time.perf_counter()
        call()
        took.append(time.perf_counter() - at)
        if sum(took) > 5:
            break
    return round(statistics.median(took) * 1e6, 1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
