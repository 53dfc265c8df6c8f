"""The lifecycle as any HTTP client sees it: paths, statuses and field names as published."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from contracts.events import EVENT_TYPES
from mldl_ray import words
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

BASE = "/api/mldl/v1"
KEY = "life"
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def http(system: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.url + BASE, timeout=60, headers={"x-mldl-actor": "ana"}) as client:
        yield client


def job_body(breast_cancer: Path, **spec: Any) -> Answer:
    return {
        "spec": {"model_key": KEY, "family": "lr", "tags": ["tested"]} | spec,
        "data": {"uri": str(breast_cancer), "target": "target"},
        "hpo": {"strategy": "random", "max_trials": 2},
        "cv": {"folds": 2},
    }


def wait(look: Callable[[], Answer], ended: set[str], timeout_s: float = 120) -> Answer:
    deadline = time.monotonic() + timeout_s
    while (found := look())["status"] not in ended:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def get(http: httpx.Client, path: str, **query: Any) -> Any:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def trained(http: httpx.Client, body: Answer) -> Answer:
    answer = http.post("/train", json=body)
    assert answer.status_code == 202, answer.text
    assert set(answer.json()) == {"job_id", "status", "family"}
    assert answer.json()["family"] == body["spec"]["family"]
    job_id = answer.json()["job_id"]
    return wait(lambda: get(http, f"/jobs/{job_id}/status"), {"succeeded", "failed", "cancelled"})


def registered(http: httpx.Client, job_id: str) -> Answer:
    answer = http.post("/register", json={"job_id": job_id, "tags": ["tested"], "reason": "good"})
    assert answer.status_code == 201, answer.text
    bundle: Answer = answer.json()
    path = f"/registry/{KEY}/{bundle['version']}/approvals"
    assert http.post(path, json={"reason": "read"}, headers={"x-mldl-actor": "bo"}).status_code == 201
    return bundle


def deployed(http: httpx.Client, version: str, spec: Answer | None = None) -> str:
    answer = http.post("/deploy", json={"model_key": KEY, "version": version, "spec": spec or {}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["deployment_id"])


def ended(http: httpx.Client, deployment_id: str) -> Answer:
    states = {"succeeded", "failed", "rolled_back", "superseded"}
    return wait(lambda: get(http, f"/deployments/{deployment_id}"), states)


@pytest.fixture(scope="module")
def first(http: httpx.Client, breast_cancer: Path, system: Settings) -> Answer:
    """The first version of the model, serving; with the job that made it."""
    job = trained(http, job_body(breast_cancer))
    bundle = registered(http, job["job_id"])
    deployment = ended(http, deployed(http, bundle["version"]))
    MLDLClient(system.url).wait_serving(KEY)
    return {"job": job, "bundle": bundle, "deployment": deployment}


@pytest.fixture(scope="module")
def second(http: httpx.Client, breast_cancer: Path, first: Answer) -> Answer:
    """A second version, approved, not deployed."""
    del first
    return registered(http, trained(http, job_body(breast_cancer, hyperparams={"C": 0.5}))["job_id"])


@pytest.mark.timeout(300)
def test_job_says_how_it_went_and_what_it_cost(first: Answer) -> None:
    job = first["job"]
    assert job["status"] == "succeeded", job["error"]
    assert {"trials_done", "trials_total", "best_score", "eta_s"} <= set(job["progress"])
    assert job["progress"]["trials_done"] == 2
    assert job["cost_units"] > 0
    assert job["error"] is None
    assert job["bundle"]["model_key"] == KEY


def test_registered_bundle_has_the_published_fields_and_lineage(first: Answer) -> None:
    bundle = first["bundle"]
    assert bundle["version"] == "1.0.0"
    for name in ("artifact_uri", "metrics", "calibration", "fairness", "robustness", "validation_hash", "created_at"):
        assert bundle[name], name
    assert bundle["metrics"]["auroc"] > 0.9
    assert bundle["lineage"]["dataset_id"]
    assert bundle["lineage"]["version"]
    assert bundle["validation_hash"].startswith("sha256:")


def test_version_is_shown_with_approvals_by_number_latest_and_stable(http: httpx.Client, first: Answer) -> None:
    views = [get(http, f"/registry/{KEY}/{version}") for version in ("1.0.0", "stable")]
    assert views[0] == views[1]
    assert views[0]["bundle"] == first["bundle"]
    assert [approval["by"] for approval in views[0]["approvals"]] == ["bo"]
    assert views[0]["approved"] is True
    assert get(http, f"/registry/{KEY}/latest")["bundle"]["model_key"] == KEY
    assert KEY in {view["bundle"]["model_key"] for view in get(http, "/registry", tag="tested", min_metric="auroc:0.9")}


def test_card_is_a_page_that_may_load_nothing_else(http: httpx.Client, first: Answer) -> None:
    del first
    answer = http.get(f"/registry/{KEY}/1.0.0/card")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert KEY in answer.text


def test_evaluation_of_a_version_is_that_of_its_held_out_rows(http: httpx.Client, first: Answer) -> None:
    answer = http.post("/evaluate", json={"model_key": KEY, "version": "1.0.0"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["metrics"]["auroc"] == pytest.approx(first["bundle"]["metrics"]["auroc"])
    by_job = http.post("/evaluate", json={"job_id": first["job"]["job_id"]})
    assert by_job.json()["evaluation_id"] == answer.json()["evaluation_id"]


def test_evaluation_on_other_rows_says_how_many(http: httpx.Client, first: Answer, breast_cancer: Path) -> None:
    del first
    data = {"uri": str(breast_cancer), "target": "target"}
    answer = http.post("/evaluate", json={"model_key": KEY, "version": "1.0.0", "data": data, "metrics": ["auroc"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == 569
    assert answer.json()["metrics"]["auroc"] > 0.9


def test_deployment_shows_status_traffic_and_history(first: Answer) -> None:
    deployment = first["deployment"]
    assert deployment["status"] == "succeeded"
    assert deployment["candidate"] == "1.0.0"
    assert deployment["traffic"] == {"1.0.0": 1.0}
    assert {"strategy", "stable", "step", "decisions", "history"} <= set(deployment)


def test_prediction_answers_who_and_takes_feedback(
    http: httpx.Client, first: Answer, rows: list[dict[str, float]]
) -> None:
    del first
    answer = http.post(f"/predict/{KEY}", json={"inputs": rows})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert len(body["predictions"]) == len(rows)
    assert body["model_version"] == answer.headers["x-mldl-version"]
    assert int(answer.headers["x-mldl-epoch"]) >= 1
    item = {"request_id": f"{body['request_id']}#0", "label": body["predictions"][0]}

    told = http.post("/feedback", json={"items": [item]})
    assert told.status_code == 200, told.text
    assert sum(told.json().values()) == 1

    def figures() -> Answer:
        live = get(http, "/metrics/live")["endpoints"].get(KEY, {"versions": {}})["versions"]
        mine: Answer = live.get(body["model_version"], {"labelled": 0})
        return mine | {"status": "labelled" if mine["labelled"] else "not yet"}

    found = wait(figures, {"labelled"}, 30)
    assert found["requests"] >= len(rows)
    assert found["accuracy"] == 1.0
    assert KEY in http.get("/metrics").text


def test_same_training_request_with_an_idempotency_key_is_one_job(http: httpx.Client, breast_cancer: Path) -> None:
    body = job_body(breast_cancer, model_key="once")
    headers = {"idempotency-key": "train-once"}
    answers = [http.post("/train", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len(get(http, "/jobs", model_key="once")) == 1
    other = http.post("/train", json=body | {"seed": 1}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")

    job_id = answers[0].json()["job_id"]
    wait(lambda: get(http, f"/jobs/{job_id}/status"), {"succeeded"})
    again = http.post(f"/jobs/{job_id}/cancel", json={"reason": "too late"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


@pytest.mark.timeout(300)
def test_canary_is_promoted_by_hand_and_rolled_back_after_its_end(http: httpx.Client, second: Answer) -> None:
    version = second["version"]
    deployment_id = deployed(http, version, {"canary_steps": [10, 100], "promotion_window": 600, "bake_window": 0})
    wait(lambda: get(http, f"/deployments/{deployment_id}"), {"canary"})
    found = get(http, f"/deployments/{deployment_id}")
    assert found["traffic"] == {"1.0.0": 0.9, version: 0.1}
    body = {"deployment_id": deployment_id, "to_pct": 100, "reason": "I know it"}
    assert http.post("/canary/promote", json=body).status_code == 200
    assert ended(http, deployment_id)["status"] == "succeeded"
    assert get(http, f"/registry/{KEY}/stable")["bundle"]["version"] == version

    plan = http.post("/rollback", json={"deployment_id": deployment_id, "reason": "look", "dry_run": True})
    assert (plan.status_code, plan.json()["applied"]) == (200, False)
    assert plan.json()["impacts"][0]["after"] == "1.0.0"
    back = http.post("/rollback", json={"deployment_id": deployment_id, "reason": "changed my mind"})
    assert (back.status_code, back.json()["applied"]) == (202, True)
    assert wait(lambda: get(http, f"/deployments/{deployment_id}"), {"rolled_back"})["traffic"] == {"1.0.0": 1.0}
    assert get(http, f"/registry/{KEY}/stable")["bundle"]["version"] == "1.0.0"


@pytest.mark.timeout(300)
def test_snapshot_brings_back_what_served_and_can_itself_be_undone(
    http: httpx.Client, second: Answer, rows: list[dict[str, float]]
) -> None:
    answer = http.post("/snapshot/export", json={"reason": "before the change"})
    assert answer.status_code == 201, answer.text
    snapshot = answer.json()
    assert {"snapshot_id", "position", "digest"} <= set(snapshot)
    change = deployed(http, second["version"], {"strategy": "blue_green", "bake_window": 0})
    assert ended(http, change)["status"] == "succeeded"

    plan = http.post(
        "/rollback", json={"snapshot_id": snapshot["snapshot_id"], "reason": "look", "dry_run": True}
    ).json()
    assert [impact["key"] for impact in plan["impacts"] if impact["kind"] == "endpoint"] == [KEY]
    done = http.post("/rollback", json={"snapshot_id": snapshot["snapshot_id"], "reason": "a mistake"})
    assert done.status_code == 202
    assert done.json()["applied"] is True
    served(http, rows, "1.0.0")
    undone = http.post("/rollback", json={"snapshot_id": done.json()["undo_snapshot_id"], "reason": "no, it was right"})
    assert undone.status_code == 202, undone.text
    served(http, rows, second["version"])


def served(http: httpx.Client, rows: list[dict[str, float]], version: str) -> None:
    def look() -> Answer:
        answer = http.post(f"/predict/{KEY}", json={"inputs": rows[:1]})
        assert answer.status_code == 200, answer.text
        return {"status": answer.json()["model_version"]}

    wait(look, {version}, 60)


def test_dataset_is_the_same_when_registered_again(http: httpx.Client, breast_cancer: Path) -> None:
    body = {"data": {"uri": str(breast_cancer), "target": "target"}, "dataset_id": "tumours", "reason": "test"}
    one, two = (http.post("/datasets", json=body) for _ in range(2))
    assert one.status_code == 201, one.text
    assert one.json() == two.json()
    found = get(http, "/datasets/tumours")
    assert (found["rows"], found["version"]) == (569, one.json()["version"])
    assert "tumours" in {dataset["dataset_id"] for dataset in get(http, "/datasets")}


def test_key_with_a_role_predicts_and_may_not_deploy(
    http: httpx.Client, first: Answer, rows: list[dict[str, float]]
) -> None:
    del first
    made = http.post("/keys", json={"name": "kim", "role": "viewer"})
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['secret']}"}
    assert http.post(f"/predict/{KEY}", json={"inputs": rows}, headers=headers).status_code == 200
    refused = http.post("/deploy", json={"model_key": KEY, "version": "1.0.0"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    key_id = made.json()["key_id"]
    assert http.request("DELETE", f"/keys/{key_id}", params={"reason": "left"}).json()["revoked"] is True
    assert http.get("/audit", headers=headers).status_code == 401


def test_events_come_as_a_page_and_as_a_stream_that_resumes(http: httpx.Client, first: Answer) -> None:
    del first
    page = get(http, "/events", limit=1000)
    assert {event["type"] for event in page} <= set(EVENT_TYPES)
    wanted = {"MLDL_TRAINING_STARTED", "MLDL_CANDIDATE_READY", "MLDL_EVALUATED", "MLDL_MODEL_REGISTERED"}
    assert wanted | {"MLDL_DEPLOYMENT_REQUESTED", "MLDL_DEPLOYMENT_PROMOTED"} <= {event["type"] for event in page}
    positions = [event["position"] for event in page]
    assert positions == sorted(positions)

    last = positions[-1]
    headers = {"accept": "text/event-stream", "last-event-id": str(last)}
    with http.stream("GET", "/events", headers=headers) as answer:
        http.post("/snapshot/export", json={"reason": "seen at once"})
        event = next(json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
    assert event["position"] > last
    assert (event["type"], event["reason"]) == ("MLDL_SNAPSHOT_EXPORTED", "seen at once")


def test_audit_tells_who_did_what_and_why_and_verifies(http: httpx.Client, first: Answer) -> None:
    del first
    entries = get(http, "/audit", limit=1000, actor="bo")
    assert {entry["actor"] for entry in entries} == {"bo"}
    assert "read" in {entry["reason"] for entry in entries}
    verified = get(http, "/audit/verify")
    assert verified["ok"] is True
    assert verified["positions"] >= entries[-1]["position"]


def test_health_is_ok_without_a_key_and_the_served_api_is_the_published_one(http: httpx.Client) -> None:
    health = get(http, "/health")
    assert health["status"] == "ok", health
    assert health["adapters"]["lr"] == "available"
    published = (words.FOLDER / "mldl.api.openapi.yaml").read_text(encoding="utf-8")
    assert get(http, "/openapi.json")["paths"].keys() == yaml.safe_load(published)["paths"].keys()
    assert http.get("/docs").status_code == 200
