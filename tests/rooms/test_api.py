"""The control plane over real HTTP, on actors in this process and a journal in memory; no Ray."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import uvicorn

from actors.deployment_manager import DeploymentManager
from actors.monitor import Monitor
from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.errors import (
    Conflict,
    Forbidden,
    Incompatible,
    NotFound,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from contracts.events import Fact
from contracts.ports import Write
from contracts.records import Policy, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import Settings, load_settings
from serve.api import BASE, Actors, build_app
from serve.memory_backend import MemoryServing
from serve.probes import Component, Probes

KEY = "income"


class Away:
    """An actor that is not running, or stands still until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.hangs = False

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            if self.hangs:
                self.go.wait(30)
            raise Unavailable("the actor is not running; start the system with: mldl up")

        return call


class OnLoop:
    """An asynchronous actor, called as Ray lets one call it: and waited for."""

    def __init__(self, actor: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._actor, self._loop = actor, loop

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            coroutine = getattr(self._actor, method)(*args, **kwargs)
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

        return call


class World:
    """A service on a port of this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        clock = SystemClock()
        self.journal, blobs, self.away = MemoryJournal(clock), MemoryBlobs(), Away()
        governance = EmbeddedGovernance(self.journal, clock)
        self.monitor = monitor = Monitor(settings, self.journal, blobs, clock)
        self.blobs = blobs
        self.loop = asyncio.new_event_loop()
        manager = DeploymentManager(settings, self.journal, MemoryServing(), monitor, governance, clock)
        self.actors = actors = Actors(
            journal=self.journal,
            bridges=self.away,
            registry=Registry(self.journal, blobs, governance, clock),
            snapshots=SnapshotStore(self.journal, blobs, clock),
            monitor=monitor,
            jobs=self.away,
            deployments=OnLoop(manager, self.loop),
        )
        config = uvicorn.Config(
            build_app(actors, settings), port=settings.port, ws="none", lifespan="off", log_config=None
        )
        self.server = uvicorn.Server(config)
        self.threads = [
            threading.Thread(target=self.loop.run_forever, daemon=True),
            threading.Thread(target=self.server.run, daemon=True),
        ]

    def __enter__(self) -> World:
        for thread in self.threads:
            thread.start()
        self.client().health()
        return self

    def __exit__(self, *_: object) -> None:
        self.away.go.set()
        self.server.should_exit = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self.threads:
            thread.join(30)
        self.loop.close()

    def client(self, **options: Any) -> MLDLClient:
        return MLDLClient(self.settings.url, **options)

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.settings.url + BASE + path, timeout=30, **options)

    def registered(self, version: str = "1.0.0") -> None:
        digest = "sha256:" + version.replace(".", "").rjust(64, "0")
        bundle = TrainedBundle(
            model_key=KEY, version=version, artifact_uri=f"blobs:{digest}", validation_hash=digest, created_at="now"
        )
        self.journal.append([write("model_version", f"{KEY}@{version}", 0, bundle)], actor="tom", reason="test")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One service for all the tests that are refused before anything changes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with World(load_settings({}, home=tmp_path_factory.mktemp("home"), port=port)) as found:
        yield found
        assert found.journal.position() == 0


@pytest.fixture
def locked(tmp_path: Path, free_port: int) -> Iterator[World]:
    """A service that asks for keys."""
    with World(load_settings({}, home=tmp_path, port=free_port, require_keys=True)) as found:
        yield found


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["detail"]
    assert body["type"]
    assert body["title"]
    return body


# Problems


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Field required"),
        (b"{", "not JSON"),
        (b'{"reason": NaN}', "not JSON"),
        (b'{"reason": "\\ud800"}', "not JSON"),
        (b'{"reason": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b"{}", "body.reason: Field required"),
        (b'{"reason": ""}', "body.reason"),
        (b'{"reason": 7}', "body.reason"),
        (b'{"reason": "x", "reson": "y"}', "body.reson: Extra inputs are not permitted"),
    ],
)
def test_body_that_is_no_request_is_refused_with_what_was_wrong(unchanged: World, content: bytes, says: str) -> None:
    answer = unchanged.raw("POST", "/snapshot/export", content=content, headers={"content-type": "application/json"})
    assert says in problem(answer, 422, "incompatible")["detail"]


def test_body_over_the_limit_is_refused_while_it_is_read(unchanged: World) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * 2**20

    answer = unchanged.raw("POST", "/snapshot/export", content=chunks(), headers={"content-type": "application/json"})
    assert "8 MiB" in problem(answer, 413, "too_large")["detail"]


def test_unknown_path_and_method_are_problems(unchanged: World) -> None:
    problem(unchanged.raw("GET", "/nothing"), 404, "not_found")
    assert unchanged.raw("PUT", "/health").headers["allow"] == "GET"
    problem(unchanged.raw("PUT", "/health"), 405, "method_not_allowed")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", f"after={2**63}", "types=NOPE"])
def test_query_out_of_range_is_refused(unchanged: World, query: str) -> None:
    assert query.partition("=")[0] in problem(unchanged.raw("GET", f"/events?{query}"), 422, "incompatible")["detail"]


def test_misspelt_query_parameter_is_refused_with_the_known_ones(unchanged: World) -> None:
    detail = problem(unchanged.raw("GET", "/alerts?stauts=open"), 422, "incompatible")["detail"]
    assert "'stauts'" in detail
    assert "status" in detail


def test_actor_that_is_away_is_503_with_the_time_to_wait(unchanged: World) -> None:
    answer = unchanged.raw("GET", "/jobs")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_bug_is_500_without_its_insides(world: World) -> None:
    world.journal.append(
        [Write(kind="endpoint", key="x", expected_version=0, body={"secret": 1})], actor="t", reason="t"
    )
    detail = problem(world.raw("GET", "/endpoints"), 500, "broken")["detail"]
    assert "secret" not in detail


# Keys and roles


def test_call_without_a_key_is_401_where_keys_are_required_and_health_still_answers(locked: World) -> None:
    answer = locked.raw("GET", "/audit")
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    problem(locked.raw("GET", "/audit", headers={"x-mldl-actor": "root"}), 401, "unauthenticated")
    assert locked.raw("GET", "/health").status_code == 200


def test_key_of_nobody_is_401_even_where_no_key_is_required(unchanged: World) -> None:
    with pytest.raises(Unauthenticated):
        unchanged.client(key="mldl_wrong").audit()
    answer = unchanged.raw("GET", "/audit", headers={"authorization": "Basic eDp5"})
    problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("viewer", ["/snapshot/export", "/deploy", "/register", "/keys", "/registry/m/1.0.0/approvals", "/datasets"]),
        ("trainer", ["/snapshot/export", "/deploy", "/endpoints/m/scale", "/keys", "/registry/m/1.0.0/approvals"]),
        ("approver", ["/snapshot/export", "/deploy", "/endpoints/m/scale", "/register", "/keys", "/datasets"]),
        ("deployer", ["/register", "/keys", "/registry/m/1.0.0/approvals", "/datasets"]),
    ],
)
def test_role_is_refused_what_it_may_not(world: World, role: Any, refused: list[str]) -> None:
    secret = world.client().create_key("kim", role).secret
    bodies: dict[str, Any] = {
        "/deploy": {"model_key": "m", "version": "1.0.0"},
        "/endpoints/m/scale": {"replicas": 2, "reason": "x"},
        "/register": {"job_id": "job-1", "reason": "x"},
        "/keys": {"name": "a", "role": "admin"},
        "/datasets": {"data": {"uri": "x.csv", "target": "y"}},
    }
    for path in refused:
        body = bodies.get(path, {"reason": "x"})
        answer = world.raw("POST", path, json=body, headers={"authorization": f"Bearer {secret}"})
        assert "kim" in problem(answer, 403, "forbidden")["detail"]


def test_an_endpoint_is_scaled_and_the_audit_says_who(world: World) -> None:
    serving = Endpoint(model_key=KEY, salt="s", replicas=1)
    world.journal.append([write("endpoint", KEY, 0, serving)], actor="t", reason="t")
    assert world.client(acting_as="ana").scale(KEY, 3, reason="noon").replicas == 3
    entry = world.client().audit()[-1]
    assert (entry.actor, entry.reason, entry.type) == ("ana", "noon", "MLDL_ENDPOINT_SCALED")


@pytest.mark.parametrize("replicas", [0, 257, -1, 1.5, "many", None])
def test_no_endpoint_has_such_a_number_of_replicas(world: World, replicas: Any) -> None:
    answer = world.raw("POST", f"/endpoints/{KEY}/scale", json={"replicas": replicas, "reason": "x"})
    assert answer.status_code == 422
    assert "replicas" in answer.json()["detail"]


def test_revoked_key_is_refused_at_the_next_call(locked: World, tmp_path: Path) -> None:
    from mldl_ray.access import ApiKeys

    _, admin = ApiKeys(locked.journal, SystemClock()).create("root", "admin", by="test")
    client = locked.client(key=admin)
    made = client.create_key("kim", "viewer")
    guest = locked.client(key=made.secret)
    assert guest.audit()[-1].subject == made.key_id
    with pytest.raises(Forbidden):
        guest.keys()
    assert client.revoke_key(made.key_id, reason="left").revoked
    with pytest.raises(Unauthenticated, match="revoked"):
        guest.audit()
    listed = client.keys()
    assert made.secret not in json.dumps([key.model_dump() for key in listed])


def test_who_acts_is_in_the_audit(world: World) -> None:
    world.client(acting_as="ana").snapshot_export("before the change")
    entry = world.client().audit()[-1]
    assert (entry.actor, entry.reason, entry.type) == ("ana", "before the change", "MLDL_SNAPSHOT_EXPORTED")


# Idempotency


def test_same_request_with_the_same_key_gives_the_first_answer_and_writes_once(world: World) -> None:
    options: dict[str, Any] = {"json": {"reason": "once"}, "headers": {"idempotency-key": "k-1"}}
    first, second = (world.raw("POST", "/snapshot/export", **options).json() for _ in range(2))
    assert first == second
    assert len(world.client().snapshots()) == 1


def test_other_request_with_a_used_key_is_a_conflict_and_another_caller_may_use_it(world: World) -> None:
    headers = {"idempotency-key": "k-1"}
    world.raw("POST", "/snapshot/export", json={"reason": "one"}, headers=headers)
    problem(world.raw("POST", "/snapshot/export", json={"reason": "two"}, headers=headers), 409, "conflict")
    answer = world.raw("POST", "/snapshot/export", json={"reason": "two"}, headers=headers | {"x-mldl-actor": "bo"})
    assert answer.status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 129])
def test_idempotency_key_of_no_length_or_too_long_is_refused(unchanged: World, key: str) -> None:
    answer = unchanged.raw("POST", "/snapshot/export", json={"reason": "x"}, headers={"idempotency-key": key})
    problem(answer, 422, "incompatible")


# Going back


def test_rollback_names_exactly_one_target(unchanged: World) -> None:
    for body in ({}, {"snapshot_id": "snap-1", "deployment_id": "dep-1"}):
        answer = unchanged.raw("POST", "/rollback", json={"reason": "x"} | body)
        assert "exactly one" in problem(answer, 422, "incompatible")["detail"]
    with pytest.raises(NotFound):
        unchanged.client().rollback(snapshot_id="snap-none", reason="x")
    with pytest.raises(NotFound):
        unchanged.client().rollback(deployment_id="dep-none", reason="x")


def test_dry_run_of_a_snapshot_says_what_would_change_and_changes_nothing(world: World) -> None:
    client = world.client()
    snapshot = client.snapshot_export("before")
    client.set_policy(Policy(approvals_required=2), reason="stricter")
    position = world.journal.position()
    answer = world.raw("POST", "/rollback", json={"snapshot_id": snapshot.snapshot_id, "reason": "x", "dry_run": True})
    assert answer.status_code == 200
    assert [impact["kind"] for impact in answer.json()["impacts"]] == ["policy"]
    assert world.journal.position() == position

    done = world.raw("POST", "/rollback", json={"snapshot_id": snapshot.snapshot_id, "reason": "x"})
    assert done.status_code == 202
    assert done.json()["applied"] is True
    assert client.policy().approvals_required == 1


def test_rollback_of_a_deployment_shows_its_impact_then_gives_traffic_back(world: World) -> None:
    client = world.client()
    client.set_policy({"approvals_required": 0}, reason="test")
    for version in ("1.0.0", "1.1.0"):
        world.registered(version)
    world.journal.append(
        [write("endpoint", KEY, 0, Endpoint(model_key=KEY, stable="1.0.0", salt="s"))], actor="t", reason="t"
    )
    asked = client.deploy(KEY, "1.1.0", reason="better")
    plan = client.rollback(deployment_id=asked.deployment_id, reason="x", dry_run=True)
    assert [(impact.before, impact.after) for impact in plan.impacts] == [("1.1.0", "1.0.0")]
    assert plan.applied is False
    assert client.deployment(asked.deployment_id).status == "requested"

    assert client.rollback(deployment_id=asked.deployment_id, reason="no").applied is True
    found = client.deployment(asked.deployment_id)
    assert found.status in {"rolling_back", "rolled_back"}
    assert (found.candidate, found.stable) == ("1.1.0", "1.0.0")
    with pytest.raises(Conflict):
        client.rollback(deployment_id=asked.deployment_id, reason="x", dry_run=True)


# Predictions that nobody serves


def test_prediction_of_an_unknown_model_is_404_and_of_one_that_starts_503(world: World) -> None:
    problem(world.raw("POST", f"/predict/{KEY}", json={"inputs": []}), 404, "not_found")
    endpoint = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
    world.journal.append([write("endpoint", KEY, 0, endpoint)], actor="t", reason="t")
    problem(world.raw("POST", f"/predict/{KEY}", json={"inputs": []}), 503, "unavailable")


# Events


def test_event_stream_gives_old_events_then_new_ones_and_resumes_after_the_last_id(world: World) -> None:
    client = world.client()
    client.snapshot_export("one")
    stream = client.follow()
    assert next(stream).reason == "one"
    client.snapshot_export("two")
    assert next(stream).reason == "two"
    stream.close()

    headers = {"accept": "text/event-stream", "last-event-id": "1"}
    with httpx.stream("GET", world.settings.url + BASE + "/events", headers=headers, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = iter(answer.iter_lines())
        data = next(line for line in lines if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: "))["reason"] == "two"


def test_append_of_many_events_is_resumed_whole(world: World) -> None:
    facts = [Fact(type="MLDL_VIOLATION", subject=str(n)) for n in range(3)]
    world.journal.append([], facts, actor="t", reason="t")
    with httpx.stream(
        "GET", world.settings.url + BASE + "/events", headers={"accept": "text/event-stream"}, timeout=30
    ) as answer:
        found = []
        for line in answer.iter_lines():
            if line.startswith(("id: ", "data: ")):
                found.append(line.split(": ")[0])
            if found.count("data") == 3:
                break
    assert found == ["data", "data", "id", "data"]


@pytest.mark.parametrize("event_id", ["x", "-1", "1.5", "9" * 30, "١"])
def test_stream_id_that_is_none_is_refused(unchanged: World, event_id: str) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": event_id.encode()}
    problem(unchanged.raw("GET", "/events", headers=headers), 422, "incompatible")


def test_events_are_paged_and_filtered(world: World) -> None:
    client = world.client()
    for reason in ("one", "two", "three"):
        client.snapshot_export(reason)
    client.set_policy(Policy(), reason="same")
    first = client.events(limit=2)
    assert [event.reason for event in first] == ["one", "two"]
    assert [event.reason for event in client.events(after=first[-1].position)] == ["three", "same"]
    assert [event.reason for event in client.events(types=["MLDL_POLICY_CHANGED"])] == ["same"]


# Health


def test_health_is_degraded_and_names_the_component_that_is_away(unchanged: World) -> None:
    found = unchanged.client().health()
    assert found["status"] == "degraded"
    failed = {name for name, part in found["components"].items() if part["status"] == "failed"}
    assert failed == {"jobs", "bridges"}
    assert "mldl up" in found["components"]["jobs"]["detail"]
    assert found["adapters"]["lr"] == "available"


def test_health_does_not_hang_with_a_component_and_does_not_ask_it_again_meanwhile(world: World) -> None:
    before = threading.active_count()
    world.away.hangs = True
    for _ in range(3):
        assert "no answer" in world.client().health()["components"]["jobs"]["detail"]
    assert threading.active_count() < before + 20


def test_probe_that_answers_late_is_asked_again() -> None:
    go, answers = threading.Event(), []

    def late() -> Component:
        go.wait(30)
        answers.append(1)
        return Component(status="ok")

    probes = Probes()
    assert probes.ask({"x": late})["x"].status == "failed"
    go.set()
    assert probes.ask({"x": late})["x"].status == "ok"
    assert probes.ask({"x": late})["x"].status == "ok"
    assert len(answers) >= 2


# The rest of the verbs


def test_registry_shows_searches_and_says_what_is_missing(world: World) -> None:
    client = world.client()
    with pytest.raises(NotFound, match=KEY):
        client.versions(KEY)
    world.registered("1.0.0")
    assert client.version(KEY).bundle.version == "1.0.0"
    assert [view.bundle.version for view in client.versions(KEY)] == ["1.0.0"]
    assert client.search(model_key=KEY, min_metrics={"auroc": 0.5}) == []
    with pytest.raises(NotFound):
        client.version(KEY, "9.9.9")
    problem(world.raw("GET", "/registry?min_metric=auroc"), 422, "incompatible")


def test_registry_is_searched_by_bound_traffic_and_moment_and_in_any_order(world: World) -> None:
    client = world.client()
    world.registered("1.0.0")
    world.registered("1.1.0")
    newest_first = client.search(sort="-created", calibration="none", serving=False, limit=1)
    assert [view.bundle.version for view in newest_first] == ["1.1.0"]
    rest = client.search(sort="-created", after=f"{KEY}@1.1.0")
    assert [(view.bundle.version, view.registered_by) for view in rest] == [("1.0.0", "tom")]
    assert client.search(bounds=["ece<=0.5"]) == client.search(serving=True) == client.search(as_of_s=0.0) == []
    assert len(client.search(bounds=["cost_units<=0"], approved=False)) == 2
    for query in ("bound=auroc", "sort=nothing", "limit=501", f"sort=auroc&after={KEY}@7.0.0"):
        problem(world.raw("GET", f"/registry?{query}"), 422, "incompatible")


def test_deploying_without_approval_is_a_conflict_with_the_reasons(world: World) -> None:
    world.registered("1.0.0")
    with pytest.raises(Conflict) as caught:
        world.client().deploy(KEY, "1.0.0", {})
    assert caught.value.facts["reasons"]


def test_metrics_alerts_and_feedback_answer_before_any_traffic(unchanged: World) -> None:
    client = unchanged.client()
    assert client.metrics_live()["endpoints"] == {}
    assert isinstance(client.metrics(), str)
    assert client.alerts(status="open") == []
    assert client.feedback([{"request_id": "r-1", "label": 1}]).unknown == 1
    with pytest.raises(NotFound):
        client.resolve("alert-none", reason="x")
    for items in ([], [{"request_id": "r"}], [{"request_id": "r", "label": {"a": 1}}]):
        problem(unchanged.raw("POST", "/feedback", json={"items": items}), 422, "incompatible")


def test_client_raises_what_the_service_raised(unchanged: World) -> None:
    client = unchanged.client()
    for call, error in [
        (lambda: client.alert("alert-none"), NotFound),
        (lambda: client.train({"spec": {"model_key": "a b", "family": "lr"}}), Incompatible),
        (lambda: client.create_key("kim", "boss"), Incompatible),  # type: ignore[arg-type]
        (lambda: client.feedback([{"request_id": "r" * 200, "label": 1}] * 40_000), TooLarge),
        (lambda: MLDLClient("ftp://x").health(), Refused),
    ]:
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
        assert caught.value.message


def test_slos_and_silences_are_set_listed_and_ended_over_http(world: World) -> None:
    client = world.client(acting_as="ann")
    with pytest.raises(NotFound):
        client.set_slo({"name": "up", "model_key": KEY, "kind": "availability"}, reason="x")
    world.registered("1.0.0")
    made = client.set_slo({"name": "up", "model_key": KEY, "kind": "availability"}, reason="agreed")
    assert (made.budget_left, made.events) == (1.0, 0)
    assert [view.slo.name for view in client.slos(model_key=KEY)] == ["up"]
    assert client.slos(model_key="other") == []
    no_bound = {"slo": {"name": "fast", "model_key": KEY, "kind": "latency"}, "reason": "x"}
    problem(world.raw("PUT", "/slos", json=no_bound), 422, "incompatible")
    assert client.remove_slo("up", reason="not needed").name == "up"
    with pytest.raises(NotFound):
        client.remove_slo("up", reason="again")
    silence = client.silence(model_key=KEY, lasts_s=60, reason="maintenance")
    assert (silence.by, client.silences(active=True)) == ("ann", [silence])
    client.end_silence(silence.silence_id, reason="done")
    with pytest.raises(Conflict):
        client.end_silence(silence.silence_id, reason="again")
    assert client.silences(active=True) == []
    assert client.alert_groups() == []


def test_labels_come_as_items_as_a_table_and_as_a_file(world: World, tmp_path: Path) -> None:
    client = world.client()
    by_key = {"model_key": KEY, "key": "ann", "at_s": 5.0, "label": 1}
    assert client.feedback([by_key]).unknown == 1
    assert client.feedback_table(pa.table({"request_id": ["a", "b"], "label": [1, 0]})).unknown == 2
    (tmp_path / "labels.csv").write_text("request_id,label\nc,1\n")
    assert client.feedback_file(str(tmp_path / "labels.csv")).unknown == 1
    with pytest.raises(NotFound):
        client.feedback_file(str(tmp_path / "none.csv"))
    for half in ({"key": "ann", "label": 1}, by_key | {"request_id": "r"}, {"label": 1}):
        problem(world.raw("POST", "/feedback", json={"items": [half]}), 422, "incompatible")
