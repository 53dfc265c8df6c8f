"""A lineage as OpenLineage run events, for catalogues that collect them. Pure but for the journal's records.

A training job is a run: START and COMPLETE, its dataset as input, the version as output. A deployment is a run too,
with the version as input and the endpoint as output. The same lineage is always the same runs, so that sending it
again changes nothing.

Source:
    OpenLineage 2-0-2: eventTime, producer, schemaURL, run.runId (a UUID), job.namespace and job.name are required; each
    facet carries _producer and _schemaURL.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version as release_of
from pathlib import PurePosixPath
from typing import Literal

from contracts.lineage import LineageGraph, LineageNode
from contracts.ports import Journal
from contracts.records import Dataset, TrainedBundle
from contracts.specs import Json

NAMESPACE = "mldl"
PRODUCER = f"urn:mldl-ray:{release_of('mldl-ray')}"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
FACETS = "https://openlineage.io/spec/facets"
EventType = Literal["START", "COMPLETE", "FAIL", "ABORT", "OTHER"]
_ENDED: dict[str, EventType] = {
    "succeeded": "COMPLETE",
    "failed": "FAIL",
    "rolled_back": "FAIL",
    "cancelled": "ABORT",
    "superseded": "ABORT",
}


def run_events(journal: Journal, graph: LineageGraph) -> list[Json]:
    """Tell a lineage as run events, in the order of their times.

    Args:
        journal: Where the records are that the graph names; read as of its position.
        graph: Of a version or a dataset.
    """
    found: list[Json] = []
    whole = not graph.root.startswith(
        "version:"
    )  # of a version, its neighbours' runs are told where they are asked for
    for node in graph.nodes:
        if node.kind == "version" and (whole or node.node_id == graph.root):
            found += _training(journal, node, graph.position)
        elif node.kind == "deployment" and node.known:
            found += _rollout(journal, node, graph.position)
    return sorted(found, key=lambda event: (str(event["eventTime"]), event["eventType"] != "START"))


def run_id(name: str) -> str:
    """Name a run: the same job or deployment has the same UUID wherever it is asked for.

    >>> run_id("job-1") == run_id("job-1"), len(run_id("job-1"))
    (True, 36)
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:mldl-ray:run:{name}"))


def _training(journal: Journal, node: LineageNode, at: int) -> Iterator[Json]:
    registered = journal.read("model_version", node.name, as_of=at)
    if registered is None:
        return  # it was withdrawn since the graph was made
    bundle = TrainedBundle.model_validate(registered.body)
    lineage = bundle.lineage
    document = None if lineage.job_id is None else journal.read("job", lineage.job_id, as_of=at)
    body: Json = {} if document is None or document.body is None else document.body
    name = lineage.job_id or f"{bundle.model_key}@{bundle.version}"
    run: Json = {"runId": run_id(name), "facets": {"mldl_training": _training_facet(bundle, body)}}
    job = _job(f"train.{bundle.model_key}", "TRAINING")
    inputs = list(_inputs(journal, bundle, at))
    outputs = [_model(bundle)]
    ended = body.get("ended_at_s")
    made = _made(bundle, registered.at_s) if ended is None else _iso(float(ended))
    begun = body.get("began_at_s") or body.get("created_at_s")
    yield _event("START", made if begun is None else _iso(float(begun)), run, job, inputs, [])
    yield _event("COMPLETE", made, run, job, inputs, outputs)


def _rollout(journal: Journal, node: LineageNode, at: int) -> Iterator[Json]:
    document = journal.read("deployment", node.name, as_of=at)
    body: Json = {} if document is None or document.body is None else document.body
    model_key, number = str(body["model_key"]), str(body["version"])
    run: Json = {"runId": run_id(node.name), "facets": {"mldl_deployment": _facet("RunFacet", node.facts)}}
    job = _job(f"deploy.{model_key}", "DEPLOYMENT")
    inputs = [_dataset(f"models/{model_key}", {"version": _version(number)})]
    outputs = [_dataset(f"endpoints/{model_key}", {"version": _version(number)})]
    yield _event("START", _iso(float(body["created_at_s"])), run, job, inputs, [])
    if (ended := _ENDED.get(str(body["status"]))) is not None and body.get("history"):
        yield _event(ended, _iso(float(body["history"][-1]["at_s"])), run, job, inputs, outputs)


