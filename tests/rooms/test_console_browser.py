"""The console in a real Chromium: keys, buttons, what changes by itself, widths and colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.rollouts import Endpoint
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.chromium import BINARY, Tab, chromium
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import secret

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="no Chromium on this machine: apt install chromium"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    with World(load_settings({}, home=tmp_path, port=free_port, require_keys=True)) as found:
        yield found


def signed_in(world: World, tab: Tab, role: str) -> str:
    """Sign in by typing a key; give the id of a rollout that goes on."""
    admin = world.client(key=secret(world, "admin"))
    admin.set_policy({"approvals_required": 0}, reason="test")
    asked = admin.deploy(KEY, "1.1.0").deployment_id
    tab.open(f"{world.settings.url}/console/deployments/{asked}")
    tab.until("document.querySelector('input[name=key]') === document.activeElement")
    tab.send("Input.insertText", text=secret(world, role))
    tab.js("document.querySelector('main form button').click()")
    tab.until(f"document.title.startsWith('{KEY} 1.1.0')")
    return asked


def ready(world: World) -> None:
    for version in ("1.0.0", "1.1.0"):
        world.registered(version)
    stable = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
    world.journal.append([write("endpoint", KEY, 0, stable)], actor="t", reason="t")


def test_a_person_signs_in_holds_a_rollout_and_sees_what_another_does(world: World, tab: Tab) -> None:
    ready(world)
    tab.looks()
    asked = signed_in(world, tab, "deployer")
    tab.js("document.querySelector('form[action$=hold] input[name=reason]').value = 'calls'")
    tab.js("document.querySelector('form[action$=hold] button').click()")
    tab.until("document.getElementById('said').innerText === 'Held.'")
    assert "held by kim: calls" in tab.js("document.getElementById('live').innerText")
    world.client(key=secret(world, "admin")).resume(asked, reason="over")
    tab.until("!document.getElementById('live').innerText.includes('held by kim')")
    assert [line for line in tab.told if "Content Security Policy" in line] == []


def test_an_approver_types_a_reason_and_the_version_is_approved(world: World, tab: Tab) -> None:
    ready(world)
    tab.looks()
    signed_in(world, tab, "approver")
    world.client(key=secret(world, "admin")).set_policy({"approvals_required": 1}, reason="test")
    tab.open(f"{world.settings.url}/console/models/{KEY}/latest")
    tab.until("document.getElementById('standing').innerText.includes('lacks 1 approval')")
    tab.js("document.querySelector('form[action$=approve] input[name=reason]').focus()")
    tab.send("Input.insertText", text="read the card")
    tab.js("document.querySelector('form[action$=approve] button').click()")
    tab.until("document.getElementById('said').innerText === 'Approved.'")
    assert "read the card" in tab.js("document.getElementById('words-live').innerText")
    assert tab.js("getComputedStyle(document.querySelector('.lineage .box')).stroke") != "none"
    assert [line for line in tab.told if "Content Security Policy" in line] == []


def test_a_deployer_goes_back_only_with_the_word_typed_and_lands_on_the_moment_before(world: World, tab: Tab) -> None:
    ready(world)
    taken = world.client(key=secret(world, "admin")).snapshot_export("while it was good").snapshot_id
    tab.looks()
    signed_in(world, tab, "deployer")
    tab.open(f"{world.settings.url}/console/snapshots/{taken}")
    tab.js("document.querySelector('form[action$=restore] input[name=reason]').value = 'it was good'")
    tab.js("document.querySelector('form[action$=restore] input[name=word]').focus()")
    tab.send("Input.insertText", text="restor")
    tab.js("document.querySelector('form[action$=restore] button').click()")
    assert tab.js("document.querySelector('form[action$=restore]').checkValidity()") is False
    tab.send("Input.insertText", text="e")
    tab.js("document.querySelector('form[action$=restore] button').click()")
    tab.until("document.getElementById('said').innerText.includes('going back to it undoes that')")
    assert "before a rollback" in tab.js("document.querySelector('main').innerText")
    assert [line for line in tab.told if "Content Security Policy" in line] == []


def test_nothing_is_wider_than_a_phone_and_the_dark_is_dark(world: World, tab: Tab) -> None:
    ready(world)
    tab.looks(width=390, height=844, dark=True)
    asked = signed_in(world, tab, "deployer")
    models = ("/console/models", f"/console/models/{KEY}", f"/console/models/{KEY}/1.1.0")
    taken = world.client(key=secret(world, "admin")).snapshot_export("a moment").snapshot_id
    world.registered("1.2.0")
    snapshots = ("/console/snapshots", f"/console/snapshots/{taken}")
    watching = ("/console/drift", "/console/alerts", "/console/audit")
    for path in ("/", *models, "/console/deployments", f"/console/deployments/{asked}", *snapshots, *watching):
        tab.open(world.settings.url + path)
        assert tab.js("document.documentElement.scrollWidth") <= 390
        assert tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        assert tab.js("document.querySelectorAll('main h1').length") == 1


def test_by_keyboard_the_first_stop_leads_past_the_navigation(world: World, tab: Tab) -> None:
    ready(world)
    signed_in(world, tab, "viewer")
    tab.open(f"{world.settings.url}/")
    for kind in ("keyDown", "keyUp"):
        tab.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.js("document.activeElement.innerText") == "Skip to content"
    assert tab.js("document.querySelector('form.act')") is None
