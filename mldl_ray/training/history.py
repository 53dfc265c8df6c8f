"""The trials of a job as rows: in order, picked, ranked, as a table. Pure. How they look on a page is in ``report``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa

from contracts.errors import NotFound
from contracts.records import Job, TrialRecord
from mldl_ray.evaluation.metrics import METRICS

TrialStatus = Literal["completed", "pruned", "failed"]
Order = Literal["ended", "score", "seconds"]
CONFIG, METRIC = "config.", "metrics."
"""What the columns of settings and of further figures begin with, so that none is taken for a column of ours."""
_LARGEST = 2**63


def listed(
    job: Job, *, status: TrialStatus | None = None, order: Order = "ended", after: str = "", limit: int = 50
) -> list[TrialRecord]:
    """Pick trials of a job.

    Args:
        job: Whose.
        status: Only those that came out so.
        order: As they ended; by score, the best first; or by seconds, the longest first.
        after: Only what follows the trial of this id.
        limit: Most.

    Raises:
        NotFound: ``after`` is no trial in this list.
    """
    found = [trial for trial in _ordered(job, order) if status in {None, trial.status}]
    if after:
        ids = [trial.trial_id for trial in found]
        if after not in ids:
            raise NotFound(f"after: job {job.job_id} has no such trial {after!r}", {"after": after})
        found = found[ids.index(after) + 1 :]
    return found[:limit]


def sign_of(job: Job) -> int:
    """Give what turns a score of the job into a gain: more is better."""
    metric = METRICS.get(job.metric or "")
    return 1 if metric is None or metric.higher_is_better else -1


def ranked(job: Job) -> list[TrialRecord]:
    """Rank the trials that may win and got furthest, the best first: only they were judged on the same rows."""
    able = [trial for trial in job.trials if trial.status != "failed" and trial.passed_over is None]
    scored = [trial for trial in able if trial.score is not None]
    whole = [trial for trial in scored if trial.status == "completed"]
    furthest = max((len(trial.fold_scores) for trial in scored), default=0)
    level = whole or [trial for trial in scored if len(trial.fold_scores) == furthest]
    return sorted(level, key=lambda trial: (-sign_of(job) * (trial.score or 0.0), trial.number or 0))


def price_of(job: Job) -> float | None:
    """Give what a second of a trial was billed at, in cost units, all that it held included; None before any bill."""
    if job.bundle is not None and job.bundle.cost.cpu_seconds > 0:
        return job.bundle.cost.cost_units / job.bundle.cost.cpu_seconds * job.job.resources.cpus
    seconds = sum(trial.seconds for trial in job.trials)
    return job.cost_units / seconds if seconds > 0 else None


def axes_of(trials: Sequence[TrialRecord]) -> list[str]:
    """Name every setting that some trial has, in the order of first appearance."""
    return list(dict.fromkeys(name for trial in trials for name in trial.config))


def trials_table(job: Job) -> pa.Table:
    """Give a job's trials as a table, in the order in which they ended.

    A setting's column is ``config.<name>``: numbers, booleans or text where all its values are such, otherwise each
    value as JSON text; empty where a trial does not have it. ``metrics.<name>`` are further figures, where they were
    taken. ``cost_units`` is the trial's seconds at the job's price.

    >>> from contracts.specs import JobSpec, ModelSpec
    >>> spec = JobSpec(spec=ModelSpec(model_key="m", family="lr"))
    >>> trial = TrialRecord(trial_id="t", config={"C": 1}, score=0.5, status="completed", seconds=2)
    >>> table = trials_table(Job(job_id="j", status="running", job=spec, trials=(trial,), cost_units=0.1))
    >>> table["config.C"].to_pylist(), table["cost_units"].to_pylist()
    ([1], [0.1])
    """
    trials, price = job.trials, price_of(job)
    columns: dict[str, pa.Array] = {
        "trial_id": pa.array([trial.trial_id for trial in trials], pa.string()),
        "status": pa.array([trial.status for trial in trials], pa.string()),
        "score": pa.array([trial.score for trial in trials], pa.float64()),
    }
    for name in axes_of(trials):
        columns[CONFIG + name] = _column([trial.config.get(name) for trial in trials])
    for name in dict.fromkeys(name for trial in trials for name in trial.metrics):
        columns[METRIC + name] = pa.array([trial.metrics.get(name) for trial in trials], pa.float64())
    columns["fold_scores"] = pa.array([list(trial.fold_scores) for trial in trials], pa.list_(pa.float64()))
    columns["seconds"] = pa.array([trial.seconds for trial in trials], pa.float64())
    costs = [None if price is None else trial.seconds * price for trial in trials]
    columns["cost_units"] = pa.array(costs, pa.float64())
    columns["attempts"] = pa.array([trial.attempts for trial in trials], pa.int64())
    columns["passed_over"] = pa.array([trial.passed_over for trial in trials], pa.string())
    columns["error"] = pa.array([trial.error for trial in trials], pa.string())
    return pa.table(columns)


def flat(table: pa.Table) -> pa.Table:
    """Write lists as JSON text, for formats that have none, such as CSV.

    >>> flat(pa.table({"a": [[0.5, 1.0]]}))["a"].to_pylist()
    ['[0.5, 1.0]']
    """
    columns = [
        pa.array([None if cell is None else json.dumps(cell) for cell in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _ordered(job: Job, order: Order) -> list[TrialRecord]:
    if order == "seconds":
        return sorted(job.trials, key=lambda trial: -trial.seconds)
    if order == "score":
        sign = sign_of(job)
        return sorted(job.trials, key=lambda trial: (trial.score is None, -sign * (trial.score or 0.0)))
    return list(job.trials)


def _column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {str}:
        return pa.array(values, pa.string())
    if kinds <= {int} and all(abs(value) < _LARGEST for value in values if value is not None):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
