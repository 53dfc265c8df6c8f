"""What a job will do, decided and checked before anything runs: which rows for what, which axes, which figures.

``Plan.of`` refuses whatever can be refused without fitting a model, so that a bad job fails when it is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.records import TrialRecord
from contracts.specs import JobSpec, Json, SearchDimension, Task
from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.base import UNSUPERVISED, BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.evaluation.metrics import metrics_of, score
from mldl_ray.settings import Defaults
from mldl_ray.training.budget import Caps
from mldl_ray.training.conditions import Space
from mldl_ray.training.make import TableMaker
from mldl_ray.training.problem import SHARE_OF_ROWS, Fold, Problem, part
from mldl_ray.training.proposals import Proposals
from mldl_ray.training.race import rungs
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.space import space_of
from mldl_ray.training.splits import Split, folds, holdout, judges, strategy_of

ROUNDS_SHARE = 0.1
"""Of a fit's rows, those that only tell early stopping when to stop."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A job that is fit to run."""

    job: JobSpec
    train: TrainingRows
    held_out: TrainingRows
    folds: tuple[Split, ...]
    proposals: Proposals
    resource: str | None
    rungs: tuple[float, ...]
    metric: str
    metrics: tuple[str, ...]
    caps: Caps

    @classmethod
    def of(cls, job: JobSpec, rows: TrainingRows, defaults: Defaults) -> Self:
        """Decide everything; nothing is fitted.

        Raises:
            Incompatible: An unknown family, task, setting or metric; data that cannot be split as asked.
        """
        family = adapter_class(job.spec.family)
        named(job, family)
        family(job.spec.model_key, task=job.spec.task, seed=job.seed, **job.spec.hyperparams)
        figures = figures_of(job.spec.task, defaults)
        metric = job.hpo.metric or figures[0]
        metrics_of(job.spec.task, (metric,))
        space, resource, steps = resources(job, family)
        outer = holdout(rows, job.cv, job.holdout_share, job.seed)
        train = rows.take(outer.train)
        inner = tuple(folds(train, job.cv, job.seed))
        plan = cls(
            job=job,
            train=train,
            held_out=rows.take(outer.judge),
            folds=inner,
            proposals=Proposals(job, space),
            resource=resource,
            rungs=steps,
            metric=metric,
            metrics=tuple(dict.fromkeys((*figures, metric))),
            caps=caps_of(job, defaults),
        )
        plan._check_figures()
        return plan

    def problem(self, *, started_s: float, warm: Sequence[Json] = (), done: Sequence[TrialRecord] = ()) -> Problem:
        """Encode every fold once; what comes out is what trials share.

        Args:
            started_s: Unix seconds; when the job began.
            warm: Settings that won on similar data; those that fit the axes are tried first.
            done: Trials of an earlier run of this job; they count and are not run again.
        """
        job, hpo = self.job, self.job.hpo
        return Problem(
            family=job.spec.family,
            task=job.spec.task,
            model_key=job.spec.model_key,
            seed=job.seed,
            classes=len(self.train.classes),
            fixed=job.spec.hyperparams,
            space=self.proposals.space,
            strategy=hpo.strategy,
            points=tuple(self.proposals.first(warm)),
            max_trials=self.proposals.most,
            max_concurrent=hpo.max_concurrent,
            early_stop=hpo.early_stop,
            metric=self.metric,
            folds=tuple(self._encode(split, number) for number, split in enumerate(self.folds)),
            repeats=0,
            early_stopping=job.early_stopping if self.stops_early else None,
            resource=self.resource,
            rungs=self.rungs,
            caps=self.caps,
            started_s=started_s,
            done=tuple(done),
            resources=job.resources,
            metrics=self.metrics,
        )

    @property
    def stops_early(self) -> bool:
        """Say whether the family stops by itself; where a search hands out its rounds, nothing else may cut them."""
        return adapter_class(self.job.spec.family).capabilities.early_stopping and self.resource is None

    @property
    def maker(self) -> TableMaker:
        """Give what makes a version of the winner."""
        return TableMaker(self)

    def rounds(self, rows: TrainingRows, seed: int) -> Split | None:
        """Put rows aside for early stopping; None when the family has none, or there are too few rows."""
        return judges(rows, self.job.cv, ROUNDS_SHARE, seed) if self.stops_early else None

    def _encode(self, split: Split, number: int) -> Fold:
        rows = self.train.take(self._ordered(split.train, number))
        family = adapter_class(self.job.spec.family)
        encoder = Encoder.fit(rows.features, family.capabilities.style)
        learn, rounds = rows, None
        if aside := self.rounds(rows, self.job.seed + 1 + number):
            learn, rounds = rows.take(aside.train), part(rows.take(aside.judge), encoder)
        return Fold(
            encoder=encoder,
            train=part(learn, encoder),
            judge=part(self.train.take(split.judge), encoder),
            rounds=rounds,
            places=split.judge,
            repeat=number // self.job.cv.folds,
        )

    def _ordered(self, places: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
        """Order training rows so that the first of them are a fair sample; only rungs of rows need that."""
        if self.resource != SHARE_OF_ROWS:
            return places
        if self.train.times is not None and strategy_of(self.job.cv, self.train) == "time":
            return places[np.argsort(-self.train.times[places], kind="stable")]  # the latest rows first
        rng = np.random.default_rng([self.job.seed, number])
        mixed = rng.permutation(places)
        if self.train.positions is None:
            return mixed
        return mixed[fair_order(self.train.positions[mixed])]

    def _check_figures(self) -> None:
        """Refuse an objective that some fold leaves undefined, and rows that judge what nothing can learn."""
        if self.job.spec.task in UNSUPERVISED:
            return
        for number, split in enumerate(self.folds, start=1):
            _defined(self.metric, self.train.take(split.judge), f"fold {number}")
        if self.train.positions is None or self.held_out.positions is None:
            return
        known = np.unique(self.train.positions)
        if len(unknown := np.setdiff1d(self.held_out.positions, known)):
            label = self.train.classes[int(unknown[0])]
            raise Incompatible(
                f"class {label!r} is in the hold-out only, so nothing can learn it; give more rows of it, or hold out "
                "by another cv.strategy",
                {"class": label},
            )
        judged = np.unique(np.concatenate([self.train.positions[split.judge] for split in self.folds]))
        if self.job.calibration != "none" and len(judged) < len(known):
            raise Incompatible(
                f"calibration {self.job.calibration!r} needs judged rows of every class, and the folds judge "
                f"{len(judged)} of {len(known)}; use calibration 'none', or another cv.strategy"
            )


def named(job: JobSpec, family: type[BaseModelAdapter]) -> None:
    """Refuse a spec whose ``adapter`` is not the class of its family.

    Raises:
        Incompatible: It names another class.
    """
    wanted = job.spec.adapter
    if wanted is not None and wanted.rsplit(".", 1)[-1].rsplit(":", 1)[-1] != family.__name__:
        raise Incompatible(
            f"spec.adapter is {wanted!r}, but family {job.spec.family!r} is {family.__name__}; leave adapter out",
            {"adapter": wanted, "family": job.spec.family},
        )


def caps_of(job: JobSpec, defaults: Defaults) -> Caps:
    """Give what a job may use, and what it pays for what its trials hold."""
    prices = defaults.training
    return Caps.of(
        job.budget,
        job.spec.constraints,
        prices.cost_per_cpu_second,
        gpu_price=prices.cost_per_gpu_second,
        held=job.resources,
    )


def figures_of(task: Task, defaults: Defaults) -> tuple[str, ...]:
    """Give the figures that an evaluation reports: the configured ones, and precision where there are classes.

    Raises:
        Incompatible: The task has none configured, or one that is not for it.

    >>> figures_of("regression", Defaults())
    ('rmse', 'mae', 'r2')
    """
    configured: tuple[str, ...] = getattr(defaults.evaluation.metrics, task, ())
    if not configured:
        raise Incompatible(f"task {task!r} has no metrics configured (mldl.evaluation.metrics)", {"task": task})
    more = ("precision",) if task == "classification" else ()
    return tuple(metric.name for metric in metrics_of(task, (*configured, *more)))


def fair_order(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Order rows so that the classes' shares in any first part are close to those of the whole.

    >>> fair_order(np.array([0, 0, 0, 0, 1, 1])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    at = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        at[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(at, kind="stable")


def resources(job: JobSpec, family: type[BaseModelAdapter]) -> tuple[Space, str | None, tuple[float, ...]]:
    """Give the axes, and for hyperband what it hands out: the family's own resource, else shares of the rows."""
    space = space_of(job.spec, job.hpo)
    if job.hpo.strategy != "hyperband":
        return space, None, ()
    resource = family.capabilities.resource
    if resource is None:
        return space, SHARE_OF_ROWS, (1 / 9, 1 / 3, 1.0)
    axis = space.pop(resource, None)
    _unconditional(resource, axis, space)
    model = family(job.spec.model_key, task=job.spec.task, **job.spec.hyperparams)
    most = model.hyperparams[resource] if axis is None or axis.high is None else axis.high
    return space, resource, tuple(float(step) for step in rungs(int(most)))


def _unconditional(resource: str, axis: SearchDimension | None, space: Space) -> None:
    """Refuse conditions from and on what hyperband hands out, to every configuration and in several amounts."""
    if axis is not None and axis.when:
        raise Incompatible(f"hyperband hands out {resource} to every configuration; its axis cannot hang on others")
    for name, other in space.items():
        if resource in (other.when or {}):
            raise Incompatible(f"hyperband hands out {resource} in several amounts; {name} cannot hang on it")


def _defined(metric: str, rows: TrainingRows, where: str) -> None:
    """Ask the metric itself whether these rows leave it undefined, with an answer that says nothing."""
    if rows.positions is None:
        truth, said = rows.y, np.full(len(rows), float(np.mean(rows.y)))
    else:
        truth, said = rows.positions, np.full((len(rows), len(rows.classes)), 1 / len(rows.classes))
    try:
        score(metric, truth, said, rows.weights)
    except Incompatible as error:
        raise Incompatible(f"{where}: {error.message}; use fewer folds, more rows, or a stratified strategy") from error
