"""Meta-learning, embedded: what every search found, kept as experience, and the configurations to begin the next with.

One experience per job: the data's meta-features, the winning configuration, its score, what it cost. Data that look
alike tend to want alike configurations, so a search begins with those of the nearest data.

Source:
    Feurer, Springenberg & Hutter, "Initializing Bayesian hyperparameter optimization via meta-learning" (AAAI 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Conflict
from contracts.ports import Document, Journal, Write
from contracts.records import Job, TrainedBundle
from contracts.specs import Json, Task
from mldl_ray.bridges._statistics import kind_of
from mldl_ray.journal.documents import scan_all

KIND = "experience"
_SCALE = {"rows": math.log(10), "columns": math.log(10), "classes": math.log(2)}
"""Counts are compared on a log scale; ten times the rows is as far as one whole unit of a share."""
_SHARES = ("numeric_share", "missing_share", "balance")


def meta_of(table: pa.Table, y: Iterable[object], task: Task) -> Json:
    """Describe the data of a job so that jobs on similar data find each other.

    Args:
        table: The features.
        y: The target, one value per row.
        task: What it is for; ``classes`` and ``balance`` (entropy of the classes, 0–1) are for classification only.

    >>> meta = meta_of(pa.table({"a": [1.0, None], "b": ["x", "y"]}), [0, 1], "classification")
    >>> meta["numeric_share"], meta["missing_share"], meta["classes"], meta["balance"]
    (0.5, 0.25, 2, 1.0)
    """
    cells = max(1, table.num_rows * table.num_columns)
    numeric = sum(kind_of(field.type) in {"numeric", "boolean"} for field in table.schema)
    missing = sum(int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0) for column in table.columns)
    meta: Json = {
        "task": task,
        "rows": table.num_rows,
        "columns": table.num_columns,
        "numeric_share": round(numeric / max(1, table.num_columns), 4),
        "missing_share": round(missing / cells, 4),
    }
    return meta | _classes(y) if task == "classification" else meta


def record_experience(journal: Journal, job: Job, bundle: TrainedBundle, meta: Json, *, by: str) -> None:
    """Keep what a job found; a job's experience is kept once, and repeating it writes nothing."""
    body = {
        "model_key": bundle.model_key,
        "family": bundle.family or job.job.spec.family,
        "task": bundle.task or job.job.spec.task,
        "metric": job.metric,
        "meta": meta,
        "config": bundle.hyperparams,
        "score": bundle.cv_score,
        "cost_units": bundle.cost.cost_units,
    }
    try:
        write = Write(kind=KIND, key=job.job_id, expected_version=0, body=body)
        journal.append([write], actor=by, reason=f"what job {job.job_id} found")
    except Conflict:
        if journal.read(KIND, job.job_id) is None:
            raise


def experience(journal: Journal, model_key: str | None = None, limit: int = 100) -> list[Json]:
    """List experience, newest first, each with its ``job_id`` and ``at_s``."""
    found = [d for d in scan_all(journal, KIND) if d.body and model_key in {None, d.body["model_key"]}]
    return [{"job_id": d.key, "at_s": d.at_s} | (d.body or {}) for d in _newest(found)[:limit]]


def warm_configs(journal: Journal, meta: Json, family: str, limit: int = 3) -> list[Json]:
    """Give the configurations that won on the most similar data, nearest first, each once.

    Args:
        journal: Where the experience is.
        meta: Of the data at hand, from ``meta_of``.
        family: Only what this family learned counts; another one's configuration says nothing here.
        limit: How many at most.
    """
    mine = [
        document.body
        for document in _newest(scan_all(journal, KIND))
        if document.body and document.body["family"] == family and document.body["task"] == meta.get("task")
    ]
    configs: list[Json] = []
    for body in sorted(mine, key=lambda body: distance(meta, body["meta"])):
        if body["config"] and body["config"] not in configs:
            configs.append(body["config"])
    return configs[:limit]


def distance(one: Json, other: Json) -> float:
    """Measure how unlike two data sets are: 0 for the same meta-features, about 1 for ten times the rows.

    >>> distance({"rows": 100, "balance": 1.0}, {"rows": 1000, "balance": 1.0})
    1.0
    """
    gaps = [
        math.log(max(1, one[name]) / max(1, other[name])) / unit
        for name, unit in _SCALE.items()
        if name in one and name in other
    ]
    gaps += [one[name] - other[name] for name in _SHARES if name in one and name in other]
    return round(math.hypot(*gaps), 12) if gaps else math.inf


def _classes(y: Iterable[object]) -> Json:
    counts: dict[object, int] = {}
    for value in y:
        counts[value] = counts.get(value, 0) + 1
    return {"classes": len(counts), "balance": round(_evenness(list(counts.values())), 4)}


def _evenness(counts: Sequence[int]) -> float:
    if len(counts) < 2:
        return 0.0
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts) / math.log(len(counts))


def _newest(documents: Iterable[Document]) -> list[Document]:
    return sorted(documents, key=lambda document: -document.position)
