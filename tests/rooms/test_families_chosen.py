"""A job without a family gets one: by whom, why, and what is refused; and what is said of a deployment."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import Incompatible
from contracts.ports import Write
from contracts.specs import Constraints, Json
from mldl_ray.bridges._families import Question, advise
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import PlainSystem

ALL = frozenset({"lr", "linear", "xgb", "gbm", "tree", "knn"})
BIG: Json = {"task": "classification", "rows": 20_000, "columns": 10, "stump": 0.3, "tree": 0.8}


def remembered(family: str, score: float, *, key: str = "theirs", **meta: Any) -> Json:
    return {"family": family, "task": "classification", "metric": "f1", "model_key": key, "score": score} | {
        "meta": BIG | meta
    }


def ask(meta: Json = BIG, *experience: Json, latency_ms: float | None = None) -> Any:
    return advise(Question("classification", meta, Constraints(latency_ms=latency_ms), ALL, experience))


def test_large_tables_whose_columns_act_together_get_boosted_trees() -> None:
    found = ask()
    assert (found.family, found.ranking) == ("xgb", ("xgb",))
    assert "20000 rows" in found.why and "columns act together" in found.why


def test_a_few_rows_with_a_plain_sum_get_a_simple_model() -> None:
    found = ask({"task": "classification", "rows": 80, "columns": 4, "stump": 0.5, "tree": 0.45})
    assert (found.family, found.confidence) == ("lr", 1.0)


def test_what_won_on_the_same_data_outweighs_rules_of_thumb() -> None:
    found = ask({**BIG, "rows": 500}, remembered("knn", 0.9, rows=500), remembered("xgb", 0.7, rows=500))
    votes = {vote.specialist: vote for vote in found.votes}
    assert (votes["experience"].family, votes["experience"].confidence) == ("knn", 1.0)
    assert found.family == "knn"


def test_of_several_families_on_one_data_set_the_best_score_counts_and_errors_are_better_lower() -> None:
    bodies = [
        remembered("knn", 3.0) | {"metric": "rmse", "task": "classification"},
        remembered("gbm", 2.0) | {"metric": "rmse", "task": "classification"},
    ]
    votes = {vote.specialist: vote for vote in ask(BIG, *bodies).votes}
    assert votes["experience"].family == "gbm"


def test_experience_on_quite_other_data_says_nothing() -> None:
    votes = {vote.specialist: vote for vote in ask(BIG, remembered("knn", 0.9, rows=10)).votes}
    assert (votes["experience"].family, votes["experience"].confidence) == (None, 0)


def test_a_tight_latency_speaks_for_a_linear_model() -> None:
    votes = {vote.specialist: vote for vote in ask(latency_ms=0.5).votes}
    assert votes["latency"].family == "lr"


def test_where_nobody_knows_better_the_usual_family_of_the_task_is_taken() -> None:
    meta = {"task": "clustering", "rows": 100, "columns": 2}
    found = advise(Question("clustering", meta, Constraints(), frozenset({"kmeans", "dbscan"})))
    assert (found.family, found.confidence) == ("kmeans", 0.0)
    with pytest.raises(Incompatible, match="no family that is available here does clustering"):
        advise(Question("clustering", meta, Constraints(), frozenset()))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainSystem]:
    found = PlainSystem(load_settings({}, home=tmp_path_factory.mktemp("home"), port=unused_port()))
    found.serve()
    yield found
    found.close()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    path = tmp_path_factory.mktemp("rows") / "either.parquet"
    pq.write_table(pa.table({"a": a, "b": b, "y": ((a > 0) ^ (b > 0)).astype(int)}), path)
    return path


def job(rows: Path, **spec: Any) -> Json:
    return {
        "spec": {"model_key": "either"} | spec,
        "data": {"uri": str(rows), "target": "y"},
        "hpo": {"strategy": "random", "max_trials": 1},
        "cv": {"folds": 2},
    }


def test_a_job_without_a_family_trains_the_recommended_one_and_records_why(system: PlainSystem, rows: Path) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    accepted = client.train(job(rows))
    system.jobs.run(accepted.job_id)
    found = client.job(accepted.job_id)
    assert found.status == "succeeded"
    assert found.advice is not None
    assert accepted.family == found.advice.family == found.job.spec.family
    assert found.bundle is not None and found.bundle.family == found.advice.family
    assert {vote.specialist for vote in found.advice.votes} == {"experience", "size", "shape", "cells", "latency"}
    assert found.advice.family in found.advice.why
    again = client.train(job(rows))
    votes = {vote.specialist: vote for vote in client.job(again.job_id).advice.votes}  # type: ignore[union-attr]  # no family was named
    assert votes["experience"].family == found.advice.family  # what the first one found is remembered
    client.close()


def test_a_job_with_a_family_gets_no_advice(system: PlainSystem, rows: Path) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    accepted = client.train(job(rows, family="lr"))
    assert (accepted.family, client.job(accepted.job_id).advice) == ("lr", None)
    client.close()


def test_only_families_that_the_policy_allows_are_chosen(system: PlainSystem, rows: Path) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    client.set_policy({"families": ["naive_bayes"]}, reason="only these")
    assert client.train(job(rows)).family == "naive_bayes"
    client.set_policy({"families": ["kmeans"]}, reason="only these")
    with pytest.raises(Incompatible, match="no family that is available here does classification"):
        client.train(job(rows))
    client.set_policy({}, reason="all again")
    client.close()


def test_settings_without_the_family_they_are_of_and_a_policy_without_one_are_refused(
    system: PlainSystem, rows: Path
) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    with pytest.raises(Incompatible, match="family is missing: hyperparams"):
        client.train(job(rows, hyperparams={"max_depth": 3}))
    with pytest.raises(Incompatible, match="family is missing: nothing is known of a reinforcement job"):
        client.train({"spec": {"model_key": "p", "task": "reinforcement"}})
    client.close()


def test_a_dataset_s_family_is_recommended_over_http_in_python_and_as_typed(system: PlainSystem, rows: Path) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    client.register_dataset({"uri": str(rows), "target": "y"}, dataset_id="either")
    found = client.recommended_family("either", latency_ms=0.1)
    assert {vote.specialist: vote.family for vote in found.votes}["latency"] == "lr"
    line = f"datasets recommend either --latency-ms 0.1 --json --url {system.settings.url}"
    typed = json.loads(CliRunner().invoke(app, shlex.split(line)).stdout)
    assert typed == found.model_dump(mode="json")
    assert client.recommended_family("either", task="clustering").family == "kmeans"
    with pytest.raises(Incompatible, match="learns from an environment"):
        client.recommended_family("either", task="reinforcement")
    client.close()


def test_a_deployment_gets_its_advice_without_waiting_for_it(system: PlainSystem, rows: Path) -> None:
    client = MLDLClient(system.settings.url, acting_as="ann")
    client.set_policy({"approvals_required": 0}, reason="no one to ask")
    accepted = client.train(job(rows, family="lr"))
    system.jobs.run(accepted.job_id)
    version = str(client.register(accepted.job_id, reason="try").version)
    deployment_id = client.deploy("either", version, reason="try").deployment_id
    assert client.deployment(deployment_id).advice is None
    system.bridges.rounds.once()
    advice = client.deployment(deployment_id).advice
    assert advice is not None
    assert (advice["deployment_id"], advice["version"]) == (deployment_id, version)
    assert advice["verdict"] in {"deploy", "canary", "hold"} and advice["why"] and len(advice["votes"]) == 6
    position = system.journal.position()
    system.bridges.rounds.once()
    assert system.journal.position() == position
    client.close()


def test_a_deployment_of_long_ago_gets_none(system: PlainSystem) -> None:
    from contracts.events import Fact
    from contracts.rollouts import Deployment
    from contracts.specs import DeploymentSpec

    old = Deployment(
        deployment_id="dep-old", model_key="either", version="1.0.0", spec=DeploymentSpec(), strategy="direct",
        status="succeeded", steps=(100.0,), promotion_window_s=1, bake_window_s=1, created_at_s=1.0,
    )  # fmt: skip
    write = Write(kind="deployment", key="dep-old", expected_version=0, body=old.model_dump(mode="json"))
    fact = Fact(type="MLDL_DEPLOYMENT_REQUESTED", subject="dep-old", data={})
    system.journal.append([write], [fact], actor="ann", reason="long ago")
    system.bridges.rounds.once()
    assert system.journal.read("advice", "dep-old") is None
