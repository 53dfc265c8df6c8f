"""A job's document, changed safely by several hands: the jobs actor, the job's own process, and whoever cancels.

Every change reads the document, decides on what it read, and writes on that version; a race is decided again. A job
that has ended stays as it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from contracts.errors import Conflict, MldlError, NotFound, Unavailable
from contracts.events import Fact
from contracts.ports import Journal, Once, Write
from contracts.records import Job, JobState, TrialRecord
from mldl_ray.journal.documents import load, write
from mldl_ray.training.job import progress
from mldl_ray.training.problem import Problem

KIND = "job"
LIVE: tuple[JobState, ...] = ("queued", "running")
ATTEMPTS = 8
PAUSE_S, LONGEST_PAUSE_S, PAUSE_SHARE = 0.25, 10.0, 0.02
BYTES_PER_S = 100_000
"""Every version of a job's document is kept, so a long job writes its progress less often, and a large one too."""


class JobRecord:
    """One job's document."""

    def __init__(self, journal: Journal, job_id: str, by: str) -> None:
        self._journal, self.job_id, self._by = journal, job_id, by

    def read(self) -> Job:
        """Give the job.

        Raises:
            NotFound: There is none.
        """
        return self._load()[0]

    def change(
        self,
        change: Callable[[Job], Job],
        *,
        reason: str,
        facts: Sequence[Fact] = (),
        more: Sequence[Write] = (),
        by: str | None = None,
        once: Once | None = None,
    ) -> Job:
        """Write the job as ``change`` makes it, with events and other documents, together.

        Raises:
            NotFound: There is no such job.
            Conflict: It has ended already, or other documents moved on.
            Unavailable: The store stayed away.
        """
        for attempt in range(ATTEMPTS):
            job, version = self._load()
            if job.status not in LIVE:
                raise Conflict(f"job {self.job_id} has ended already: {job.status}", {"status": job.status})
            made = change(job)
            writes = [write(KIND, self.job_id, version, made), *more]
            try:
                self._journal.append(writes, facts, actor=by or self._by, reason=reason, once=once)
            except Conflict:
                if attempt == ATTEMPTS - 1 or self._load()[1] == version:
                    raise
            except Unavailable:
                if self._load() == (made, version + 1):  # the lost call had run
                    return made
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(PAUSE_S)
            else:
                return made
        raise Conflict(f"job {self.job_id} is being changed by others all the time; try again")

    def _load(self) -> tuple[Job, int]:
        job, version = load(self._journal, KIND, self.job_id, Job)
        if job is None:
            raise NotFound(f"there is no job {self.job_id!r}; look at the list of jobs", {"job_id": self.job_id})
        return job, version


class LiveProgress:
    """Writes a search's progress from a thread of its own, at most about four times a second; the last one always.

    Trials report to ``note``, which only remembers. A store that is away for a moment costs nothing but a later write.
    """

    def __init__(self, record: JobRecord, trial_price: float) -> None:
        self._record, self._price = record, trial_price
        self._trials: dict[str, TrialRecord] = {}
        self._problem: Problem | None = None
        self._began = time.monotonic()
        self._size, self._heard, self._written = 0, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is not None:
            self._write()  # nobody else will: the job's end says why it failed, and not what was tried

    def note(self, trial: TrialRecord, problem: Problem) -> None:
        """Remember a trial that ended, or anew one that was passed over."""
        self._problem = problem
        self._trials[trial.trial_id] = trial
        self._heard += 1

    def __call__(self, job: Job) -> Job:
        """Give the job with the progress so far."""
        if self._problem is None:
            return job
        trials = tuple(({trial.trial_id: trial for trial in self._problem.done} | self._trials).values())
        return job.model_copy(
            update={
                "trials": trials,
                "progress": progress(self._problem, trials, time.monotonic() - self._began),
                "cost_units": sum(trial.seconds for trial in trials) * self._price,
            }
        )

    def _run(self) -> None:
        while not self._stop.wait(pause_s(time.monotonic() - self._began, self._size)):
            self._write()

    def _write(self) -> None:
        heard = self._heard
        if heard == self._written:
            return
        try:
            job = self._record.change(self, reason="progress")
        except MldlError:
            return  # the store is away, or the job was cancelled, and then this process is about to be stopped
        self._written, self._size = heard, len(job.model_dump_json())


def pause_s(elapsed_s: float, size_bytes: int) -> float:
    """Give how long to wait until a job's progress is written again.

    >>> [pause_s(elapsed, 10_000) for elapsed in (1.0, 100.0, 5000.0)]
    [0.25, 2.0, 10.0]
    """
    return max(PAUSE_S, min(LONGEST_PAUSE_S, PAUSE_SHARE * elapsed_s), size_bytes / BYTES_PER_S)
