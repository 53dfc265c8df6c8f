"""What came of what, as a graph of datasets, jobs, versions and deployments. The rules of its edges: ``registry``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Json, Words

NodeKind = Literal["dataset", "feature_view", "job", "version", "evaluation", "deployment"]
Relation = Literal["learned_from", "shaped_by", "trained", "followed_by", "judged_by", "deployed_by"]


class LineageNode(Words):
    """One thing of a lineage."""

    node_id: str = Field(description="`<kind>:<name>`, as in `version:income@1.0.0`.")
    kind: NodeKind
    name: str
    known: bool = Field(default=True, description="False: a record names it, and it has no record of its own here.")
    facts: Json = Field(default_factory=dict, description="A version's trainer hash and digests, a dataset's rows…")


class LineageEdge(Words):
    """``source`` came first; ``relation`` says what it is to ``target``: what trained it, what follows it."""

    source: str = Field(description="A node_id.")
    target: str = Field(description="A node_id.")
    relation: Relation


class LineageGraph(Words):
    """Where something comes from and what came of it; no edge leads back to where one has been."""

    root: str = Field(description="The node_id of what was asked about; of a dataset's newest version.")
    position: int = Field(description="Of the journal: the graph is as of it.")
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    left_out: int = Field(default=0, description="Versions beyond the limit, the oldest.")
