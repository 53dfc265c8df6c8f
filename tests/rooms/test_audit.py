"""The audit: who did what, when and why; and a file of it that an auditor can check alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import Incompatible
from contracts.events import Fact
from contracts.ports import Write
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, export
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import PlainSystem


@pytest.fixture
def system(tmp_path: Path) -> Iterator[PlainSystem]:
    made = PlainSystem(load_settings({}, home=tmp_path, port=unused_port()))
    made.serve()
    yield made
    made.close()


def as_(system: PlainSystem, who: str) -> MLDLClient:
    return MLDLClient(system.settings.url, acting_as=who)


def happen(system: PlainSystem) -> None:
    as_(system, "ann").create_key("cy", "viewer")
    as_(system, "bo").subscribe("http://127.0.0.1:9/", secret="a shared secret")
    as_(system, "bo").snapshot_export("before the change")


def test_who_did_what_and_why_is_found_by_actor_kind_subject_and_time(system: PlainSystem) -> None:
    happen(system)
    client = as_(system, "ann")
    told = client.audit()
    assert [(e.actor, e.type) for e in told] == [
        ("ann", "MLDL_KEY_CHANGED"),
        ("bo", "subscription"),
        ("bo", "MLDL_SNAPSHOT_EXPORTED"),
    ]
    assert told[2].reason == "before the change"
    assert [e.position for e in client.audit(actor="bo")] == [2, 3]
    assert [e.actor for e in client.audit(kind="MLDL_KEY_CHANGED")] == ["ann"]
    assert [e.type for e in client.audit(kind="subscription_offset")] == ["subscription", "subscription_offset"]
    assert client.audit(subject=told[0].subject) == [told[0]]
    assert client.audit(since_s=told[2].at_s) == [e for e in told if e.at_s >= told[2].at_s]
    assert client.audit(until_s=told[0].at_s - 1) == []
    assert client.audit(limit=1) == [told[0]]
    assert client.audit(limit=1, after=1) == [told[1]]


def test_routine_is_not_told_and_does_not_end_a_page(system: PlainSystem) -> None:
    for version in range(500):
        body = {"position": version}
        write = Write(kind="subscription_offset", key="sub", expected_version=version, body=body)
        system.journal.append([write], actor="mesh", reason="delivered")
    happen(system)
    assert [e.position for e in as_(system, "ann").audit(limit=2)] == [501, 502]


def test_an_exported_file_verifies_alone_and_ends_with_the_journals_head(system: PlainSystem, tmp_path: Path) -> None:
    happen(system)
    file = tmp_path / "audit.jsonl"

    def types(line: str, exit_code: int = 0) -> str:
        done = CliRunner(env={"MLDL_URL": system.settings.url}).invoke(app, shlex.split(line))
        assert done.exit_code == exit_code, done.output
        return done.output

    assert "3 appends" in types(f"audit export {file}")
    head = as_(system, "ann").audit_verify().head
    assert head in types(f"audit check {file} --head {head}")
    assert types("audit export -") == file.read_text()
    assert "a shared secret" not in file.read_text()
    assert "ann" in types("audit --actor ann")
    assert json.loads(types("audit list --kind subscription --json"))[0]["actor"] == "bo"
    assert "no moment" in types("audit --since yesterday", exit_code=2)
    assert "ann" not in types("audit --until 2020-01-01")
    file.write_text(file.read_text().replace("before the change", "after the change"))
    assert "append 3 was edited" in types(f"audit check {file}", exit_code=7)
    assert "no file" in types(f"audit check {tmp_path / 'none'}", exit_code=3)


def exported(appends: int = 4) -> list[str]:
    journal = MemoryJournal(SettableClock())
    for number in range(appends):
        fact = Fact(type="MLDL_EVALUATED", subject=f"é\u2028{number}")
        journal.append([], [fact], actor="ann", reason="it happened")
    return list(export.lines(journal))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda lines: [*lines[:1], *lines[2:]], "append 2 is missing"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "append 3 is missing"),
        (lambda lines: [lines[0], lines[1].replace("ann", "bob"), *lines[2:]], "append 2 was edited"),
        (lambda lines: [lines[0], "{}\n"], "line 2 is no append"),
        (lambda lines: lines[:-1], "its end was cut off"),
        (lambda lines: [lines[0].replace('"previous_hash":"0', '"previous_hash":"1'), *lines[1:]], "at the beginning"),
    ],
    ids=["removed", "reordered", "edited", "no append", "cut off", "another beginning"],
)
def test_a_harmed_file_is_found_out(harm: Callable[[list[str]], list[str]], said: str) -> None:
    lines = exported()
    head = json.loads(lines[-1])["hash"]
    assert export.check(lines, head=head).ok
    found = export.check(harm(lines), head=head)
    assert not found.ok
    assert said in str(found.problem)


def test_a_part_of_the_chain_verifies_too(system: PlainSystem) -> None:
    happen(system)
    lines = list(as_(system, "ann").audit_export(after=1, until=2))
    assert [json.loads(line)["position"] for line in lines] == [2]
    assert export.check(lines).ok


def test_a_stream_of_events_keeps_lines_that_only_look_ended(system: PlainSystem) -> None:
    fact = Fact(type="MLDL_EVALUATED", subject="a\u2028b\x85c")
    system.journal.append([], [fact], actor="ann", reason="r")
    assert next(as_(system, "ann").follow()).subject == "a\u2028b\x85c"


def test_filters_that_cannot_be_are_refused(system: PlainSystem) -> None:
    with pytest.raises(Incompatible, match="since_s"):
        as_(system, "ann").audit(since_s=float("nan"))
