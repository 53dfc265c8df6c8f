"""The console's audit over real HTTP: who did what, filters, pages back in time, and a chain that somebody rewrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from contracts.events import Fact
from contracts.ports import Write
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from serve.console.audit import QUICKLY_CHECKED, ROWS
from tests.rooms.test_console import _browsers_closed, browser
from tests.rooms.test_console_jobs import Place

AT, DAY_S = "/console/audit", 86_400.0
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


@pytest.fixture
def place(tmp_path: Path, free_port: int) -> Iterator[Place]:
    with Place(tmp_path, free_port, keys=False) as found:
        yield found


def happen(journal: MemoryJournal, subject: str, *, actor: str = "ann", reason: str = "why", kind: str = "") -> None:
    facts = [] if kind else [Fact(type="MLDL_KEY_CHANGED", subject=subject)]
    key = f"{subject}-{journal.position()}"
    writes = [Write(kind=kind or "note", key=key, expected_version=0, body={})]
    journal.append(writes, facts, actor=actor, reason=reason)


def subjects(text: str) -> list[str]:
    """Read the third column from the left of what was told."""
    rows = text.partition('id="told"')[2].split("<tr>")[2:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [unescape(re.sub("<[^>]+>", "", found[2])) for found in cells]


def test_who_did_what_and_why_is_told_with_the_newest_first(place: Place) -> None:
    happen(place.journal, "first", actor="ann", reason="<b>because</b>")
    happen(place.journal, "dep-1", actor="bo")
    text = browser(place).get(AT).text
    assert subjects(text) == ["dep-1", "first"]
    assert "&lt;b&gt;because&lt;/b&gt;" in text and "<b>because" not in text
    assert 'href="/console/deployments/dep-1"' in text and "MLDL_KEY_CHANGED" in text
    assert "All 2 appends follow" in text


def test_it_is_filtered_by_who_what_about_and_day(place: Place) -> None:
    clock = SettableClock()
    place.journal._clock = clock  # a day passes
    happen(place.journal, "one", actor="ann")
    clock.advance(DAY_S)
    happen(place.journal, "two", actor="bo")
    happen(place.journal, "routine", kind="experience")
    person = browser(place)
    day = person.get(AT).text.partition('id="told"')[2]
    first = re.findall(r"\d{4}-\d\d-\d\d", day)[-1]
    asked = {
        "": ["two", "one"],
        "actor=bo": ["two"],
        "kind=experience": ["routine-2"],
        "kind=MLDL_KEY_CHANGED&subject=one": ["one"],
        f"until={first}": ["one"],
        f"since={first}": ["two", "one"],
        "actor=nobody": [],
    }
    assert {query: subjects(person.get(f"{AT}?{query}").text) for query in asked} == asked


def test_one_goes_back_in_time_page_by_page_without_gap_or_repeat(place: Place) -> None:
    for number in range(2 * ROWS + 7):
        happen(place.journal, f"s{number}", actor="an né&")
    person, to, seen = browser(place), f"{AT}?actor=an+n%C3%A9%26", list[str]()
    for _ in range(3):
        text = person.get(to).text
        seen += subjects(text)
        onward = re.search(r'<a href="([^"]+)">Older</a>', text)
        to = unescape(onward[1]) if onward else ""
    assert (seen, to) == ([f"s{number}" for number in reversed(range(2 * ROWS + 7))], "")


def test_a_long_journal_is_checked_when_asked(place: Place) -> None:
    for number in range(QUICKLY_CHECKED + 1):
        happen(place.journal, f"s{number}")
    person = browser(place)
    assert 'href="/console/audit/chain"' in person.get(AT).text
    assert f"All {QUICKLY_CHECKED + 1} appends follow" in person.get("/console/audit/chain").text


def test_a_chain_that_somebody_rewrote_is_said_in_red(place: Place) -> None:
    happen(place.journal, "s")
    written = place.journal._appends[0]  # what no port lets anybody do
    place.journal._appends[0] = written._replace(content=written.content.replace("ann", "bob"))  # same
    text = browser(place).get(AT).text
    assert 'class="badge bad">yes, or damaged' in text and "does not follow from the one before it" in text


@pytest.mark.parametrize("wrong", ["before=x", "before=-1", "since=yesterday", "until=2026-02-30"])
def test_what_cannot_be_asked_is_refused_with_what_it_was(place: Place, wrong: str) -> None:
    page = browser(place).get(f"{AT}?{wrong}")
    assert (page.status_code, wrong.partition("=")[2] in page.text) == (422, True)
