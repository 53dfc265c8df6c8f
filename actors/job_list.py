"""Which jobs there are, newest first, without reading what each of them tried.

What survives a restart: everything; jobs are documents. In memory is only when each was made and for which model. The
journal says which documents are new without their bodies, which a long search makes large.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from heapq import nsmallest
from typing import NamedTuple

from actors.job_record import KIND
from contracts.errors import NotFound
from contracts.ports import Append, Document, Journal
from contracts.records import Job
from mldl_ray.journal.documents import scan_all

PAGE = 1000
MOST_PICKED = 200


class _Place(NamedTuple):
    """Where a job stands in the list: the newest first, then by id."""

    before_s: float
    job_id: str
    model_key: str


class JobList:
    """List jobs. Safe on several threads.

    Args:
        journal: The truth.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._position = 0

    def every(self) -> Iterator[Job]:
        """Read every job there is, once, and know them from then on."""
        position = self._journal.position()
        for document in scan_all(self._journal, KIND):
            yield self._noted(document)
        with self._lock:
            self._position = position

    def page(self, *, model_key: str | None = None, after: str = "", limit: int = 50) -> list[Job]:
        """List jobs, newest first.

        Args:
            model_key: Of this model only.
            after: The last job seen; the page after it is given.
            limit: Most.

        Raises:
            NotFound: ``after`` is no job.
        """
        with self._lock:
            self._follow()
            if after and after not in self._places:
                raise NotFound(f"after: there is no job {after!r}; begin again without it", {"after": after})
            start = self._places[after] if after else None
            mine = (place for place in self._places.values() if model_key in {None, place.model_key})
            places = nsmallest(limit, (place for place in mine if start is None or place > start))
        return self._read([place.job_id for place in places])

    def _follow(self) -> None:
        while page := self._journal.appends(after=self._position, limit=PAGE):
            unknown = dict.fromkeys(key for one in page for key in _jobs_in(one) if key not in self._places)
            for document in self._picked(list(unknown)):
                self._noted(document)
            self._position = page[-1].position

    def _read(self, job_ids: list[str]) -> list[Job]:
        found = {document.key: Job.model_validate(document.body) for document in self._picked(job_ids)}
        return [found[job_id] for job_id in job_ids if job_id in found]

    def _picked(self, job_ids: list[str]) -> Iterator[Document]:
        for start in range(0, len(job_ids), MOST_PICKED):
            yield from self._journal.pick(KIND, job_ids[start : start + MOST_PICKED])

    def _noted(self, document: Document) -> Job:
        job = Job.model_validate(document.body)
        self._places[job.job_id] = _Place(-job.created_at_s, job.job_id, job.job.spec.model_key)
        return job


def _jobs_in(append: Append) -> Iterator[str]:
    """Name the jobs that an append wrote."""
    return (key for kind, key, *_ in json.loads(append.content)["documents"] if kind == KIND)
