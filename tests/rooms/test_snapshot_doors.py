"""Snapshots through the doors: HTTP, the client, the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.outgoing import Outgoing
from contracts.errors import Conflict, Incompatible, NotFound, Unavailable
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal import open_journal
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import KEY, PlainSystem


@pytest.fixture
def system(tmp_path: Path) -> Iterator[PlainSystem]:
    made = PlainSystem(load_settings({}, home=tmp_path, port=unused_port()))
    made.serve()
    yield made
    made.close()


@pytest.fixture
def unusable(system: PlainSystem, tmp_path: Path) -> str:
    """A snapshot of a moment when a version served whose model file is gone by now."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.bin").write_text("a model")
    manifest = store_artifact(system.blobs, folder, {})
    bundle = TrainedBundle(
        model_key=KEY, version="1.0.0", artifact_uri=f"blobs:{manifest}", validation_hash=manifest, created_at=""
    )
    served = Endpoint(model_key=KEY, stable="1.0.0", salt="s", epoch=1)
    writes = [write("model_version", f"{KEY}@1.0.0", 0, bundle), write("endpoint", KEY, 0, served)]
    system.journal.append(writes, actor="t", reason="t")
    name = MLDLClient(system.settings.url).snapshot_export("while it served").snapshot_id
    nothing = served.model_copy(update={"stable": None, "epoch": 2})
    system.journal.append([write("endpoint", KEY, 1, nothing)], actor="t", reason="t")
    system.blobs.remove(next(d for d in system.blobs.digests() if system.blobs.get(d) == b"a model"))
    return name


def terminal(system: PlainSystem, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments, "--url", system.settings.url])
    return done.exit_code, done.output


def test_a_rollback_to_what_cannot_be_used_is_refused_and_can_be_forced(system: PlainSystem, unusable: str) -> None:
    client = MLDLClient(system.settings.url)
    (trouble,) = client.snapshot_plan(unusable).troubles
    assert (trouble.target, trouble.file, trouble.problem) == (f"{KEY}@1.0.0", "model.bin", "gone")
    with pytest.raises(Conflict, match="force it with a reason"):
        client.rollback(snapshot_id=unusable, reason="back")
    done = client.rollback(snapshot_id=unusable, reason="replicas hold it still", force=True)
    assert (done.applied, done.forced) == (True, True)


def test_a_person_reads_the_score_its_reasons_and_what_cannot_be_used(system: PlainSystem, unusable: str) -> None:
    exit_code, told = terminal(system, "snapshot", "plan", unusable)
    assert exit_code == 0
    assert "of 100 (high)" in told
    assert f"cannot be used: model.bin of {KEY}@1.0.0 is gone" in told
    assert terminal(system, "rollback", "--snapshot", unusable, "--reason", "back")[0] == Conflict.exit_code
    exit_code, told = terminal(system, "rollback", "--snapshot", unusable, "--reason", "held still", "--force")
    assert exit_code == 0
    assert "done, forced:" in told


def test_a_plan_as_json_is_the_whole_plan(system: PlainSystem, unusable: str) -> None:
    _, text = terminal(system, "snapshot", "plan", unusable, "--json")
    assert json.loads(text)["risk_score"] >= 50


def test_a_file_comes_whole_through_the_door_and_makes_another_home(
    system: PlainSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MLDLClient(system.settings.url)
    client.set_policy({"approvals_required": 2}, reason="stricter")
    name = client.snapshot_export("to move").snapshot_id
    file = tmp_path / "moved.tar"
    assert terminal(system, "snapshot", "export-file", name, str(file))[0] == 0
    monkeypatch.setenv("MLDL_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("MLDL_PORT", str(unused_port()))
    done = CliRunner().invoke(app, ["snapshot", "import-file", str(file), "--json"])
    assert done.exit_code == 0, done.output
    fresh = open_journal(load_settings().journal_url, SystemClock())
    document = fresh.read("policy", "default")
    assert document is not None and document.body is not None
    assert document.body["approvals_required"] == 2
    assert json.loads(done.output)["head"] == system.journal.seal(as_of=document.position).head
    assert CliRunner().invoke(app, ["snapshot", "import-file", str(file)]).exit_code == 0


def test_a_system_that_runs_is_not_imported_into(
    system: PlainSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLDL_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("MLDL_PORT", str(system.settings.port))
    done = CliRunner().invoke(app, ["snapshot", "import-file", str(tmp_path / "any.tar")])
    assert done.exit_code == Conflict.exit_code
    assert "mldl down" in done.output


def test_a_file_of_no_snapshot_is_not_found_and_leaves_nothing(system: PlainSystem, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        MLDLClient(system.settings.url).snapshot_file("snap-none", tmp_path / "x.tar")
    assert not list(tmp_path.glob("*x.tar*"))


def test_a_transfer_that_breaks_off_leaves_no_file(
    system: PlainSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MLDLClient(system.settings.url)
    client.set_policy({"approvals_required": 2}, reason="stricter")
    name = client.snapshot_export("to move").snapshot_id
    monkeypatch.setattr(Outgoing, "next", _cut(Outgoing.next))
    with pytest.raises((Incompatible, Unavailable)):
        client.snapshot_file(name, tmp_path / "x.tar")
    assert not list(tmp_path.glob("*x.tar*"))


def _cut(whole: Callable[[Outgoing, str], bytes]) -> Callable[[Outgoing, str], bytes]:
    return lambda outgoing, name: whole(outgoing, name)[:-3]


def test_a_fifth_transfer_lets_go_of_the_first() -> None:
    outgoing = Outgoing()
    names = [outgoing.begin(iter([b"x"])) for _ in range(5)]
    with pytest.raises(NotFound, match="begin again"):
        outgoing.next(names[0])
    assert [outgoing.next(names[-1]), outgoing.next(names[-1])] == [b"x", b""]


def test_the_rollback_of_a_deployment_cannot_be_forced(system: PlainSystem) -> None:
    with pytest.raises(Incompatible, match="force is for a snapshot"):
        MLDLClient(system.settings.url).rollback(deployment_id="dep-1", reason="x", force=True)
