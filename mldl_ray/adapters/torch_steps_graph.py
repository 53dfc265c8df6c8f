"""Networks over series as ONNX graphs in double precision (see ``graphs``, ``torch_steps``). Importing it loads torch.

ONNX Runtime's own recurrent layers compute in single precision only, which is too coarse for the proof of equality. So
a layer's cell is written out and scanned over the steps; at padding the state stays as it is, which on the way back is
the state before the first step. Attention is matrix products, with minus infinity where it would look at padding.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from mldl_ray.adapters.graphs import serialise
from mldl_ray.adapters.torch_steps import Attention, Recurrent, Transformer, places

Array = npt.NDArray[Any]


def steps_graph(network: Recurrent | Transformer, width: int, outputs: int, target: Array) -> bytes:
    """Write a network, and the way back from the target's deviation to its own unit.

    Args:
        network: In evaluation mode.
        width: Columns of the matrix.
        outputs: Raw scores of a row.
        target: Mean and deviation of the target; 0 and 1 for classes.
    """
    from onnx import TensorProto  # noqa: PLC0415  # only compiling needs it, and it loads slowly

    graph = _Graph()
    steps = width // network.step_width
    blocks = graph.op("Reshape", "matrix", graph.whole(-1, steps, network.step_width))
    longest, padding = _padding(graph, blocks)
    blocks = graph.op("Slice", blocks, graph.whole(0), longest, graph.whole(1))
    inputs = graph.op("Where", padding, graph.constant(np.array(0.0)), blocks)
    if isinstance(network, Recurrent):
        states = _recurrent(graph, network, inputs, padding)
    else:
        states = _transformer(graph, network, inputs, padding, (steps, longest))
    raw = _affine(graph, _pooled(graph, states, padding), network.head)
    raw = graph.op("Mul", raw, graph.constant(target[1:]))
    graph.op("Add", raw, graph.constant(target[:1]), output="raw")
    return serialise(graph.nodes, width, outputs, TensorProto.DOUBLE, graph.initial)


class _Graph:
    """Nodes written so far; every one has one output, whose name is given back."""

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[Any] = []
        self.initial: list[Any] = []
        self._prefix = prefix

    def constant(self, values: Array) -> str:
        from onnx import numpy_helper  # noqa: PLC0415  # as above

        name = f"{self._prefix}c{len(self.initial)}"
        self.initial.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def op(self, kind: str, *inputs: str, output: str = "", **settings: Any) -> str:
        return self.ops(kind, *inputs, outputs=[output or f"{self._prefix}t{len(self.nodes)}"], **settings)[0]

    def ops(self, kind: str, *inputs: str, outputs: list[str], **settings: Any) -> list[str]:
        """Add a node with several outputs, named by the caller."""
        from onnx import helper  # noqa: PLC0415  # as above

        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **settings))
        return outputs


def _padding(graph: _Graph, blocks: str) -> tuple[str, str]:
    """Give the number of steps of the longest series, and where the others are padding, ``(n, longest, 1)``."""
    from onnx import TensorProto  # noqa: PLC0415  # as above

    padding = graph.op("IsNaN", graph.op("Gather", blocks, graph.whole(0), axis=2))
    real = graph.op("Cast", graph.op("Not", padding), to=TensorProto.INT64)
    lengths = graph.op("ReduceSum", real, graph.whole(1, 2), keepdims=0)
    longest = graph.op("ReduceMax", lengths, axes=[0], keepdims=1)
    return longest, graph.op("Slice", padding, graph.whole(0), longest, graph.whole(1))


def _pooled(graph: _Graph, states: str, padding: str) -> str:
    from onnx import TensorProto  # noqa: PLC0415  # as above

    real = graph.op("Cast", graph.op("Not", padding), to=TensorProto.DOUBLE)
    total = graph.op("ReduceSum", graph.op("Mul", states, real), graph.whole(1), keepdims=0)
    mean = graph.op("Div", total, graph.op("ReduceSum", real, graph.whole(1), keepdims=0))
    unseen = graph.op("Where", padding, graph.constant(np.array(-np.inf)), states)
    return graph.op("Concat", mean, graph.op("ReduceMax", unseen, axes=[1], keepdims=0), axis=1)


def _affine(graph: _Graph, inputs: str, layer: nn.Linear) -> str:
    product = graph.op("MatMul", inputs, graph.constant(_array(layer.weight).T))
    return graph.op("Add", product, graph.constant(_array(layer.bias)))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


# Recurrent


def _recurrent(graph: _Graph, network: Recurrent, inputs: str, padding: str) -> str:
    states = graph.op("Transpose", inputs, perm=[1, 0, 2])  # steps first, as a scan has them
    gap = graph.op("Transpose", padding, perm=[1, 0, 2])
    gap = _side_by_side(graph, [gap, _turned(graph, gap)] if network.cells.bidirectional else [gap])
    for layer in range(network.cells.num_layers):
        states = _layer(graph, network.cells, layer, states, gap)
    return graph.op("Transpose", states, perm=[1, 0, 2])


def _layer(graph: _Graph, cells: nn.RNN | nn.LSTM, layer: int, inputs: str, gap: str) -> str:
    """Write one layer: both directions are scanned at once, ``(steps, directions, n, states)``, the second turned."""
    names = [f"_l{layer}", f"_l{layer}_reverse"] if cells.bidirectional else [f"_l{layer}"]
    slope = _slope(cells)
    driven = [_driven(graph, cells, name, inputs, slope) for name in names]
    if cells.bidirectional:
        driven[1] = _turned(graph, driven[1])
    within = np.stack([_array(getattr(cells, "weight_hh" + name)).T * slope for name in names])
    states = _scan(graph, cells, (_side_by_side(graph, driven), gap), within, f"_l{layer}")
    if not cells.bidirectional:
        return graph.op("Squeeze", states, graph.whole(1))
    there, back = graph.ops("Split", states, outputs=[f"there_l{layer}", f"back_l{layer}"], axis=1)
    there, back = (graph.op("Squeeze", one, graph.whole(1)) for one in (there, back))
    return graph.op("Concat", there, _turned(graph, back), axis=2)


def _turned(graph: _Graph, steps: str) -> str:
    """Put the last step first."""
    last, beyond = graph.whole(-1), graph.whole(-(2**62))
    return graph.op("Slice", steps, last, beyond, graph.whole(0), last)


def _side_by_side(graph: _Graph, parts: list[str]) -> str:
    return graph.op("Concat", *(graph.op("Unsqueeze", part, graph.whole(1)) for part in parts), axis=1)


def _slope(cells: nn.RNN | nn.LSTM) -> Array:
    """Give the factor of each gate that makes a logistic function of a tangent: ``σ(x) = tanh(x/2)/2 + 1/2``."""
    gates = (0.5, 0.5, 1.0, 0.5) if isinstance(cells, nn.LSTM) else (1.0,)
    return np.repeat(gates, cells.hidden_size)


def _driven(graph: _Graph, cells: nn.RNN | nn.LSTM, name: str, inputs: str, slope: Array) -> str:
    """Write what the inputs do to the gates, for all steps at once."""
    into, offset, more = (_array(getattr(cells, kind + name)) for kind in ("weight_ih", "bias_ih", "bias_hh"))
    product = graph.op("MatMul", inputs, graph.constant(into.T * slope))
    return graph.op("Add", product, graph.constant((offset + more) * slope))


def _scan(graph: _Graph, cells: nn.RNN | nn.LSTM, over: tuple[str, str], within: Array, name: str) -> str:
    from onnx import TensorProto, helper  # noqa: PLC0415  # as above

    rows = graph.op("Gather", graph.op("Shape", over[0]), graph.whole(2))
    shape = graph.op("Concat", graph.whole(len(within)), rows, graph.whole(cells.hidden_size), axis=0)
    start = graph.op("ConstantOfShape", shape, value=helper.make_tensor("zero", TensorProto.DOUBLE, [1], [0.0]))
    if isinstance(cells, nn.LSTM):
        slope = _slope(cells)
        gates, kept = [graph.constant(slope), graph.constant(1 - slope)], 2
    else:
        gates, kept = [], 1
    ends = [f"end{i}{name}" for i in range(kept)]
    body = _body(graph.constant(within), gates, name)
    outputs = [*ends, f"states{name}"]
    return graph.ops("Scan", *[start] * kept, *over, outputs=outputs, body=body, num_scan_inputs=2)[-1]


def _body(within: str, gates: list[str], name: str) -> Any:
    """Write one step of a cell: a plain one keeps one state; one with gates keeps two, the second its memory."""
    from onnx import TensorProto, helper  # noqa: PLC0415  # as above

    cell = _Graph(f"step{name}_")
    before = [f"before{i}{name}" for i in range(2 if gates else 1)]
    drive = cell.op("Tanh", cell.op("Add", f"drive{name}", cell.op("MatMul", before[0], within)))
    after = _remembered(cell, drive, before[1], gates, name) if gates else [drive]
    after = [cell.op("Where", f"gap{name}", old, new) for old, new in zip(before, after, strict=True)]
    state = cell.op("Identity", after[0])
    info, double = helper.make_tensor_value_info, TensorProto.DOUBLE
    given = [info(one, double, None) for one in (*before, f"drive{name}")] + [
        info(f"gap{name}", TensorProto.BOOL, None)
    ]
    return helper.make_graph(cell.nodes, f"step{name}", given, [info(one, double, None) for one in (*after, state)])


def _remembered(cell: _Graph, drive: str, memory: str, gates: list[str], name: str) -> list[str]:
    drive = cell.op("Add", cell.op("Mul", drive, gates[0]), gates[1])
    parts = [f"{gate}{name}" for gate in ("take", "keep", "new", "show")]
    take, keep, new, show = cell.ops("Split", drive, outputs=parts, axis=2)
    memory = cell.op("Add", cell.op("Mul", keep, memory), cell.op("Mul", take, new))
    return [cell.op("Mul", show, cell.op("Tanh", memory)), memory]


# Transformer


def _transformer(graph: _Graph, network: Transformer, inputs: str, padding: str, steps: tuple[int, str]) -> str:
    most, longest = steps
    width = network.enter.out_features
    where = graph.constant(_array(places(network.enter.weight.new_zeros(1, most, width))))
    where = graph.op("Slice", where, graph.whole(0), longest, graph.whole(0))
    states = graph.op("Add", _affine(graph, inputs, network.enter), where)
    gap = graph.op("Unsqueeze", graph.op("Transpose", padding, perm=[0, 2, 1]), graph.whole(1))  # (n, 1, 1, steps)
    for layer in network.layers:
        states = _attention(graph, cast("Attention", layer), states, gap)
    return _norm(graph, states, network.norm)


def _attention(graph: _Graph, layer: Attention, states: str, gap: str) -> str:
    width, heads = layer.out.out_features, layer.heads
    looks = _affine(graph, _norm(graph, states, layer.before_looking), layer.looks)
    names = [f"{looks}_{part}" for part in ("query", "key", "value")]
    shape = graph.whole(0, 0, heads, width // heads)
    split = [graph.op("Reshape", part, shape) for part in graph.ops("Split", looks, outputs=names, axis=2)]
    turns = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    query, key, value = (graph.op("Transpose", part, perm=turn) for part, turn in zip(split, turns, strict=True))
    match = graph.op("Div", graph.op("MatMul", query, key), graph.constant(np.array(np.sqrt(width // heads))))
    match = graph.op("Where", gap, graph.constant(np.array(-np.inf)), match)
    seen = graph.op("MatMul", graph.op("Softmax", match, axis=-1), value)
    seen = graph.op("Reshape", graph.op("Transpose", seen, perm=[0, 2, 1, 3]), graph.whole(0, 0, width))
    states = graph.op("Add", states, _affine(graph, seen, layer.out))
    inner = _affine(graph, _norm(graph, states, layer.before_thinking), layer.wider)
    inner = graph.op("Mul", inner, graph.op("Sigmoid", inner))
    return graph.op("Add", states, _affine(graph, inner, layer.back))


def _norm(graph: _Graph, states: str, norm: nn.LayerNorm) -> str:
    scale, offset = graph.constant(_array(norm.weight)), graph.constant(_array(norm.bias))
    return graph.op("LayerNormalization", states, scale, offset, axis=-1, epsilon=norm.eps)
