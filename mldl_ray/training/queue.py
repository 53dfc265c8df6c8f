"""Which job starts next, and which can start at all. Pure: jobs and time are passed in, nothing is read or written.

Not here: how many run at once, and what starting means; see ``actors/jobs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.records import Job
from contracts.specs import TrialResources

RECENT_S = 3600.0
"""A job counts against the next ones of its person while it runs, and this long after it began."""


@dataclass(frozen=True)
class _Turn:
    by: str
    began_at_s: float


class Queue:
    """The jobs that wait, and whose jobs began lately.

    First come jobs that had begun before (their process died, or the system did); then the highest priority; then the
    person with the fewest jobs that run or began within ``recent_s``; then the job that came first. Within a priority
    nobody waits for ever: once a person's own jobs have ended and are no longer recent, no job that came later, from
    whomever, goes before theirs.

    >>> from contracts.specs import JobSpec, ModelSpec
    >>> queue, wanted = Queue(), JobSpec(spec=ModelSpec(model_key="m", family="lr"))
    >>> for number, by in enumerate(["ana", "ana", "bo"]):
    ...     queue.add(Job(job_id=f"{by}-{number}", status="queued", job=wanted, requested_by=by, created_at_s=number))
    >>> for _ in range(3):
    ...     print(begun := queue.first(now_s=10))
    ...     queue.begun(begun, now_s=10)
    ana-0
    bo-2
    ana-1
    """

    def __init__(self, recent_s: float = RECENT_S) -> None:
        self._recent_s = recent_s
        self._waiting: dict[str, Job] = {}
        self._turns: dict[str, _Turn] = {}
        self._running: set[str] = set()

    def add(self, job: Job) -> None:
        """Let a job wait; one that had begun is to begin again."""
        self._waiting[job.job_id] = job
        self._running.discard(job.job_id)
        self._remember(job)

    def note(self, job: Job) -> None:
        """Remember a job that has ended, if its beginning may still be recent."""
        self._remember(job)

    def begun(self, job_id: str, now_s: float) -> None:
        """Note that a job's turn has come; one that begins again keeps the time of its first turn."""
        job = self._waiting.pop(job_id)
        self._turns.setdefault(job_id, _Turn(job.requested_by, now_s))
        self._running.add(job_id)

    def over(self, job_id: str) -> None:
        """Note that a job runs and waits no longer."""
        self._waiting.pop(job_id, None)
        self._running.discard(job_id)

    def first(self, now_s: float) -> str | None:
        """Name the job whose turn is next; None when none waits. Nothing changes until it is ``begun``."""
        counts = self._counts(now_s)

        def turn(job: Job) -> tuple[bool, int, int, float, str]:
            fresh = job.status == "queued"
            counted = counts.get(job.requested_by, 0)
            return fresh, -job.job.priority, counted, job.created_at_s, job.job_id

        return min(self._waiting.values(), key=turn).job_id if self._waiting else None

    def _remember(self, job: Job) -> None:
        if job.began_at_s is not None:
            self._turns.setdefault(job.job_id, _Turn(job.requested_by, job.began_at_s))

    def _counts(self, now_s: float) -> dict[str, int]:
        """Count each person's jobs that run, wait to begin again, or began lately; forget the others."""
        held = self._running | set(self._waiting)
        self._turns = {
            job_id: turn
            for job_id, turn in self._turns.items()
            if job_id in held or now_s - turn.began_at_s < self._recent_s
        }
        counts: dict[str, int] = {}
        for turn in self._turns.values():
            counts[turn.by] = counts.get(turn.by, 0) + 1
        return counts


def lacking(wanted: TrialResources, machines: Sequence[Mapping[str, float]]) -> str | None:
    """Say what a trial wants that no single machine has; None when one could hold it.

    Args:
        wanted: What a trial holds.
        machines: What each machine has in all, by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes).

    >>> machines = [{"CPU": 8.0, "memory": 16e9}, {"CPU": 2.0, "GPU": 1.0, "memory": 4e9}]
    >>> lacking(TrialResources(cpus=8), machines)
    >>> lacking(TrialResources(cpus=8, gpus=1), machines)
    'a trial wants 8 cpus, 1 gpus, and no machine has that: the largest have 8 cpus, 1 gpus, 16000000000 bytes'
    """
    needs = needs_of(wanted)
    if any(all(machine.get(name, 0.0) >= amount for name, amount in needs.items()) for machine in machines):
        return None
    most = {name: max((machine.get(name, 0.0) for machine in machines), default=0.0) for name in _UNITS}
    asked, have = (", ".join(f"{amounts[n]:.15g} {_UNITS[n]}" for n in amounts) for amounts in (needs, most))
    return f"a trial wants {asked}, and no machine has that: the largest have {have}"


def needs_of(wanted: TrialResources) -> dict[str, float]:
    """Give what a trial holds by Ray's names; what is 0 is left out.

    >>> needs_of(TrialResources(cpus=2, memory_bytes=2**30))
    {'CPU': 2.0, 'memory': 1073741824.0}
    """
    needs = {"CPU": wanted.cpus, "GPU": wanted.gpus, "memory": float(wanted.memory_bytes or 0)}
    return {name: float(amount) for name, amount in needs.items() if amount}


_UNITS = {"CPU": "cpus", "GPU": "gpus", "memory": "bytes"}
