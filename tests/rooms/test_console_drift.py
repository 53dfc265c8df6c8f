"""The console's drift pages over real HTTP: telemetry goes in at the monitor, both distributions come out as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import Incompatible, NotFound
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.cli import app
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_defaults, load_settings
from tests.rooms.test_api import KEY, World
from tests.rooms.test_console import _browsers_closed, browser
from tests.rooms.test_monitor_actor import stream

RANDOM = np.random.default_rng(11)
WINDOW, AT = 100, f"/console/drift/{KEY}/1.0.0"
EVIL = "<script>alert(1)</script>"
closed = _browsers_closed  # pytest finds fixtures by name where they are imported


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    mldl = load_defaults(f"mldl: {{monitoring: {{window_rows: {WINDOW}}}}}")
    with World(load_settings({}, home=tmp_path, port=free_port, mldl=mldl)) as found:
        yield found


def rows(count: int, age: float = 40.0) -> dict[str, Any]:
    return {"f.age": RANDOM.normal(age, 10, count), "f.sex": ["f", "m"] * (count // 2), "score": RANDOM.random(count)}


def known(world: World, columns: Mapping[str, Any], version: str = "1.0.0") -> None:
    """Register a version with held-out rows."""
    folder = world.settings.home / version
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "reference.parquet")
    digest = store_artifact(world.blobs, folder, {"family": "lr"})
    facts = {"artifact_uri": f"blobs:{digest}", "validation_hash": digest, "created_at": "now", "task": "regression"}
    bundle = TrainedBundle.model_validate({"model_key": KEY, "version": version} | facts)
    world.journal.append([write("model_version", f"{KEY}@{version}", 0, bundle)], actor="tom", reason="test")


def send(world: World, columns: Mapping[str, Sequence[Any]], version: str = "1.0.0", at_s: float = 1e9) -> None:
    """Have a version answer these rows."""
    count = len(columns["f.age"])
    whole: dict[str, Any] = {
        "request_id": [f"{at_s}-{i}" for i in range(count)],
        "key": [f"{at_s}-{i}" for i in range(count)],
        "at_s": at_s + np.arange(count) * 60.0,
        "latency_ms": [5.0] * count,
        "status": pa.array([200] * count, pa.int16()),
        "role": ["stable"] * count,
        "prediction": ["1"] * count,
    }
    facts = {"model_key": KEY, "version": version, "epoch": 1, "share": 1.0, "deployment_id": "", "lost": 0}
    table = pa.table(whole | dict(columns))
    world.monitor.ingest(stream(table.replace_schema_metadata({name: str(value) for name, value in facts.items()})))


def test_columns_that_moved_come_first_with_both_distributions_and_the_grounds(world: World) -> None:
    known(world, rows(2000))
    send(world, rows(WINDOW) | {"f.sex": [EVIL] * WINDOW})
    text = browser(world).get(AT).text
    assert EVIL not in text and "&lt;script&gt;alert(1)&lt;/script&gt; (never seen before)" in text
    first, second, *_ = text.split('<li class="card">')[1:]
    assert first.startswith("<h3>sex") and ">moved</span>" in first and "change of that value&#39;s share" in first
    assert ">steady</span>" in second
    for words in ("1 of 3 columns moved", "Threshold for p", "1 of 1", "2,000", "at most 1 false alarm a month"):
        assert words in text
    assert all('class="then"' in part and 'class="now"' in part for part in (first, second))


def test_what_costs_most_comes_before_what_is_most_surprising(world: World) -> None:
    held_out = rows(2000)
    wrong = np.where(np.array(held_out["f.sex"]) == "m", 9.0, 1.0) + RANDOM.random(2000)
    known(world, held_out | {"loss": wrong})
    send(world, rows(WINDOW, age=400.0) | {"f.sex": ["m"] * WINDOW})
    sex, age, *_ = world.client().drift(KEY, "1.0.0").columns
    assert (sex.column, age.column) == ("sex", "age") and sex.drifted and age.drifted
    assert sex.p is not None and age.p is not None and age.p < sex.p
    assert sex.cost is not None and sex.cost.low < 4.0 < sex.cost.high
    said = CliRunner().invoke(app, ["drift", KEY, "1.0.0", "--url", world.settings.url])
    assert [line.split()[:2] for line in said.output.splitlines()[2:4]] == [["sex", "moved"], ["age", "moved"]]
    text = browser(world).get(AT).text
    assert "it seems to add" in text and "to the mean absolute error" in text and "critical, by what" in text


def test_drift_of_nothing_known_is_not_found_and_bounds_are_kept(world: World) -> None:
    known(world, rows(2000))
    with pytest.raises(NotFound, match=r"9\.9\.9"):
        world.client().drift(KEY, "9.9.9")
    assert [column.column for column in world.client().drift(KEY, "1.0.0", skip=1, limit=1).columns] == ["sex"]
    with pytest.raises(Incompatible, match="limit"):
        world.client().drift(KEY, "1.0.0", limit=0)


def test_a_version_that_is_as_it_was_is_steady_with_its_p_and_what_it_would_have_to_be(world: World) -> None:
    known(world, rows(2000))
    send(world, rows(WINDOW))
    text = browser(world).get(AT).text
    assert "No column moved by more than chance explains" in text and ">moved</span>" not in text
    assert 'aria-label="age: the middle of the held-out rows lies in' in text


def test_before_a_window_is_full_both_are_shown_and_nothing_is_judged(world: World) -> None:
    known(world, rows(2000))
    assert "Not tested yet: 0 of 100" in browser(world).get(AT).text
    send(world, rows(40, age=90))
    text = browser(world).get(AT).text
    assert "Not tested yet: 40 of 100" in text and "40, so far" in text
    assert 'class="now"' in text and ">moved</span>" not in text


def test_versions_are_listed_those_that_drift_first(world: World) -> None:
    for version, age in (("1.0.0", 40), ("1.1.0", 80)):
        known(world, rows(2000), version)
        send(world, rows(WINDOW, age=age), version)
    text = browser(world).get("/console/drift").text
    assert text.index(f"{KEY} 1.1.0</a>") < text.index(f"{KEY} 1.0.0</a>")
    assert text.index(">drifted<") < text.index(">steady<")
    assert "No version of that model has answered" in browser(world).get("/console/drift?model=other").text


def test_a_drift_alert_and_a_rollout_lead_to_the_columns(world: World) -> None:
    known(world, rows(2000))
    known(world, rows(2000), "1.1.0")
    send(world, rows(WINDOW, age=80))
    (alert,) = world.monitor.alerts()
    assert f'href="{AT}"' in browser(world).get(f"/console/alerts/{alert.alert_id}").text
    world.client().set_policy({"approvals_required": 0}, reason="test")
    stable = Endpoint(model_key=KEY, stable="1.0.0", salt="s")
    world.journal.append([write("endpoint", KEY, 0, stable)], actor="t", reason="t")
    asked = world.client().deploy(KEY, "1.1.0").deployment_id
    text = browser(world).get(f"/console/deployments/{asked}").text
    assert f'href="{AT}"' in text and f'href="/console/drift/{KEY}/1.1.0"' in text


def test_many_columns_come_page_by_page(world: World) -> None:
    many = {f"f.c{i:02}": RANDOM.random(200) for i in range(30)} | {"f.age": RANDOM.random(200)}
    known(world, many)
    person = browser(world)
    first = person.get(AT).text
    assert (first.count('<li class="card">'), f"{AT}?from=24" in first) == (24, True)
    assert person.get(f"{AT}?from=24").text.count('<li class="card">') == 7


def test_held_out_rows_that_are_gone_are_said_and_the_page_stays(world: World) -> None:
    world.registered()
    send(world, rows(WINDOW))
    page = browser(world).get(AT)
    assert (page.status_code, 'class="wrong"' in page.text) == (200, True)


@pytest.mark.parametrize(("path", "status"), [(f"/console/drift/{KEY}/9.9.9", 404), (AT + "?from=x", 422)])
def test_what_is_not_there_is_a_page_that_says_so(world: World, path: str, status: int) -> None:
    known(world, rows(50))
    page = browser(world).get(path)
    assert (page.status_code, "<h1>" in page.text) == (status, True)
