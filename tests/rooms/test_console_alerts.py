"""The console's pages of alerts over real HTTP: what they show, the acts, who may, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from contracts.ports import Write
from contracts.records import Alert
from contracts.slos import SilenceRequest, Slo
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import csrf, secret


@contextmanager
def person(world: World, role: str | None = None) -> Iterator[httpx.Client]:
    """Open a browser; with a role, one that is signed in."""
    with httpx.Client(base_url=world.settings.url, follow_redirects=True, timeout=30) as found:
        if role is not None:
            found.post("/console/sign-in", data={"key": secret(world, role)})
        yield found


def opened(world: World, cause: str = "c", **fields: Any) -> Alert:
    facts: dict[str, Any] = {"kind": "drift", "severity": "warning", "model_key": KEY, "version": "1.0.0"}
    facts |= {"message": f"<b>{cause}</b> moved", "evidence": {"rows": 1234, "columns": [{"column": "age", "p": 0.01}]}}
    return world.monitor.raise_alert(cause=cause, **facts | fields)


def test_alerts_are_listed_by_version_and_each_once_more_in_its_own_words(world: World) -> None:
    first = opened(world)
    grave = opened(world, "d", severity="critical", kind="slo", evidence={})
    with person(world) as browser:
        page = browser.get("/console/alerts")
        overview = browser.get("/")
    assert page.status_code == 200
    groups, _, listed = page.text.partition('id="all"')
    assert "<b>" not in page.text
    assert "&lt;b&gt;d&lt;/b&gt; moved" in groups and "&lt;b&gt;c&lt;/b&gt; moved" not in groups
    for alert in (first, grave):
        assert f"/console/alerts/{alert.alert_id}" in listed
    assert f"/console/alerts/{grave.alert_id}" in overview.text


def test_alerts_are_filtered_by_status_severity_and_model(world: World) -> None:
    names = {
        "open": opened(world),
        "critical": opened(world, "d", severity="critical"),
        "other": opened(world, "e", model_key="churn"),
    }
    world.client().acknowledge(names["critical"].alert_id, reason="looking")
    shown = {}
    with person(world) as browser:
        for query in ("status=acknowledged", "severity=critical", "model=churn", "status=open&model=" + KEY, "status="):
            listed = browser.get(f"/console/alerts?{query}").text.partition('id="all"')[2]
            shown[query] = {name for name, alert in names.items() if alert.alert_id in listed}
        wrong = browser.get("/console/alerts?status=ope")
    assert shown == {
        "status=acknowledged": {"critical"},
        "severity=critical": {"critical"},
        "model=churn": {"other"},
        f"status=open&model={KEY}": {"open"},
        "status=": set(names),
    }
    assert (wrong.status_code, "none of: open, acknowledged, resolved" in wrong.text) == (422, True)


def test_an_alert_shows_its_evidence_as_a_table_and_its_life_with_who_and_why(world: World) -> None:
    asked = opened(world)
    world.client(acting_as="ann").acknowledge(asked.alert_id, reason="on it")
    world.client(acting_as="bo").resolve(asked.alert_id, reason="season")
    with person(world) as browser:
        text = browser.get(f"/console/alerts/{asked.alert_id}").text
    evidence, _, life = text.partition('id="life"')
    for words in ("1,234", '<th scope="col">column</th>', '<th scope="row">age</th>', "0.01"):
        assert words in evidence
    rows = [row for row in life.split("<tr>") if "UTC" in row]
    assert len(rows) == 3
    told = (("open", "monitor"), ("acknowledged", "ann", "on it"), ("resolved", "bo", "season"))
    for row, said in zip(rows, told, strict=True):
        assert all(word in row for word in said)
    assert "/acknowledge" not in text and "/resolve" not in text


def test_an_alert_is_acknowledged_and_resolved_by_its_buttons(world: World) -> None:
    asked = opened(world)
    at = f"/console/alerts/{asked.alert_id}"
    with person(world) as browser:
        for verb, said, status in (
            ("acknowledge", "Acknowledged.", "acknowledged"),
            ("resolve", "Resolved.", "resolved"),
        ):
            page = browser.get(at)
            assert f'action="{at}/{verb}"' in page.text
            done = browser.post(f"{at}/{verb}", data={"csrf": csrf(page), "reason": f"{verb} it"})
            assert (done.status_code, said in done.text) == (200, True)
            found = world.client().alert(asked.alert_id)
            assert (found.status, found.reason) == (status, f"{verb} it")
        again = browser.post(f"{at}/resolve", data={"csrf": csrf(browser.get(at)), "reason": "again"})
    assert again.status_code == 409


def test_a_silence_begins_at_an_alert_and_is_ended_in_the_list(world: World) -> None:
    asked = opened(world)
    at = f"/console/alerts/{asked.alert_id}"
    with person(world) as browser:
        form = {"csrf": csrf(browser.get(at)), "reason": "release", "hours": "2", "scope": "version"}
        assert "Silenced" in browser.post(f"{at}/silence", data=form).text
        (silence,) = world.client().silences(active=True)
        facts = (silence.model_key, silence.version, silence.kind, silence.by)
        assert (*facts, round(silence.ends_at_s - silence.starts_at_s)) == (KEY, "1.0.0", None, "local", 7200)
        page = browser.get("/console/alerts")
        assert "release" in page.text
        end = f"/console/alerts/silences/{silence.silence_id}/end"
        assert end in page.text
        done = browser.post(end, data={"csrf": csrf(page), "reason": "released"})
    assert "Nothing is silenced" in done.text
    assert world.client().silences(active=True) == []


@pytest.mark.parametrize(
    "wrong", [{"hours": "x"}, {"hours": "nan"}, {"hours": "-1"}, {"hours": "721"}, {"scope": "all"}]
)
def test_a_silence_that_cannot_be_is_refused(world: World, wrong: dict[str, str]) -> None:
    at = f"/console/alerts/{opened(world).alert_id}"
    with person(world) as browser:
        form = {"csrf": csrf(browser.get(at)), "reason": "x", "hours": "1", "scope": "kind"} | wrong
        assert browser.post(f"{at}/silence", data=form).status_code == 422
    assert world.client().silences() == []


def test_error_budgets_are_shown_with_the_emptiest_first(world: World) -> None:
    world.registered()
    registered = world.journal.read("model_version", f"{KEY}@1.0.0")
    assert registered is not None and registered.body is not None
    other = registered.body | {"model_key": "churn"}
    made = Write(kind="model_version", key="churn@1.0.0", expected_version=0, body=other)
    world.journal.append([made], actor="tom", reason="test")
    for name, model in (("fast", KEY), ("up", "churn")):
        slo = Slo(name=name, model_key=model, kind="latency", objective=0.99, bound=100.0)
        world.client().set_slo(slo, reason="agreed")
    with person(world) as browser:
        whole = browser.get("/console/alerts").text
        one = browser.get(f"/console/alerts?model={KEY}").text
    assert all(name in whole for name in (">fast<", ">up<", "99%", "100%"))
    assert ">fast<" in one and ">up<" not in one


@pytest.mark.parametrize("role", ["viewer", "trainer", "approver"])
def test_who_may_not_deploy_reads_alerts_and_changes_none(guarded: World, role: str) -> None:
    alert = opened(guarded)
    at = f"/console/alerts/{alert.alert_id}"
    silence = guarded.monitor.silence(SilenceRequest(lasts_s=600, reason="night"), by="ann")
    end = f"/console/alerts/silences/{silence.silence_id}/end"
    with person(guarded, role) as browser:
        pages = [browser.get(at), browser.get("/console/alerts")]
        assert [(page.status_code, 'class="act"' in page.text) for page in pages] == [(200, False)] * 2
        form = {"csrf": csrf(pages[0]), "reason": "x", "hours": "1", "scope": "kind"}
        done = [browser.post(path, data=form) for path in (f"{at}/acknowledge", f"{at}/resolve", f"{at}/silence", end)]
    assert [page.status_code for page in done] == [403] * 4
    assert guarded.monitor.alert(alert.alert_id).status == "open"
    assert [one.silence_id for one in guarded.monitor.silences(active=True)] == [silence.silence_id]


def test_an_act_on_an_alert_that_another_site_sends_changes_nothing(world: World) -> None:
    alert = opened(world)
    at = f"/console/alerts/{alert.alert_id}"
    with person(world) as browser:
        token = csrf(browser.get(at))
        forged = [
            browser.post(f"{at}/resolve", data={"reason": "x"}),
            browser.post(
                f"{at}/resolve", data={"reason": "x", "csrf": token}, headers={"Origin": "https://evil.example"}
            ),
        ]
    assert [page.status_code for page in forged] == [403] * 2
    assert world.monitor.alert(alert.alert_id).status == "open"


def test_an_alert_that_is_not_there_is_a_page_that_says_so(world: World) -> None:
    with person(world) as browser:
        page = browser.get("/console/alerts/alert-none")
    assert (page.status_code, "alert-none" in page.text) == (404, True)
