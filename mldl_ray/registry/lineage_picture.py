"""A lineage drawn as one SVG that needs nothing else: no script, light and dark by itself, told to a screen reader too.

Pure. What is drawn is in ``lineage``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from contracts.lineage import LineageEdge, LineageGraph, LineageNode, NodeKind, Relation
from contracts.specs import Json
from mldl_ray.evaluation.page import number, text

_WIDE, _HIGH, _GAP, _BETWEEN, _EDGE, _HEAD = 196, 52, 14, 74, 16, 30
_LONGEST = 27
"""Letters of a name in its box; the whole name is in its tooltip."""
_WORDS: dict[NodeKind, str] = {
    "dataset": "dataset",
    "feature_view": "feature view",
    "job": "training job",
    "version": "model version",
    "evaluation": "evaluation",
    "deployment": "deployment",
}
_RELATIONS: dict[Relation, str] = {
    "learned_from": "is learned from by",
    "shaped_by": "is shaped by",
    "trained": "trained",
    "followed_by": "is followed by",
    "judged_by": "is judged by",
    "deployed_by": "is deployed by",
}
_STYLE = """
svg{--ink:#16202b;--soft:#54636f;--line:#8b98a5;--paper:#fff;--box:#f3f5f7;--root:#1f5fa8;--live:#1d7a55;
font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){svg{--ink:#e8edf2;--soft:#a3b0bc;--line:#7b8894;--paper:#12181f;--box:#1c252e;
--root:#6aa9f0;--live:#5fc79b}}
.paper{fill:var(--paper)}text{fill:var(--ink)}.soft{fill:var(--soft);font-size:11px}
.box{fill:var(--box);stroke:var(--line)}.root .box{stroke:var(--root)}.live .box{stroke:var(--live);stroke-width:2}
.root .box{stroke-width:3.5}.unknown .box{stroke-dasharray:4 4}
.edge{fill:none;stroke:var(--line);stroke-width:1.5}.tip{fill:var(--line)}
"""
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
)


class _Place(NamedTuple):
    x: int
    y: int


def lineage_svg(graph: LineageGraph, *, styled: bool = True) -> str:
    """Draw a lineage from what came first, on the left, to what came of it, on the right.

    Args:
        graph: What is drawn.
        styled: Carry the style; without it, the page that the drawing becomes a part of has it.
    """
    columns = _columns(graph)
    places = _places(columns)
    width = 2 * _EDGE + len(columns) * _WIDE + (len(columns) - 1) * _BETWEEN
    tallest = max(len(column) for column in columns)
    height = _HEAD + _EDGE + tallest * (_HIGH + _GAP)
    lines = "".join(_line(edge, places) for edge in graph.edges)
    boxes = "".join(_box(node, places[node.node_id], node.node_id == graph.root) for node in graph.nodes)
    style = f"<style>{_STYLE}</style>" if styled else ""
    said = f'<title id="t">Lineage of {text(_root(graph).name)}</title><desc id="d">{text(told(graph))}</desc>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="t d">{said}{style}{_TIP}'
        f'<rect class="paper" width="{width}" height="{height}"/>'
        f'<text class="soft" x="{_EDGE}" y="20">{text(_lead(graph))}</text>{lines}{boxes}</svg>'
    )


def told(graph: LineageGraph) -> str:
    """Say a lineage in words: every edge a sentence."""
    names = {node.node_id: f"{_WORDS[node.kind]} {node.name}" for node in graph.nodes}
    said = [f"{names[edge.source]} {_RELATIONS[edge.relation]} {names[edge.target]}" for edge in graph.edges]
    more = [f"{graph.left_out} older versions are not shown"] if graph.left_out else []
    lone = [f"{names[graph.root]} stands alone"] if not graph.edges else []
    return ". ".join([*said, *lone, *more]) + "."


def _root(graph: LineageGraph) -> LineageNode:
    return next(node for node in graph.nodes if node.node_id == graph.root)


def _lead(graph: LineageGraph) -> str:
    more = f" · {graph.left_out} older versions are not shown" if graph.left_out else ""
    return f"Lineage of {_root(graph).name}, as of position {graph.position} of the journal{more}"


def _columns(graph: LineageGraph) -> list[list[str]]:
    """Put each node right of everything that it comes from, close to what comes of it; else as they were found."""
    into: dict[str, list[str]] = {node.node_id: [] for node in graph.nodes}
    out: dict[str, list[str]] = {node.node_id: [] for node in graph.nodes}
    for edge in graph.edges:
        into[edge.target].append(edge.source)
        out[edge.source].append(edge.target)
    depth: dict[str, int] = {}
    for name in into:
        _depth(name, into, depth)
    for name, sources in into.items():
        if not sources and out[name]:
            depth[name] = max(0, min(depth[target] for target in out[name]) - 1)
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in into:
        columns[depth[name]].append(name)
    return columns


def _depth(name: str, into: Mapping[str, Sequence[str]], known: dict[str, int]) -> int:
    """Give the longest way to a node; one that is on its own way (a damaged record) begins anew."""
    if name not in known:
        known[name] = 0
        known[name] = max((_depth(source, into, known) + 1 for source in into[name]), default=0)
    return known[name]


def _places(columns: Sequence[Sequence[str]]) -> dict[str, _Place]:
    tallest = max(len(column) for column in columns)
    found = {}
    for i, column in enumerate(columns):
        top = _HEAD + (tallest - len(column)) * (_HIGH + _GAP) // 2
        for j, name in enumerate(column):
            found[name] = _Place(_EDGE + i * (_WIDE + _BETWEEN), top + j * (_HIGH + _GAP))
    return found


def _line(edge: LineageEdge, places: Mapping[str, _Place]) -> str:
    start, end = places[edge.source], places[edge.target]
    x0, y0, x1, y1 = start.x + _WIDE, start.y + _HIGH // 2, end.x - 2, end.y + _HIGH // 2
    middle = (x0 + x1) // 2
    over = _HIGH + _GAP if x1 - x0 > _BETWEEN else 0  # past the boxes between, in an arch
    return (
        f'<path class="edge" marker-end="url(#tip)" d="M{x0} {y0}C{middle} {y0 - over} {middle} {y1 - over} {x1} {y1}">'
        f"<title>{text(_RELATIONS[edge.relation])}</title></path>"
    )


def _box(node: LineageNode, place: _Place, root: bool) -> str:
    live = bool(node.facts.get("serving") or node.facts.get("live"))
    marks = {"root": root, "live": live, "unknown": not node.known}
    kinds = " ".join(name for name, on in marks.items() if on)
    shown = node.name if len(node.name) <= _LONGEST else node.name[: _LONGEST - 1] + "…"
    above = " · ".join([_WORDS[node.kind], *_notes(node)])
    return (
        f'<g class="{kinds or "plain"}"><title>{text(_whole(node))}</title>'
        f'<rect class="box" x="{place.x}" y="{place.y}" width="{_WIDE}" height="{_HIGH}" rx="8"/>'
        f'<text class="soft" x="{place.x + 10}" y="{place.y + 19}">{text(above)}</text>'
        f'<text x="{place.x + 10}" y="{place.y + 39}">{text(shown)}</text></g>'
    )


def _notes(node: LineageNode) -> Iterator[str]:
    """Give the few words that a box has room for."""
    facts = node.facts
    if not node.known:
        yield "no record"
    if facts.get("serving"):
        yield "serves"
    elif facts.get("status") not in {None, "registered", "succeeded"}:
        yield str(facts["status"]).replace("_", " ")
    if node.kind == "dataset" and "rows" in facts:
        yield f"{facts['rows']:,} rows"


def _whole(node: LineageNode) -> str:
    return "\n".join([f"{_WORDS[node.kind]} {node.name}", *_lines(node.facts)])


def _lines(facts: Json) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from (f"{key}: {number(figure)}" for key, figure in value.items())
        else:
            yield f"{name.replace('_', ' ')}: {value}"
