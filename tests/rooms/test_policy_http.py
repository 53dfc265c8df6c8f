"""The policy over HTTP, in Python and at the terminal: set from a file, tried, excepted from, refused by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from contracts.errors import Conflict, Forbidden, Incompatible
from contracts.ports import Write
from contracts.rollouts import Endpoint
from mldl_ray.access import ApiKeys
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.rooms.test_api import KEY, World, problem


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    with World(load_settings({}, home=tmp_path, port=free_port)) as found:
        found.registered("1.0.0")
        yield found


@pytest.fixture
def client(world: World) -> MLDLClient:
    return world.client(acting_as="dan")


def types(world: World, *line: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(app, [*line, "--url", world.settings.url, "--as", "kim"])
    assert done.exit_code == exit_code, done.output
    return done.output


def test_a_refused_deployment_is_a_409_with_each_rule_value_and_bound(world: World, client: MLDLClient) -> None:
    client.set_policy({"approvals_required": 2, "families": ["xgboost"]}, reason="strict")
    answer = world.raw("POST", "/deploy", json={"model_key": KEY, "version": "1.0.0"})
    facts = problem(answer, 409, "conflict")["facts"]
    assert [(one["rule"], one["value"], one["bound"]) for one in facts["findings"]] == [
        ("approvals_required", 0, 2),
        ("families", None, ["xgboost"]),
    ]
    assert [(e.type, e.data["act"]) for e in world.journal.events(types=["MLDL_VIOLATION"])] == [
        ("MLDL_VIOLATION", "deploy")
    ]
    told = client.compliance(KEY, "1.0.0")
    assert [finding.rule for finding in told.findings] == ["approvals_required", "families"]


def test_a_promotion_that_the_policy_forbids_by_now_is_refused_and_its_rollback_is_not(
    world: World, client: MLDLClient
) -> None:
    client.set_policy({"approvals_required": 0}, reason="test")
    world.registered("1.1.0")
    world.journal.append(
        [write("endpoint", KEY, 0, Endpoint(model_key=KEY, stable="1.0.0", salt="s"))], actor="t", reason="t"
    )
    asked = client.deploy(KEY, "1.1.0").deployment_id
    document = world.journal.read("deployment", asked)
    assert document is not None and document.body is not None
    body = document.body | {"status": "canary"}
    world.journal.append(
        [Write(kind="deployment", key=asked, expected_version=document.version, body=body)], actor="t", reason="t"
    )
    client.set_policy({"approvals_required": 1}, reason="stricter")
    with pytest.raises(Conflict, match="policy forbids promoting") as caught:
        client.promote(asked, reason="go")
    assert caught.value.facts["findings"][0]["rule"] == "approvals_required"
    client.rollback(deployment_id=asked, reason="complaints")
    acts = [event.data["act"] for event in world.journal.events(types=["MLDL_VIOLATION"])]
    assert acts == ["promote", "rollback"]


def test_exceptions_are_granted_listed_and_ended(client: MLDLClient) -> None:
    client.set_policy({"approvals_required": 0, "families": ["xgboost"]}, reason="strict")
    granted = client.grant_exception(KEY, "1.0.0", "families", lasts_s=600, reason="hotfix")
    assert [one.exception_id for one in client.exceptions(model_key=KEY, active=True)] == [granted.exception_id]
    assert client.compliance(KEY, "1.0.0").excepted[0].exception_id == granted.exception_id
    assert client.end_exception(granted.exception_id, reason="fixed").ended_by == "dan"
    assert client.exceptions(active=True) == []
    with pytest.raises(Incompatible, match="lasts_s"):
        client.grant_exception(KEY, "1.0.0", "families", lasts_s=-1, reason="hotfix")


def test_a_dry_run_says_what_would_have_been_refused_and_changes_nothing(world: World, client: MLDLClient) -> None:
    position = world.journal.position()
    told = client.policy_dry_run({"families": ["xgboost"]})
    assert ([one.act for one in told.refused], told.by_rule) == (["register"], {"families": 1})
    assert world.journal.position() == position


def test_only_an_admin_changes_the_policy_or_excepts_from_it(tmp_path: Path, free_port: int) -> None:
    with World(load_settings({}, home=tmp_path, port=free_port, require_keys=True)) as found:
        keys = ApiKeys(found.journal, SystemClock())
        for role in ("viewer", "trainer", "deployer", "approver"):
            _, secret = keys.create(role, role, by="root")
            client = found.client(key=secret)
            assert client.policy().approvals_required == 1
            assert client.policy_history() == []
            assert client.exceptions() == []
            refused: list[Any] = [
                lambda c=client: c.set_policy({}, reason="x"),
                lambda c=client: c.grant_exception(KEY, "1.0.0", "families", lasts_s=1, reason="x"),
                lambda c=client: c.end_exception("exc-1", reason="x"),
            ]
            refused += [] if role == "approver" else [lambda c=client: c.policy_dry_run({})]
            for verb in refused:
                with pytest.raises(Forbidden):
                    verb()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/policy", {"policy": {"approvals": 1}, "reason": "x"}),
        ("PUT", "/policy", {"policy": {"approvals_by_role": {"boss": 1}}, "reason": "x"}),
        ("PUT", "/policy", {"policy": {"exception_max_s": 1e9}, "reason": "x"}),
        ("POST", "/policy/dry-run", {"policy": {"data": {"min_rows": 0}}}),
        ("POST", "/policy/dry-run", {"policy": {}, "limit": 0}),
        ("POST", "/policy/exceptions", {"model_key": KEY, "version": "1.0.0", "rule": "families", "reason": "x"}),
    ],
)
def test_bad_input_is_refused_with_its_place(world: World, method: str, path: str, body: dict[str, Any]) -> None:
    assert "body." in problem(world.raw(method, path, json=body), 422, "incompatible")["detail"]


def test_the_policy_that_is_shown_is_the_file_that_is_set(world: World, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    shown = yaml.safe_load(types(world, "policy", "show"))
    freeze = {"name": "holidays", "start": "2026-12-24T00:00:00+01:00", "end": "2027-01-02T00:00:00+01:00"}
    file.write_text(yaml.safe_dump(shown | {"approvals_required": 2, "freezes": [freeze]}))
    types(world, "policy", "set", str(file), "--reason", "four eyes")
    assert world.client().policy().freezes[0].name == "holidays"
    types(world, "policy", "set", "{max_ece: 0.05}", "--reason", "calibrated")
    assert (world.client().policy().approvals_required, world.client().policy().max_ece) == (2, 0.05)
    file.write_text("approvals_required: 3")
    types(world, "policy", "set", str(file), "--reason", "a file is the whole policy")
    assert world.client().policy().max_ece is None
    assert types(world, "policy", "history").count("kim") == 3


def test_the_terminal_tries_a_policy_and_grants_an_exception(world: World, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("families: [xgboost]")
    told = types(world, "policy", "dry-run", str(file))
    assert "1 of 1 registrations" in told
    assert "families" in told
    types(world, "policy", "except", KEY, "1.0.0", "families", "--for", "2h", "--reason", "hotfix")
    (one,) = world.client().exceptions()
    assert (one.expires_at_s - one.at_s, one.granted_by) == (7200, "kim")
    assert one.exception_id in types(world, "policy", "exceptions", "--active")
    types(world, "policy", "end-exception", one.exception_id, "--reason", "fixed")
    assert "no length of time" in types(
        world, "policy", "except", KEY, "1.0.0", "families", "--for", "soon", "--reason", "x", exit_code=2
    )
    assert "no file" in types(world, "policy", "set", "@/nowhere.yaml", "--reason", "x", exit_code=3)
