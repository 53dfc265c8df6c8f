"""The ``mldl`` command: help everywhere, and every mistake a sentence with its exit code, never a traceback."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mldl_ray.cli import app

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:1"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def paths(command: object = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    command = typer.main.get_command(app) if command is None else command
    yield path
    for name, sub in getattr(command, "commands", {}).items():
        yield from paths(sub, (*path, name))


def leaves() -> list[tuple[str, ...]]:
    found = list(paths())
    return [path for path in found if path and not any(other[:-1] == path for other in found)]


def options(path: tuple[str, ...]) -> str:
    return run(*path, "--help").stdout


LOCAL = {("up",), ("down",), ("environment",), ("demo",), ("audit", "check"), ("snapshot", "import-file")}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLDL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("MLDL_URL", "MLDL_KEY", "MLDL_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    done = run(*path, "--help")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 3


@pytest.mark.parametrize("path", leaves(), ids=" ".join)
def test_every_command_takes_json_and_every_remote_one_its_service_key_and_actor(path: tuple[str, ...]) -> None:
    text = options(path)
    assert "--json" in text
    if path not in LOCAL:
        for name in ("--url", "--api-key", "--as"):
            assert name in text, name


def test_wanted_commands_exist() -> None:
    wanted = """
    up down status environment demo train register approve deploy promote hold resume rollback predict evaluate
    events metrics jobs/list jobs/show jobs/cancel deployments/list deployments/show deployments/watch datasets/list
    snapshot/export snapshot/list snapshot/plan snapshot/export-file snapshot/import-file
    alerts/list alerts/resolve alerts/ack audit/list audit/verify
    endpoints/list endpoints/scale
    keys/create keys/list keys/revoke policy/show policy/set policy/history
    policy/dry-run policy/except policy/exceptions policy/end-exception registry/search registry/show"""
    found = {"/".join(path) for path in paths()}
    assert set(wanted.split()) <= found


def _examples() -> list[str]:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```console")[2].split("```")[0]
    return [line for line in block.splitlines() if line.startswith("mldl ") and line != "mldl up"]


@pytest.mark.parametrize("line", _examples())
def test_readme_example_is_a_command_that_only_lacks_a_service(line: str) -> None:
    done = run(*shlex.split(line.replace(", ...", ""))[1:], "--url", NOBODY)
    assert done.exit_code == 6, done.stderr
    assert "mldl up" in done.stderr


@pytest.mark.parametrize(
    ("line", "exit_code", "says"),
    [
        ("nonsense", 2, "No such command"),
        ("register", 2, "Missing argument"),
        ("register job-1", 2, "--reason"),
        ("register 'a b' --reason x", 2, "job_id"),
        ("register job-1 --reason ''", 2, "reason"),
        ("jobs list --limit x", 2, "--limit"),
        ("jobs list --nope", 2, "No such option"),
        ("status --url nope", 2, "no URL"),
        (f"status --url {NOBODY}", 6, "mldl up"),
        (f"jobs show job-1 --url {NOBODY}", 6, "mldl up"),
        ("predict income --json '{'", 2, "not JSON"),
        ("predict income --json '[1]'", 2, "inputs"),
        ("predict income --json @/nowhere/at/all.json", 3, "/nowhere/at/all.json"),
        ("predict income --json -", 2, "not JSON"),
        ("train --data x.csv --family lr --target y", 2, "model_key"),
        ("train --data x.csv --dataset d --family lr --key k --target y", 2, "not both"),
        ("train --data x.csv --family lr --key k", 2, "target"),
        ("train --data x.csv --family lr --key k --target y --folds 1", 2, "folds"),
        ("train --data x.csv --family lr --key k --target y --repeats 0", 2, "cv.repeats"),
        ("train --data x.csv --family lr --key k --target y --cv-strategy sideways", 2, "cv.strategy"),
        ("train --data x.csv --family lr --key k --target y --strategy guess", 2, "strategy"),
        ("train --spec '[]'", 2, "object"),
        ("train --spec '{\"spce\": {}}'", 2, "spce"),
        ("deploy income 1.0.0 --spec '{\"canary_steps\": [5, 50]}'", 2, "end at 100"),
        ("deploy income 1.0.0 --strategy sideways", 2, "--strategy"),
        ("deploy income 1.0.0 --canary-pct 0", 2, "canary_pct"),
        ("rollback --reason x", 2, "exactly one"),
        ("rollback --reason x --snapshot s --deployment d", 2, "exactly one"),
        ("evaluate", 2, "exactly one"),
        ("keys create kim --role boss", 2, "--role"),
        ("policy set 'x' --reason y", 2, "not JSON"),
        ("policy set '[]' --reason y", 2, "object"),
        ("registry search --min-metric auroc", 2, "metric=number"),
        ("datasets register x.csv", 2, "--target"),
    ],
)
def test_mistake_is_a_sentence_and_an_exit_code(line: str, exit_code: int, says: str) -> None:
    done = run(*shlex.split(line), stdin="")
    assert done.exit_code == exit_code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLDL_PORT", "many")
    done = run("status")
    assert (done.exit_code, "port" in done.stderr) == (2, True)


def test_environment_prints_what_a_shell_can_read() -> None:
    lines = run("environment").stdout.splitlines()
    values = json.loads(run("environment", "--json").stdout)
    assert all(re.fullmatch(r"export [A-Za-z_]+=\S.*", line) for line in lines)
    assert {line.split()[1].partition("=")[0] for line in lines} == set(values)
    assert shlex.split(lines[2])[1].partition("=")[2] == list(values.values())[2]


def test_stopping_what_does_not_run_is_fine() -> None:
    done = run("down", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"processes_stopped": 0})


def test_release_is_printed() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)
