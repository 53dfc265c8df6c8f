"""Meta-learning, embedded: what every search found, kept as experience, and the configurations to begin the next with.

One experience per job: the data's meta-features, its configurations with their scores, what it cost. Data that look
alike tend to want alike configurations, so a search begins with a few that together suit what its data resemble
(``mlt_portfolio``). How many of its trials that may take is the search's own rule (``training.proposals``).

Source:
    Feurer, Springenberg & Hutter, "Initializing Bayesian hyperparameter optimization via meta-learning" (AAAI 2015).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, field_validator

from contracts.errors import Conflict, Incompatible
from contracts.ports import Document, Journal, Write
from contracts.records import Job, TrainedBundle, TrialRecord, WarmStart
from contracts.specs import Json, Name, Task, Words
from mldl_ray.bridges._landmarks import landmarks
from mldl_ray.bridges._statistics import kind_of
from mldl_ray.bridges.mlt_portfolio import Tried, portfolio
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.journal.documents import scan_all

KIND = "experience"
_SCALE = {"rows": math.log(10), "columns": math.log(10), "classes": math.log(2)}
"""Counts are compared on a log scale; ten times the rows is as far as one whole unit of a share."""
_SHARES = ("numeric_share", "categorical_share", "missing_share", "balance", "rarest_share", "stump", "tree")
UNKNOWN = 0.25
"""How far apart two data sets count in a figure that is known of one of them only."""
KEPT = 3
"""Configurations of a job that are kept as its best ones."""
TRIED = 40
"""Configurations of a job that are kept with their scores, good or bad: the first ones."""
HEARD = 20
"""Searches that have a say in where the next one begins, the nearest ones."""
SAME_DATA = 0.1
"""Data as near as that are taken for the same: what won there is tried before anything else."""


def meta_of(table: pa.Table, y: Iterable[object], task: Task) -> Json:
    """Describe the data of a job so that jobs on similar data find each other.

    Args:
        table: The features.
        y: The target, one value per row.
        task: What it is for. ``classes``, ``balance`` (entropy of the classes, 0–1) and ``rarest_share`` are for
            classification only, the landmarks ``stump`` and ``tree`` (0–1) for it and regression.

    >>> meta = meta_of(pa.table({"a": [1.0, None], "b": ["x", "y"]}), [0, 1], "classification")
    >>> meta["numeric_share"], meta["missing_share"], meta["classes"], meta["balance"]
    (0.5, 0.25, 2, 1.0)
    """
    cells = max(1, table.num_rows * table.num_columns)
    kinds = [kind_of(field.type) for field in table.schema]
    numeric = sum(kind in {"numeric", "boolean"} for kind in kinds)
    answers = list(y)
    missing = sum(int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0) for column in table.columns)
    meta: Json = {
        "task": task,
        "rows": table.num_rows,
        "columns": table.num_columns,
        "numeric_share": round(numeric / max(1, table.num_columns), 4),
        "categorical_share": round(kinds.count("categorical") / max(1, table.num_columns), 4),
        "missing_share": round(missing / cells, 4),
    }
    if task == "classification":
        return meta | _classes(answers) | landmarks(table, answers, classes=True)
    return meta | landmarks(table, answers, classes=False) if task == "regression" else meta


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
        "best": _best(job, bundle),
        "tried": _tried(job, bundle),
        "cost_units": bundle.cost.cost_units,
    }
    try:
        write = Write(kind=KIND, key=job.job_id, expected_version=0, body=body)
        journal.append([write], actor=by, reason=f"what job {job.job_id} found")
    except Conflict:
        if journal.read(KIND, job.job_id) is None:
            raise


class Found(Words):
    """A configuration and its score."""

    config: Json
    score: float | None = None


class SharedExperience(Words):
    """What a search elsewhere found, as a kernel tells it."""

    id: Name = Field(description="The same experience has the same id, always.")
    model_key: Name
    family: Name
    task: Task
    metric: str | None = None
    meta: Json = Field(description="As ``meta_of`` gives it.")
    config: Json
    score: float | None = None
    best: tuple[Found, ...] = ()
    tried: tuple[Found, ...] = Field(default=(), max_length=TRIED, description="Configurations, good or bad.")
    cost_units: float = Field(default=0.0, ge=0)

    @field_validator("meta")
    @classmethod
    def _figures(cls, meta: Json) -> Json:
        for name in (*_SCALE, *_SHARES):
            value = meta.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} is {value!r:.50}; it must be a finite number")
        return meta


def take_experience(journal: Journal, item: Json, *, by: str) -> bool:
    """Keep what another kernel found, once; false when it is known already.

    Args:
        journal: Where experience is.
        item: An experience with its ``id``, or a document that some other system sent to that kernel.
        by: Who writes.

    Raises:
        Incompatible: It is no experience; the message says why.
    """
    body = item.get("body")
    given = {**body, "id": item.get("key")} if isinstance(body, dict) else item
    try:
        found = SharedExperience.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise Incompatible(f"experience {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    key = f"elsewhere-{found.id}"[:128]
    if journal.read(KIND, key) is not None:
        return False
    kept = found.model_dump(mode="json", exclude={"id"}) | {"elsewhere": found.id}
    write = Write(kind=KIND, key=key, expected_version=0, body=kept)
    journal.append([write], actor=by, reason=f"found elsewhere, by {found.model_key}")
    return True


def experience(journal: Journal, model_key: str | None = None, limit: int = 100) -> list[Json]:
    """List experience, newest first, each with its ``job_id`` and ``at_s``; all that it tried is in the job itself."""
    found = [d for d in scan_all(journal, KIND) if d.body and model_key in {None, d.body["model_key"]}]
    listed = [{"job_id": d.key, "at_s": d.at_s} | (d.body or {}) for d in _newest(found)[:limit]]
    return [{name: value for name, value in body.items() if name != "tried"} for body in listed]


def warm_starts(journal: Journal, meta: Json, family: str, limit: int = 50) -> list[WarmStart]:
    """Give the settings to try first, in order: those that together suit what the data at hand resemble.

    What won on data that are nearly the same comes before them. After them, and alone where no search has said enough,
    come the winners, nearest first, then the second best. Each is given once, from where it was nearest.

    Args:
        journal: Where the experience is.
        meta: Of the data at hand, from ``meta_of``.
        family: Only what this family learned counts; another one's configuration says nothing here.
        limit: How many at most.
    """
    near = sorted(
        (
            _Near(distance(meta, document.body["meta"]), document.key, document.body)
            for document in _newest(scan_all(journal, KIND))
            if document.body and document.body["family"] == family and document.body["task"] == meta.get("task")
        ),
        key=lambda known: known.distance,
    )
    winners = [
        start for place in range(KEPT) for known in near for start in known.starts(known.best[place : place + 1])
    ]
    same = [start for start in winners[:1] if start.distance <= SAME_DATA]
    return _once([*same, *_together(near[:HEARD], limit), *winners])[:limit]


class _Near(NamedTuple):
    """What a search found, and how far its data are from those at hand."""

    distance: float
    job_id: str
    body: Json

    @property
    def best(self) -> list[Json]:
        """Give its best configurations; an old experience kept its winner only."""
        return [found["config"] for found in self.body.get("best") or [{"config": self.body["config"]}]]

    @property
    def tried(self) -> Tried:
        """Give what it tried; nothing where it is not known which of two scores is better."""
        metric = METRICS.get(self.body.get("metric") or "")
        found = [each for each in self.body.get("tried") or () if each["score"] is not None] if metric else []
        sign = 1.0 if metric and metric.higher_is_better else -1.0
        return Tried(
            self.distance, tuple(each["config"] for each in found), tuple(sign * each["score"] for each in found)
        )

    def starts(self, configs: Iterable[Json]) -> list[WarmStart]:
        """Give configurations as what a search may begin with."""
        key = self.body["model_key"]
        return [
            WarmStart(config=config, job_id=self.job_id, model_key=key, distance=self.distance)
            for config in configs
            if config
        ]


def _together(near: Sequence[_Near], most: int) -> list[WarmStart]:
    searches = [known.tried for known in near]
    pairs = zip(near, searches, strict=True)
    every = _once([start for known, search in pairs for start in known.starts(search.configs)])
    return [every[place] for place in portfolio(searches, [start.config for start in every], most=most)]


def _once(starts: Iterable[WarmStart]) -> list[WarmStart]:
    """Leave out configurations that came before."""
    found: dict[str, WarmStart] = {}
    for start in starts:
        found.setdefault(json.dumps(start.config, sort_keys=True), start)
    return list(found.values())


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
    gaps += [UNKNOWN for name in (*_SCALE, *_SHARES) if (name in one) != (name in other)]
    return round(math.hypot(*gaps), 12)


def _best(job: Job, bundle: TrainedBundle) -> list[Json]:
    """Give the settings of a job's best configurations, the winner's first, each with its score."""
    best: list[Json] = [{"config": bundle.hyperparams, "score": bundle.cv_score}]
    scored = [(trial.score, trial) for trial in job.trials if trial.status == "completed" and trial.score is not None]
    sign = -1 if job.metric in METRICS and METRICS[job.metric].higher_is_better else 1
    for score, trial in sorted(scored, key=lambda pair: sign * pair[0]):
        config = bundle.hyperparams | trial.config
        if all(config != known["config"] for known in best):
            best.append({"config": config, "score": score})
    return best[:KEPT]


def _tried(job: Job, bundle: TrainedBundle) -> list[Json]:
    """Give a job's first configurations with their scores: those that lost teach as well.

    One that was stopped early is scored as far from the best as it was on the folds (or at the rung) that it took.
    """
    ended = [trial for trial in job.trials if trial.status != "failed" and trial.score is not None]
    scored = [(trial.score, trial) for trial in ended if trial.status == "completed" and trial.score is not None]
    if not scored:
        return []
    sign = -1 if job.metric in METRICS and METRICS[job.metric].higher_is_better else 1
    best = min(scored, key=lambda pair: sign * pair[0])[1]
    rungs = job.job.hpo.strategy == "hyperband"
    return [
        {"config": bundle.hyperparams | trial.config, "score": _as_if_whole(trial, best, rungs=rungs)}
        for trial in ended[:TRIED]
    ]


def _as_if_whole(trial: TrialRecord, best: TrialRecord, *, rungs: bool) -> float | None:
    """Give a trial's score, had it gone on to be as far from the best one as it was."""
    taken = len(trial.fold_scores)
    if trial.status == "completed" or not 0 < taken <= len(best.fold_scores) or best.score is None:
        return trial.score
    mine, others = trial.fold_scores, best.fold_scores[:taken]
    return best.score + (mine[-1] - others[-1] if rungs else fmean(mine) - fmean(others))


def _classes(y: Iterable[object]) -> Json:
    counts: dict[object, int] = {}
    for value in y:
        counts[value] = counts.get(value, 0) + 1
    rarest = min(counts.values(), default=0) / max(1, sum(counts.values()))
    balance = round(_evenness(list(counts.values())), 4)
    return {"classes": len(counts), "balance": balance, "rarest_share": round(rarest, 4)}


def _evenness(counts: Sequence[int]) -> float:
    if len(counts) < 2:
        return 0.0
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts) / math.log(len(counts))


def _newest(documents: Iterable[Document]) -> list[Document]:
    return sorted(documents, key=lambda document: -document.position)
