"""The client's verbs of lineage."""

from __future__ import annotations

from contracts.lineage import LineageGraph
from contracts.specs import Json
from mldl_ray.wire import Caller, in_path, version_path


class Tracing(Caller):
    """Ask what came of what: as a graph, as OpenLineage run events, as a picture."""

    def lineage(self, model_key: str, version: str = "latest", *, as_of_s: float | None = None) -> LineageGraph:
        """Show a version's dataset, job, evaluation, parent, those that follow it, and its deployments."""
        return self._get(LineageGraph, f"{version_path(model_key, version)}/lineage", as_of_s=as_of_s)

    def lineage_events(self, model_key: str, version: str = "latest", *, as_of_s: float | None = None) -> list[Json]:
        """Give the same as OpenLineage run events."""
        path = f"{version_path(model_key, version)}/lineage/openlineage"
        return self._get(list[Json], path, as_of_s=as_of_s)

    def lineage_picture(self, model_key: str, version: str = "latest", *, as_of_s: float | None = None) -> str:
        """Give the same as an SVG picture."""
        path = f"{version_path(model_key, version)}/lineage/picture"
        return self._transport.call("GET", path, query={"as_of_s": as_of_s}).text

    def dataset_lineage(
        self, dataset_id: str, version: str | None = None, *, as_of_s: float | None = None, limit: int = 200
    ) -> LineageGraph:
        """Show every model version that learned from a dataset, or from one version of it; the newest ``limit``."""
        path = f"/datasets/{in_path(dataset_id)}/lineage"
        return self._get(LineageGraph, path, version=version, as_of_s=as_of_s, limit=limit)

    def dataset_lineage_events(
        self, dataset_id: str, version: str | None = None, *, as_of_s: float | None = None, limit: int = 200
    ) -> list[Json]:
        """Give the same as OpenLineage run events."""
        path = f"/datasets/{in_path(dataset_id)}/lineage/openlineage"
        return self._get(list[Json], path, version=version, as_of_s=as_of_s, limit=limit)

    def dataset_lineage_picture(
        self, dataset_id: str, version: str | None = None, *, as_of_s: float | None = None, limit: int = 200
    ) -> str:
        """Give the same as an SVG picture."""
        path, query = f"/datasets/{in_path(dataset_id)}/lineage/picture", {"version": version, "limit": limit}
        return self._transport.call("GET", path, query=query | {"as_of_s": as_of_s}).text
