"""The snapshots' pages of the console: taking one, reading what going back would do, going back, and undoing it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from actors.snapshot_store import SnapshotStore
from contracts.records import RestorePlan, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from serve.api import Actors
from serve.console.snapshots import seen_of
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import _browsers_closed, browser, csrf, signed_in
from tests.rooms.test_console_jobs import Place

ALL = "/console/snapshots"
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


def moved_on(world: World, *, artifact: str = "file:elsewhere") -> str:
    """Take a snapshot while 1.0.0 serves, then have 1.1.0 serve and approve it; give the snapshot's page."""
    at = changed(world.journal, world.actors.snapshots, artifact=artifact)
    world.actors.registry.approve(KEY, "1.1.0", reason="good", by="ann", role="approver")
    return at


def changed(journal: MemoryJournal, snapshots: SnapshotStore, *, artifact: str = "file:elsewhere") -> str:
    """Take a snapshot while 1.0.0 serves, then have 1.1.0 serve, which takes another column."""
    for version, column in (("1.0.0", "age"), ("1.1.0", "wage")):
        schema = InputSchema.of(pa.table({column: [1.0, 2.0]})).to_json()
        bundle = TrainedBundle(
            model_key=KEY, version=version, artifact_uri=artifact, validation_hash="sha256:" + "0" * 64,
            created_at="now", input_schema=schema,
        )  # fmt: skip
        journal.append([write("model_version", f"{KEY}@{version}", 0, bundle)], actor="tom", reason="t")
    served = Endpoint(model_key=KEY, stable="1.0.0", salt="s", epoch=1)
    journal.append([write("endpoint", KEY, 0, served)], actor="t", reason="t")
    taken = snapshots.export(reason="before <b>the change</b>", by="ann")
    later = served.model_copy(update={"stable": "1.1.0", "previous": "1.0.0", "epoch": 2})
    journal.append([write("endpoint", KEY, 1, later)], actor="t", reason="t")
    return f"{ALL}/{taken.snapshot_id}"


def stable(world: World) -> str | None:
    document = world.journal.read("endpoint", KEY)
    assert document is not None
    return Endpoint.model_validate(document.body).stable


def filled(page: httpx.Response, **more: str) -> dict[str, str]:
    """Give the form of going back as the page has it, with what a person types."""
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', page.text)
    assert seen is not None, page.text
    return {"csrf": csrf(page), "seen": seen[1], "reason": "1.1.0 is bad", "word": "restore"} | more


def test_a_snapshot_is_taken_with_a_reason_and_listed(world: World) -> None:
    person = browser(world)
    page = person.get(ALL)
    assert "No snapshot was taken yet." in page.text
    page = person.post(f"{ALL}/export", data={"csrf": csrf(page), "reason": "before <i>Friday</i>"})
    assert "Taken: snap-" in page.text
    for words in ("before &lt;i&gt;Friday&lt;/i&gt;", "by a person", "local"):
        assert words in page.text
    assert person.post(f"{ALL}/export", data={"csrf": csrf(page), "reason": ""}).status_code == 422


def test_a_page_says_what_going_back_would_do(world: World) -> None:
    text = browser(world).get(moved_on(world)).text
    for words in (
        "income would serve 1.0.0 again instead of 1.1.0",
        "before &lt;b&gt;the change&lt;/b&gt;",
        "risk: ",
        "of 100",
        "s approval of income 1.1.0 would no longer count",
        "Go back to this moment",
    ):
        assert words in text
    assert text.count("s approval of income 1.1.0") == 1
    assert not re.search(r"<style|style=|<script>", text)


def test_a_page_says_whom_it_reaches_what_callers_lack_and_which_labels_are_lost(
    tmp_path: Path, free_port: int
) -> None:
    versions = {"1.1.0": {"qps": 2.0, "labelled": 1234}, "1.0.0": {"qps": 0.0, "labelled": 7}}

    def seen_live(journal: MemoryJournal) -> Actors:
        live = {"endpoints": {KEY: {"versions": versions}}}
        store = SnapshotStore(journal, MemoryBlobs(), SystemClock(), live=lambda: live)
        return Actors(journal, None, None, store, None, None, None)

    with Place(tmp_path, free_port, keys=False, make=seen_live) as place:
        at = changed(place.journal, SnapshotStore(place.journal, MemoryBlobs(), SystemClock()))
        text = browser(place).get(at).text
    for words in (">120<", "1,234 labels of income 1.1.0", "Callers who could not go on", "age", "1.1.0 to 1.0.0"):
        assert words in text


