"""What ``mldl train`` asks for, and what ``mldl jobs experience`` shows, at a service that keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from mldl_ray.cli import app

EXPERIENCE = {
    "job_id": "job-7",
    "at_s": 0.0,
    "model_key": "income",
    "family": "xgb",
    "metric": "logloss",
    "meta": {"rows": 600},
    "score": 0.31,
    "config": {"max_depth": 4},
}


class Service:
    """Accepts every job, and knows one experience."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked.append((self.path, json.loads(body) if body else None))
                said = [EXPERIENCE] if "/experience" in self.path else {"job_id": "job-1", "status": "queued"}
                text = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = _answer  # noqa: N815  # the names that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def types(self, *words: str) -> str:
        url = f"http://127.0.0.1:{self.server.server_port}"
        done = CliRunner(env={"MLDL_URL": url}).invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


TRAIN = ("train", "--data", "/rows.parquet", "--target", "y", "--family", "lr", "--key", "k", "--no-wait")


def test_time_is_split_by_the_gap_embargo_and_window_that_were_typed(service: Service) -> None:
    service.types(*TRAIN, "--time-column", "day", "--gap", "7", "--embargo", "2", "--window", "rolling")
    path, body = service.asked[0]
    assert path.endswith("/train")
    assert body["data"]["time_column"] == "day"
    assert {name: body["cv"][name] for name in ("gap", "embargo", "window")} == {
        "gap": 7,
        "embargo": 2,
        "window": "rolling",
    }


@pytest.mark.parametrize(("typed", "asked"), [("--no-warm-start", False), ("--warm-start", True)])
def test_a_search_begins_with_experience_or_without_as_typed(service: Service, typed: str, asked: bool) -> None:
    service.types(*TRAIN, typed)
    assert service.asked[0][1]["hpo"]["warm_start"] is asked


def test_what_was_not_typed_is_left_to_the_configuration(service: Service) -> None:
    service.types(*TRAIN)
    body = service.asked[0][1]
    assert "warm_start" not in (body.get("hpo") or {})
    assert "gap" not in (body.get("cv") or {})


def test_experience_is_listed_with_where_it_is_from_and_what_did_best(service: Service) -> None:
    said = service.types("jobs", "experience", "--model", "income")
    assert "model_key=income" in service.asked[0][0]
    assert all(word in said for word in ("job-7", "income", "xgb", "600", "logloss", "0.3100", "max_depth"))
    assert json.loads(service.types("jobs", "experience", "--json")) == [EXPERIENCE]
