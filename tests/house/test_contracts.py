"""The published contracts are what the code says, and the seed's own words are among them."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from contracts.errors import MldlError, Unavailable
from contracts.events import EVENT_TYPES
from contracts.records import TrainedBundle
from contracts.specs import DeploymentSpec, ModelSpec
from mldl_ray import words
from mldl_ray.settings import Defaults, load_defaults

CONTRACTS = Path(words.FOLDER)

MODEL_SPEC = """
{
  "model_key": "tabular.classification.xgb",
  "family": "xgb",
  "task": "classification",
  "adapter": "adapters.xgb.XGBAdapter",
  "hyperparams": {"max_depth": 6, "eta": 0.1},
  "feature_view": "customer_features_v1",
  "tags": ["baseline", "high_performance"],
  "constraints": {"latency_ms": 100, "cost_units": 0.01}
}
"""
TRAINED_BUNDLE = """
{
  "model_key": "tabular.classification.xgb",
  "version": "1.3.2",
  "artifact_uri": "/models/tabular.classification.xgb/20240315_143022",
  "metrics": {"f1": 0.87, "auroc": 0.94, "precision": 0.89},
  "calibration": {"ece": 0.03, "method": "isotonic"},
  "fairness": {"delta": 0.015, "groups": ["gender", "region"]},
  "robustness": {"noise_sensitivity": 0.12},
  "lineage": {
    "dataset_id": "customer_data_v5",
    "version": "2024.03.15",
    "feature_view": "customer_features_v1",
    "trainer_hash": "sha256:abc123..."
  },
  "validation_hash": "sha256:def456...",
  "created_at": "2024-03-15T14:30:22Z"
}
"""
DEPLOYMENT_SPEC = """
{
  "target_env": "prod",
  "canary_pct": 5,
  "shadow": false,
  "guardrails": {
    "min_calibration": 0.8,
    "fairness_delta_max": 0.02,
    "max_latency_p95_ms": 500,
    "rollback_on": ["metric_drop", "drift_spike", "violation"]
  },
  "route": "single"
}
"""
CONFIGURATION = """
mldl:
  training:
    cv: {folds: 5, stratify: true}
    hpo: {strategy: "bayes", max_trials: 50, early_stop: true}
  evaluation:
    metrics:
      classification: [f1, auroc, logloss, calibration]
      regression: [rmse, mae, r2]
      clustering: [silhouette]
  calibration: {default: "isotonic"}
  fairness: {delta_max: 0.02, groups: ["gender", "region"]}
  deployment:
    canary_steps: [5, 25, 50, 100]
    promotion_window: 3600
    rollback_on: ["metric_drop", "drift_spike", "violation"]
"""
ENDPOINTS = [
    "GET /health",
    "POST /train",
    "GET /jobs/{job_id}/status",
    "POST /evaluate",
    "POST /register",
    "GET /registry/{model_key}/{version}",
    "POST /deploy",
    "GET /deployments/{deployment_id}",
    "POST /canary/promote",
    "POST /snapshot/export",
    "POST /rollback",
    "GET /metrics/live",
]
EVENTS = [
    "MLDL_TRAINING_STARTED",
    "MLDL_CANDIDATE_READY",
    "MLDL_EVALUATED",
    "MLDL_MODEL_REGISTERED",
    "MLDL_DEPLOYMENT_REQUESTED",
    "MLDL_DEPLOYMENT_PROMOTED",
    "MLDL_DRIFT_ALERT",
    "MLDL_VIOLATION",
    "ROLLBACK_REQUESTED",
]


def _document(name: str) -> dict:
    return yaml.safe_load((CONTRACTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", words.FILES)
def test_published_file_is_what_the_code_says(name: str) -> None:
    assert name not in words.stale(), f"contracts/{name} is stale; run: python -m mldl_ray.words"


def test_seed_model_spec_loads_unchanged_and_satisfies_the_published_schema() -> None:
    given = json.loads(MODEL_SPEC)
    assert ModelSpec.model_validate(given).model_dump(mode="json") == given
    jsonschema.validate(given, json.loads((CONTRACTS / "mldl.modelspec.schema.json").read_text()))


def test_published_schema_refuses_what_the_code_refuses() -> None:
    schema = json.loads((CONTRACTS / "mldl.modelspec.schema.json").read_text())
    for change in ({"model_key": "a b"}, {"taks": "regression"}, {"task": "divination"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(MODEL_SPEC) | change, schema)


def test_seed_trained_bundle_loads_unchanged() -> None:
    given = json.loads(TRAINED_BUNDLE)
    assert TrainedBundle.model_validate(given).model_dump(mode="json", exclude_unset=True) == given


def test_seed_deployment_spec_loads_unchanged() -> None:
    given = json.loads(DEPLOYMENT_SPEC)
    assert DeploymentSpec.model_validate(given).model_dump(mode="json", exclude_unset=True) == given


def test_seed_configuration_is_our_default() -> None:
    assert load_defaults(CONFIGURATION) == Defaults()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_seed_endpoint_is_in_the_published_api(endpoint: str) -> None:
    method, path = endpoint.split()
    assert method.lower() in _document("mldl.api.openapi.yaml")["paths"][words.BASE + path]


@pytest.mark.parametrize("event", EVENTS)
def test_seed_event_is_in_the_code_and_in_the_published_events(event: str) -> None:
    assert event in EVENT_TYPES
    assert event in _document("mldl.events.yaml")["components"]["messages"]


def test_every_event_has_a_meaning() -> None:
    assert set(words.MEANINGS) == set(EVENT_TYPES)


def test_every_operation_of_the_published_api_says_what_an_error_looks_like() -> None:
    document = _document("mldl.api.openapi.yaml")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], f"{method} {path}"
            assert operation["description"], f"{method} {path}"


def test_every_reference_in_the_published_documents_leads_somewhere() -> None:
    for name in ("mldl.api.openapi.yaml", "mldl.events.yaml"):
        document = _document(name)
        for reference in _references(document):
            found = document
            for part in reference.removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/")]


def _kinds(root: type[MldlError]) -> list[type[MldlError]]:
    ours = [kind for kind in root.__subclasses__() if kind.__module__ == "contracts.errors"]
    return [root, *(found for kind in ours for found in _kinds(kind))]


@pytest.mark.parametrize("kind", _kinds(MldlError))
def test_error_keeps_its_message_and_facts_across_processes(kind: type[MldlError]) -> None:
    error = kind("no job j", {"job_id": "j"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.facts, str(again)) == (error.message, error.facts, "no job j")
    assert again.facts["job_id"] == "j"


def test_unavailable_says_when_to_try_again_unless_told_otherwise() -> None:
    assert Unavailable("x").facts["retry_after_s"] == 1.0
    assert pickle.loads(pickle.dumps(Unavailable("x", {"retry_after_s": 7.0}))).facts["retry_after_s"] == 7.0


def test_codes_are_told_apart() -> None:
    kinds = _kinds(MldlError)
    assert len({kind.code for kind in kinds}) == len(kinds)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield str(value)
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)
