"""A number that somebody wants a version to have: taken with its reason where it promises nothing false."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from contracts.errors import Conflict, Incompatible
from contracts.ports import Once
from contracts.records import TrainedBundle
from contracts.specs import NumberWanted
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from tests.rooms.test_registry_actor import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def wants(world: World, job_id: str, version: str, *, allow_lower: bool = False, **changes: Any) -> TrainedBundle:
    number = NumberWanted(version=version, reason="as the product", allow_lower=allow_lower)
    return world.registry.register(world.job(job_id, **changes), number=number, reason="good", by="ana")


def test_derived_number_says_in_the_record_why_it_is_so(world: World) -> None:
    assert world.registered("job-1").version_why == "the first version"
    assert world.registered("job-2", family="xgb").version_why == "minor: the family was lr and is xgb now"


def test_wanted_number_is_given_and_record_and_event_say_whose_reason_and_what_changed(world: World) -> None:
    world.registered("job-1")
    found = wants(world, "job-2", "3.0.0", family="xgb")
    assert (found.version, found.lineage.parent) == ("3.0.0", "1.0.0")
    why = "wanted: as the product (what changed since 1.0.0 is minor: the family was lr and is xgb now)"
    assert found.version_why == why
    made = [event for event in world.journal.events(limit=99) if event.type == "MLDL_MODEL_REGISTERED"][-1]
    assert (made.data["why"], made.actor, made.reason) == (why, "ana", "good")
    assert world.registered("job-3", family="xgb").version == "3.0.1"


def test_first_version_may_have_any_number(world: World) -> None:
    assert wants(world, "job-1", "0.9.0").version == "0.9.0"


def test_number_that_was_ever_given_is_refused_even_when_lower_ones_are_allowed(world: World) -> None:
    world.registered("job-1")
    for allow_lower in (False, True):
        with pytest.raises(Conflict, match=r"1\.0\.0 was given already"):
            wants(world, f"job-{allow_lower}", "1.0.0", allow_lower=allow_lower)


@pytest.mark.parametrize(
    ("changes", "wanted", "demanded"),
    [
        ({"family": "xgb"}, "1.0.1", "1.1.0"),
        ({"columns": "abc"}, "1.9.9", "2.0.0"),
        ({"classes": (0, 2)}, "1.1.0", "2.0.0"),
    ],
)
def test_number_lower_than_the_change_demands_is_refused_unless_allowed(
    world: World, changes: dict[str, Any], wanted: str, demanded: str
) -> None:
    world.registered("job-1")
    before = world.journal.position()
    with pytest.raises(Conflict, match="would promise too much") as caught:
        wants(world, "job-2", wanted, **changes)
    assert (caught.value.facts["demanded"], world.journal.position()) == (demanded, before + 1)  # the job alone
    number = NumberWanted(version=wanted, reason="nobody calls it yet", allow_lower=True)
    found = world.registry.register("job-2", number=number, reason="good", by="ana")
    assert found.version == wanted
    assert found.version_why is not None
    assert found.version_why.startswith(f"wanted: nobody calls it yet (against {demanded}, which is due after 1.0.0")


def test_mend_of_an_older_line_is_held_against_that_line_and_latest_stays(world: World) -> None:
    world.registered("job-1")
    world.registered("job-2", columns="abc")  # 2.0.0
    mend = wants(world, "job-3", "1.0.1")
    assert (mend.version, mend.lineage.parent) == ("1.0.1", "1.0.0")
    assert world.registry.view("income", "latest").bundle.version == "2.0.0"
    with pytest.raises(Conflict, match=r"demands 2\.0\.0"):
        wants(world, "job-4", "1.0.2", columns="abc")


def test_same_request_again_gives_the_same_version(world: World) -> None:
    job, number, once = world.job("job-1"), NumberWanted(version="5.0.0", reason="x"), Once(key="k", digest="d")
    first, second = (world.registry.register(job, number=number, reason="good", by="ana", once=once) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "01.0.0", "latest", "1.0.0-rc1", "", "1.0.0\n"])
def test_number_is_three_whole_numbers(version: str) -> None:
    with pytest.raises(ValidationError):
        NumberWanted(version=version, reason="x")


def test_number_without_a_reason_is_refused_before_it_travels() -> None:
    with MLDLClient("http://127.0.0.1:1") as client, pytest.raises(Incompatible, match=r"number\.reason"):
        client.register("job-1", number={"version": "2.0.0"}, reason="x")
    done = CliRunner().invoke(app, ["register", "job-1", "--reason", "x", "--number", "2.0.0"])
    assert (done.exit_code, "number.reason" in done.stderr) == (2, True)
    done = CliRunner().invoke(app, ["register", "job-1", "--reason", "x", "--number-reason", "because"])
    assert (done.exit_code, "number.version" in done.stderr) == (2, True)