def test_going_back_leads_to_the_moment_before_and_that_undoes_it(world: World) -> None:
    at, person = moved_on(world), browser(world)
    page = person.post(f"{at}/restore", data=filled(person.get(at)))
    assert (page.status_code, stable(world)) == (200, "1.0.0")
    assert "This is the moment before" in page.text and "before a rollback" in page.text
    undone = person.post(f"{page.url.path}/restore", data=filled(page, reason="it was not", word=" Restore "))
    assert (undone.status_code, stable(world)) == (200, "1.1.0")
    assert [(event.actor, event.reason) for event in world.journal.events(types=["ROLLBACK_REQUESTED"])] == [
        ("local", "1.1.0 is bad"),
        ("local", "it was not"),
    ]


def test_without_the_word_a_reason_or_the_token_nothing_goes_back(world: World) -> None:
    at, person = moved_on(world), browser(world)
    form = filled(person.get(at))
    refused = [{"word": "yes"}, {"word": ""}, {"reason": " "}, {"csrf": "forged"}, {"seen": "0" * 64}]
    statuses = [person.post(f"{at}/restore", data=form | wrong).status_code for wrong in refused]
    assert (statuses, stable(world)) == ([422, 422, 422, 403, 409], "1.1.0")


def test_a_plan_that_is_not_what_was_seen_any_more_is_refused(world: World) -> None:
    at, person = moved_on(world), browser(world)
    form = filled(person.get(at))
    world.registered("2.0.0")
    page = person.post(f"{at}/restore", data=form)
    assert (page.status_code, "look again" in page.text, stable(world)) == (409, True, "1.1.0")


def test_what_cannot_be_used_is_shown_and_only_forced_by_a_person_who_ticks_it(world: World) -> None:
    at, person = moved_on(world, artifact="blobs:sha256:" + "0" * 64), browser(world)
    page = person.get(at)
    assert "What stands against it" in page.text and "manifest of income@1.0.0" in page.text
    refused = person.post(f"{at}/restore", data=filled(page))
    assert (refused.status_code, stable(world)) == (409, "1.1.0")
    forced = person.post(f"{at}/restore", data=filled(person.get(at), force="yes"))
    assert (forced.status_code, stable(world)) == (200, "1.0.0")


@pytest.mark.parametrize("role", ["viewer", "trainer", "approver"])
def test_who_may_not_deploy_reads_the_plan_and_is_offered_no_button(guarded: World, role: str) -> None:
    at = moved_on(guarded)
    person = signed_in(guarded, role)
    page = person.get(at)
    assert (page.status_code, "Go back to this moment" in page.text, "risk: " in page.text) == (200, False, True)
    assert "Take a snapshot" not in person.get(ALL).text
    token = csrf(page)
    for path in (f"{at}/restore", f"{ALL}/export"):
        assert person.post(path, data={"csrf": token, "reason": "x", "word": "restore"}).status_code == 403
    assert stable(guarded) == "1.1.0"


def test_a_moment_to_which_nothing_changed_offers_no_way_back(world: World) -> None:
    world.registered()
    taken = world.actors.snapshots.export(reason="r", by="ann")
    text = browser(world).get(f"{ALL}/{taken.snapshot_id}").text
    assert ("nothing would change" in text, "Go back to this moment" in text) == (True, False)


def test_a_snapshot_that_is_not_there_is_a_page_that_says_so(world: World) -> None:
    for path in (f"{ALL}/snap-none", f"{ALL}?after=snap-none"):
        page = browser(world).get(path)
        assert (page.status_code, "snap-none" in page.text) == (404, True)


def test_many_snapshots_come_page_by_page(world: World) -> None:
    for number in range(55):
        world.actors.snapshots.export(reason=f"number {number:02}", by="ann")
    person = browser(world)
    first = person.get(ALL).text
    onward = re.search(rf'href="({ALL}\?after=[^"]+)"', first)
    assert onward is not None
    second = person.get(onward[1]).text
    listed = [set(re.findall(r"number \d\d", text)) for text in (first, second)]
    assert (len(listed[0]), len(listed[1]), listed[0] & listed[1]) == (50, 5, set())


def test_two_plans_are_told_apart_by_what_they_change_and_not_by_live_figures() -> None:
    plan = RestorePlan(snapshot_id="s", position=1, impacts=(), risk="none")
    assert seen_of(plan) == seen_of(plan.model_copy(update={"notes": ("12 requests a minute",), "risk_score": 5}))
    assert seen_of(plan) != seen_of(plan.model_copy(update={"snapshot_id": "t"}))
