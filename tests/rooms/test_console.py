"""The console over real HTTP, on actors in this process: pages, roles, sessions, forged forms, errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from contracts.ports import Journal
from contracts.rollouts import Decision, Endpoint
from mldl_ray.access import ApiKeys
from mldl_ray.clock import SettableClock, SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import Settings, load_settings
from serve.console.charts import line_chart
from serve.console.session import LASTS_S, Sessions
from serve.console.trail import Trails
from tests.rooms.test_api import KEY, World


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    with World(load_settings({}, home=tmp_path, port=free_port)) as found:
        serving(found)
        yield found


def serving(world: World) -> None:
    world.client().set_policy({"approvals_required": 0}, reason="test")
    for version in ("1.0.0", "1.1.0"):
        world.registered(version)
    stable = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
    world.journal.append([write("endpoint", KEY, 0, stable)], actor="t", reason="t")


class Service(Protocol):
    """What a browser and a key need to know of a service."""

    @property
    def settings(self) -> Settings: ...

    @property
    def journal(self) -> Journal: ...


_open: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def _browsers_closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def browser(world: Service, *, follow: bool = True) -> httpx.Client:
    _open.append(httpx.Client(base_url=world.settings.url, follow_redirects=follow, timeout=30))
    return _open[-1]


def secret(world: Service, role: str) -> str:
    return ApiKeys(world.journal, SystemClock()).create("kim", role, by="test")[1]


def signed_in(world: Service, role: str) -> httpx.Client:
    found = browser(world)
    found.post("/console/sign-in", data={"key": secret(world, role)})
    return found


def csrf(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def test_the_first_page_shows_what_serves_burns_and_waits(world: World) -> None:
    asked = world.client(acting_as="ann").deploy(KEY, "1.1.0").deployment_id
    world.client(acting_as="ann").hold(asked, reason="<b>calls</b>")
    page = browser(world).get("/")
    assert page.status_code == 200
    for words in (KEY, "1.0.0", asked, "No alert is open", "held by ann: &lt;b&gt;calls&lt;/b&gt;"):
        assert words in page.text


def test_a_rollout_is_held_resumed_and_rolled_back_by_its_buttons(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    at, person = f"/console/deployments/{asked}", browser(world)
    for verb, said in (("hold", "Held."), ("resume", "Resumed."), ("rollback", "Rolling back.")):
        page = person.post(f"{at}/{verb}", data={"csrf": csrf(person.get(at)), "reason": f"{verb} it"})
        assert (page.status_code, said in page.text, f"{verb} it" in page.text) == (200, True, True)
    history = world.client().deployment(asked).history
    assert [change.actor for change in history[-3:]] == ["local"] * 3


def test_an_act_without_a_reason_or_with_a_percentage_that_is_none_is_refused(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    at, person = f"/console/deployments/{asked}", browser(world)
    token = csrf(person.get(at))
    for verb, form in (("hold", {"reason": " "}), ("promote", {"reason": "x", "to_pct": "nan"})):
        page = person.post(f"{at}/{verb}", data={"csrf": token, **form})
        assert (page.status_code, "<h1>Incompatible</h1>" in page.text) == (422, True)
    assert world.client().deployment(asked).held is None


def test_a_forged_form_changes_nothing(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    at, person = f"/console/deployments/{asked}", browser(world)
    token = csrf(person.get(at))
    forged = [
        person.post(f"{at}/hold", data={"reason": "x"}),
        person.post(f"{at}/hold", data={"reason": "x", "csrf": "wrong"}),
        person.post(f"{at}/hold", data={"reason": "x", "csrf": token}, headers={"Origin": "https://evil.example"}),
        person.post(f"{at}/hold", data={"reason": "x", "csrf": token}, headers={"Origin": "null"}),
        person.post(f"{at}/hold", data={"reason": "x", "csrf": token}, headers={"Sec-Fetch-Site": "cross-site"}),
        browser(world).post(f"{at}/hold", data={"reason": "x", "csrf": token}),
    ]
    assert [page.status_code for page in forged] == [403] * 6
    assert world.client().deployment(asked).held is None


def test_the_evidence_is_shown_with_its_figures_and_what_they_mean(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    row = {"statistic": 2.5, "bound": 20.0, "n": 640, "n_stable": 12160, "needed": 2000, "time_to_decide_s": 600}
    looks = tuple(
        Decision(
            verdict="HOLD", rule="too_little", why="too few errors", at_s=at, step_pct=5.0,
            evidence={"errors": row | {"statistic": at / 10, "verdict": "too_little", "words": "wait"}, "x": 1},
        )
        for at in (10.0, 20.0, 30.0)
    )  # fmt: skip
    document = world.journal.read("deployment", asked)
    assert document is not None
    looked = world.client().deployment(asked).model_dump(mode="json", exclude={"candidate", "traffic", "advice"})
    changed = write("deployment", asked, document.version, Endpoint(model_key=KEY, salt="s"))
    body = looked | {"decisions": [look.model_dump(mode="json") for look in looks]}
    world.journal.append([changed.model_copy(update={"body": body})], actor="t", reason="t")
    text = browser(world).get(f"/console/deployments/{asked}").text
    for words in ("too few errors", "640", "12,160", "2,000", "10 min", 'class="bound"', "<polyline"):
        assert words in text


def test_who_is_not_signed_in_is_asked_to_and_comes_back(guarded: World) -> None:
    person = browser(guarded)
    page = person.get("/console/deployments")
    assert (page.url.path, page.url.params["next"]) == ("/console/sign-in", "/console/deployments")
    key = secret(guarded, "viewer")
    page = person.post("/console/sign-in", data={"key": key, "next": "/console/deployments"})
    assert (page.url.path, page.status_code) == ("/console/deployments", 200)
    assert key not in page.text


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(guarded: World) -> None:
    person = browser(guarded, follow=False)
    answer = person.post("/console/sign-in", data={"key": secret(guarded, "viewer")})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and "secure" not in cookie.lower()
    over_tls = person.post(
        "/console/sign-in", data={"key": secret(guarded, "viewer")}, headers={"x-forwarded-proto": "https"}
    )
    assert "secure" in over_tls.headers["set-cookie"].lower()


def test_a_wrong_key_is_refused_and_never_repeated(guarded: World) -> None:
    page = browser(guarded).post("/console/sign-in", data={"key": "mldl_wrong", "next": "https://evil.example"})
    assert (page.status_code, "mldl_wrong" in page.text, "evil" in page.text) == (401, False, False)


def test_signing_out_ends_the_session(guarded: World) -> None:
    person = signed_in(guarded, "viewer")
    token = person.cookies["mldl_session"]
    person.post("/console/sign-out", data={"csrf": csrf(person.get("/console/deployments"))})
    again = browser(guarded).get("/console/deployments", headers={"cookie": f"mldl_session={token}"})
    assert again.url.path == "/console/sign-in"


def test_a_revoked_key_ends_its_session_at_once() -> None:
    journal, clock = MemoryJournal(SystemClock()), SettableClock(1000.0)
    keys = ApiKeys(journal, clock)
    key, secret_ = keys.create("kim", "viewer", by="t")
    sessions = Sessions(journal, clock, keys_required=True)
    token, _ = sessions.sign_in(secret_)
    assert sessions.find(token) is not None
    keys.revoke(key.key_id, by="t", reason="left")
    assert sessions.find(token) is None


def test_a_session_is_over_after_its_time() -> None:
    journal, clock = MemoryJournal(SystemClock()), SettableClock(1000.0)
    sessions = Sessions(journal, clock, keys_required=False)
    token, _ = sessions.local()
    assert sessions.find(token) is not None
    clock.advance(LASTS_S)
    assert sessions.find(token) is None


@pytest.mark.parametrize("role", ["viewer", "trainer", "approver"])
def test_who_may_not_deploy_is_offered_no_button_and_refused(guarded: World, role: str) -> None:
    admin = guarded.client(key=secret(guarded, "admin"))
    admin.set_policy({"approvals_required": 0}, reason="test")
    guarded.registered()
    asked = admin.deploy(KEY, "1.0.0").deployment_id
    at, person = f"/console/deployments/{asked}", signed_in(guarded, role)
    page = person.get(at)
    assert (page.status_code, "Roll back" in page.text) == (200, False)
    assert person.post(f"{at}/hold", data={"csrf": csrf(page), "reason": "x"}).status_code == 403


def test_what_is_not_there_is_a_page_that_says_so(world: World) -> None:
    for path, words in (("/console/deployments/dep-none", "dep-none"), ("/console/nothing", "no page at /console")):
        page = browser(world).get(path)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert words in page.text


def test_every_page_says_what_it_may_load_and_holds_nothing_inline(world: World) -> None:
    for path in (
        "/",
        "/console/deployments",
        "/console/static/style.css",
        "/console/static/live.js",
        "/console/sign-in",
    ):
        page = browser(world).get(path)
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert not re.search(r"<script>|style=|\son[a-z]+=|https?://(?!127)", page.text)


def test_the_api_still_says_its_own_errors(world: World) -> None:
    assert browser(world).get("/nothing").headers["content-type"] == "application/problem+json"
    assert world.raw("GET", "/nothing").headers["content-type"] == "application/problem+json"


def test_a_curve_carries_no_markup_of_its_names() -> None:
    drawn = line_chart("<i>", {"<script>": [(0.0, 1.0), (1.0, 2.0)]}, x="<x>", y="<y>")
    assert "<script>" not in drawn and "<i>" not in drawn and "<x>" not in drawn


def test_the_evidence_grows_while_somebody_looks() -> None:
    trails = Trails()
    looks = [Decision(verdict="HOLD", rule="r", why="w", at_s=float(at), step_pct=5.0) for at in range(4)]
    trails.looked("dep-1", looks[:2])
    assert trails.looked("dep-1", [looks[1], looks[3]]) == [looks[0], looks[1], looks[3]]
    assert trails.looked("dep-2", looks[2:3]) == looks[2:3]
