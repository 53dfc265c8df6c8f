"""Naive Bayes as an ONNX graph, in double precision: bins as steps at their edges, curves as powers, blocks as weights.

Each part is a matrix product that gives its share of the raw scores; the parts are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mldl_ray.adapters import graphs
from mldl_ray.adapters.bayes_terms import Bins, Curve, Term
from mldl_ray.adapters.links import Doubles


class _Graph:
    """A graph in the making: nodes, numbers, and the parts of the sum."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.numbers: list[Any] = []
        self.parts: list[str] = []

    def put(self, kind: str, inputs: list[Any], name: str, **options: Any) -> str:
        """Add a node; inputs are names, or arrays."""
        from onnx import helper, numpy_helper  # noqa: PLC0415  # only compiling needs it, and it loads slowly

        names = [value if isinstance(value, str) else f"{name}.{i}" for i, value in enumerate(inputs)]
        arrays = [(value, own) for value, own in zip(inputs, names, strict=True) if not isinstance(value, str)]
        self.numbers += [numpy_helper.from_array(np.ascontiguousarray(value), own) for value, own in arrays]
        self.nodes.append(helper.make_node(kind, names, [name], **options))
        return name

    def doubles(self, flags: str, name: str) -> str:
        """Turn truth values into 0 and 1."""
        from onnx import TensorProto  # noqa: PLC0415  # as above

        return self.put("Cast", [flags], name, to=TensorProto.DOUBLE)

    def add(self, values: str, weights: Doubles) -> None:
        """Add a part: values times weights, ``(columns of values, outputs)``."""
        self.parts.append(self.put("MatMul", [values, weights], f"{values}_part"))


def bayes_graph(terms: Sequence[Term], blocks: Doubles, prior: Doubles) -> bytes:
    """Write the sum of all terms.

    Args:
        terms: One per number column, in the matrix's order.
        blocks: What each category adds, ``(columns of all blocks, outputs)``.
        prior: What is there before any column, ``(outputs,)``.
    """
    from onnx import TensorProto  # noqa: PLC0415  # as above

    graph, start = _Graph(), prior.copy()
    bins = [(j, term) for j, term in enumerate(terms) if isinstance(term, Bins)]
    curves = [(j, term) for j, term in enumerate(terms) if isinstance(term, Curve)]
    if bins:
        start += sum(term.scores[0] for _, term in bins)
        _steps(graph, bins)
    if curves:
        _powers(graph, curves)
    if len(blocks):
        columns = np.arange(len(terms), len(terms) + len(blocks))
        graph.add(graph.put("Gather", ["matrix", columns], "categories", axis=1), blocks)
    total = graph.put("Sum", graph.parts, "total")
    graph.put("Add", [total, start], "raw")
    width, outputs = len(terms) + len(blocks), len(prior)
    return graphs.serialise(graph.nodes, width, outputs, TensorProto.DOUBLE, graph.numbers)


def _steps(graph: _Graph, bins: list[tuple[int, Bins]]) -> None:
    """Add bins: from each edge on, what its bin's score is more than the one before; NaN is beyond no edge."""
    edges = np.concatenate([term.edges for _, term in bins])
    if len(edges):
        owners = np.repeat([j for j, _ in bins], [len(term.edges) for _, term in bins])
        values = graph.put("Gather", ["matrix", owners.astype(np.int64)], "binned", axis=1)
        steps = graph.doubles(graph.put("GreaterOrEqual", [values, edges], "beyond"), "steps")
        graph.add(steps, np.concatenate([np.diff(term.scores[:-1], axis=0) for _, term in bins]))
    columns = np.array([j for j, _ in bins], dtype=np.int64)
    gone = graph.put("IsNaN", [graph.put("Gather", ["matrix", columns], "of_bins", axis=1)], "gone")
    graph.add(graph.doubles(gone, "missing"), np.array([term.scores[-1] - term.scores[0] for _, term in bins]))


def _powers(graph: _Graph, curves: list[tuple[int, Curve]]) -> None:
    """Add curves: the square, the value, and 1 where there is a value."""
    columns = np.array([j for j, _ in curves], dtype=np.int64)
    lowest, highest, middle, scale = np.array([term.range for _, term in curves]).T
    square, slope, level = np.array([term.powers for _, term in curves]).transpose(1, 0, 2)
    values = graph.put("Gather", ["matrix", columns], "of_curves", axis=1)
    absent = graph.put("IsNaN", [values], "absent")
    filled = graph.put("Where", [absent, middle, values], "filled")
    held = graph.put("Min", [graph.put("Max", [filled, lowest], "raised"), highest], "held")
    z = graph.put("Div", [graph.put("Sub", [held, middle], "centred"), scale], "z")
    graph.add(z, slope)
    graph.add(graph.put("Mul", [z, z], "z2"), square)
    graph.add(graph.doubles(graph.put("Not", [absent], "there"), "present"), level)
