"""Lineage both ways: as a graph, as OpenLineage run events, as a picture; the same wherever asked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from actors.registry import Registry
from contracts.errors import NotFound
from contracts.lineage import LineageGraph
from contracts.ports import Write
from contracts.records import Dataset, Lineage, TrainedBundle
from contracts.rollouts import Change, Deployment, Endpoint
from contracts.specs import DeploymentSpec, Json
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_settings
from tests.rooms.test_api import KEY, problem
from tests.rooms.test_api import World as Service

FACET = {
    "type": "object",
    "required": ["_producer", "_schemaURL"],
    "properties": {name: {"type": "string", "pattern": "^(https?://|urn:)"} for name in ("_producer", "_schemaURL")},
}
FACETS = {"type": "object", "additionalProperties": FACET}
DATASET = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "namespace": {"type": "string"},
        "name": {"type": "string"},
        "facets": FACETS,
        "inputFacets": FACETS,
        "outputFacets": FACETS,
    },
}
RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
        "producer": {"type": "string", "pattern": "^(https?://|urn:)"},
        "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {
                "runId": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
                "facets": FACETS,
            },
        },
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}, "facets": FACETS},
        },
        "inputs": {"type": "array", "items": DATASET},
        "outputs": {"type": "array", "items": DATASET},
    },
}
"""What OpenLineage 2-0-2 demands of a run event, written down by hand from its specification."""


class World:
    """A model with three versions on two datasets; the second one serves, by a rollout."""

    def __init__(self, journal: MemoryJournal | None = None) -> None:
        self.clock = SettableClock(1000.0)
        self.journal = journal or MemoryJournal(self.clock)
        governance = EmbeddedGovernance(self.journal, self.clock)
        self.registry = Registry(self.journal, MemoryBlobs(), governance, self.clock)
        self.dataset("adult", "aaa", created_at_s=1.0)
        self.dataset("adult", "bbb", created_at_s=2.0)
        self.version("1.0.0", "aaa")
        self.version("1.1.0", "bbb", parent="1.0.0", feature_view="people_v1")
        self.version("2.0.0", "bbb", parent="1.1.0")
        self.roll_out("dep-1", "1.1.0", "succeeded")
        self.write("endpoint", KEY, Endpoint(model_key=KEY, stable="1.1.0", salt="s").model_dump(mode="json"))

    def write(self, kind: str, key: str, body: Json | None) -> None:
        expected = len(self.journal.history(kind, key))
        self.clock.advance(1.0)
        self.journal.append([Write(kind=kind, key=key, expected_version=expected, body=body)], actor="t", reason="t")

    def dataset(self, dataset_id: str, version: str, *, created_at_s: float) -> None:
        made = Dataset(
            dataset_id=dataset_id,
            version=version,
            digest=f"sha256:{version}",
            rows=120,
            columns={"age": "int64", "rich": "bool"},
            target="rich",
            statistics={"age": {"kind": "numeric", "count": 118, "missing": 2}},
            source="/data/adult rows.parquet",
            created_at_s=created_at_s,
        )
        self.write("dataset", f"{dataset_id}@{version}", made.model_dump(mode="json"))

    def version(self, version: str, dataset: str, *, model_key: str = KEY, **lineage: Any) -> None:
        job_id = f"job-{model_key}-{version}"
        job = {"job_id": job_id, "status": "succeeded", "job": {"seed": 7}, "requested_by": "tom", "created_at_s": 10.0}
        self.write("job", job_id, job | {"began_at_s": 11.5, "ended_at_s": 20.0})
        evaluation = f"eval-{model_key}-{version}"
        self.write("evaluation", evaluation, {"created_at": "2026-01-01T00:00:00Z"})
        bundle = TrainedBundle(
            model_key=model_key,
            version=version,
            artifact_uri="blobs:x",
            validation_hash=f"sha256:{version}",
            created_at="2026-01-01T00:00:00Z",
            family="lr",
            metrics={"auroc": 0.9},
            evaluation_id=evaluation,
            lineage=Lineage(dataset_id="adult", version=dataset, trainer_hash="sha256:t", job_id=job_id, **lineage),
        )
        self.write("model_version", f"{model_key}@{version}", bundle.model_dump(mode="json"))

    def roll_out(self, name: str, version: str, *states: Any) -> None:
        for at, status in enumerate(("requested", *states)):
            change = Change(at_s=30.0 + at, status=status, traffic={version: 1.0}, actor="dora", reason="ship")
            body = Deployment(
                deployment_id=name,
                model_key=KEY,
                version=version,
                spec=DeploymentSpec(),
                strategy="direct",
                status=status,
                steps=(100.0,),
                promotion_window_s=1,
                bake_window_s=1,
                history=(change,),
                requested_by="dora",
                created_at_s=30.0,
            )
            self.write("deployment", name, body.model_dump(mode="json"))

    def edges(self, graph: LineageGraph) -> set[tuple[str, str, str]]:
        return {(edge.source, edge.relation, edge.target) for edge in graph.edges}


@pytest.fixture
def world() -> World:
    return World()


def facts(graph: LineageGraph, node_id: str) -> Json:
    return next(node.facts for node in graph.nodes if node.node_id == node_id)


def test_version_is_traced_to_all_that_made_it_and_all_that_came_of_it(world: World) -> None:
    graph = world.registry.lineage(KEY, "stable")
    job, root = f"job:job-{KEY}-1.1.0", f"version:{KEY}@1.1.0"
    assert graph.root == root
    assert world.edges(graph) == {
        ("dataset:adult@bbb", "learned_from", job),
        ("dataset:adult@bbb", "shaped_by", "feature_view:people_v1"),
        ("feature_view:people_v1", "learned_from", job),
        (job, "trained", root),
        (f"version:{KEY}@1.0.0", "followed_by", root),
        (root, "followed_by", f"version:{KEY}@2.0.0"),
        (root, "judged_by", f"evaluation:eval-{KEY}-1.1.0"),
        (root, "deployed_by", "deployment:dep-1"),
    }
    assert facts(graph, root)["trainer_hash"] == "sha256:t"
    assert facts(graph, root)["serving"] is True
    assert facts(graph, "dataset:adult@bbb")["rows"] == 120
    assert facts(graph, "deployment:dep-1")["status"] == "succeeded"
    assert {node.node_id for node in graph.nodes if not node.known} == {"feature_view:people_v1"}


def test_dataset_is_traced_to_every_model_that_learned_from_it_the_newest_first(world: World) -> None:
    world.version("1.0.0", "bbb", model_key="churn")
    graph = world.registry.dataset_lineage("adult")
    assert world.edges(graph) == {
        ("dataset:adult@aaa", "learned_from", f"version:{KEY}@1.0.0"),
        ("dataset:adult@bbb", "learned_from", f"version:{KEY}@1.1.0"),
        ("dataset:adult@bbb", "learned_from", f"version:{KEY}@2.0.0"),
        ("dataset:adult@bbb", "learned_from", "version:churn@1.0.0"),
    }
    assert graph.root == "dataset:adult@bbb"
    assert [node.name for node in graph.nodes if node.facts.get("serving")] == [f"{KEY}@1.1.0"]
    some = world.registry.dataset_lineage("adult", limit=2)
    assert [node.name for node in some.nodes if node.kind == "version"] == ["churn@1.0.0", f"{KEY}@2.0.0"]
    assert some.left_out == 2


def test_one_version_of_a_dataset_is_traced_to_what_learned_from_it_alone(world: World) -> None:
    graph = world.registry.dataset_lineage("adult", "aaa")
    assert {node.node_id for node in graph.nodes} == {"dataset:adult@aaa", f"version:{KEY}@1.0.0"}


def test_lineage_of_the_past_is_as_it_was(world: World) -> None:
    then_s = world.clock.now_s()
    world.clock.advance(10)
    world.version("2.0.1", "bbb", parent="2.0.0")
    world.roll_out("dep-2", "1.1.0", "canary")
    assert f"version:{KEY}@2.0.1" in {node.node_id for node in world.registry.dataset_lineage("adult").nodes}
    past = world.registry.dataset_lineage("adult", as_of_s=then_s)
    assert f"version:{KEY}@2.0.1" not in {node.node_id for node in past.nodes}
    names = [node.name for node in world.registry.lineage(KEY, "1.1.0", as_of_s=then_s).nodes]
    assert ("dep-1" in names, "dep-2" in names) == (True, False)


def test_what_was_withdrawn_is_named_without_a_record(world: World) -> None:
    world.write("model_version", f"{KEY}@1.0.0", None)
    world.write("dataset", "adult@bbb", None)
    graph = world.registry.lineage(KEY, "1.1.0")
    assert {node.name for node in graph.nodes if not node.known} == {f"{KEY}@1.0.0", "adult@bbb", "people_v1"}
    assert graph.root in {node.node_id for node in graph.nodes}
    again = world.registry.dataset_lineage("adult", "bbb")
    assert len(again.edges) == 2


def test_what_nobody_knows_is_not_found_and_what_there_is_is_named(world: World) -> None:
    with pytest.raises(NotFound, match=r"2\.0\.0"):
        world.registry.lineage(KEY, "9.9.9")
    with pytest.raises(NotFound, match="it has bbb, aaa"):
        world.registry.dataset_lineage("adult", "ccc")
    with pytest.raises(NotFound, match="no dataset adul,"):
        world.registry.dataset_lineage("adul")


# OpenLineage


def test_every_event_has_what_openlineage_demands(world: World) -> None:
    events = world.registry.openlineage(world.registry.dataset_lineage("adult"))
    events += world.registry.openlineage(world.registry.lineage(KEY, "1.1.0"))
    assert len(events) == 10
    for event in events:
        jsonschema.validate(event, RUN_EVENT)


def test_each_run_starts_once_and_ends_once_with_its_inputs_and_its_output(world: World) -> None:
    events = world.registry.openlineage(world.registry.lineage(KEY, "1.1.0"))
    assert [(event["job"]["name"], event["eventType"]) for event in events] == [
        (f"train.{KEY}", "START"),
        (f"train.{KEY}", "COMPLETE"),
        (f"deploy.{KEY}", "START"),
        (f"deploy.{KEY}", "COMPLETE"),
    ]
    trained = events[1]
    assert trained["eventTime"] == "1970-01-01T00:00:20.000000+00:00"
    assert [one["name"] for one in trained["inputs"]] == ["adult", "feature_views/people_v1"]
    rows = trained["inputs"][0]
    assert rows["facets"]["version"]["datasetVersion"] == "bbb"
    assert rows["facets"]["schema"]["fields"][0] == {"name": "age", "type": "int64"}
    assert rows["facets"]["dataSource"]["uri"] == "file:///data/adult%20rows.parquet"
    assert rows["inputFacets"]["dataQualityMetrics"]["columnMetrics"] == {"age": {"nullCount": 2}}
    model = trained["outputs"][0]
    assert (model["name"], model["facets"]["version"]["datasetVersion"]) == (f"models/{KEY}", "1.1.0")
    assert trained["run"]["facets"]["mldl_training"]["trainer_hash"] == "sha256:t"
    assert events[2]["inputs"][0]["name"] == model["name"]
    assert events[0]["run"]["runId"] == events[1]["run"]["runId"] != events[2]["run"]["runId"]


def test_same_lineage_is_the_same_runs_whenever_it_is_told(world: World) -> None:
    def told() -> list[Json]:
        return world.registry.openlineage(world.registry.lineage(KEY, "1.1.0"))

    before = told()
    world.version("3.0.0", "bbb", parent="2.0.0")
    assert told() == before


def test_version_of_which_no_job_is_known_is_told_with_when_it_was_made(world: World) -> None:
    bundle = TrainedBundle(
        model_key="old", version="1.0.0", artifact_uri="x", validation_hash="x", created_at="2024-03-15T14:30:22Z"
    )
    world.write("model_version", "old@1.0.0", bundle.model_dump(mode="json"))
    world.write("model_version", "old@1.0.1", bundle.model_dump(mode="json") | {"created_at": "", "version": "1.0.1"})
    events = world.registry.openlineage(world.registry.lineage("old", "1.0.0"))
    assert {event["eventTime"] for event in events} == {"2024-03-15T14:30:22.000000+00:00"}
    for event in world.registry.openlineage(world.registry.lineage("old", "1.0.1")):
        jsonschema.validate(event, RUN_EVENT)


# The picture


def test_picture_is_one_svg_that_runs_nothing_and_is_told_in_words(world: World) -> None:
    picture = world.registry.lineage_picture(world.registry.lineage(KEY, "1.1.0"))
    root = ET.fromstring(picture)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not names & {"script", "image", "foreignObject", "a"}
    assert root.get("role") == "img"
    labels = {element.get("id"): element.text for element in root.iter() if element.get("id") in {"t", "d"}}
    assert labels["t"] == f"Lineage of {KEY}@1.1.0"
    assert f"model version {KEY}@1.1.0 is deployed by deployment dep-1" in str(labels["d"])
    assert "prefers-color-scheme:dark" in picture


def test_picture_puts_what_came_first_to_the_left(world: World) -> None:
    picture = world.registry.lineage_picture(world.registry.lineage(KEY, "1.1.0"))
    at = {}
    for group in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}g"):
        title, box = group[0].text or "", group[1]
        at[title.splitlines()[0]] = int(str(box.get("x")))
    order = [
        "dataset adult@bbb",
        "feature view people_v1",
        f"training job job-{KEY}-1.1.0",
        f"model version {KEY}@1.1.0",
    ]
    assert [at[name] for name in order] == sorted({at[name] for name in order})
    assert at["deployment dep-1"] > at[f"model version {KEY}@1.1.0"]


def test_names_from_outside_carry_no_markup_into_the_picture(world: World) -> None:
    body = world.journal.read("model_version", f"{KEY}@1.0.0")
    assert body is not None
    assert body.body is not None
    hostile = body.body | {"lineage": {"dataset_id": "<script>alert(1)</script>", "version": '"&'}}
    world.write("model_version", f"{KEY}@1.0.0", hostile)
    picture = world.registry.lineage_picture(world.registry.lineage(KEY, "1.0.0"))
    assert "<script" not in picture
    ET.fromstring(picture)


def test_record_that_names_itself_as_its_parent_is_drawn_still(world: World) -> None:
    body = world.journal.read("model_version", f"{KEY}@1.0.0")
    assert body is not None
    assert body.body is not None
    world.write("model_version", f"{KEY}@1.0.0", body.body | {"lineage": {"parent": "1.0.0"}})
    ET.fromstring(world.registry.lineage_picture(world.registry.lineage(KEY, "1.0.0")))


# Over HTTP


@pytest.fixture
def service(tmp_path: Path, free_port: int) -> Iterator[Service]:
    with Service(load_settings({}, home=tmp_path, port=free_port)) as found:
        World(found.journal)
        yield found


def test_client_gives_all_three_forms_of_both(service: Service) -> None:
    client = service.client()
    assert client.lineage(KEY, "stable").root == f"version:{KEY}@1.1.0"
    assert client.dataset_lineage("adult", limit=1).left_out == 2
    for events in (client.lineage_events(KEY, "1.1.0"), client.dataset_lineage_events("adult", "bbb")):
        assert len(events) == 4
        for event in events:
            jsonschema.validate(event, RUN_EVENT)
    for picture in (client.lineage_picture(KEY), client.dataset_lineage_picture("adult")):
        ET.fromstring(picture)


def test_picture_is_served_as_an_image_that_may_load_nothing(service: Service) -> None:
    answer = service.raw("GET", f"/registry/{KEY}/latest/lineage/picture")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    problem(service.raw("GET", "/registry/nothing/latest/lineage"), 404, "not_found")
    problem(service.raw("GET", "/datasets/nothing/lineage/picture"), 404, "not_found")
    problem(service.raw("GET", "/datasets/adult/lineage?limit=0"), 422, "incompatible")


def test_command_lists_draws_and_tells(service: Service, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["lineage", *arguments, "--url", service.settings.url])

    listed = run("show", KEY, "1.1.0").stdout
    assert f"job-{KEY}-1.1.0" in listed
    assert "deployed_by" in listed
    assert '"eventType": "COMPLETE"' in run("show", KEY, "--openlineage").stdout
    assert run("dataset", "adult", "--limit", "1").stdout.startswith("2 older versions are not shown")
    picture = tmp_path / "lineage.svg"
    assert run("dataset", "adult", "--out", str(picture)).exit_code == 0
    ET.fromstring(picture.read_text(encoding="utf-8"))
    assert run("show", "nothing").exit_code == 3
