"""A person at a terminal: the README's commands and those beside them, on a running system."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mldl_ray.cli import app
from mldl_ray.settings import Settings

ADULT = Path(__file__).parents[2] / "examples/data/adult.parquet"
KEY = "typed"


class Person:
    """Types commands at one system."""

    def __init__(self, settings: Settings) -> None:
        self._env = {"MLDL_URL": settings.url, "MLDL_HOME": str(settings.home), "MLDL_PORT": str(settings.port)}

    def types(self, line: str, *more: str, exit_code: int = 0) -> str:
        done = CliRunner(env=self._env).invoke(app, [*shlex.split(line), *more])
        assert done.exit_code == exit_code, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout if exit_code == 0 else done.stderr

    def json(self, line: str) -> Any:
        return json.loads(self.types(line, "--json"))


@pytest.fixture(scope="module")
def person(system: Settings) -> Person:
    return Person(system)


@pytest.fixture(scope="module")
def job_id(person: Person) -> str:
    """A job that was trained from a file of this folder, as in the README."""
    options = "--target income --family lr --exclude split,fnlwgt --sensitive sex --trials 1 --folds 2"
    said = person.types(f"train --data {ADULT} --key {KEY} {options}")
    assert "succeeded" in said
    return str(person.json(f"jobs list --model {KEY}")[0]["job_id"])


@pytest.mark.timeout(300)
def test_readme_commands_take_a_model_from_data_to_a_prediction(person: Person, job_id: str) -> None:
    assert f"{KEY} 1.0.0" in person.types(f'register {job_id} --reason "first model"')
    assert "policy forbids" in person.types(f"deploy {KEY} 1.0.0", exit_code=5)
    assert "forbids" in person.types(f"registry advise {KEY}")
    assert "approved by bo" in person.types(f'approve {KEY} 1.0.0 --reason "good enough" --as bo')
    assert "1.0.0 100%" in person.types(f"deploy {KEY} 1.0.0 --wait ended")

    import pyarrow.parquet as pq

    row = pq.read_table(ADULT).drop_columns(["income", "split", "fnlwgt"]).slice(0, 1).to_pylist()[0]
    answer = json.loads(person.types(f"predict {KEY}", "--json", json.dumps({"inputs": [row]})))
    assert answer["model_version"] == "1.0.0"
    assert "missing" in person.types(f"predict {KEY}", "--json", '{"inputs": [{"age": 39}]}', exit_code=2)

    assert person.json("status")["status"] == "ok"
    assert "job server" in person.types("status")
    deadline = time.monotonic() + 30
    while KEY not in person.types("metrics"):  # the replica tells the monitor when it has a moment
        assert time.monotonic() < deadline
    assert KEY in person.types("metrics --prometheus")


def test_every_list_is_a_table_for_people_and_an_array_for_programs(person: Person, job_id: str) -> None:
    del job_id
    lists = "jobs list,deployments list,registry search,datasets list,snapshot list,alerts list,keys list,webhooks list"
    for line in [*lists.split(","), "events", "audit list"]:
        assert isinstance(person.json(line), list), line
        person.types(line)
    assert f"{KEY}" in person.types("registry search")


def test_going_back_shows_its_impact_and_the_way_back(person: Person) -> None:
    snapshot = person.json('snapshot export --reason "before"')["snapshot_id"]
    person.types("policy set '{\"approvals_required\": 2}' --reason stricter")
    assert "policy" in person.types(f"snapshot plan {snapshot}")
    assert "would change" in person.types(f"rollback --snapshot {snapshot} --reason look --dry-run")
    assert person.json("policy show")["approvals_required"] == 2
    assert "the way back: mldl rollback" in person.types(f"rollback --snapshot {snapshot} --reason mistake")
    assert person.json("policy show")["approvals_required"] == 1


def test_key_is_made_used_and_revoked(person: Person) -> None:
    made = person.json("keys create kim --role viewer")
    assert person.json(f"registry search --key {made['secret']}") is not None
    assert "may not" in person.types(f"snapshot export --reason x --key {made['secret']}", exit_code=4)
    assert "revoked" in person.types(f"keys revoke {made['key_id']} --reason left")
    assert "revoked" in person.types(f"audit list --key {made['secret']}", exit_code=4)


def test_webhook_is_made_listed_and_removed(person: Person) -> None:
    made = person.json("webhooks create http://127.0.0.1:9/nobody --secret 'a secret that is long enough'")
    assert "nobody" in person.types("webhooks list")
    assert "secret" not in person.json("webhooks list")[0]
    person.types(f"webhooks remove {made['subscription_id']} --reason test")
    assert person.json("webhooks list") == []


def test_datasets_say_what_is_in_them_and_what_is_wrong(person: Person) -> None:
    person.types(f"datasets register {ADULT} --target income --name census")
    assert "hours_per_week" in person.types("datasets show census")
    assert "findings" in person.json("datasets quality census")


def test_audit_verifies(person: Person) -> None:
    assert person.json("audit verify")["ok"] is True


def test_what_is_unknown_is_a_sentence_and_exit_code_3(person: Person) -> None:
    for line in ("jobs show job-none", "registry show nobody", "deployments show dep-none", "alerts show alert-none"):
        assert "Traceback" not in person.types(line, exit_code=3)
