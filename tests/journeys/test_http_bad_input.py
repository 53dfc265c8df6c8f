"""Wrong requests to a running system: each is a problem with the right status and code, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

BASE = "/api/mldl/v1"
KEY = "strict"
JSON = {"content-type": "application/json"}
SPEC = {"model_key": KEY, "family": "lr"}


@pytest.fixture(scope="module")
def http(system: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.url + BASE, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def serving(system: Settings, breast_cancer: Path) -> MLDLClient:
    """A model that is registered, approved and serves; its job is the only one of its key."""
    client = MLDLClient(system.url, acting_as="ana")
    job = client.train(
        {
            "spec": SPEC,
            "data": {"uri": str(breast_cancer), "target": "target"},
            "hpo": {"strategy": "random", "max_trials": 1},
            "cv": {"folds": 2, "repeats": 2, "strategy": "stratified"},
        }
    )
    assert client.wait_job(job.job_id).status == "succeeded"
    client.register(job.job_id, reason="test")
    MLDLClient(system.url, acting_as="bo").approve(KEY, "1.0.0", reason="test")
    client.wait_deployment(client.deploy(KEY, "1.0.0").deployment_id)
    client.wait_serving(KEY)
    return client


@pytest.fixture
def position(system: Settings) -> Iterator[None]:
    """What the requests of a test must leave as it is."""
    client = MLDLClient(system.url)
    before = client.audit_verify().positions
    yield
    assert client.audit_verify().positions == before


def problem(answer: httpx.Response, status: int, code: str) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert {"type", "title", "instance", "facts"} <= set(body)
    return str(body["detail"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that one cannot learn from."""
    folder = tmp_path_factory.mktemp("bad")
    n = 60
    x = [float(i) for i in range(n)]
    pq.write_table(pa.table({"x": x, "y": [1] * n}), folder / "one_class.parquet")
    pq.write_table(pa.table({"x": [None] * n, "y": [0, 1] * (n // 2)}), folder / "nothing_known.parquet")
    pq.write_table(pa.table({"x": x, "y": [None, 1] * (n // 2)}), folder / "truth_missing.parquet")
    pq.write_table(
        pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.int64())}), folder / "no_rows.parquet"
    )
    (folder / "empty.csv").write_bytes(b"")
    (folder / "not_parquet.parquet").write_bytes(b"PAR1 is where it ends")
    return folder


@pytest.mark.parametrize(
    ("file", "changes", "status"),
    [
        ("absent.parquet", {}, 404),
        ("one_class.parquet", {}, 422),
        ("nothing_known.parquet", {}, 422),
        ("truth_missing.parquet", {}, 422),
        ("no_rows.parquet", {}, 422),
        ("empty.csv", {}, 422),
        ("not_parquet.parquet", {}, 422),
        ("one_class.parquet", {"target": "z"}, 422),
        ("truth_missing.parquet", {"sensitive": ["nobody"]}, 422),
    ],
)
@pytest.mark.usefixtures("position")
def test_data_that_one_cannot_learn_from_is_refused_before_anything_is_written(
    http: httpx.Client, files: Path, file: str, changes: dict[str, Any], status: int
) -> None:
    data = {"uri": str(files / file), "target": "y"} | changes
    answer = http.post("/train", json={"spec": SPEC, "data": data})
    assert answer.status_code == status, answer.text
    assert problem(answer, status, answer.json()["code"])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"spec": {"model_key": KEY, "family": "oracle"}}, "oracle"),
        ({"spec": SPEC | {"hyperparams": {"C": "many"}}}, "C"),
        ({"spec": SPEC | {"hyperparams": {"no_such": 1}}}, "no_such"),
        ({"spec": SPEC | {"task": "divination"}}, "task"),
        ({"spec": SPEC | {"model_key": "../etc"}}, "model_key"),
        ({"hpo": {"strategy": "guess"}}, "strategy"),
        ({"hpo": {"max_trials": 0}}, "max_trials"),
        ({"hpo": {"metric": "beauty"}}, "beauty"),
        ({"hpo": {"search_space": {"C": {"kind": "float", "low": 2, "high": 1}}}}, "low"),
        ({"cv": {"folds": 1}}, "folds"),
        ({"cv": {"repeats": 0}}, "repeats"),
        ({"cv": {"gap": 3}}, "time_column"),
        ({"budget": {"cost_units": -1}}, "cost_units"),
        ({"data": {"uri": "x.csv"}}, "target"),
        ({"data": {}}, "exactly one"),
        ({"data": None}, "data"),
        ({"holdout_share": 1.0}, "holdout_share"),
        ({"unknown": 1}, "unknown"),
    ],
)
@pytest.mark.usefixtures("position")
def test_job_that_cannot_be_run_is_refused_with_the_field(
    http: httpx.Client, breast_cancer: Path, change: dict[str, Any], names: str
) -> None:
    body = {"spec": SPEC, "data": {"uri": str(breast_cancer), "target": "target"}} | change
    assert names in problem(http.post("/train", json=body), 422, "incompatible")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/jobs/job-none/status", None, 404, "not_found"),
        ("POST", "/jobs/job-none/cancel", {"reason": "x"}, 404, "not_found"),
        ("POST", "/register", {"job_id": "job-none", "reason": "x"}, 404, "not_found"),
        ("GET", "/registry/nobody", None, 404, "not_found"),
        ("GET", "/registry/nobody/1.0.0", None, 404, "not_found"),
        ("GET", f"/registry/{KEY}/9.9.9", None, 404, "not_found"),
        ("GET", f"/registry/{KEY}/9.9.9/card", None, 404, "not_found"),
        ("POST", f"/registry/{KEY}/9.9.9/approvals", {"reason": "x"}, 404, "not_found"),
        ("POST", "/evaluate", {"job_id": "job-none"}, 404, "not_found"),
        ("POST", "/evaluate", {"model_key": KEY, "version": "9.9.9"}, 404, "not_found"),
        ("POST", "/evaluate", {"model_key": KEY, "version": "1.0.0", "metrics": ["beauty"]}, 422, "incompatible"),
        ("POST", "/evaluate", {"model_key": KEY}, 422, "incompatible"),
        ("POST", "/deploy", {"model_key": KEY, "version": "9.9.9"}, 404, "not_found"),
        ("POST", "/deploy", {"model_key": KEY, "version": "1.0.0"}, 409, "conflict"),
        ("POST", "/deploy", {"model_key": KEY, "version": "1.0.0", "spec": {"canary_pct": 101}}, 422, "incompatible"),
        ("GET", "/deployments/dep-none", None, 404, "not_found"),
        ("POST", "/canary/promote", {"deployment_id": "dep-none", "reason": "x"}, 404, "not_found"),
        ("POST", "/canary/promote", {"deployment_id": "dep-none", "to_pct": 0, "reason": "x"}, 422, "incompatible"),
        ("GET", "/snapshots/snap-none/plan", None, 404, "not_found"),
        ("POST", "/rollback", {"snapshot_id": "snap-none", "reason": "x"}, 404, "not_found"),
        ("POST", "/rollback", {"deployment_id": "dep-none", "reason": "x"}, 404, "not_found"),
        ("POST", "/rollback", {"reason": "x"}, 422, "incompatible"),
        ("GET", "/alerts/alert-none", None, 404, "not_found"),
        ("POST", "/alerts/alert-none/resolve", {"reason": "x"}, 404, "not_found"),
        ("GET", "/datasets/nobody", None, 404, "not_found"),
        ("POST", "/datasets", {"data": {"uri": "/nowhere.csv", "target": "y"}}, 404, "not_found"),
        ("PUT", "/policy", {"policy": {"approvals_required": -1}, "reason": "x"}, 422, "incompatible"),
        ("POST", "/keys", {"name": "kim", "role": "boss"}, 422, "incompatible"),
        ("DELETE", "/keys/key-none?reason=x", None, 404, "not_found"),
        ("DELETE", "/keys/key-none", None, 422, "incompatible"),
        ("GET", "/events?types=NOPE", None, 422, "incompatible"),
        ("GET", "/nothing", None, 404, "not_found"),
        ("PATCH", "/policy", {}, 405, "method_not_allowed"),
    ],
)
@pytest.mark.usefixtures("serving", "position")
def test_request_about_nothing_or_out_of_range_is_refused(
    http: httpx.Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    problem(http.request(method, path, json=body), status, code)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[1]", 422),
        (b"{}", 422),
        (b'{"inputs": 7}', 422),
        (b'{"inputs": [7]}', 422),
        (b'{"inputs": [{"age": 1}]}', 422),
        (b'{"inputs": [[1, 2]]}', 422),
        (b'{"inputs": [], "kesy": []}', 422),
        (b'{"inputs": [NaN]}', 422),
        (b'{"inputs": "' + b"x" * 9 * 2**20 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.usefixtures("serving", "position")
def test_prediction_that_cannot_be_answered_is_refused(http: httpx.Client, body: bytes, status: int) -> None:
    answer = http.post(f"/predict/{KEY}", content=body, headers=JSON)
    problem(answer, status, "too_large" if status == 413 else "incompatible")


@pytest.mark.usefixtures("serving", "position")
def test_prediction_with_a_wrong_cell_names_the_column(http: httpx.Client, rows: list[dict[str, Any]]) -> None:
    column = next(iter(rows[0]))
    answer = http.post(f"/predict/{KEY}", json={"inputs": [rows[0] | {column: "much"}]})
    assert column in problem(answer, 422, "incompatible")


def test_prediction_of_a_model_that_nobody_serves_is_404(http: httpx.Client) -> None:
    assert "nobody" in problem(http.post("/predict/nobody", json={"inputs": []}), 404, "not_found")


def test_body_over_the_limit_is_413(http: httpx.Client) -> None:
    problem(http.post("/snapshot/export", content=b" " * 9 * 2**20, headers=JSON), 413, "too_large")


def test_body_that_never_says_its_length_is_counted(http: httpx.Client) -> None:
    chunks = (b" " * 2**20 for _ in range(12))
    problem(http.post("/snapshot/export", content=chunks, headers=JSON), 413, "too_large")


def test_key_of_nobody_is_401(http: httpx.Client) -> None:
    problem(http.get("/audit", headers={"authorization": "Bearer mldl_nobody"}), 401, "unauthenticated")


def test_registering_a_job_twice_is_a_conflict_that_names_the_version(http: httpx.Client, serving: MLDLClient) -> None:
    job = serving.jobs(model_key=KEY)[0]
    answer = http.post("/register", json={"job_id": job.job_id, "reason": "again"})
    assert "1.0.0" in problem(answer, 409, "conflict")


def test_approving_what_one_made_oneself_is_forbidden(http: httpx.Client, serving: MLDLClient) -> None:
    del serving
    path = f"/registry/{KEY}/1.0.0/approvals"
    problem(http.post(path, json={"reason": "mine"}, headers={"x-mldl-actor": "ana"}), 403, "forbidden")
