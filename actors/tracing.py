"""What the registry's actor says of lineage. What survives a restart: everything; it holds nothing."""

from __future__ import annotations

from contracts.lineage import LineageGraph
from contracts.ports import Journal
from contracts.specs import Json
from mldl_ray.registry.finder import Finder
from mldl_ray.registry.lineage import MOST, Tracer
from mldl_ray.registry.lineage_picture import lineage_svg
from mldl_ray.registry.openlineage import run_events


class Tracing:
    """Say what came of what: as a graph, as OpenLineage run events, as a picture."""

    def __init__(self, journal: Journal, finder: Finder) -> None:
        self._journal, self._tracer = journal, Tracer(journal, finder)

    def lineage(self, model_key: str, version: str, *, as_of_s: float | None = None) -> LineageGraph:
        """Give what a version comes from and what came of it, now or as it was (Unix seconds).

        Raises:
            NotFound: No such model or version.
        """
        return self._tracer.of_version(model_key, version, as_of=self._then(as_of_s))

    def dataset_lineage(
        self, dataset_id: str, version: str | None = None, *, as_of_s: float | None = None, limit: int = MOST
    ) -> LineageGraph:
        """Give every model version that learned from a dataset; see ``Tracer.of_dataset``."""
        return self._tracer.of_dataset(dataset_id, version, as_of=self._then(as_of_s), limit=limit)

    def openlineage(self, graph: LineageGraph) -> list[Json]:
        """Tell a graph as OpenLineage run events."""
        return run_events(self._journal, graph)

    def lineage_picture(self, graph: LineageGraph, *, styled: bool = True) -> str:
        """Draw a graph as SVG; without its style for a page that has one."""
        return lineage_svg(graph, styled=styled)

    def _then(self, as_of_s: float | None) -> int | None:
        return None if as_of_s is None else self._journal.position(at_s=as_of_s)
