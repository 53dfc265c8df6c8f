"""The jobs actor: takes jobs, and runs a few at a time, each in a process of its own (``job_process``).

What survives a restart: everything. Jobs are documents; a process that still runs is found by its name and left to
finish, and a job whose process is gone runs again, with the trials that its document has.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from actors.directory import NAMESPACE
from actors.job_list import JobList
from actors.job_process import JobProcess, fail, scratch
from actors.job_record import KIND, LIVE, JobRecord
from actors.judging import Judge
from contracts.errors import Conflict, Incompatible, MldlError
from contracts.evaluations import Evaluation
from contracts.events import Fact
from contracts.http import ExplainAnswer, SampleAnswer
from contracts.ports import Blobs, Clock, Journal, Once
from contracts.records import Job, Progress
from contracts.specs import DataRef, JobSpec
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, write
from mldl_ray.settings import Settings
from mldl_ray.training.job import with_defaults
from mldl_ray.training.queue import Queue, lacking

log = logging.getLogger(__name__)

AT_ONCE = 2
ATTEMPTS = 3
"""How often a job is begun whose process dies without a word, before that is the job's end."""
PINNED = {"node:__internal_head__": 0.001}  # where the embedded artifacts are


class Jobs:
    """Keep training jobs and see them through, ``AT_ONCE`` at a time, in the order of ``Queue``."""

    def __init__(self, settings: Settings, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._settings, self._journal, self._blobs, self._clock = settings, journal, blobs, clock
        self._judge = Judge(settings, journal, blobs, clock)
        self._lock, self._list = threading.RLock(), JobList(journal)
        self._queue = self._remembered()
        self._running: dict[str, Any] = {}
        self._attempts: dict[str, int] = {}
        self._start_more()

    def submit(
        self, spec: JobSpec, *, by: str, reason: str = "", once: Once | None = None, alert_id: str | None = None
    ) -> Job:
        """Take a job: its data is read, checked and fixed now, the search runs later.

        Args:
            spec: What is wanted; what it does not say comes from the configuration.
            by: Who asks.
            reason: Why, for the record.
            once: Makes a repeated call give the first answer.
            alert_id: Of the drift that has it trained again.

        Raises:
            Incompatible: A family, setting, metric, column or split that cannot be, or a trial that fits no machine.
            NotFound: The data is not there.
            Conflict: ``once`` was used for another request.
        """
        if known := first_answer(self._journal, once):
            return self.status(known.documents[0].key)
        wanted = with_defaults(spec, self._settings.mldl)
        self._check_room(wanted)
        fixed = self._judge.fixed(wanted, by=by)
        job = Job(
            job_id=new_id("job", once),
            status="queued",
            job=fixed.job,
            metric=fixed.plan.metric,
            progress=Progress(trials_total=fixed.plan.proposals.most),
            created_at_s=self._clock.now_s(),
            requested_by=by,
            advice=fixed.advice,
            quality=fixed.quality,
            alert_id=alert_id,
        )
        why = reason or f"train {spec.spec.model_key}"
        receipt = self._journal.append([write(KIND, job.job_id, 0, job)], actor=by, reason=why, once=once)
        if receipt.repeated:  # the same request, a moment ago
            return self.status(job.job_id)
        with self._lock:
            self._queue.add(job)
        self._start_more()
        return job

    def status(self, job_id: str) -> Job:
        """Give a job as it is now.

        Raises:
            NotFound: There is none.
        """
        return self._record(job_id).read()

    def jobs(self, *, model_key: str | None = None, after: str = "", limit: int = 50) -> list[Job]:
        """List jobs, newest first, those that follow ``after``; see ``JobList.page``."""
        return self._list.page(model_key=model_key, after=after, limit=limit)

    def cancel(self, job_id: str, *, by: str, reason: str, once: Once | None = None) -> Job:
        """End a job now: its process and its trials are stopped. What it spent stays on record.

        Raises:
            NotFound: There is none.
            Conflict: It has succeeded or failed already.
        """
        if first_answer(self._journal, once):
            return self.status(job_id)
        record = self._record(job_id)
        if (job := record.read()).status == "cancelled":
            return job
        end = {"status": "cancelled", "ended_at_s": self._clock.now_s()}
        fact = Fact(type="MLDL_TRAINING_ENDED", subject=job_id, data={"status": "cancelled"})
        cancelled = record.change(lambda job: job.model_copy(update=end), reason=reason, facts=[fact], by=by, once=once)
        with self._lock:
            process = self._running.get(job_id)
            if process is None:
                self._queue.over(job_id)
        if process is not None:
            ray.kill(process, no_restart=True)
        return cancelled

    def evaluate(
        self,
        *,
        job_id: str | None = None,
        model_key: str | None = None,
        version: str | None = None,
        data: DataRef | None = None,
        metrics: Sequence[str] = (),
        by: str,
        once: Once | None = None,
    ) -> Evaluation:
        """Judge a job's model or a version, on its own held-out rows or on others; see ``Judge.evaluate``."""
        return self._judge.evaluate(
            job_id=job_id, model_key=model_key, version=version, data=data, metrics=metrics, by=by, once=once
        )

    def explain(self, model_key: str, version: str, inputs: list[Any]) -> ExplainAnswer:
        """Attribute a version's scores for some rows to their columns; see ``Judge.explain``."""
        return self._judge.explain(model_key, version, inputs)

    def sample(self, model_key: str, version: str, rows: int, seed: int) -> SampleAnswer:
        """Have a generating version make rows; see ``Judge.sample``."""
        return self._judge.sample(model_key, version, rows, seed)

    def _record(self, job_id: str) -> JobRecord:
        return JobRecord(self._journal, job_id, by="jobs")

    def _remembered(self) -> Queue:
        """Take up what the journal has: jobs that wait or had begun, and whose jobs began lately."""
        queue = Queue()
        for job in sorted(self._list.every(), key=lambda job: (-job.created_at_s, job.job_id)):
            if job.status in LIVE:
                queue.add(job)
            else:
                queue.note(job)
        return queue

    def _check_room(self, wanted: JobSpec) -> None:
        """Refuse trials that would wait for ever on our own machines; a cluster that grows may have room later."""
        if self._settings.ray_address is not None:
            return
        nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
        if short := lacking(wanted.resources, [node["Resources"] for node in nodes if node["Alive"]]):
            raise Incompatible(f"resources: {short}; ask for less", {"field": "resources"})

    def _start_more(self) -> None:
        with self._lock:
            while len(self._running) < AT_ONCE:
                job_id = self._queue.first(self._clock.now_s())
                if job_id is None:
                    return
                try:
                    self._start(job_id)
                except MldlError:
                    log.exception("job %s could not be started; it waits on", job_id)
                    return

    def _start(self, job_id: str) -> None:
        job = self._record(job_id).read()
        name = f"mldl.job.{job_id}"
        try:
            process = ray.get_actor(name, namespace=NAMESPACE)
            over: Any = process.ready.remote()  # it runs on from before; this is answered when it is done
        except ValueError:
            try:
                self._begin(job)
            except Conflict:
                self._queue.over(job_id)
                return  # cancelled a moment ago
            process = self._process(name)
            over = process.run.remote(job_id, job.requested_by)
        self._queue.begun(job_id, self._clock.now_s())
        self._running[job_id] = process
        threading.Thread(target=self._watch, args=(job_id, over), name=job_id, daemon=True).start()

    def _begin(self, job: Job) -> None:
        self._attempts[job.job_id] = self._attempts.get(job.job_id, 0) + 1
        spec = job.job.spec
        told = {"model_key": spec.model_key, "family": spec.family, "trials_total": job.progress.trials_total}
        facts = [Fact(type="MLDL_TRAINING_STARTED", subject=job.job_id, data=told)] if job.status == "queued" else []
        turn = {"status": "running", "began_at_s": self._clock.now_s() if job.began_at_s is None else job.began_at_s}
        JobRecord(self._journal, job.job_id, job.requested_by).change(
            lambda now: now.model_copy(update=turn), reason="its turn has come", facts=facts
        )

    def _process(self, name: str) -> Any:
        make = ray.remote(JobProcess).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            max_restarts=0,
            num_cpus=0,
            resources=PINNED,
        )
        return make.remote(self._settings, self._journal, self._blobs)

    def _watch(self, job_id: str, over: Any) -> None:
        """Wait until a job's process is gone, tidy up after it, and start what waits."""
        died = "it exited"
        try:
            ray.get(over)
        except RayError as error:
            died = str(error).strip().splitlines()[0]
        shutil.rmtree(scratch(job_id), ignore_errors=True)
        with self._lock:
            del self._running[job_id]
            self._queue.over(job_id)
        try:
            self._after(job_id, died)
            self._start_more()
        except MldlError:
            log.exception("after job %s", job_id)  # the store is away; a restart of this actor takes the job up again

    def _after(self, job_id: str, died: str) -> None:
        record = self._record(job_id)
        if (job := record.read()).status not in LIVE:
            return
        if self._attempts.get(job_id, 0) < ATTEMPTS:
            with self._lock:
                self._queue.add(job)
            return
        message = f"the job's process died {ATTEMPTS} times ({died}); it may need more memory than there is"
        fail(record, {"code": "unavailable", "message": message, "facts": {}}, self._clock.now_s())
