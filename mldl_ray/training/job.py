"""A whole job, from rows to a stored version, over any ``Trials``. Not here: who runs it, and where it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from contracts.errors import Incompatible, Refused
from contracts.ports import Blobs, Clock, SearchOutcome, Trials
from contracts.records import Progress, TrialRecord
from contracts.specs import JobSpec, Json, Words
from mldl_ray.evaluation import Stable
from mldl_ray.settings import Defaults
from mldl_ray.training.budget import Caps, Spent, finish_s, shortfall
from mldl_ray.training.finish import Finished, Source, finish
from mldl_ray.training.make import Maker
from mldl_ray.training.problem import Problem
from mldl_ray.training.proposals import Proposals
from mldl_ray.training.trial import best_of

W = TypeVar("W", bound=Words)


class Planned(Protocol):
    """A job that is fit to run, whoever teaches: rows (``plan``) or an environment (``policies``)."""

    @property
    def metric(self) -> str:
        """The objective."""
        ...

    @property
    def caps(self) -> Caps:
        """What it may use."""
        ...

    @property
    def proposals(self) -> Proposals:
        """Its configurations."""
        ...

    @property
    def maker(self) -> Maker:
        """What makes a version of the winner."""
        ...

    def problem(self, *, started_s: float, warm: Sequence[Json] = (), done: Sequence[TrialRecord] = ()) -> Problem:
        """Everything that its trials share."""
        ...


@dataclass(frozen=True)
class Ids:
    """The names that a job and its evaluation were given."""

    job_id: str
    evaluation_id: str


@dataclass(frozen=True)
class Earlier:
    """What is known before the search: settings that won elsewhere, and trials of an earlier run of this job."""

    warm: Sequence[Json] = ()
    done: Sequence[TrialRecord] = ()


def train(
    plan: Planned,
    source: Source,
    ids: Ids,
    *,
    trials: Trials,
    blobs: Blobs,
    clock: Clock,
    earlier: Earlier | None = None,
    stable: Stable | None = None,
    on_trial: Callable[[TrialRecord, Problem], None] = lambda *_: None,
) -> tuple[Finished, SearchOutcome]:
    """Search, then make a version of the winner.

    Args:
        plan: A job that is fit to run.
        source: Where its rows come from.
        ids: Its names.
        trials: What runs the search.
        blobs: Where the version's files go.
        clock: Tells when the job began.
        earlier: What is known before the search.
        stable: The version that serves, to compare the new one with.
        on_trial: Hears of every trial as it ends, and again when it is passed over at the end.

    Raises:
        Refused: No configuration could be fitted, none keeps the constraints, or the budget ended first.
    """
    earlier = earlier or Earlier()
    problem = plan.problem(started_s=clock.now_s(), warm=earlier.warm, done=earlier.done)
    outcome = trials.search(problem, lambda record: on_trial(record, problem))
    if plan.proposals.capped and len(outcome.trials) >= plan.proposals.most:
        outcome = outcome.model_copy(update={"budget_exhausted": True})
    spent = Spent(clock.now_s() - problem.started_s, outcome.cpu_seconds, outcome.gpu_seconds)
    needed = 0.0 if problem.repeats else finish_s(outcome.fold_s, len(problem.once))  # a policy's ends when it must
    if short := shortfall(problem.caps, spent, needed):
        raise Refused(f"the budget ends before a model is made: {short}; raise it, or use fewer folds or rows")
    finished = finish(
        plan.maker,
        problem,
        outcome,
        source,
        job_id=ids.job_id,
        evaluation_id=ids.evaluation_id,
        blobs=blobs,
        now_s=clock.now_s(),
        stable=stable,
        on_passed=lambda record: on_trial(record, problem),
    )
    return finished, _told_why(problem, outcome, finished.passed_over)


def _told_why(problem: Problem, outcome: SearchOutcome, passed: Sequence[TrialRecord]) -> SearchOutcome:
    """Put the reasons of those that were passed over into a search's records."""
    reasons = {trial.trial_id: trial for trial in passed}
    trials = tuple(reasons.get(trial.trial_id, trial) for trial in outcome.trials)
    ranked = best_of(problem, trials)
    return outcome.model_copy(update={"trials": trials, "best": ranked[0] if ranked else None})


def read_job(document: JobSpec | Mapping[str, Any]) -> JobSpec:
    """Read a job from a document such as ``POST /train`` takes.

    Raises:
        Incompatible: An unknown, missing or wrong field; the message names it.

    >>> read_job({"spec": {"model_key": "m", "family": "lr"}, "hpo": {"max_trials": 0}})
    Traceback (most recent call last):
    contracts.errors.Incompatible: hpo.max_trials: Input should be greater than or equal to 1 (got 0)
    """
    if isinstance(document, JobSpec):
        return document
    if not isinstance(document, Mapping):
        raise Incompatible(f"a job is an object with spec, data, hpo…; got {type(document).__name__}")
    try:
        return JobSpec.model_validate(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "job"
        got = f" (got {first['input']!r})" if isinstance(first.get("input"), str | int | float | bool) else ""
        said = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise Incompatible(f"{where}: {said}{got}", {"field": where}) from error


def with_defaults(job: JobSpec, defaults: Defaults) -> JobSpec:
    """Fill what a job does not say from the configuration.

    >>> job = read_job({"spec": {"model_key": "m", "family": "lr"}, "hpo": {"max_trials": 3}})
    >>> with_defaults(job, Defaults()).hpo.max_trials
    3
    """
    calibration = job.calibration if "calibration" in job.model_fields_set else defaults.calibration.default
    return job.model_copy(
        update={
            "cv": _filled(job.cv, defaults.training.cv),
            "hpo": _filled(job.hpo, defaults.training.hpo),
            "calibration": calibration,
        }
    )


def _filled(own: W, default: W) -> W:
    """Take what was said, and the rest from the default."""
    return default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def progress(problem: Problem, trials: Sequence[TrialRecord], elapsed_s: float) -> Progress:
    """Say how far a search is; the remaining time is that of the trials so far, extrapolated."""
    ranked = best_of(problem, trials)
    done, total = len(trials), problem.max_trials
    fresh = done - len(problem.done)
    eta = None if fresh <= 0 else elapsed_s / fresh * max(0, total - done)
    return Progress(
        trials_done=done,
        trials_total=total,
        best_score=ranked[0].score if ranked else None,
        eta_s=None if eta is None else round(eta, 2),
    )
