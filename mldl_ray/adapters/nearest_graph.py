"""The nearest stored row of each cluster as an ONNX graph. Not here: which rows are stored, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from mldl_ray.adapters import graphs
from mldl_ray.adapters.links import Doubles

MOST_CLUSTERS = 256
"""Each cluster is a branch of the graph; with more of them the native model is no slower."""


def nearest_graph(
    stored: Doubles, starts: npt.NDArray[np.int64], weights: Doubles, farthest: float, radius: float
) -> bytes:
    """Write, per cluster, the largest 2·x·p − |p|² over its rows p; and |x|² − radius² where there is a radius.

    Args:
        stored: Points, cluster by cluster, ``(n, width)``.
        starts: Where each cluster begins.
        weights: What an encoded row is multiplied by to become a point.
        farthest: What encoded values are held within first.
        radius: Of noise; 0 adds no column.

    Raises:
        Incompatible: There are very many clusters.
    """
    if len(starts) > MOST_CLUSTERS:
        raise Incompatible(f"{len(starts)} clusters make too large a graph; up to {MOST_CLUSTERS} have one")
    from onnx import TensorProto  # noqa: PLC0415  # only compiling needs it, and it loads slowly

    initial = _numbers(
        lowest=np.float64(-farthest),
        highest=np.float64(farthest),
        weights=weights,
        rows=2 * stored.T,
        lengths=-(stored**2).sum(axis=1),
        sizes=np.diff([*starts, len(stored)]).astype(np.int64),
        radius=np.float64(radius**2),
    )
    outputs = len(starts) + bool(radius)
    nodes = _nodes(len(starts), noise=bool(radius))
    return graphs.serialise(nodes, stored.shape[1], outputs, TensorProto.DOUBLE, initial)


def _nodes(clusters: int, *, noise: bool) -> list[Any]:
    from onnx import helper  # noqa: PLC0415  # as above

    make, parts, best = helper.make_node, [f"part{i}" for i in range(clusters)], [f"best{i}" for i in range(clusters)]
    nodes = [
        make("Clip", ["matrix", "lowest", "highest"], ["held"]),
        make("Mul", ["held", "weights"], ["point"]),
        make("Gemm", ["point", "rows", "lengths"], ["near"]),
        make("Split", ["near", "sizes"], parts, axis=1),
        *(make("ReduceMax", [part], [name], axes=[1], keepdims=1) for part, name in zip(parts, best, strict=True)),
    ]
    if noise:
        best = [*best, "noise"]
        nodes += [
            make("ReduceSumSquare", ["point"], ["square"], axes=[1], keepdims=1),
            make("Sub", ["square", "radius"], ["noise"]),
        ]
    return [*nodes, make("Concat", best, ["raw"], axis=1)]


def _numbers(**arrays: Any) -> list[Any]:
    from onnx import numpy_helper  # noqa: PLC0415  # as above

    return [numpy_helper.from_array(np.array(array), name) for name, array in arrays.items()]
