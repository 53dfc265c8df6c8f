"""The models' pages of the console: what they show, page by page, and the word of an approver."""

from __future__ import annotations

import re

import pytest

from contracts.evaluations import Calibration, Evaluation, Interval
from contracts.ports import Write
from contracts.records import Lineage, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.journal.documents import write
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import _browsers_closed, browser, csrf, signed_in

AT = f"/console/models/{KEY}"
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


def judged(world: World, version: str = "1.0.0", parent: str | None = None) -> None:
    digest = "sha256:" + "a" * 64
    bundle = TrainedBundle(
        model_key=KEY, version=version, artifact_uri=f"blobs:{digest}", validation_hash=digest, created_at="2026",
        metrics={"auroc": 0.912}, intervals={"auroc": Interval(value=0.912, low=0.905, high=0.919)},
        calibration=Calibration(ece=0.0213), evaluation_id="ev-1", version_why="<b>first</b>",
        lineage=Lineage(parent=parent),
    )  # fmt: skip
    evaluation = Evaluation(evaluation_id="ev-1", model_key=KEY, rows=9, metrics=bundle.metrics, created_at="2026")
    known = world.journal.read("evaluation", "ev-1")
    writes = [write("model_version", f"{KEY}@{version}", 0, bundle)]
    writes += [] if known else [write("evaluation", "ev-1", 0, evaluation)]
    world.journal.append(writes, actor="tom", reason="t")


def versions_of(text: str) -> list[str]:
    return re.findall(rf'<th scope="row"><a href="{AT}/([\d.]+)"', text)


def test_models_are_listed_with_what_serves_what_comes_and_what_waits(world: World) -> None:
    for version in ("1.0.0", "1.1.0"):
        world.registered(version)
    stable = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
    world.journal.append([write("endpoint", KEY, 0, stable)], actor="t", reason="t")
    text = browser(world).get("/console/models").text
    for words in (f'href="{AT}"', f'href="{AT}/1.0.0"', f'href="{AT}/1.1.0"', "lacks 1 approval", "waiting=1"):
        assert words in text
    assert "No model here." in browser(world).get("/console/models?text=churn").text


def test_many_models_and_many_versions_come_page_by_page(world: World) -> None:
    digest = "sha256:" + "b" * 64
    keys = [(f"m{number:03}", "1.0.0") for number in range(35)] + [(KEY, f"1.{minor}.0") for minor in range(35)]
    bodies = (
        TrainedBundle(model_key=key, version=version, artifact_uri="x", validation_hash=digest, created_at="now")
        for key, version in keys
    )
    world.journal.append(
        [write("model_version", f"{one.model_key}@{one.version}", 0, one) for one in bodies], actor="t", reason="t"
    )
    person = browser(world)
    first = person.get("/console/models").text
    assert ("m023</a>" in first, "m024</a>" in first) == (True, False)
    onward = re.search(r'href="(/console/models\?[^"]*after=[^"]+)"', first)
    assert onward is not None
    assert "m034</a>" in person.get(onward[1].replace("&amp;", "&")).text
    newest = person.get(AT).text
    assert (versions_of(newest)[0], len(versions_of(newest))) == ("1.34.0", 25)
    older = re.search(rf'href="({AT}\?after=[^"]+)"', newest)
    assert older is not None
    assert versions_of(person.get(older[1]).text) == [f"1.{minor}.0" for minor in range(9, -1, -1)]


def test_a_version_shows_its_figures_with_their_ranges_its_lineage_and_what_speaks_against_it(world: World) -> None:
    judged(world)
    judged(world, "1.1.0", parent="1.0.0")
    text = browser(world).get(f"{AT}/1.1.0").text
    for words in ("0.912", "0.905 to 0.919", "95%", "0.0213", "&lt;b&gt;first&lt;/b&gt;", "may not be deployed"):
        assert words in text
    assert "model version income@1.0.0 is followed by model version income@1.1.0" in text
    assert "<style" not in text and "style=" not in text


def test_an_alias_leads_to_the_number_that_it_means_now(world: World) -> None:
    judged(world)
    assert browser(world).get(f"{AT}/latest").url.path == f"{AT}/1.0.0"


def test_the_card_is_shown_to_who_is_signed_in_and_runs_nothing(guarded: World) -> None:
    judged(guarded)
    person = signed_in(guarded, "viewer")
    card = person.get(f"{AT}/1.0.0/card")
    assert (card.status_code, KEY in card.text) == (200, True)
    assert "script-src" not in card.headers["content-security-policy"]
    assert "default-src 'none'" in card.headers["content-security-policy"]
    assert person.get(f"{AT}/2.0.0/card").status_code == 404


def test_an_approver_says_yes_and_no_and_both_are_seen(guarded: World) -> None:
    judged(guarded)
    person, at = signed_in(guarded, "approver"), f"{AT}/1.0.0"
    page = person.post(f"{at}/approve", data={"csrf": csrf(person.get(at)), "reason": "read <it>"})
    for words in ("Approved.", "kim", "read &lt;it&gt;", "may be deployed"):
        assert words in page.text
    page = person.post(f"{at}/reject", data={"csrf": csrf(page), "reason": "not fair"})
    for words in ("Rejected.", "rejected by kim", "may not be deployed"):
        assert words in page.text
    waiting = person.get(f"{AT}?waiting=1").text
    assert versions_of(waiting) == ["1.0.0"]


@pytest.mark.parametrize("role", ["viewer", "trainer", "deployer"])
def test_who_may_not_approve_is_offered_no_button_and_refused(guarded: World, role: str) -> None:
    judged(guarded)
    person, at = signed_in(guarded, role), f"{AT}/1.0.0"
    page = person.get(at)
    assert (page.status_code, "/approve" in page.text) == (200, False)
    assert person.post(f"{at}/approve", data={"csrf": csrf(page), "reason": "x"}).status_code == 403
    assert guarded.journal.scan("approval") == []


def test_a_word_without_a_reason_without_a_token_or_on_an_own_version_counts_for_nothing(world: World) -> None:
    judged(world)
    person, at = browser(world), f"{AT}/1.0.0"
    token = csrf(person.get(at))
    assert person.post(f"{at}/approve", data={"csrf": token, "reason": " "}).status_code == 422
    assert person.post(f"{at}/approve", data={"reason": "x"}).status_code == 403
    own = Write(kind="model_version", key=f"{KEY}@2.0.0", expected_version=0, body=_named("2.0.0"))
    world.journal.append([own], actor="local", reason="t")
    refused = person.post(f"{AT}/2.0.0/approve", data={"csrf": token, "reason": "mine"})
    assert (refused.status_code, "<h1>Forbidden</h1>" in refused.text) == (403, True)
    assert world.journal.scan("approval") == []


def _named(version: str) -> dict[str, object]:
    made = TrainedBundle(
        model_key=KEY, version=version, artifact_uri="x", validation_hash="sha256:" + "c" * 64, created_at="now"
    )
    return made.model_dump(mode="json")


def test_a_model_or_version_that_is_not_there_is_a_page_that_says_so(world: World) -> None:
    world.registered()
    for path, words in ((f"{AT}/9.9.9", "no version 9.9.9"), ("/console/models/none", "no model none")):
        page = browser(world).get(path)
        assert (page.status_code, words in page.text) == (404, True), page.text
