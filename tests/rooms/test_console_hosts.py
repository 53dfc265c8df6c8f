"""By which names the console may be called: another site's name that leads to this machine reads and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mldl_ray.settings import load_settings
from serve.console.hosts import check
from serve.problems import Misdirected
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import _browsers_closed, browser, csrf, serving

EVIL = "evil.example"
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    with World(load_settings({}, home=tmp_path, port=free_port, hosts=("mldl.example.org",))) as found:
        serving(found)
        yield found


def test_a_page_asked_for_by_another_sites_name_is_refused_with_what_to_do(world: World) -> None:
    for path in ("/", "/console/models", "/console/sign-in"):
        page = browser(world).get(path, headers={"Host": f"{EVIL}:{world.settings.port}"})
        assert (page.status_code, "MLDL_HOSTS" in page.text, KEY in page.text) == (421, True, False)
        assert "set-cookie" not in page.headers


def test_an_act_by_another_sites_name_changes_nothing_although_its_origin_agrees(world: World) -> None:
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    at, person = f"/console/deployments/{asked}", browser(world)
    form = {"csrf": csrf(person.get(at)), "reason": "x"}
    done = person.post(f"{at}/hold", data=form, headers={"Host": EVIL, "Origin": f"http://{EVIL}"})
    signed = person.post("/console/sign-in", data={"key": "x"}, headers={"Host": EVIL, "Origin": f"http://{EVIL}"})
    assert (done.status_code, signed.status_code) == (421, 421)
    assert world.client().deployment(asked).held is None


def test_loopbacks_names_and_those_of_the_settings_are_answered(world: World) -> None:
    for host in ("localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]:80", "mldl.example.org", "mldl.example.org:8443"):
        assert browser(world).get("/console/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["", "x.mldl.example.org", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "a@localhost", "["],
)
def test_names_that_only_look_like_ours_are_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(Misdirected):
        check(host, load_settings({}, home=tmp_path, hosts=("mldl.example.org",)))


def test_a_service_for_others_answers_to_any_name_until_it_is_given_some(tmp_path: Path) -> None:
    check("anything", load_settings({}, home=tmp_path, host="0.0.0.0"))
    named = load_settings({}, home=tmp_path, host="0.0.0.0", hosts=("mldl.example.org",))
    check("mldl.example.org", named)
    for other in ("anything", "localhost"):
        with pytest.raises(Misdirected):
            check(other, named)
