"""Jobs whose teacher is an environment and not rows: what they will do, and how the winner is made and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.evaluations import Evaluation
from contracts.records import TrialRecord
from contracts.specs import JobSpec, Json
from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.reinforcement import PolicyAdapter
from mldl_ray.evaluation.picture import picture_of_answers
from mldl_ray.evaluation.returns import evaluate_policy
from mldl_ray.settings import Defaults
from mldl_ray.training.budget import Caps
from mldl_ray.training.fold import learn
from mldl_ray.training.judge import About
from mldl_ray.training.make import Made
from mldl_ray.training.plan import caps_of, figures_of, named, resources
from mldl_ray.training.problem import SHARE_OF_ROWS, Problem
from mldl_ray.training.proposals import Proposals

EPISODES = 100
"""Played to judge the final policy; the field's usual number."""
OBSERVATIONS = 1000
_FINAL = 1_000_003  # added to the job's seed: the episodes that judge at the end are none of those of the search


@dataclass(frozen=True, eq=False)
class PolicyPlan:
    """A job that is fit to run. ``cv.folds`` × ``cv.repeats`` trainings, each with its seed, judge a configuration."""

    job: JobSpec
    proposals: Proposals
    resource: str | None
    rungs: tuple[float, ...]
    metric: str
    metrics: tuple[str, ...]
    caps: Caps

    @classmethod
    def of(cls, job: JobSpec, defaults: Defaults) -> Self:
        """Decide everything; nothing is trained.

        Raises:
            Incompatible: An unknown family, environment, setting or metric.
        """
        family = adapter_class(job.spec.family)
        named(job, family)
        if job.data is not None:
            raise Incompatible("an environment teaches a policy, and no data; leave data out", {"field": "data"})
        policy = family(job.spec.model_key, task=job.spec.task, seed=job.seed, **job.spec.hyperparams)
        if not isinstance(policy, PolicyAdapter):
            raise Incompatible(f"family {job.spec.family} learns from rows; give it data and another task")
        policy.check_environment()
        figures = figures_of(job.spec.task, defaults)
        metric = job.hpo.metric or figures[0]
        if metric not in figures:
            raise Incompatible(f"metric {metric!r} is not for {job.spec.task}; these are: {', '.join(figures)}")
        space, resource, rungs = resources(job, family)
        if resource == SHARE_OF_ROWS:
            raise Incompatible(f"family {job.spec.family} has no resource that hyperband could hand out")
        caps = caps_of(job, defaults)
        return cls(job, Proposals(job, space), resource, rungs, metric, figures, caps)

    def problem(self, *, started_s: float, warm: Sequence[Json] = (), done: Sequence[TrialRecord] = ()) -> Problem:
        """Give what trials share; see ``Plan.problem``."""
        job, hpo = self.job, self.job.hpo
        return Problem(
            family=job.spec.family,
            task=job.spec.task,
            model_key=job.spec.model_key,
            seed=job.seed,
            classes=0,
            fixed=job.spec.hyperparams,
            space=self.proposals.space,
            strategy=hpo.strategy,
            points=tuple(self.proposals.first(warm)),
            max_trials=self.proposals.most,
            max_concurrent=hpo.max_concurrent,
            early_stop=hpo.early_stop,
            metric=self.metric,
            folds=(),
            repeats=job.cv.folds * job.cv.repeats,
            early_stopping=None,
            resource=self.resource,
            rungs=self.rungs,
            caps=self.caps,
            started_s=started_s,
            done=tuple(done),
            resources=job.resources,
            metrics=self.metrics,
        )

    @property
    def maker(self) -> PolicyMaker:
        """Give what makes a version of the winner."""
        return PolicyMaker(self.job)


@dataclass(frozen=True)
class PolicyMaker:
    """Makes versions that learned by playing."""

    job: JobSpec

    def fit(self, problem: Problem, settings: Json) -> Made:
        """Train once more, with the job's own seed, for as long as the budget lets it."""
        return Made(learn(problem, settings, self.job.seed, until_s=problem.end_s))

    def judge(self, made: Made, about: About) -> Evaluation:
        """Play episodes that neither training nor the search has seen."""
        assert isinstance(made.model, PolicyAdapter)  # what ``fit`` gave
        returns = made.model.mean_return(EPISODES, seed=_FINAL + about.seed)
        judged = evaluate_policy(
            returns,
            model_key=about.model_key,
            seed=about.seed,
            created_at=about.created_at,
            evaluation_id=about.evaluation_id,
        )
        picture = picture_of_answers(made.model, self.rows(made.model), about.seed).picture
        return judged.model_copy(update={"picture": picture})

    @property
    def asked(self) -> None:
        """Observations come as they are."""
        return

    @property
    def truth(self) -> None:
        """No action is known to be the right one."""
        return

    def rows(self, model: BaseModelAdapter) -> pa.Table:
        """Give observations that the policy meets when it plays."""
        assert isinstance(model, PolicyAdapter)  # as above
        return observations(model, OBSERVATIONS, seed=_FINAL + self.job.seed)


def observations(policy: PolicyAdapter, rows: int, seed: int) -> pa.Table:
    """Give what a policy observes while it plays, in the order in which it does."""
    seen: list[Any] = []
    with Environment(policy.hyperparams["environment"]) as environment:
        episode, row, over = 0, None, True
        while len(seen) < rows:
            if over:
                row, over, episode = environment.reset(seed + episode), False, episode + 1
            seen.append(row)
            action = int(policy.raw_matrix(np.asarray(row)[None])[0].argmax())
            row, _, ended, cut = environment.step(action)
            over = ended or cut
    columns = np.asarray(seen, dtype=np.float64).T
    return pa.table(dict(zip(policy.schema.names, columns, strict=True)))
