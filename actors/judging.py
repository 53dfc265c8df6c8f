"""Fixing the data of a job, and judging a model again: what the jobs actor does itself, without a process for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pyarrow as pa

from actors.job_process import rows_of, view_of
from actors.models import load_model, load_view, stable_of, stable_version
from contracts.advice import FamilyAdvice
from contracts.errors import Incompatible, NotFound, Refused
from contracts.evaluations import AgainstStable, Evaluation
from contracts.events import Fact
from contracts.http import ExplainAnswer, SampleAnswer
from contracts.ports import Blobs, Clock, Journal, Once, Write
from contracts.quality import QualityReport
from contracts.records import Dataset, Job, TrainedBundle
from contracts.specs import DataRef, JobSpec, Task
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import table_of
from mldl_ray.blobs.tables import read_table
from mldl_ray.bridges.choosing import chosen, named_family
from mldl_ray.bridges.governance import COMPARISON, EmbeddedGovernance
from mldl_ray.bridges.intelligence import EmbeddedIntelligence
from mldl_ray.bridges.memory import EmbeddedMemory, name_of
from mldl_ray.bridges.quality import EmbeddedQuality
from mldl_ray.evaluation.generation import Generator
from mldl_ray.features.rows import rows_of as made_rows
from mldl_ray.features.view import Transformer
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, write
from mldl_ray.registry.catalog import Catalog, version_key
from mldl_ray.serving_form.record import RecordEncoder
from mldl_ray.settings import Settings
from mldl_ray.training.finish import iso
from mldl_ray.training.job import Planned
from mldl_ray.training.judge import About, judge
from mldl_ray.training.plan import Plan, figures_of
from mldl_ray.training.policies import PolicyPlan
from mldl_ray.training.rows import TrainingRows

ROLES = ("target", "sensitive", "features", "exclude", "time_column", "group_column", "weight_column")


class Fixed(NamedTuple):
    """A job whose data and family are decided, and what it will do."""

    job: JobSpec
    plan: Planned
    advice: FamilyAdvice | None = None
    quality: QualityReport | None = None


class Judge:
    """Reads data and models; writes datasets and evaluations."""

    def __init__(self, settings: Settings, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._settings, self._journal, self._blobs, self._clock = settings, journal, blobs, clock
        self._memory, self._quality = EmbeddedMemory(journal, blobs, clock), EmbeddedQuality(journal, blobs, clock)
        self._intelligence, self._governance = EmbeddedIntelligence(journal, clock), EmbeddedGovernance(journal, clock)

    def fixed(self, job: JobSpec, *, by: str) -> Fixed:
        """Check a job against its data, then register the data, so that the job reads these rows whenever it runs.

        Its rows must keep the critical quality rules of their dataset. A family that is not named is chosen now. A
        policy has an environment and no data.

        Raises:
            Refused: The job cannot run; nothing was written.
        """
        if job.spec.task == "reinforcement":
            if job.spec.feature_view is not None:
                raise Incompatible("a policy takes observations as they come; leave feature_view out")
            return Fixed(job, PolicyPlan.of(named_family(job), self._settings.mldl))
        if (given := job.data) is None:
            raise Incompatible("data is missing: name a dataset_id, or a uri with its target", {"field": "data"})
        view = view_of(job.spec.feature_view, self._journal, self._blobs)
        if view is not None:
            job = job.model_copy(update={"spec": job.spec.model_copy(update={"feature_view": view.view.reference})})
        if given.uri is None:
            dataset = self._memory.dataset(str(given.dataset_id), given.version)
            ref, table = self._merged(given, dataset), self._memory.table(dataset)
            quality = self._quality.fit(dataset.dataset_id, table, dataset.version)
            job, advice, plan = self._decided(job, ref, self._made(table, ref, job.spec.task, view))
            return Fixed(job.model_copy(update={"data": ref}), plan, advice, quality)
        table = read_table(given.uri)
        quality = self._quality.fit(name_of(given.uri), table)
        job, advice, plan = self._decided(job, given, self._made(table, given, job.spec.task, view))
        kept = given if view is None else given.model_copy(update={"features": None, "exclude": ()})  # of the view's
        dataset = self._memory.register(kept, task=job.spec.task, by=by, reason=f"to train {job.spec.model_key}")
        return Fixed(job.model_copy(update={"data": self._merged(given, dataset)}), plan, advice, quality)

    def _decided(self, job: JobSpec, ref: DataRef, rows: TrainingRows) -> tuple[JobSpec, FamilyAdvice | None, Plan]:
        """Choose a family where none is named, and plan."""
        job, advice = chosen(job, rows, self._intelligence, self._governance.policy().families)
        return job, advice, self._plan(job, ref, rows)

    def evaluate(
        self,
        *,
        job_id: str | None,
        model_key: str | None,
        version: str | None,
        data: DataRef | None,
        metrics: Sequence[str],
        by: str,
        once: Once | None,
    ) -> Evaluation:
        """Judge a model.

        Args:
            job_id: Whose model; or
            model_key: of which model, with
            version: a number, ``latest`` or ``stable``.
            data: Rows that the model has not seen; its own held-out rows when absent.
            metrics: Figures; the configured ones when empty.
            by: Who asks.
            once: Makes a repeated call give the first answer.

        Returns:
            The evaluation. Without data and without other figures it is the one that was made in training.

        Raises:
            NotFound: No such job, version or data.
            Refused: The job has no model, or it is not said which model is meant.
            Incompatible: Rows or figures that do not fit the model.
        """
        if known := first_answer(self._journal, once):
            return Evaluation.model_validate(known.documents[0].body)
        bundle = self._bundle(job_id, model_key, version)
        names = tuple(metrics) or figures_of(bundle.spec.task if bundle.spec else "classification", self._settings.mldl)
        if data is None and (stored := self._stored(bundle)) is not None and self._tells(stored, bundle, metrics):
            return stored
        if bundle.task == "reinforcement":
            raise Refused(
                "a policy is judged by playing when it is trained, and not on data; train it again to judge anew"
            )
        rows, digest = self._held_out(bundle) if data is None else self._given(bundle, data)
        about = About(
            new_id("eval", once),
            iso(self._clock.now_s()),
            bundle.model_key,
            version=bundle.version,
            dataset_digest=digest,
            stable=stable_of(
                self._journal,
                self._blobs,
                bundle.model_key,
                besides=bundle.version,
                feature_view=bundle.lineage.feature_view,
            ),
        )
        judged = judge(load_model(self._blobs, bundle), rows, names, about, bundle.prediction_interval)
        told = {"model_key": bundle.model_key, "version": bundle.version, "metrics": judged.metrics}
        self._journal.append(
            [write("evaluation", judged.evaluation_id, 0, judged), *self._comparison(bundle, judged)],
            [Fact(type="MLDL_EVALUATED", subject=judged.evaluation_id, data=told)],
            actor=by,
            reason=f"evaluate {bundle.model_key} {bundle.version or job_id}",
            once=once,
        )
        return judged

    def explain(self, model_key: str, version: str, inputs: list[Any]) -> ExplainAnswer:
        """Say how much each column of some rows moved a version's scores.

        Raises:
            NotFound: No such version.
            Incompatible: Rows that the model does not take, or a model that does not explain.
        """
        bundle = Catalog(self._journal).bundle(model_key, version)
        model = load_model(self._blobs, bundle)
        given = [list(row) if isinstance(row, tuple) else row for row in inputs]
        view, reader = load_view(self._blobs, bundle), RecordEncoder(model.encoder)
        rows = reader.rows(given) if view is None else view.features(view.rows(given), reader.names)
        found = model.explain(table_of(model.schema, [list(row) for row in rows]))
        return ExplainAnswer(
            model_key=model_key,
            version=str(bundle.version),
            method=model.capabilities.explain,
            outputs=outputs_of(model, len(found.base)),
            base=tuple(found.base.tolist()),
            rows=tuple({name: tuple(row[i].tolist()) for i, name in enumerate(found.columns)} for row in found.values),
        )

    def sample(self, model_key: str, version: str, rows: int, seed: int) -> SampleAnswer:
        """Have a version that generates rows make some.

        Raises:
            NotFound: No such version.
            Incompatible: It answers rows instead of making them.
        """
        bundle = Catalog(self._journal).bundle(model_key, version)
        if bundle.task != "generation":
            raise Incompatible(
                f"{model_key} {bundle.version} does {bundle.task} and makes no rows; ask it for predictions",
                {"task": bundle.task},
            )
        model = cast("Generator", load_model(self._blobs, bundle))
        made = model.sample(rows, seed).to_pylist()
        return SampleAnswer(model_key=model_key, version=str(bundle.version), rows=tuple(made))

    def _tells(self, stored: Evaluation, bundle: TrainedBundle, metrics: Sequence[str]) -> bool:
        """Say whether an evaluation has the figures that are asked for, and compares with what is stable now."""
        stable = stable_version(self._journal, bundle.model_key, besides=bundle.version)
        compared = stored.against_stable.version if stored.against_stable else None
        return set(metrics) <= set(stored.metrics) and (stable in {None, compared} or bundle.task == "reinforcement")

    def _comparison(self, bundle: TrainedBundle, judged: Evaluation) -> list[Write]:
        """Keep a registered version's latest comparison with what is stable where the policy looks for it."""
        if bundle.version is None or judged.against_stable is None:
            return []
        key = version_key(bundle.model_key, bundle.version)
        _, revision = load(self._journal, COMPARISON, key, AgainstStable)
        return [write(COMPARISON, key, revision, judged.against_stable)]

    def _bundle(self, job_id: str | None, model_key: str | None, version: str | None) -> TrainedBundle:
        if (job_id is None) == (model_key is None):
            raise Refused("say which model to judge: a job_id, or a model_key with its version")
        if model_key is not None:
            return Catalog(self._journal).bundle(model_key, version or "latest")
        job = self._job(str(job_id))
        if job.bundle is None:
            raise Refused(f"job {job_id} is {job.status} and has no model to judge", {"status": job.status})
        return job.bundle.model_copy(update={"version": job.registered_version})

    def _job(self, job_id: str) -> Job:
        job, _ = load(self._journal, "job", job_id, Job)
        if job is None:
            raise NotFound(f"there is no job {job_id!r}; look at the list of jobs", {"job_id": job_id})
        return job

    def _stored(self, bundle: TrainedBundle) -> Evaluation | None:
        if bundle.evaluation_id is None:
            return None
        return load(self._journal, "evaluation", bundle.evaluation_id, Evaluation)[0]

    def _held_out(self, bundle: TrainedBundle) -> tuple[TrainingRows, str | None]:
        """Split the job's data again, which gives the same hold-out as in training."""
        if bundle.lineage.job_id is None:
            raise Refused(f"nothing is known about the training rows of {bundle.model_key}; name data to judge it on")
        job = self._job(bundle.lineage.job_id)
        rows, dataset = rows_of(job, self._journal, self._blobs, self._settings)
        return Plan.of(job.job, rows, self._settings.mldl).held_out, dataset.digest

    def _given(self, bundle: TrainedBundle, data: DataRef) -> tuple[TrainingRows, str | None]:
        task = bundle.spec.task if bundle.spec else "classification"
        view = view_of(bundle.lineage.feature_view, self._journal, self._blobs)
        if data.uri is not None:
            return self._made(read_table(data.uri), data, task, view), None
        dataset = self._memory.dataset(str(data.dataset_id), data.version)
        ref = self._merged(data, dataset)
        return self._made(self._memory.table(dataset), ref, task, view), dataset.digest

    def _made(self, table: pa.Table, ref: DataRef, task: Task, view: Transformer | None) -> TrainingRows:
        return made_rows(table, ref, task, view, default_sensitive=self._settings.mldl.fairness.groups)

    def _plan(self, job: JobSpec, ref: DataRef, rows: TrainingRows) -> Plan:
        return Plan.of(job.model_copy(update={"data": ref}), rows, self._settings.mldl)

    def _merged(self, given: DataRef, dataset: Dataset) -> DataRef:
        """Name a registered dataset with its roles, those that were given before its own."""
        own = self._memory.as_ref(dataset)
        said = {name: getattr(given, name) for name in ROLES if name in given.model_fields_set}
        return own.model_copy(update=said)


def outputs_of(model: BaseModelAdapter, count: int) -> tuple[Any, ...]:
    """Name a model's raw scores: one of two classes is told by the second one's score alone."""
    if model.task == "regression":
        return ("value",)
    if model.task == "dimension_reduction":
        return tuple(f"component_{i}" for i in range(count))
    return tuple(model.classes) if len(model.classes) == count else (model.classes[-1],)
