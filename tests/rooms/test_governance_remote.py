"""Governance with a kernel in another process: it must agree, and while it is down nothing moves but a rollback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import Conflict, Unavailable
from contracts.policies import Policy
from mldl_ray.bridges import governance_remote
from mldl_ray.bridges.governance_acts import ask, warn
from mldl_ray.bridges.governance_remote import RemoteGovernance, open_governance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_defaults, load_settings
from tests.rooms.test_governance import BUNDLE

KERNEL = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Kernel(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(sys.argv[2], "a") as seen:
            seen.write(json.dumps({"path": self.path} | asked) + "\\n")
        told = open(sys.argv[1]).read()
        if told == "slow":
            time.sleep(3600)
        if told == "broken":
            self.send_error(500)
            return
        self.send_response(200)
        self.end_headers()
        while told == "drip":
            self.wfile.write(b" ")
            time.sleep(0.05)
        self.wfile.write(told.encode())

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Kernel)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Kernel:
    """A governance kernel in a process of its own, and what it says next."""

    def __init__(self, folder: Path) -> None:
        self.says, self.seen = folder / "says", folder / "seen"
        self.seen.touch()
        command = [sys.executable, "-c", KERNEL, str(self.says), str(self.seen)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def say(self, told: object) -> None:
        self.says.write_text(told if isinstance(told, str) else json.dumps(told))

    def heard(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.seen.read_text().splitlines()]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Kernel(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def journal() -> MemoryJournal:
    found = MemoryJournal(SettableClock(1000.0))
    found.append([write("policy", "default", 0, Policy(approvals_required=0))], actor="cy", reason="test")
    return found


@pytest.fixture
def governance(kernel: Kernel, journal: MemoryJournal, tmp_path: Path) -> RemoteGovernance:
    remote = f"{{url: '{kernel.url}', timeout_s: 1, retries: 0}}"
    settings = load_settings({}, home=tmp_path, mldl=load_defaults(f"mldl: {{bridges: {{governance: {remote}}}}}"))
    found = open_governance(settings, journal, SettableClock(1000.0))
    assert isinstance(found, RemoteGovernance)
    return found


def test_an_act_that_both_allow_is_allowed_and_the_kernel_hears_all_about_it(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal
) -> None:
    kernel.say({"allowed": True})
    assert ask(governance, journal, "deploy", BUNDLE, "dan").allowed
    (heard,) = kernel.heard()
    assert (heard["path"], heard["act"], heard["by"]) == ("/check", "deploy", "dan")
    assert heard["bundle"] == BUNDLE.model_dump(mode="json")


@pytest.mark.parametrize("act", ["register", "deploy", "promote"])
def test_the_kernel_s_refusal_is_a_refusal_with_its_rule_and_a_violation(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal, act: str
) -> None:
    finding = {"rule": "board.sign_off", "value": None, "bound": "signed", "sentence": "the board has not signed"}
    kernel.say({"allowed": False, "findings": [finding]})
    with pytest.raises(Conflict, match="the board has not signed") as caught:
        ask(governance, journal, act, BUNDLE, "dan")  # type: ignore[arg-type]  # one of the literals
    assert caught.value.facts["findings"] == [finding]
    assert journal.events(types=["MLDL_VIOLATION"])[0].data["findings"] == [finding]


def test_a_refusal_without_words_is_still_a_refusal(kernel: Kernel, governance: RemoteGovernance) -> None:
    kernel.say({"allowed": False})
    assert [finding.rule for finding in governance.check("deploy", BUNDLE).findings] == ["bridge"]


def test_what_the_policy_here_refuses_is_not_asked_elsewhere(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal
) -> None:
    journal.append([write("policy", "default", 1, Policy())], actor="cy", reason="test")
    kernel.say({"allowed": True})
    assert not governance.check("deploy", BUNDLE).allowed
    assert kernel.heard() == []


@pytest.mark.parametrize(
    "told",
    [
        "broken",
        "hello",
        "[]",
        {"fine": True},
        {"allowed": "yes"},
        {"allowed": 1},
        {"allowed": False, "findings": [{"rule": 1}]},
        {"allowed": True, "findings": [{"rule": "x", "sentence": "x"}]},
    ],
    ids=str,
)
def test_an_answer_that_is_none_allows_nothing(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal, told: object
) -> None:
    kernel.say(told)
    with pytest.raises(Unavailable, match="governance bridge"):
        ask(governance, journal, "deploy", BUNDLE, "dan")


def test_a_kernel_that_is_slow_is_not_waited_for_and_allows_nothing(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal
) -> None:
    kernel.say("slow")
    with pytest.raises(Unavailable, match="nothing may deploy until it answers; a rollback still may"):
        ask(governance, journal, "deploy", BUNDLE, "dan")
    assert warn(governance, journal, BUNDLE, "dan").allowed


def test_a_kernel_that_drips_its_answer_for_ever_allows_nothing(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(governance_remote, "DEADLINE_S", 0.3)
    kernel.say("drip")
    with pytest.raises(Unavailable, match=r"nothing may deploy.*did not answer within 0\.3 s"):
        ask(governance, journal, "deploy", BUNDLE, "dan")


def test_while_the_kernel_is_down_nothing_moves_but_a_rollback(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal
) -> None:
    kernel.stop()
    for act in ("register", "deploy", "promote"):
        with pytest.raises(Unavailable, match=f"nothing may {act}") as caught:
            ask(governance, journal, act, BUNDLE, "dan")
        assert (caught.value.http_status, caught.value.facts["bridge"]) == (503, "governance")
    assert warn(governance, journal, BUNDLE, "dan").allowed


def test_a_rollback_to_what_the_policy_would_refuse_is_allowed_and_on_record(
    kernel: Kernel, governance: RemoteGovernance, journal: MemoryJournal
) -> None:
    journal.append([write("policy", "default", 1, Policy(max_cost_units=0.0, families=()))], actor="cy", reason="test")
    told = warn(governance, journal, BUNDLE, "dan")
    assert told.allowed
    assert [finding.rule for finding in told.findings] == ["approvals_required", "families"]
    assert journal.events(types=["MLDL_VIOLATION"])[0].data["act"] == "rollback"
    assert kernel.heard() == []
