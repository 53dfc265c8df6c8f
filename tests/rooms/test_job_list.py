"""The list of jobs knows every job from the journal, and reads only those that it shows."""

from __future__ import annotations

from typing import Any

import pytest

from actors.job_list import JobList
from contracts.errors import NotFound
from contracts.ports import Document
from contracts.records import Job
from contracts.specs import JobSpec
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write


class Watched(MemoryJournal):
    """Counts the documents that were read."""

    picked = 0

    def pick(self, kind: str, keys: Any, *, as_of: int | None = None) -> list[Document]:
        self.picked += len(keys)
        return super().pick(kind, keys, as_of=as_of)


@pytest.fixture
def journal() -> Watched:
    return Watched(SettableClock(0.0))


def put(journal: MemoryJournal, job_id: str, at_s: float, model_key: str = "m", version: int = 0) -> None:
    spec = JobSpec.model_validate({"spec": {"model_key": model_key, "family": "lr"}})
    job = Job(job_id=job_id, status="running", job=spec, created_at_s=at_s, requested_by=f"v{version}")
    journal.append([write("job", job_id, version, job)], actor="t", reason="t")


def ids(jobs: list[Job]) -> list[str]:
    return [job.job_id for job in jobs]


def test_jobs_come_newest_first_page_by_page(journal: Watched) -> None:
    for number in range(5):
        put(journal, f"job-{number}", float(number), "even" if number % 2 == 0 else "odd")
    listed = JobList(journal)
    assert ids(listed.page(limit=2)) == ["job-4", "job-3"]
    assert ids(listed.page(after="job-3", limit=2)) == ["job-2", "job-1"]
    assert ids(listed.page(model_key="even")) == ["job-4", "job-2", "job-0"]
    assert listed.page(after="job-0") == []
    with pytest.raises(NotFound):
        listed.page(after="job-9")


def test_of_two_jobs_of_one_moment_both_are_listed_once(journal: Watched) -> None:
    for job_id in ("job-b", "job-a"):
        put(journal, job_id, 1.0)
    listed = JobList(journal)
    assert ids(listed.page(limit=1)) + ids(listed.page(after="job-a", limit=1)) == ["job-a", "job-b"]


def test_what_others_write_is_seen_and_a_job_that_goes_on_is_shown_as_it_is(journal: Watched) -> None:
    listed = JobList(journal)
    assert list(listed.every()) == listed.page() == []
    put(journal, "job-1", 1.0)
    put(journal, "job-1", 1.0, version=1)
    assert [job.requested_by for job in listed.page()] == ["v1"]


def test_a_page_reads_its_own_jobs_and_no_others(journal: Watched) -> None:
    for number in range(30):
        put(journal, f"job-{number:02}", float(number))
    listed = JobList(journal)
    assert len(list(listed.every())) == 30
    for _ in range(3):
        assert ids(listed.page(limit=2)) == ["job-29", "job-28"]
    assert journal.picked == 6
    put(journal, "job-29", 29.0, version=1)  # it goes on, and is known
    listed.page(limit=1)
    assert journal.picked == 7
