"""``TrainingJobRunner``: a training job from a Python program, without the rest of the system."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa

from contracts.errors import Incompatible
from contracts.records import TrainedBundle, TrialRecord
from contracts.specs import DataRef, JobSpec
from mldl_ray import cluster, compose
from mldl_ray.adapters.base import UNSUPERVISED
from mldl_ray.adapters.table import to_table
from mldl_ray.blobs.tables import parquet_bytes, read_table
from mldl_ray.bridges.choosing import chosen, named_family
from mldl_ray.bridges.intelligence import EmbeddedIntelligence
from mldl_ray.bridges.memory import EmbeddedMemory, name_of
from mldl_ray.clock import SystemClock
from mldl_ray.ids import new_id
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import Settings, load_settings
from mldl_ray.training.finish import Source
from mldl_ray.training.job import Ids, Planned, read_job, train, with_defaults
from mldl_ray.training.plan import Plan
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows

log = logging.getLogger(__name__)

BUILT_IN = "sklearn-breast-cancer"


class _Data(NamedTuple):
    rows: TrainingRows
    source: Source


class TrainingJobRunner:
    """Run training jobs from a Python program, as Ray Tune trials.

    It needs no running system: trials run on the cluster that this process is connected to, else on that of the
    settings or of ``mldl up``, else on a Ray started for the job and stopped after it. The files of the version go
    to ``settings.artifact_uri``; nothing is written to a journal, so ``POST /register`` does not know the job.

    Rows come from ``run(..., X=, y=)``, from ``TrainingJobRunner(X, y)``, or from the job's own ``data``. A job with
    none of these, as in the published example, trains on scikit-learn's breast cancer table: that is logged as a
    warning, and the version's lineage says ``sklearn-breast-cancer``.

    Args:
        X: Features: Arrow, pandas or numpy.
        y: One label or value per row.
        settings: Where files go and which cluster is meant; read from the environment when absent.
        on_trial: Hears of every trial as it ends.
    """

    def __init__(
        self,
        X: Any = None,
        y: Any = None,
        *,
        settings: Settings | None = None,
        on_trial: Callable[[TrialRecord], None] | None = None,
    ) -> None:
        self._X, self._y = X, y
        self.settings = settings or load_settings()
        self._on_trial = on_trial or (lambda _: None)

    async def run(self, job_spec: JobSpec | Mapping[str, Any], X: Any = None, y: Any = None) -> TrainedBundle:
        """Search, refit, calibrate, judge and store; give the trained version, which has no number yet.

        Args:
            job_spec: As in ``POST /train``; ``data`` may be absent.
            X: Features; those of the runner when absent.
            y: Their labels or values.

        Raises:
            Incompatible: A wrong field (the message names it), or rows that do not fit the job.
            NotFound: The job's data is not there.
            Refused: No configuration could be fitted, or the budget ended first.
            Unavailable: The cluster cannot be reached.
        """
        return await asyncio.to_thread(self._run, job_spec, X, y)

    def _run(self, job_spec: JobSpec | Mapping[str, Any], X: Any, y: Any) -> TrainedBundle:
        job = with_defaults(read_job(job_spec), self.settings.mldl)
        with self._cluster():
            from actors.trials import RayTrials  # noqa: PLC0415  # imports Ray, which reads its environment then

            plan, source = self._planned(job, *((self._X, self._y) if X is None and y is None else (X, y)))
            finished, _ = train(
                plan,
                source,
                Ids(new_id("job"), new_id("eval")),
                trials=RayTrials(SystemClock()),
                blobs=compose.blobs(self.settings),
                clock=SystemClock(),
                on_trial=lambda record, _: self._on_trial(record),
            )
        return finished.bundle

    def _planned(self, job: JobSpec, X: Any, y: Any) -> tuple[Planned, Source]:
        if job.spec.task == "reinforcement":
            if X is not None:
                raise Incompatible("an environment teaches a policy, and no rows; leave X and y out", {"field": "X"})
            return PolicyPlan.of(named_family(job), self.settings.mldl), Source()
        if job.spec.feature_view is not None:
            raise Incompatible(
                "a feature view lives in a running system's journal; hand the job in by POST /train",
                {"field": "feature_view"},
            )
        data = self._data(job, X, y)
        alone = EmbeddedIntelligence(MemoryJournal(clock := SystemClock()), clock)  # no system's experience is at hand
        job, advice = chosen(job, data.rows, alone)
        if advice is not None:
            log.info("the job names no family; training %s", advice.why)
        return Plan.of(job, data.rows, self.settings.mldl), data.source

    def _data(self, job: JobSpec, X: Any, y: Any) -> _Data:
        if (X is None and y is not None) or (y is None and X is not None and job.spec.task not in UNSUPERVISED):
            raise Incompatible(f"{'y' if y is None else 'X'} is missing: X and y are given together", {"field": "y"})
        if X is not None:
            if job.data is not None:
                raise Incompatible("the job names data and X, y are given too; give one of them", {"field": "data"})
            return _in_memory(job, X, y)
        if job.data is None:
            log.warning("the job names no data; training on scikit-learn's breast cancer table (%s)", BUILT_IN)
            return _built_in(job)
        return self._named(job, job.data)

    def _named(self, job: JobSpec, ref: DataRef) -> _Data:
        groups = self.settings.mldl.fairness.groups
        if ref.uri is not None:
            table = read_table(ref.uri)
            digest = _digest(table)
            rows = TrainingRows.of(table, ref, job.spec.task, default_sensitive=groups)
            return _Data(rows, Source(name_of(ref.uri), digest.removeprefix("sha256:")[:12], digest))
        from actors.journal import RemoteJournal  # noqa: PLC0415  # imports Ray

        memory = EmbeddedMemory(RemoteJournal(), compose.blobs(self.settings), SystemClock())
        dataset = memory.dataset(str(ref.dataset_id), ref.version)
        own = ref.model_dump(exclude_unset=True, exclude={"dataset_id", "version"})
        rows = TrainingRows.of(
            memory.table(dataset),
            memory.as_ref(dataset).model_copy(update=own),
            job.spec.task,
            default_sensitive=groups,
        )
        return _Data(rows, Source(dataset.dataset_id, dataset.version, dataset.digest))

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Connect to a cluster for as long as a job lasts, and leave this process as it was found."""
        ours = not _connected()
        if ours:
            cluster.prepare_environment(self.settings)
            self._connect()
        try:
            yield
        finally:
            if ours:
                import ray  # noqa: PLC0415  # Ray reads its environment at import

                ray.shutdown()

    def _connect(self) -> None:
        if self.settings.ray_address or os.environ.get("RAY_ADDRESS") or cluster.address(self.settings):
            compose.connect(self.settings)
            return
        import ray  # noqa: PLC0415  # as above

        ray.init(namespace="mldl", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _in_memory(job: JobSpec, X: Any, y: Any, dataset_id: str | None = None) -> _Data:
    rows = TrainingRows.of_arrays(X, y, job.spec.task)
    table = to_table(X)
    name = "y" if "y" not in table.column_names else "target of the rows"
    digest = _digest(table.append_column(name, pa.array(rows.y.tolist())) if rows.labelled else table)
    return _Data(rows, Source(dataset_id, digest.removeprefix("sha256:")[:12], digest))


def _built_in(job: JobSpec) -> _Data:
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415  # only a job without data needs it

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return _in_memory(job, X, y, BUILT_IN)


def _digest(table: pa.Table) -> str:
    return "sha256:" + hashlib.sha256(parquet_bytes(table)).hexdigest()
