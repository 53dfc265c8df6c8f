"""A remote kernel, in a second process: asked first when there is one, never waited for in vain, found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from actors.bridges import Bridges
from contracts.bridges import BridgeView
from contracts.errors import MldlError, NotFound, Unavailable
from contracts.ports import Write
from contracts.records import TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges._remote import LARGEST_ANSWER_BYTES, RemoteKernel
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_defaults, load_settings
from tests.kernels import Kernel

ADVICE = {"verdict": "deploy", "why": "the board says so", "confidence": 1.0, "votes": []}
META = {"task": "classification", "rows": 500, "columns": 4, "numeric_share": 1.0}
ELSEWHERE = {
    "id": "far-1", "model_key": "theirs", "family": "lr", "task": "classification", "metric": "f1", "meta": META,
    "config": {"C": 0.5}, "score": 0.9,
}  # fmt: skip


def kernel(answer: Callable[[httpx.Request], httpx.Response]) -> RemoteKernel:
    client = httpx.Client(transport=httpx.MockTransport(answer))
    return RemoteKernel("http://kernel/", frozenset({"verdict"}), client)


def test_a_question_is_posted_as_json_to_its_verb() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json={"verdict": "deploy", "asked": [str(request.url), asked]})

    told = kernel(answer).ask("recommend", {"version": "1.0.0"})
    assert told == {"verdict": "deploy", "asked": ["http://kernel/recommend", {"version": "1.0.0"}]}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(503), "answered 503"),
        (httpx.Response(302, headers={"location": "http://elsewhere/"}), "answered 302"),
        (httpx.Response(200, content=b"hello"), "answered no JSON"),
        (httpx.Response(200, json=["deploy"]), "did not answer with verdict"),
        (httpx.Response(200, json={"other": 1}), "did not answer with verdict"),
        (httpx.Response(200, content=b" " * (LARGEST_ANSWER_BYTES + 1)), "more than"),
    ],
)
def test_an_answer_that_is_none_is_unavailable(answer: httpx.Response, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        kernel(lambda _: answer).ask("recommend", {})


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Kernel(tmp_path / "kernel")
    yield found
    found.stop()


class House:
    """The bridges of a system whose kernels are one second process, and its clock."""

    def __init__(self, folder: Path, url: str) -> None:
        remote = f"{{url: '{url}', timeout_s: 0.5, retries: 1, open_after: 2, rest_s: 3600}}"
        names = ", ".join(f"{name}: {remote}" for name in ("intelligence", "ingress", "mlt", "memory"))
        self.clock = SettableClock()
        self.journal = MemoryJournal(self.clock)
        self.settings = load_settings({}, home=folder, mldl=load_defaults(f"mldl: {{bridges: {{{names}}}}}"))
        self.bridges = Bridges(self.settings, self.journal, MemoryBlobs(), self.clock, autostart=False)
        bundle = TrainedBundle(model_key="m", version="1.0.0", artifact_uri="x", validation_hash="x", created_at="")
        self.put("model_version", "m@1.0.0", bundle.model_dump(mode="json"))

    def put(self, kind: str, key: str, body: dict[str, object]) -> None:
        write = Write(kind=kind, key=key, expected_version=0, body=body)
        self.journal.append([write], actor="ann", reason="test")

    def view(self, name: str) -> BridgeView:
        return next(view for view in self.bridges.views() if view.bridge == name)


@pytest.fixture
def house(tmp_path: Path, second: Kernel) -> Iterator[House]:
    found = House(tmp_path, second.url)
    yield found
    found.bridges.close()


def test_the_kernel_of_a_second_process_is_asked_first(house: House, second: Kernel) -> None:
    second.say("ok", recommend=ADVICE)
    told = house.bridges.recommend("m", "latest")
    assert (told["verdict"], told["why"], told["version"]) == ("deploy", "the board says so", "1.0.0")
    assert second.asked("recommend")[0]["bundle"]["model_key"] == "m"
    assert house.bridges.health()["intelligence"] == "ok"
    with pytest.raises(NotFound):
        house.bridges.recommend("m", "9.9.9")


@pytest.mark.parametrize("mode", ["hang", "drip", "fail", "garbage", "refuse"])
def test_whatever_the_kernel_does_wrong_the_embedded_bridge_answers_and_says_so(
    house: House, second: Kernel, mode: str
) -> None:
    second.say(mode)
    told = house.bridges.recommend("m", "1.0.0")
    assert told["verdict"] == "hold"
    assert second.url in told["remote_error"]
    view = house.view("intelligence")
    assert view.status != "ok"
    assert (view.remote.counts.failures if view.remote else None, view.embedded.calls) == (1, 1)


def test_a_kernel_that_fails_in_a_row_is_left_alone_and_found_again(house: House, second: Kernel) -> None:
    kernel = house.bridges.kernels.remote["intelligence"]
    second.say("fail")
    house.bridges.recommend("m", "1.0.0")  # two attempts
    assert (len(second.asked()), kernel.circuit) == (2, "open")
    told = house.bridges.recommend("m", "1.0.0")
    assert len(second.asked()) == 2  # nobody asked it
    assert "is asked again in" in told["remote_error"]
    assert 'mldl_bridge_circuit_open{bridge="intelligence"} 1' in house.bridges.prometheus()


def test_after_a_rest_one_attempt_decides(second: Kernel) -> None:
    now = [0.0]
    kernel = RemoteKernel(second.url, open_after=1, rest_s=10, now_s=lambda: now[0], timeout_s=1)
    second.say("fail")
    with pytest.raises(Unavailable, match="answered 503"):
        kernel.ask("look", {})
    now[0] = 10.0
    with pytest.raises(Unavailable, match="answered 503"):
        kernel.ask("look", {})
    assert kernel.circuit == "open"
    now[0] = 19.0
    with pytest.raises(Unavailable, match="is asked again in 1 s"):
        kernel.ask("look", {})
    second.say("ok", look={"found": 1})
    now[0] = 20.0
    assert kernel.ask("look", {}) == {"found": 1}
    assert (kernel.circuit, kernel.trouble) == ("closed", None)
    kernel.close()


def test_a_kernel_is_found_well_again_without_a_question(second: Kernel) -> None:
    now = [0.0]
    kernel = RemoteKernel(second.url, open_after=1, rest_s=10, now_s=lambda: now[0], timeout_s=1)
    second.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        kernel.ask("look", {})
    now[0] = 10.0
    kernel.probe()
    assert kernel.circuit == "open"
    second.start()
    now[0] = 20.0
    kernel.probe()
    assert (kernel.circuit, kernel.trouble) == ("closed", None)
    assert len(second.asked("look")) == 0
    kernel.close()


def test_what_may_pass_is_tried_again_each_time_a_little_later_and_a_refusal_is_not(second: Kernel) -> None:
    pauses: list[float] = []
    kernel = RemoteKernel(second.url, retries=3, open_after=99, pause=pauses.append, timeout_s=1)
    second.say("fail")
    with pytest.raises(Unavailable):
        kernel.ask("look", {})
    assert len(second.asked("look")) == 4
    assert 0.1 <= pauses[0] <= 0.15 and 0.2 <= pauses[1] <= 0.3 and 0.4 <= pauses[2] <= 0.6
    second.say("refuse")
    with pytest.raises(Unavailable, match="answered 400"):
        kernel.ask("look", {})
    assert (len(second.asked("look")), kernel.circuit) == (5, "closed")
    kernel.close()


def test_experience_goes_out_once_and_comes_in_once(house: House, second: Kernel) -> None:
    mine = {"model_key": "m", "family": "xgb", "task": "classification", "meta": META, "config": {}, "score": 0.7}
    house.put("experience", "job-1", mine)
    second.say("ok", experience={"items": [ELSEWHERE, {"id": "bad"}, 7], "next": "p1"}, memory={"items": []})
    house.bridges.rounds.once()
    sent = [item["key"] for question in second.asked("experience") for item in question["items"]]
    assert sent == ["job-1"]
    assert [(e["job_id"], e["family"]) for e in house.bridges.experience()] == [
        ("elsewhere-far-1", "lr"), ("job-1", "xgb"),
    ]  # fmt: skip
    assert second.asked("experience")[-1]["after"] == "p1"
    position = house.journal.position()
    house.bridges.rounds.once()
    assert house.journal.position() == position  # nothing new: nothing written, nothing sent back


def test_an_exchange_loses_nothing_while_the_kernel_is_away_or_this_process_restarts(
    house: House, second: Kernel, tmp_path: Path
) -> None:
    second.say("fail")
    for number in range(120):
        house.put("experience", f"job-{number}", {"model_key": "m", "family": "lr", "task": "regression", "meta": {}})
    house.bridges.rounds.once()
    assert (house.view("mlt").remote or None) is not None
    assert house.view("mlt").remote.waiting == 120  # type: ignore[union-attr]  # just looked
    assert house.view("mlt").status != "ok"
    second.say("ok", experience={"items": []}, memory={"items": []})
    again = Bridges(house.settings, house.journal, MemoryBlobs(), house.clock, autostart=False)
    again.rounds.once()
    good = [question["items"] for question in second.asked("experience") if question["items"]][-3:]
    assert [len(items) for items in good] == [50, 50, 20]
    assert {item["key"] for items in good for item in items} == {f"job-{n}" for n in range(120)}
    again.close()


def test_lineage_is_sent_without_the_rest_of_a_version(house: House, second: Kernel) -> None:
    second.say("ok", experience={"items": []}, memory={"items": []})
    house.bridges.rounds.once()
    [item] = [item for question in second.asked("memory") for item in question["items"]]
    assert (item["kind"], item["key"]) == ("model_version", "m@1.0.0")
    assert set(item["body"]) == {"model_key", "version", "family", "task", "lineage"}


def test_a_url_alone_configures_a_bridge_and_a_wrong_one_is_refused_by_name() -> None:
    plain = load_defaults("mldl: {bridges: {mlt: 'http://kernel:1'}}").bridges.mlt
    assert plain is not None
    assert (plain.url, plain.timeout_s, plain.retries) == ("http://kernel:1", 5.0, 2)
    for wrong in ("ftp://kernel", "{url: 'http://kernel', timeout_s: 0}", "{url: 'http://kernel', patience: 1}"):
        given = wrong if wrong.startswith("{") else f"'{wrong}'"
        with pytest.raises(MldlError, match=r"configuration mldl\.bridges\.ingress"):
            load_defaults(f"mldl: {{bridges: {{ingress: {given}}}}}")


def test_a_kernel_that_is_down_never_holds_up_what_the_journal_answers(house: House, second: Kernel) -> None:
    second.stop()
    house.bridges.rounds.once()
    assert house.bridges.experience() == []
    assert house.bridges.datasets() == []
    assert set(house.bridges.health()) == {"governance", "mlt", "intelligence", "memory", "ingress", "mesh"}
    assert "does not answer" in house.bridges.health()["memory"]
    second.start()
