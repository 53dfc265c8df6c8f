"""Lineage both ways: what a version comes from and what came of it; every version that learned from a dataset.

Read from the journal, now or as it was; which versions to read, the index of versions says. Not here: how a graph is
drawn (``lineage_picture``) or told to others (``openlineage``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from contracts.errors import NotFound
from contracts.lineage import LineageEdge, LineageGraph, LineageNode, NodeKind, Relation
from contracts.ports import Document, Journal
from contracts.records import Dataset, TrainedBundle
from contracts.rollouts import LIVE_STATES
from contracts.specs import Json
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import Catalog, version_key
from mldl_ray.registry.finder import Finder
from mldl_ray.registry.index import Index
from mldl_ray.registry.semver import Number

MOST = 200
"""Versions of a dataset in one graph, the newest ones."""


class Tracer:
    """Follow records to what they name.

    Args:
        journal: The truth.
        finder: Knows which versions there are.
    """

    def __init__(self, journal: Journal, finder: Finder) -> None:
        self._journal, self._finder = journal, finder

    def of_version(self, model_key: str, version: str, *, as_of: int | None = None) -> LineageGraph:
        """Give what a version comes from and what came of it.

        That is its dataset, feature view, job, evaluation and parent; those that follow it, and its deployments.

        Args:
            model_key: Of which model.
            version: A number or an alias.
            as_of: After which position of the journal; now when None.

        Raises:
            NotFound: No such model or version.
        """
        catalog = Catalog(self._journal, as_of=as_of)
        bundle = catalog.bundle(model_key, version)
        drawing = _Drawing(self._journal, as_of)
        root = drawing.version(bundle, serving=self._serving(model_key, str(bundle.version), as_of))
        drawing.origin(bundle, root)
        others, left_out = self._beside(bundle, as_of)
        for other in others:
            if other.version == bundle.lineage.parent:
                drawing.edge(drawing.version(other), root, "followed_by")
            else:
                drawing.edge(root, drawing.version(other), "followed_by")
        if bundle.lineage.parent is not None:  # it may be gone
            drawing.edge(drawing.named("version", version_key(model_key, bundle.lineage.parent)), root, "followed_by")
        for name in self._deployments(version_key(model_key, str(bundle.version)), as_of):
            drawing.edge(root, drawing.deployment(name), "deployed_by")
        return drawing.graph(root, left_out=left_out)

    def of_dataset(
        self, dataset_id: str, version: str | None = None, *, as_of: int | None = None, limit: int = MOST
    ) -> LineageGraph:
        """Give a dataset, or one version of it, with every model version that learned from it.

        Args:
            dataset_id: Which.
            version: Of the dataset; all of them when None.
            as_of: After which position of the journal; now when None.
            limit: Most model versions, the newest ones.

        Raises:
            NotFound: No such dataset or version is registered, and no model names it.
        """
        found = self._datasets(dataset_id, version, as_of)
        taught = self._taught(dataset_id, as_of)
        bundles = [(body, serves) for body, serves in taught if version in {None, body.lineage.version}]
        if not found and not bundles:
            raise self._unknown(dataset_id, version, as_of)
        drawing = _Drawing(self._journal, as_of)
        roots = [drawing.dataset(dataset_id, one.version) for one in found]
        for bundle, serves in bundles[:limit]:
            target = drawing.version(bundle, serving=serves)
            origin = drawing.dataset(dataset_id, bundle.lineage.version)
            drawing.edge(origin, target, "learned_from")
            roots.append(origin)
        return drawing.graph(roots[0], left_out=max(0, len(bundles) - limit))

    def _datasets(self, dataset_id: str, version: str | None, as_of: int | None) -> list[Dataset]:
        prefix = f"{dataset_id}@{version or ''}"
        documents = scan_all(self._journal, "dataset", prefix=prefix, as_of=as_of)
        found = [Dataset.model_validate(document.body) for document in documents]
        exact = [one for one in found if one.dataset_id == dataset_id and version in {None, one.version}]
        return sorted(exact, key=lambda one: (-one.created_at_s, one.version))

    def _taught(self, dataset_id: str, as_of: int | None) -> list[tuple[TrainedBundle, bool]]:
        """Give the versions that learned from a dataset, the newest first, and whether each serves."""
        with self._finder.current() as index:
            code = index.names["dataset"].find(dataset_id)
            marks = index.alive(as_of) & (index.code("dataset") == (-1 if code is None else code))
            rows = sorted(np.flatnonzero(marks).tolist(), key=lambda row: -int(index.place("made")[row]))
            serving = index.serving(as_of)
            keys = [(index.key(row), bool(serving[row])) for row in rows]
        read = ((self._journal.read("model_version", key, as_of=as_of), serves) for key, serves in keys)
        return [(TrainedBundle.model_validate(one.body), serves) for one, serves in read if one is not None]

    def _beside(self, bundle: TrainedBundle, as_of: int | None) -> tuple[list[TrainedBundle], int]:
        """Give the parent of a version and the newest that follow it, by number, and how many are left out."""
        with self._finder.current() as index:
            model, own = index.names["model"].find(bundle.model_key), index.names["parent"].find(str(bundle.version))
            after = index.code("parent") == (-1 if own is None else own)
            marks = index.alive(as_of) & (index.code("model") == (-1 if model is None else model)) & after
            numbers = sorted({index.version(row) for row in np.flatnonzero(marks).tolist()}, key=Number.of)
        shown = {bundle.lineage.parent, *numbers[-MOST:]} - {None}
        keys = [version_key(bundle.model_key, str(number)) for number in shown]
        documents = self._journal.pick("model_version", keys, as_of=as_of)
        found = [TrainedBundle.model_validate(document.body) for document in documents]
        return sorted(found, key=lambda one: Number.of(str(one.version))), max(0, len(numbers) - MOST)

    def _serving(self, model_key: str, version: str, as_of: int | None) -> bool:
        with self._finder.current() as index:
            row = index.newest(version_key(model_key, version))
            return row is not None and bool(index.serving(as_of)[row])

    def _deployments(self, key: str, as_of: int | None) -> list[str]:
        """List the deployments whose goal a version is or was."""
        with self._finder.current() as index:
            return sorted(_rolled_out(index, key, as_of))

    def _unknown(self, dataset_id: str, version: str | None, as_of: int | None) -> NotFound:
        if version is not None and (others := self._datasets(dataset_id, None, as_of)):
            names = [one.version for one in others]
            message = f"dataset {dataset_id} has no version {version}; it has {', '.join(names[:10])}"
            return NotFound(message, {"dataset_id": dataset_id, "versions": names[:100]})
        return NotFound(
            f"there is no dataset {dataset_id}, and no model names it; GET /datasets lists what there is",
            {"dataset_id": dataset_id},
        )


class _Drawing:
    """A graph while it grows: each node once."""

    def __init__(self, journal: Journal, as_of: int | None) -> None:
        self._journal, self._as_of = journal, as_of
        self._position = journal.position() if as_of is None else as_of
        self._nodes: dict[str, LineageNode] = {}
        self._edges: dict[tuple[str, str], LineageEdge] = {}

    def graph(self, root: str, left_out: int = 0) -> LineageGraph:
        """Give what was drawn."""
        nodes, edges = tuple(self._nodes.values()), tuple(self._edges.values())
        return LineageGraph(root=root, position=self._position, nodes=nodes, edges=edges, left_out=left_out)

    def edge(self, source: str, target: str, relation: Relation) -> None:
        """Join two nodes."""
        self._edges.setdefault((source, target), LineageEdge(source=source, target=target, relation=relation))

    def named(self, kind: NodeKind, name: str) -> str:
        """Add what a record names, if it is not there yet."""
        return self._node(kind, name, None)

    def version(self, bundle: TrainedBundle, *, serving: bool | None = None) -> str:
        """Add a model version."""
        lineage = bundle.lineage
        facts = {
            "family": bundle.family,
            "task": bundle.task,
            "status": bundle.status,
            "serving": serving,
            "trainer_hash": lineage.trainer_hash,
            "validation_hash": bundle.validation_hash,
            "dataset_digest": lineage.dataset_digest,
            "job_id": lineage.job_id,
            "created_at": bundle.created_at,
            "why": bundle.version_why,
        }
        return self._node("version", version_key(bundle.model_key, str(bundle.version)), facts)

    def origin(self, bundle: TrainedBundle, root: str) -> None:
        """Add what a version was made of, by what, and how it was judged."""
        lineage = bundle.lineage
        maker = root if lineage.job_id is None else self._job(lineage.job_id, root)
        if lineage.dataset_id is not None:
            dataset = self.dataset(lineage.dataset_id, lineage.version)
            self.edge(dataset, maker, "learned_from")
            if lineage.feature_view is not None:
                self.edge(dataset, self.named("feature_view", lineage.feature_view), "shaped_by")
        if lineage.feature_view is not None:
            self.edge(self.named("feature_view", lineage.feature_view), maker, "learned_from")
        if bundle.evaluation_id is not None:
            self.edge(root, self._evaluation(bundle), "judged_by")

    def dataset(self, dataset_id: str, version: str | None) -> str:
        """Add a version of a dataset, or a dataset of which no version is named."""
        name = dataset_id if version is None else f"{dataset_id}@{version}"
        body = self._read("dataset", name)
        facts = None
        if body is not None:
            facts = {name: body.get(name) for name in ("digest", "rows", "target", "source", "created_at_s")}
            facts["columns"] = len(body.get("columns") or ())
        return self._node("dataset", name, facts)

    def deployment(self, name: str) -> str:
        """Add a deployment."""
        body = self._read("deployment", name)
        wanted = ("status", "strategy", "stable", "requested_by", "created_at_s")
        facts = None if body is None else {name: body.get(name) for name in wanted}
        if facts is not None:
            facts["live"] = facts["status"] in LIVE_STATES
        return self._node("deployment", name, facts)

    def _job(self, job_id: str, root: str) -> str:
        body, facts = self._read("job", job_id), None
        if body is not None:
            wanted = ("status", "requested_by", "created_at_s", "began_at_s", "ended_at_s", "cost_units")
            facts = {name: body.get(name) for name in wanted}
        job = self._node("job", job_id, facts)
        self.edge(job, root, "trained")
        return job

    def _evaluation(self, bundle: TrainedBundle) -> str:
        body = self._read("evaluation", str(bundle.evaluation_id))
        facts = None if body is None else {"metrics": dict(bundle.metrics), "created_at": body.get("created_at")}
        return self._node("evaluation", str(bundle.evaluation_id), facts)

    def _node(self, kind: NodeKind, name: str, facts: Json | None) -> str:
        node_id = f"{kind}:{name}"
        known = self._nodes.get(node_id)
        if known is None or (facts is not None and not known.known):
            held = {key: value for key, value in (facts or {}).items() if value is not None}
            self._nodes[node_id] = LineageNode(
                node_id=node_id, kind=kind, name=name, known=facts is not None, facts=held
            )
        return node_id

    def _read(self, kind: str, key: str) -> Json | None:
        document: Document | None = self._journal.read(kind, key, as_of=self._as_of)
        return None if document is None else document.body


def _rolled_out(index: Index, key: str, as_of: int | None) -> Iterable[str]:
    for name, past in index.rollouts.items():
        if any(goal == key and (as_of is None or position <= as_of) for position, goal in past):
            yield name