def _inputs(journal: Journal, bundle: TrainedBundle, at: int) -> Iterator[Json]:
    lineage = bundle.lineage
    if lineage.dataset_id is not None:
        document = journal.read("dataset", f"{lineage.dataset_id}@{lineage.version}", as_of=at)
        known = None if document is None else Dataset.model_validate(document.body)
        yield _rows(lineage.dataset_id, lineage.version, known)
    if lineage.feature_view is not None:
        yield _dataset(f"feature_views/{lineage.feature_view}", {})


def _rows(dataset_id: str, version: str | None, known: Dataset | None) -> Json:
    facets: Json = {} if version is None else {"version": _version(version)}
    if known is None:
        return _dataset(dataset_id, facets)
    fields = [{"name": name, "type": kind} for name, kind in known.columns.items()]
    facets["schema"] = _standard("1-1-1", "SchemaDatasetFacet", {"fields": fields})
    facets["dataSource"] = _standard(
        "1-0-1", "DatasourceDatasetFacet", {"name": known.source, "uri": _uri(known.source)}
    )
    facets["mldl_dataset"] = _facet("DatasetFacet", {"digest": known.digest, "target": known.target})
    missing = {name: {"nullCount": int(facts["missing"])} for name, facts in known.statistics.items()}
    metrics = _standard(
        "1-0-2", "DataQualityMetricsInputDatasetFacet", {"rowCount": known.rows, "columnMetrics": missing}
    )
    return _dataset(dataset_id, facets) | {"inputFacets": {"dataQualityMetrics": metrics}}


def _model(bundle: TrainedBundle) -> Json:
    facts = {
        "family": bundle.family,
        "task": bundle.task,
        "status": bundle.status,
        "validation_hash": bundle.validation_hash,
        "evaluation_id": bundle.evaluation_id,
        "metrics": dict(bundle.metrics),
        "parent": bundle.lineage.parent,
    }
    facets = {"version": _version(str(bundle.version)), "mldl_model": _facet("DatasetFacet", facts)}
    return _dataset(f"models/{bundle.model_key}", facets)


def _training_facet(bundle: TrainedBundle, job: Json) -> Json:
    facts = {
        "job_id": bundle.lineage.job_id,
        "trainer_hash": bundle.lineage.trainer_hash,
        "family": bundle.family,
        "hyperparams": bundle.hyperparams,
        "seed": (job.get("job") or {}).get("seed"),
        "requested_by": job.get("requested_by"),
        "cost_units": bundle.cost.cost_units,
    }
    return _facet("RunFacet", facts)


def _event(kind: EventType, at: str, run: Json, job: Json, inputs: list[Json], outputs: list[Json]) -> Json:
    head = {"eventType": kind, "eventTime": at, "producer": PRODUCER, "schemaURL": f"{SCHEMA}#/$defs/RunEvent"}
    return head | {"run": run, "job": job, "inputs": inputs, "outputs": outputs}


def _job(name: str, kind: str) -> Json:
    what = {"processingType": "BATCH", "integration": "MLDL", "jobType": kind}
    return {
        "namespace": NAMESPACE,
        "name": name,
        "facets": {"jobType": _standard("2-0-3", "JobTypeJobFacet", what)},
    }


def _dataset(name: str, facets: Json) -> Json:
    return {"namespace": NAMESPACE, "name": name, "facets": facets}


def _version(version: str) -> Json:
    return _standard("1-0-1", "DatasetVersionDatasetFacet", {"datasetVersion": version})


def _standard(of: str, name: str, facts: Json) -> Json:
    """Make a facet that OpenLineage defines."""
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS}/{of}/{name}.json#/$defs/{name}"} | facts


def _facet(kind: str, facts: Json) -> Json:
    """Make a facet of our own: whatever else is in it, it is one of that kind."""
    held = {name: value for name, value in facts.items() if value is not None}
    return {"_producer": PRODUCER, "_schemaURL": f"{SCHEMA}#/$defs/{kind}"} | held


def _made(bundle: TrainedBundle, registered_at_s: float) -> str:
    """Say when a version of which no job is known was made, or at least when it was registered."""
    try:
        return _iso(datetime.fromisoformat(bundle.created_at).timestamp())
    except ValueError:
        return _iso(registered_at_s)


def _iso(at_s: float) -> str:
    """Write a moment as the specification asks.

    >>> _iso(0.5)
    '1970-01-01T00:00:00.500000+00:00'
    """
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds")


def _uri(source: str) -> str:
    """Give a place as a URI.

    >>> _uri("s3://b/x.csv"), _uri("/data/x y.csv")
    ('s3://b/x.csv', 'file:///data/x%20y.csv')
    """
    return PurePosixPath(source).as_uri() if source.startswith("/") else source
