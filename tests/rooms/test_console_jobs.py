"""The jobs' pages of the console: how far a search is, what it found, every trial, and its end by a button."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from actors.job_list import JobList
from actors.job_record import JobRecord
from contracts.errors import NotFound, Unauthenticated
from contracts.records import Job
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from serve.api import Actors, build_app
from tests.rooms.test_console import _browsers_closed, browser, csrf, signed_in
from tests.rooms.test_search_report import EVIL, searched, trial

AT = "/console/jobs/job-1"
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


class Desk:
    """The jobs of a journal, which nothing runs."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal, self._list = journal, JobList(journal)
        self.jobs = self._list.page

    def status(self, job_id: str) -> Job:
        return JobRecord(self._journal, job_id, by="jobs").read()

    def cancel(self, job_id: str, *, by: str, reason: str) -> Job:
        end = {"status": "cancelled", "ended_at_s": 1.0}
        record = JobRecord(self._journal, job_id, by=by)
        return record.change(lambda job: job.model_copy(update=end), reason=reason)


def with_jobs(journal: MemoryJournal) -> Actors:
    """Make the actors of a service that has jobs and nothing else."""
    return Actors(journal, None, None, None, None, Desk(journal), None)


class Place:
    """A service with a few actors, on a port of this machine."""

    def __init__(
        self, home: Path, port: int, *, keys: bool, make: Callable[[MemoryJournal], Actors] = with_jobs
    ) -> None:
        self.settings = load_settings({}, home=home, port=port, require_keys=keys)
        self.journal = MemoryJournal(SystemClock())
        app = build_app(make(self.journal), self.settings)
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", lifespan="off", log_config=None))
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Place:
        self._thread.start()
        with MLDLClient(self.settings.url) as client, suppress(Unauthenticated):
            client.families()  # patient until somebody answers, if only to ask for a key
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(30)

    def put(self, job: Job, **more: Any) -> None:
        made = job.model_copy(update=more)
        self.journal.append([write("job", made.job_id, 0, made)], actor="ann", reason="t")


@pytest.fixture
def place(tmp_path: Path, free_port: int) -> Iterator[Place]:
    with Place(tmp_path, free_port, keys=False) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path, free_port: int) -> Iterator[Place]:
    with Place(tmp_path, free_port, keys=True) as found:
        yield found


def test_jobs_are_listed_with_how_far_they_are_and_what_they_cost(place: Place) -> None:
    done = searched(12)
    progress = done.progress.model_copy(update={"trials_done": 12, "trials_total": 40, "best_score": 0.8975})
    place.put(done, progress=progress, cost_units=1.25, requested_by="ann", registered_version="1.2.0")
    text = browser(place).get("/console/jobs").text
    for words in ("job-1", "12 of 40", "auroc 0.897", "1.25", "ann", "running", "/console/models/income/1.2.0"):
        assert words in text
    assert "No job here." in browser(place).get("/console/jobs?model=other").text


def test_many_jobs_come_page_by_page(place: Place) -> None:
    for number in range(55):
        place.put(searched(1), job_id=f"job-{number:02}", created_at_s=float(number))
    person = browser(place)
    first = person.get("/console/jobs").text
    assert ("job-54</a>" in first, "job-05</a>" in first, "job-04</a>" in first) == (True, True, False)
    onward = re.search(r'href="(/console/jobs\?[^"]*after=[^"]+)"', first)
    assert onward is not None
    assert "job-00</a>" in person.get(onward[1].replace("&amp;", "&")).text


def test_the_client_and_the_command_go_on_after_a_job_as_the_pages_do(place: Place) -> None:
    for number in range(4):
        place.put(searched(1), job_id=f"job-{number}", created_at_s=float(number))
    with MLDLClient(place.settings.url) as client:
        assert [job.job_id for job in client.jobs(after="job-2", limit=5)] == ["job-1", "job-0"]
        with pytest.raises(NotFound, match="job-9"):
            client.jobs(after="job-9")
    asked = ["jobs", "list", "--after", "job-1", "--json", "--url", place.settings.url]
    said = CliRunner().invoke(app, asked)
    assert (said.exit_code, "job-0" in said.output, "job-1" in said.output) == (0, True, False), said.output


def test_a_search_shows_its_report_without_a_style_of_its_own(place: Place) -> None:
    place.put(searched())
    page = browser(place).get(AT)
    for words in ("How it went", "The best 10", "What mattered", "What was tried", "What it cost", "<polyline"):
        assert words in page.text
    assert not re.search(r"<style|style=|<script>", page.text)
    assert "style-src 'self'" in page.headers["content-security-policy"]


def test_every_trial_is_shown_in_three_orders_page_by_page(place: Place) -> None:
    whole = searched(60)
    place.put(whole)
    person = browser(place)
    best = person.get(AT).text
    onward = re.search(rf'href="({AT}\?order=score&amp;after=[^"#]+)', best)
    assert onward is not None
    shown = [trials_of(best), trials_of(person.get(onward[1].replace("&amp;", "&")).text)]
    assert [len(part) for part in shown] == [50, 10]
    assert sorted(int(number) for part in shown for number in part) == list(range(1, 61))
    assert trials_of(person.get(f"{AT}?order=ended").text)[:3] == ["1", "2", "3"]
    assert person.get(f"{AT}?order=nonsense").status_code == 200


def trials_of(text: str) -> list[str]:
    return re.findall(r'<tr><th scope="row">(\d+)</th>', text)


def test_a_job_that_just_began_or_failed_says_so_and_its_texts_are_harmless(place: Place) -> None:
    place.put(searched(1), job_id="job-new", trials=())
    bad = trial(0, None, "failed", config={EVIL: EVIL}, error=EVIL)
    place.put(searched(1), job_id="job-bad", trials=(bad,), status="failed", error={"message": EVIL})
    assert "None ended yet." in browser(place).get("/console/jobs/job-new").text
    text = browser(place).get("/console/jobs/job-bad").text
    assert ("It failed: &lt;script&gt;" in text, EVIL in text, "Cancel the job" in text) == (True, False, False)


def test_a_trainer_cancels_a_job_with_a_reason(guarded: Place) -> None:
    guarded.put(searched())
    person = signed_in(guarded, "trainer")
    token = csrf(person.get(AT))
    assert person.post(f"{AT}/cancel", data={"csrf": token, "reason": ""}).status_code == 422
    page = person.post(f"{AT}/cancel", data={"csrf": token, "reason": "too dear"})
    assert ("Cancelled." in page.text, "Cancel the job" in page.text) == (True, False)
    last = guarded.journal.history("job", "job-1")[-1]
    assert (last.actor, last.reason) == ("kim", "too dear")
    assert person.post(f"{AT}/cancel", data={"csrf": token, "reason": "again"}).status_code == 409


@pytest.mark.parametrize("role", ["viewer", "approver", "deployer"])
def test_who_may_not_train_is_offered_no_button_and_refused(guarded: Place, role: str) -> None:
    guarded.put(searched())
    person = signed_in(guarded, role)
    page = person.get(AT)
    assert (page.status_code, "Cancel the job" in page.text) == (200, False)
    assert person.post(f"{AT}/cancel", data={"csrf": csrf(page), "reason": "x"}).status_code == 403
    assert person.post(f"{AT}/cancel", data={"reason": "x"}).status_code == 403


def test_a_job_that_is_not_there_is_a_page_that_says_so(place: Place) -> None:
    page = browser(place).get("/console/jobs/job-none")
    assert (page.status_code, "job-none" in page.text) == (404, True)
    assert browser(place).get("/console/jobs?after=job-none").status_code == 404
