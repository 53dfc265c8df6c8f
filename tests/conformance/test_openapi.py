"""Every endpoint of the published API under generated requests: no 500, no status or body that is not published.

Requests come from the document (schemathesis), valid and broken; half of the names in paths and bodies are of things
that exist, so that more than "not found" is reached. The actors are real and in this process.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings
from mldl_ray.words import api_document
from serve.problems import PROBLEM
from tests.plain import KEY, PlainSystem

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSALS = {401, 403, 404, 405, 409, 413, 415, 422, 429}
_generation = GenerationConfig(max_examples=EXAMPLES, deterministic=True)
_config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=_generation)))
schema = schemathesis.openapi.from_dict(api_document(), config=_config)


class Fuzzed:
    """A system with something of everything."""

    def __init__(self, folder: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.system = PlainSystem(load_settings({}, home=folder, port=port))
        self.system.serve()
        client = MLDLClient(self.system.settings.url, acting_as="ann")
        job = self.system.train(client, folder)
        client.register(job, reason="first")
        MLDLClient(self.system.settings.url, acting_as="bo").approve(KEY, "1.0.0", reason="good")
        deployed = client.deploy(KEY, "1.0.0")
        subscription = client.subscribe("http://127.0.0.1:9/", secret="a shared secret").subscription_id
        key = client.create_key("cy", "viewer").key_id
        snapshot = client.snapshot_export("begin").snapshot_id
        dataset = client.datasets()[0].dataset_id
        self.names = {
            "job_id": job,
            "model_key": KEY,
            "version": "1.0.0",
            "deployment_id": deployed.deployment_id,
            "subscription_id": subscription,
            "consumer": subscription,
            "key_id": key,
            "snapshot_id": snapshot,
            "dataset_id": dataset,
            "uri": str(folder / "rows.parquet"),
            "url": "http://127.0.0.1:9/",
            "target": "rich",
            "family": "lr",
        }
        self.session = requests.Session()
        self.session.trust_env = False

    def close(self) -> None:
        self.session.close()
        self.system.close()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    made = Fuzzed(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


COLUMNS = {"features", "exclude", "sensitive", "time_column", "group_column", "weight_column"}


def known(fuzzed: Fuzzed, part: Any) -> None:
    """Put names that exist in place of half of the made-up ones, however deep."""
    for name, value in list(part.items()) if isinstance(part, dict) else ():
        known(fuzzed, value)
        if name in COLUMNS and isinstance(value, list):
            part[name] = [_column(item) for item in value]
        elif name in COLUMNS:
            part[name] = _column(value)
        elif name in fuzzed.names and _chosen(value):
            part[name] = fuzzed.names[name]


def _column(value: Any) -> Any:
    return ("age", "job")[len(value) % 2] if _chosen(value) else value


def _chosen(value: Any) -> bool:
    return isinstance(value, str) and zlib.crc32(value.encode(errors="replace")) % 2 == 1


@schema.parametrize()
@settings(suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
def test_no_request_breaks_the_published_contract(case: schemathesis.Case, fuzzed: Fuzzed) -> None:
    for name in [name for name in case.headers or () if name.lower() in {"authorization", "idempotency-key"}]:
        del case.headers[name]  # a made-up key, or the same promise for another request, would end every one
    known(fuzzed, case.path_parameters)
    known(fuzzed, case.body)
    response = case.call(base_url=fuzzed.system.settings.url, session=fuzzed.session, timeout=30)
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400:
        assert response.status_code in REFUSALS, response.text
        assert response.headers["content-type"] == [PROBLEM]
        assert response.json()["detail"]
