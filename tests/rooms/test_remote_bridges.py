"""A remote kernel: asked first when there is one, and never waited for in vain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from actors.bridges import Bridges
from contracts.errors import NotFound, Unavailable
from contracts.ports import Write
from contracts.records import TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges._remote import LARGEST_ANSWER_BYTES, RemoteKernel
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_defaults, load_settings

NOBODY = "http://127.0.0.1:9"


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


def test_while_the_remote_kernel_is_down_the_embedded_one_answers_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clock = SettableClock()
    journal = MemoryJournal(clock)
    bundle = TrainedBundle(model_key="m", version="1.0.0", artifact_uri="x", validation_hash="x", created_at="")
    body = bundle.model_dump(mode="json")
    write = Write(kind="model_version", key="m@1.0.0", expected_version=0, body=body)
    journal.append([write], actor="ann", reason="registered")
    settings = load_settings({}, home=tmp_path, mldl=load_defaults(f"mldl: {{bridges: {{intelligence: '{NOBODY}'}}}}"))
    bridges = Bridges(settings, journal, MemoryBlobs(), clock, autostart=False)
    told = bridges.recommend("m", "latest")
    assert (told["version"], told["verdict"]) == ("1.0.0", "hold")
    assert "does not answer" in told["remote_error"]
    assert "does not answer" in bridges.health()["intelligence"]
    with pytest.raises(NotFound):
        bridges.recommend("m", "9.9.9")
    bridges.close()
