"""Tasks beyond classes and values on a running system, by its three doors: HTTP, Python, the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import Incompatible
from mldl_ray.adapters import families
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

BASE = "/api/mldl/v1"


@pytest.fixture(scope="module")
def client(system: Settings) -> Iterator[MLDLClient]:
    yield MLDLClient(system.url, acting_as="ana")


@pytest.fixture(scope="module")
def reviewer(system: Settings) -> MLDLClient:
    return MLDLClient(system.url, acting_as="rita")


def registered(client: MLDLClient, spec: dict[str, Any], data: dict[str, Any] | None = None) -> str:
    body = {"spec": spec, "hpo": {"strategy": "random", "max_trials": 1}, "cv": {"folds": 2}}
    ended = client.wait_job(client.train(body | ({"data": data} if data else {})).job_id)
    assert ended.status == "succeeded", ended.error
    return str(client.register(ended.job_id, reason="for a test").version)


def deployed(client: MLDLClient, reviewer: MLDLClient, model_key: str, version: str) -> None:
    reviewer.approve(model_key, version, reason="looks right")
    asked = client.deploy(model_key, version, {"bake_window": 0})
    assert client.wait_deployment(asked.deployment_id).status == "succeeded"
    client.wait_serving(model_key)


def typed(system: Settings, *arguments: str) -> Any:
    environment = {"MLDL_URL": system.url, "MLDL_HOME": str(system.home), "MLDL_PORT": str(system.port)}
    ended = CliRunner(env=environment).invoke(app, list(arguments))
    assert ended.exit_code == 0, f"{ended.stdout}{ended.stderr}"
    return json.loads(ended.stdout)


@pytest.mark.timeout(240)
def test_a_policy_is_trained_from_the_command_deployed_and_asked_what_to_do(
    system: Settings, client: MLDLClient, reviewer: MLDLClient
) -> None:
    job = typed(
        system, "train", "--family", "q_learning", "--task", "reinforcement", "--key", "lake", "--trials", "1",
        "--strategy", "random", "--folds", "2", "--set", "environment=FrozenLake-v1", "--set", "episodes=1500",
        "--json",
    )  # fmt: skip
    assert job["status"] == "succeeded"
    version = str(client.register(job["job_id"], reason="for a test").version)
    deployed(client, reviewer, "lake", version)
    answer = client.predict("lake", [{"observation": 0}, {"observation": 14}])
    assert set(answer["predictions"]) <= {0, 1, 2, 3}
    assert client.version("lake", version).bundle.metrics["mean_return"] > 0


def test_every_family_tells_what_it_can_do_by_all_doors(system: Settings, client: MLDLClient) -> None:
    by_http = httpx.get(f"{system.url}{BASE}/families").raise_for_status().json()
    assert {view["family"] for view in by_http} == set(families())
    forest = next(view for view in by_http if view["family"] == "forest")
    assert forest["adapter"] == "ForestAdapter" and forest["resource"] == "n_estimators"
    assert forest["tasks"] == ["classification", "regression"]
    assert [view.model_dump(mode="json") for view in client.families()] == by_http
    assert typed(system, "families", "--json") == by_http


@pytest.mark.timeout(240)
def test_clusters_are_trained_over_http_deployed_and_predicted(
    system: Settings, client: MLDLClient, reviewer: MLDLClient, breast_cancer: Path, rows: list[dict[str, float]]
) -> None:
    data = {"uri": str(breast_cancer), "target": "target"}
    version = registered(client, {"model_key": "groups", "family": "kmeans", "task": "clustering"}, data)
    assert client.version("groups", version).bundle.metrics["ari"] > 0.1
    deployed(client, reviewer, "groups", version)
    answer = httpx.post(f"{system.url}{BASE}/predict/groups", json={"inputs": rows}).raise_for_status().json()
    assert all(isinstance(cluster, int) for cluster in answer["predictions"])
    assert answer["model_version"] == version


@pytest.mark.timeout(240)
def test_a_generator_makes_rows_by_all_doors_and_is_never_deployed(
    system: Settings, client: MLDLClient, reviewer: MLDLClient, breast_cancer: Path
) -> None:
    spec = {"model_key": "maker", "family": "gan", "task": "generation", "hyperparams": {"epochs": 3, "width": 16}}
    version = registered(client, spec, {"uri": str(breast_cancer)})
    names = set(pq.read_schema(breast_cancer).names)
    by_http = httpx.post(f"{system.url}{BASE}/registry/maker/{version}/sample", json={"rows": 3, "seed": 1}).json()
    assert len(by_http["rows"]) == 3 and set(by_http["rows"][0]) == names
    assert client.sample("maker", 3, seed=1) == by_http["rows"]
    assert typed(system, "sample", "maker", "--rows", "3", "--seed", "1", "--json") == by_http["rows"]
    reviewer.approve("maker", version, reason="looks right")
    with pytest.raises(Incompatible, match="makes rows"):
        client.deploy("maker", version, {})


@pytest.mark.timeout(240)
def test_scores_are_explained_by_all_doors_and_add_up(
    system: Settings, client: MLDLClient, breast_cancer: Path, rows: list[dict[str, float]]
) -> None:
    data = {"uri": str(breast_cancer), "target": "target"}
    version = registered(client, {"model_key": "why", "family": "xgb"}, data)
    path = f"{system.url}{BASE}/registry/why/{version}/explain"
    by_http = httpx.post(path, json={"inputs": rows}).raise_for_status().json()
    assert by_http["method"] == "exact" and by_http["outputs"] == [1]
    assert set(by_http["rows"][0]) == set(rows[0])
    by_python = client.explain("why", rows, version)
    assert by_python.model_dump(mode="json") == by_http
    assert typed(system, "explain", "why", "--version", version, "--json", json.dumps({"inputs": rows})) == by_http
    with pytest.raises(Incompatible, match="mean radius"):
        client.explain("why", [{"age": 1}], version)
    with pytest.raises(Incompatible, match="makes no rows"):
        client.sample("why", 1, version)


@pytest.mark.timeout(240)
def test_a_new_version_is_compared_with_the_one_that_serves(
    client: MLDLClient, reviewer: MLDLClient, breast_cancer: Path
) -> None:
    data = {"uri": str(breast_cancer), "target": "target"}
    first = registered(client, {"model_key": "rival", "family": "lr"}, data)
    deployed(client, reviewer, "rival", first)
    second = registered(client, {"model_key": "rival", "family": "xgb"}, data)
    found = client.evaluate(model_key="rival", version=second).against_stable
    assert found is not None and found.version == first
    assert found.low <= found.difference <= found.high
    assert client.evaluate(model_key="rival", version=first).against_stable is None
