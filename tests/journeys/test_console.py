"""The console on the whole system, in a real Chromium: a rollout watched, held and taken back by its buttons."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldl_ray.demo.load import LiveLoad
from tests.chromium import BINARY, Tab, chromium
from tests.journeys.conftest import Rollouts


def press(tab: Tab, verb: str, reason: str) -> None:
    tab.js(f"document.querySelector('form[action$={verb}] input[name=reason]').value = '{reason}'")
    tab.js(f"document.querySelector('form[action$={verb}] button').click()")


@pytest.mark.skipif(BINARY is None, reason="no Chromium on this machine: apt install chromium")
@pytest.mark.timeout(240)
def test_a_person_watches_a_canary_and_takes_it_back(rollouts: Rollouts, load: LiveLoad, tmp_path: Path) -> None:
    rollouts.make_stable("1.0.0")
    asked = rollouts.begin("1.0.1", promotion_window=3600)
    with chromium(tmp_path / "chromium") as tab:
        tab.open(rollouts.system.url)
        tab.until(f"document.getElementById('live').innerText.includes('{asked}')")
        tab.open(f"{rollouts.system.url}/console/deployments/{asked}")
        press(tab, "hold", "lunch")
        tab.until("document.getElementById('said').innerText === 'Held.'")
        tab.until("document.querySelectorAll('#live polyline').length >= 2")  # both versions' latency, as it comes in
        press(tab, "rollback", "seen enough")
        tab.until("document.getElementById('live').innerText.includes('rolled back')")
        _looks_around(tab, rollouts.system.url, rollouts.key)
        assert [line for line in tab.told if "Content Security Policy" in line] == []
    ended = rollouts.ended(asked)
    assert (ended.status, rollouts.stable, load.failures) == ("rolled_back", "1.0.0", [])
    assert ("local", "lunch") in {(change.actor, change.reason.removeprefix("held: ")) for change in ended.history}


def _looks_around(tab: Tab, url: str, key: str) -> None:
    """Go from the model to its version, its job, the moment before the rollback, its columns and the audit."""
    tab.open(f"{url}/console/models?text={key}")
    tab.until(f"document.getElementById('live').innerText.includes('{key}')")
    tab.open(f"{url}/console/models/{key}/1.0.1")
    words = tab.js("document.querySelector('main').innerText")
    assert "may be deployed" in words and "95%" in words and "bo" in words
    assert tab.js("document.querySelectorAll('.lineage .box').length") >= 4  # data, job, version before, evaluation
    tab.js("document.querySelector('.facts a[href^=\\'/console/jobs/\\']').click()")
    tab.until("document.getElementById('report') !== null")
    assert "What it cost" in tab.js("document.getElementById('report').innerText")
    tab.open(f"{url}/console/snapshots")
    row = "[...document.querySelectorAll('tr')].find(row => row.innerText.includes('before a rollback'))"
    tab.js(f"{row}.querySelector('a').click()")
    tab.until("document.getElementById('risk') !== null")
    tab.open(f"{url}/console/drift/{key}/1.0.1")
    tab.until("document.querySelectorAll('.columns .pair').length > 0")
    tab.open(f"{url}/console/audit?actor=local")
    tab.until("document.getElementById('live').innerText.includes('lunch')")
