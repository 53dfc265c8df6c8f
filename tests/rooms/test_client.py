"""How the client carries a call: repeated while the service is away, and always the same request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contracts.errors import Broken, Forbidden, Incompatible, NotFound, Refused, Unavailable
from mldl_ray.client import MLDLClient

POLICY = {"approvals_required": 1}
Reply = tuple[int, str, str]


def problem(status: int, code: str, **facts: Any) -> Reply:
    body = {"type": "t", "title": "t", "status": status, "detail": "said", "code": code, "facts": facts}
    return status, "application/problem+json", json.dumps(body)


class Service:
    """A service that gives prepared replies, one after another, and keeps what it was sent."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, kind, text = outer.replies.pop(0)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # the names that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


OK: Reply = (200, "application/json", json.dumps(POLICY))
AWAY = problem(503, "unavailable", retry_after_s=0.01)


def test_change_is_repeated_while_the_service_is_away_as_one_and_the_same_request(service: Service) -> None:
    service.replies = [AWAY, AWAY, OK]
    with MLDLClient(service.url) as client:
        assert client.set_policy(POLICY, reason="x").approvals_required == 1
    assert len(service.seen) == 3
    assert len({(headers["idempotency-key"], body) for _, headers, body in service.seen}) == 1


def test_two_changes_carry_two_idempotency_keys(service: Service) -> None:
    service.replies = [OK, OK]
    with MLDLClient(service.url) as client:
        for _ in range(2):
            client.set_policy(POLICY, reason="x")
    assert len({headers["idempotency-key"] for _, headers, _ in service.seen}) == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem(404, "not_found", job_id="j"), NotFound),
        (problem(422, "incompatible"), Incompatible),
        (problem(403, "forbidden"), Forbidden),
        (problem(500, "broken"), Broken),
        (problem(405, "method_not_allowed"), Refused),
        (problem(418, "teapot"), Refused),
        (problem(599, "new_here"), Broken),
        ((404, "text/plain", "Path not found"), Unavailable),
        ((200, "text/html", "<html>"), Incompatible),
        ((500, "text/html", "<html>"), Broken),
    ],
)
def test_answer_that_is_no_success_is_raised_once_as_what_it_means(
    service: Service, reply: Reply, error: type[Exception]
) -> None:
    service.replies = [reply]
    with MLDLClient(service.url) as client, pytest.raises(error) as caught:
        client.policy()
    assert type(caught.value) is error
    assert len(service.seen) == 1


def test_raised_error_has_the_facts_of_the_service(service: Service) -> None:
    service.replies = [problem(404, "not_found", job_id="job-1")]
    with MLDLClient(service.url) as client, pytest.raises(NotFound, match="said") as caught:
        client.job("job-1")
    assert caught.value.facts == {"job_id": "job-1"}


def test_key_and_actor_travel_and_names_are_quoted(service: Service) -> None:
    service.replies = [problem(404, "not_found")]
    with MLDLClient(service.url, key="mldl_k", acting_as="ana") as client, pytest.raises(NotFound):
        client.version("a/b", "1 2")
    path, headers, _ = service.seen[0]
    assert path == "/api/mldl/v1/registry/a%2Fb/1%202"
    assert (headers["authorization"], headers["x-mldl-actor"]) == ("Bearer mldl_k", "ana")


def test_url_and_key_come_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDL_URL", service.url + "/")
    monkeypatch.setenv("MLDL_KEY", "mldl_env")
    service.replies = [OK]
    with MLDLClient() as client:
        client.policy()
    assert service.seen[0][1]["authorization"] == "Bearer mldl_env"


def test_local_file_is_named_by_its_whole_path_and_a_uri_is_left_alone(service: Service) -> None:
    accepted: Reply = (202, "application/json", json.dumps({"job_id": "job-1", "status": "queued"}))
    service.replies = [accepted, accepted]
    with MLDLClient(service.url) as client:
        for uri in ("data.csv", "s3://bucket/data.csv"):
            client.train({"spec": {"model_key": "m", "family": "lr"}, "data": {"uri": uri, "target": "y"}})
    sent = [json.loads(body)["data"]["uri"] for _, _, body in service.seen]
    assert sent[0].startswith("/")
    assert sent[0].endswith("/data.csv")
    assert sent[1] == "s3://bucket/data.csv"


def test_mistake_is_refused_before_it_travels(service: Service) -> None:
    with MLDLClient(service.url) as client:
        for wrong in ({"spec": {"family": "lr"}}, {"spec": {"model_key": "m", "family": "lr"}, "hop": {}}):
            with pytest.raises(Incompatible):
                client.train(wrong)
        with pytest.raises(Incompatible, match="exactly one"):
            client.rollback(reason="x")
    assert service.seen == []


def test_nobody_answering_is_unavailable_and_says_how_to_start() -> None:
    with MLDLClient("http://127.0.0.1:1") as client, pytest.raises(Unavailable, match="mldl up"):
        client.health()


@pytest.mark.parametrize("url", ["", "nope", "ftp://x", "http://", "http://x:y"])
def test_url_that_is_none_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDL_URL", "nope")
    with pytest.raises(Refused, match="no URL"):
        MLDLClient(url)
