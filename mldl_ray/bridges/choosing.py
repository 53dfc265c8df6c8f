"""Choosing the family of a job that names none, by what the specialists say of its training rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from contracts.advice import FamilyAdvice
from contracts.errors import Incompatible
from contracts.specs import AUTO, Constraints, JobSpec, Json, Task
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.bridges.mlt import meta_of
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.splits import holdout


class Adviser(Protocol):
    """Whoever recommends families."""

    def family(
        self,
        meta: Json,
        task: Task,
        constraints: Constraints,
        *,
        series: bool = False,
        allowed: Iterable[str] | None = None,
    ) -> FamilyAdvice:
        """Recommend a family to train; see ``EmbeddedIntelligence.family``."""
        ...


def chosen(
    job: JobSpec, rows: TrainingRows, adviser: Adviser, allowed: Iterable[str] | None = None
) -> tuple[JobSpec, FamilyAdvice | None]:
    """Give a job with a family: its own, or the one that is recommended, with the advice.

    Only the rows that the job will learn from are looked at; those that judge take no part in the choice.

    Raises:
        Incompatible: Settings without a family that they would be of; no family can be had for the task.
    """
    spec = job.spec
    if spec.family != AUTO:
        return job, None
    if spec.hyperparams or spec.adapter or job.hpo.search_space:
        raise Incompatible(
            "family is missing: hyperparams, adapter and search_space are of one family, so name it; or leave them out "
            "to have one chosen",
            {"field": "spec.family"},
        )
    learned = rows.take(holdout(rows, job.cv, job.holdout_share, job.seed).train)
    meta = meta_of(learned.features, learned.y.tolist(), spec.task)
    series = any(column.kind == "sequence" for column in InputSchema.of(learned.features).columns)
    advice = adviser.family(meta, spec.task, spec.constraints, series=series, allowed=allowed)
    return job.model_copy(update={"spec": spec.model_copy(update={"family": advice.family})}), advice


def named_family(job: JobSpec) -> JobSpec:
    """Give a job that names its family.

    Raises:
        Incompatible: It does not.
    """
    if job.spec.family == AUTO:
        raise Incompatible(
            f"family is missing: nothing is known of a {job.spec.task} job before it plays, so name one",
            {"field": "spec.family"},
        )
    return job
