"""Networks as ONNX graphs in double precision, layer by layer (see ``graphs``). Importing it loads torch.

ONNX Runtime convolves in single precision only, which is too coarse for the proof of equality. So images are kept as
``(n, pixels, channels)``, and a convolution is a gathering of each pixel's neighbourhood and a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from contracts.errors import Incompatible
from mldl_ray.adapters.graphs import serialise
from mldl_ray.adapters.torch_layers import Pixels

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]


def network_graph(network: nn.Sequential, width: int, outputs: int, target: Array) -> bytes:
    """Write a chain of layers, and the way back from the target's deviation to its own unit.

    Args:
        network: In evaluation mode.
        width: Columns of the matrix.
        outputs: Raw scores of a row.
        target: Mean and deviation of the target; 0 and 1 for classes.

    Raises:
        Incompatible: A layer that has no graph form here.
    """
    from onnx import TensorProto  # noqa: PLC0415  # only compiling needs it, and it loads slowly

    chain = _Chain()
    for layer in network:
        write = _LAYERS.get(type(layer))
        if write is None:
            raise Incompatible(f"a layer {type(layer).__name__} has no graph form")
        write(chain, layer)
    chain.step("Mul", chain.constant(target[1:]))
    chain.step("Add", chain.constant(target[:1]))
    chain.node("Identity", chain.last, output="raw")
    return serialise(chain.nodes, width, outputs, TensorProto.DOUBLE, chain.initial)


class _Chain:
    """Nodes written so far. ``last`` is the output of the last one; ``grid`` its height and width when it is images."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initial: list[Any] = []
        self.last, self.grid = "matrix", (0, 0)

    def constant(self, values: Array) -> str:
        from onnx import numpy_helper  # noqa: PLC0415  # as above

        name = f"c{len(self.initial)}"
        self.initial.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def step(self, kind: str, *others: str, **settings: Any) -> str:
        """Add a node that takes the last output first."""
        return self.node(kind, self.last, *others, **settings)

    def node(self, kind: str, *inputs: str, output: str = "", **settings: Any) -> str:
        from onnx import helper  # noqa: PLC0415  # as above

        self.last = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [self.last], **settings))
        return self.last

    def reshape(self, *shape: int) -> None:
        self.step("Reshape", self.constant(np.array(shape, dtype=np.int64)))

    def gather(self, places: Places) -> None:
        """Take pixels by their places."""
        self.step("Gather", self.constant(places.reshape(-1)), axis=1)


def _linear(chain: _Chain, layer: nn.Linear) -> None:
    chain.step("Gemm", chain.constant(_array(layer.weight).T), chain.constant(_array(layer.bias)))


def _silu(chain: _Chain, _: nn.SiLU) -> None:
    before = chain.last
    chain.node("Mul", before, chain.step("Sigmoid"))


def _pixels(chain: _Chain, layer: Pixels) -> None:
    shift, scale = _array(layer.level)
    missing = chain.step("IsNaN")
    chain.node("Where", missing, chain.constant(shift), "matrix")
    chain.step("Sub", chain.constant(shift))
    chain.step("Div", chain.constant(scale))
    height, width, channels = layer.size
    chain.reshape(-1, height * width, channels)
    chain.grid = (height, width)


def _convolution(chain: _Chain, layer: nn.Conv2d) -> None:
    weight = _array(layer.weight)  # (out, in, rows, columns)
    out, into, rows, columns = weight.shape
    height, width = chain.grid
    chain.step("Pad", chain.constant(np.array([0, 0, 0, 0, 1, 0])))  # one more pixel, black: what lies outside
    chain.gather(neighbours(height, width, rows, columns))
    chain.reshape(-1, height * width, rows * columns * into)
    chain.step("MatMul", chain.constant(weight.transpose(2, 3, 1, 0).reshape(-1, out)))
    if layer.bias is not None:
        chain.step("Add", chain.constant(_array(layer.bias)))


def _norm(chain: _Chain, layer: nn.BatchNorm2d) -> None:
    if layer.running_mean is None or layer.running_var is None:
        raise Incompatible("a norm that keeps no statistics has no graph form")
    slope = _array(layer.weight) / np.sqrt(_array(layer.running_var) + layer.eps)
    chain.step("Mul", chain.constant(slope))
    chain.step("Add", chain.constant(_array(layer.bias) - slope * _array(layer.running_mean)))


def _pool(chain: _Chain, layer: nn.MaxPool2d) -> None:
    size = layer.kernel_size
    if not isinstance(size, int) or layer.stride != size or layer.padding:
        raise Incompatible("a pooling with overlap or padding has no graph form")
    places = tiles(*chain.grid, size)
    chain.gather(places)
    chain.reshape(0, *places.shape, -1)
    chain.step("ReduceMax", axes=[2], keepdims=0)
    chain.grid = (chain.grid[0] // size, chain.grid[1] // size)


def _flatten(chain: _Chain, _: nn.Flatten) -> None:
    chain.step("Transpose", perm=[0, 2, 1])  # torch has the channels first
    chain.reshape(0, -1)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


def _nothing(chain: _Chain, _: nn.Module) -> None:
    """Dropout does nothing to an answer."""


def _single(kind: str) -> Callable[[_Chain, Any], None]:
    def write(chain: _Chain, _: Any) -> None:
        chain.step(kind)

    return write


_LAYERS: dict[type[nn.Module], Callable[[_Chain, Any], None]] = {
    nn.Linear: _linear,
    nn.ReLU: _single("Relu"),
    nn.Tanh: _single("Tanh"),
    nn.SiLU: _silu,
    nn.Dropout: _nothing,
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: _pool,
    nn.Flatten: _flatten,
    Pixels: _pixels,
}


def neighbours(height: int, width: int, rows: int, columns: int) -> Places:
    """Give, for each pixel, the places of the pixels under a kernel centred on it; outside is ``height · width``.

    Args:
        height: Of the image.
        width: Of the image.
        rows: Of the kernel; odd.
        columns: Of the kernel; odd.

    Returns:
        Shape ``(height · width, rows · columns)``.

    >>> neighbours(1, 3, 1, 3).tolist()
    [[3, 0, 1], [0, 1, 2], [1, 2, 3]]
    """
    places = np.full((height + rows - 1, width + columns - 1), height * width, dtype=np.int64)
    inner = places[rows // 2 : rows // 2 + height, columns // 2 : columns // 2 + width]
    inner[:] = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(places, (rows, columns))
    return windows.reshape(height * width, rows * columns)


def tiles(height: int, width: int, size: int) -> Places:
    """Give the places of the pixels in each whole tile; what is left over at the far rims is in none.

    Returns:
        Shape ``(tiles, size²)``.

    >>> tiles(2, 5, 2).tolist()
    [[0, 1, 5, 6], [2, 3, 7, 8]]
    """
    places = np.arange(height * width, dtype=np.int64).reshape(height, width)
    down, right = height // size, width // size
    whole = places[: down * size, : right * size].reshape(down, size, right, size)
    return whole.transpose(0, 2, 1, 3).reshape(down * right, size * size)
