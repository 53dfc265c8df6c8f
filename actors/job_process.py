"""One training job in a process of its own. Not here: when it starts, and what happens when the process dies.

The process is a detached actor that nobody restarts: Tune's placement groups then live and go with it. Those of a
plain task stay when the task is cancelled, and go when the driver that started the system exits, in mid-search.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import ray

from actors.job_record import JobRecord, LiveProgress
from actors.models import stable_of
from actors.trials import RayTrials
from contracts.errors import Conflict, MldlError
from contracts.events import Fact
from contracts.ports import Blobs, Journal, SearchOutcome
from contracts.records import Dataset, Job, WarmStart
from contracts.specs import Json
from mldl_ray.bridges.memory import EmbeddedMemory
from mldl_ray.bridges.mlt import meta_of, record_experience, warm_starts
from mldl_ray.bridges.views import EmbeddedViews
from mldl_ray.clock import SystemClock
from mldl_ray.evaluation import Stable
from mldl_ray.features.rows import rows_of as made_rows
from mldl_ray.features.view import Transformer
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import write
from mldl_ray.settings import Settings
from mldl_ray.training.finish import Finished, Source
from mldl_ray.training.job import Earlier, Ids, Planned, train
from mldl_ray.training.plan import Plan
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows

log = logging.getLogger(__name__)


class JobProcess:
    """Runs one job and writes down how it ends. It keeps nothing that the journal lacks."""

    def __init__(self, settings: Settings, journal: Journal, blobs: Blobs) -> None:
        self._settings, self._journal, self._blobs, self._clock = settings, journal, blobs, SystemClock()

    def run(self, job_id: str, by: str) -> None:
        """Train, and go. Whatever goes wrong is the job's end, and is recorded as such."""
        self._run(job_id, by)
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]  # Ray's

    def ready(self) -> bool:
        """Answer when ``run`` is over; calls are taken one at a time."""
        return True

    def _run(self, job_id: str, by: str) -> None:
        record = JobRecord(self._journal, job_id, by)
        folder = scratch(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(folder)  # one place to clear when this process is stopped in the middle
        try:
            self._train(record, by)
        except MldlError as error:
            fail(record, {"code": error.code, "message": error.message, "facts": error.facts}, self._clock.now_s())
        except Exception as error:  # a defect of ours or of a framework; the one who waits for the job must hear of it
            log.exception("job %s broke down", job_id)
            told = {"code": "broken", "message": f"{type(error).__name__}: {error}", "facts": {}}
            fail(record, told, self._clock.now_s())

    def _train(self, record: JobRecord, by: str) -> None:
        job = record.read()
        plan, source, meta = self._planned(job)
        warm = begin_warm(self._journal, record, plan, meta)
        ids = Ids(job.job_id, new_id("eval"))
        with LiveProgress(record, plan.caps.trial_price) as live:
            finished, outcome = train(
                plan,
                source,
                ids,
                trials=RayTrials(self._clock),
                blobs=self._blobs,
                clock=self._clock,
                earlier=Earlier([start.config for start in warm], job.trials),
                stable=self._stable(job),
                on_trial=live.note,
            )
        ended = self._succeed(record, live, finished, outcome)
        if meta is not None:
            record_experience(self._journal, ended, finished.bundle, meta, by=by)

    def _stable(self, job: Job) -> Stable | None:
        """Give what serves now; a version that cannot be loaded is no reason not to train its successor."""
        model_key, view = job.job.spec.model_key, job.job.spec.feature_view
        try:
            return stable_of(self._journal, self._blobs, model_key, feature_view=view)
        except MldlError as error:
            log.warning("the stable version of %s cannot be compared with: %s", model_key, error.message)
            return None

    def _planned(self, job: Job) -> tuple[Planned, Source, Json | None]:
        """Give what a job will do, on which data, and what is remembered of that; a policy has no data."""
        if job.job.spec.task == "reinforcement":
            return PolicyPlan.of(job.job, self._settings.mldl), Source(), None
        rows, dataset = rows_of(job, self._journal, self._blobs, self._settings)
        plan = Plan.of(job.job, rows, self._settings.mldl)
        meta = meta_of(plan.train.features, plan.train.y.tolist(), plan.train.task)
        return plan, Source(dataset.dataset_id, dataset.version, dataset.digest), meta

    def _succeed(self, record: JobRecord, live: LiveProgress, finished: Finished, outcome: SearchOutcome) -> Job:
        bundle, judged = finished.bundle, finished.evaluation
        end = {
            "status": "succeeded",
            "trials": outcome.trials,
            "cost_units": bundle.cost.cost_units,
            "budget_exhausted": outcome.budget_exhausted,
            "bundle": bundle,
            "evaluation": judged,
            "ended_at_s": self._clock.now_s(),
        }
        told: Json = {"model_key": bundle.model_key, "family": bundle.family, "metrics": bundle.metrics}
        facts = [
            Fact(type="MLDL_CANDIDATE_READY", subject=record.job_id, data=told | {"artifact_uri": bundle.artifact_uri}),
            Fact(type="MLDL_EVALUATED", subject=judged.evaluation_id, data=told | {"job_id": record.job_id}),
            Fact(type="MLDL_TRAINING_ENDED", subject=record.job_id, data={"status": "succeeded"}),
        ]
        return record.change(
            lambda job: live(job).model_copy(update=end),
            reason="trained",
            facts=facts,
            more=[write("evaluation", judged.evaluation_id, 0, judged)],
        )


def begin_warm(journal: Journal, record: JobRecord, plan: Planned, meta: Json | None) -> tuple[WarmStart, ...]:
    """Give what a search begins with, and write it down first: a job that is taken up again begins the same.

    Args:
        journal: Where experience is.
        record: Of the job.
        plan: What the job will do.
        meta: What its data are like; None where there are none, and then nothing is known of it.

    Raises:
        Conflict: The job has ended already.
    """
    job = record.read()
    if meta is None or job.warm_started_from or job.trials or not job.job.hpo.warm_start:
        return job.warm_started_from
    starts = warm_starts(journal, meta, job.job.spec.family)
    taken = plan.proposals.warmed([start.config for start in starts])
    warm = tuple(starts[place].model_copy(update={"config": config}) for place, config in taken)
    if warm:
        told = f"begins with {len(warm)} configurations that did well elsewhere"
        record.change(lambda now: now.model_copy(update={"warm_started_from": warm}), reason=told)
    return warm


def rows_of(job: Job, journal: Journal, blobs: Blobs, settings: Settings) -> tuple[TrainingRows, Dataset]:
    """Give the rows of a job, from the dataset that was fixed when it was handed in.

    Raises:
        NotFound: The dataset is not there any more.
    """
    ref = job.job.data
    if ref is None or ref.dataset_id is None:
        raise Conflict(f"job {job.job_id} names no dataset; hand it in again with its data", {"job_id": job.job_id})
    memory = EmbeddedMemory(journal, blobs, SystemClock())
    dataset = memory.dataset(ref.dataset_id, ref.version)
    groups = settings.mldl.fairness.groups
    view = view_of(job.job.spec.feature_view, journal, blobs)
    return made_rows(memory.table(dataset), ref, job.job.spec.task, view, default_sensitive=groups), dataset


def view_of(name: str | None, journal: Journal, blobs: Blobs) -> Transformer | None:
    """Give the feature view of a name, ``name@version`` or a name alone; None where none is named.

    Raises:
        NotFound: There is no such view, or its joined rows are gone.
    """
    if name is None:
        return None
    views = EmbeddedViews(journal, blobs, SystemClock())
    return views.transformer(views.view(name))


def fail(record: JobRecord, error: Json, now_s: float) -> None:
    """Write down that a job failed, and why; one that was cancelled meanwhile stays cancelled."""
    try:
        record.change(
            lambda job: job.model_copy(update={"status": "failed", "error": error, "ended_at_s": now_s}),
            reason=str(error["message"])[:2000] or "failed",
            facts=[Fact(type="MLDL_TRAINING_ENDED", subject=record.job_id, data={"status": "failed"} | error)],
        )
    except Conflict:
        return


def scratch(job_id: str) -> Path:
    """Give the folder that a job's process keeps its temporary files in."""
    return Path(tempfile.gettempdir()) / f"mldl-{job_id}"
