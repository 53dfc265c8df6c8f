"""Policies that are small networks: as arrays that answer in double precision, as safetensors, and as an ONNX graph.

Training is in the families' modules and needs torch; what is here needs numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from contracts.specs import SearchDimension
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.environments import STATE, Environment
from mldl_ray.adapters.graphs import serialise
from mldl_ray.adapters.hyperparams import Hyperparam

if TYPE_CHECKING:
    from torch import nn

FILE = "policy.safetensors"
MOST_HEADER_BYTES = 2**20
MOST_STATES = 10_000
NETWORK = (
    Hyperparam("hidden_units", "int", 64, low=1, high=4096, grid=(64, 128)),
    Hyperparam("hidden_layers", "int", 2, low=1, high=16),
    Hyperparam(
        "learning_rate",
        "float",
        1e-3,
        low=0.0,
        high=1.0,
        above=True,
        aliases=("lr",),
        search=SearchDimension(kind="float", low=1e-4, high=5e-3, log=True),
    ),
)
"""Settings of every network that is a policy."""

Activation = Literal["relu", "tanh"]
Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class ActionNetwork:
    """Layers of weights ``(outputs, inputs)`` and biases, with an activation between them.

    ``states`` is None for a box of numbers. Else the one column is the number of a state, and the first layer takes
    one input per state, set for the state at hand; a number that is no state sets none.
    """

    layers: tuple[tuple[Array, Array], ...]
    activation: Activation
    states: int | None

    @classmethod
    def of(cls, network: nn.Sequential, activation: Activation, states: int | None) -> Self:
        """See a torch network as arrays that share its memory, and so change as it learns."""
        found = [parameter.detach().numpy() for parameter in network.parameters()]
        return cls(tuple(zip(found[::2], found[1::2], strict=True)), activation, states)

    def fixed(self) -> ActionNetwork:
        """Copy it in double precision: the same numbers, which further learning does not change."""
        layers = tuple((weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in self.layers)
        return ActionNetwork(layers, self.activation, self.states)

    @property
    def shape(self) -> tuple[int, int]:
        """Count the columns that it takes and the actions that it values."""
        return 1 if self.states else self.layers[0][0].shape[1], len(self.layers[-1][1])

    def inputs(self, M: Array) -> Array:
        """Give what the first layer takes for some rows."""
        if self.states is None:
            return M
        found: Array = (np.arange(self.states) == M).astype(self.layers[0][0].dtype)
        return found

    def values(self, M: Array) -> Any:
        """Value every action for every row; shape ``(n, actions)``."""
        x = self.inputs(M)
        for weight, bias in self.layers[:-1]:
            x = x @ weight.T + bias
            x = np.maximum(x, 0) if self.activation == "relu" else np.tanh(x)
        weight, bias = self.layers[-1]
        return x @ weight.T + bias

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` in single precision, in which it was trained."""
        from safetensors.numpy import save_file  # noqa: PLC0415  # optional: its absence must not break an import

        named = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in self._named()}
        save_file(named, folder / FILE)

    def _named(self) -> Iterator[tuple[str, Array]]:
        for i, (weight, bias) in enumerate(self.layers):
            yield f"{i}.weight", weight
            yield f"{i}.bias", bias

    @classmethod
    def read(cls, folder: Path, widths: Sequence[int | None], activation: Activation) -> Self:
        """Read what ``save`` wrote.

        Args:
            folder: Where.
            widths: Of the input (None: one per state, as many as there are), the hidden layers and the output.
            activation: Between the layers.

        Raises:
            Broken: Absent, damaged, too large, or other names, types or shapes; or numbers that are not finite.
        """
        path = folder / FILE
        found = _tensors(path, widths)
        layers = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            weight, bias = (found.pop(f"{i}.{part}", np.zeros(0)) for part in ("weight", "bias"))
            fits = weight.ndim == 2 and inputs in (None, weight.shape[1]) and weight.shape[0] == outputs
            if not fits or bias.shape != (outputs,) or weight.dtype != np.float32 or bias.dtype != np.float32:
                raise Broken(f"{path} does not hold this network: layer {i} is {weight.shape} and {bias.shape}")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise Broken(f"{path} is damaged: layer {i} has numbers that are not finite")
            layers.append((weight.astype(np.float64), bias.astype(np.float64)))
        if found:
            raise Broken(f"{path} does not hold this network: {', '.join(sorted(found)[:5])} are unknown")
        return cls(tuple(layers), activation, layers[0][0].shape[1] if widths[0] is None else None)

    def graph(self) -> bytes:
        """Write it as an ONNX graph in double precision."""
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  # only compiling needs it; it loads slowly

        initial = [numpy_helper.from_array(array.astype(np.float64), name) for name, array in self._named()]
        nodes, last = [], "matrix"
        if self.states is not None:
            initial.append(numpy_helper.from_array(np.arange(self.states, dtype=np.float64), "states"))
            nodes.append(helper.make_node("Equal", [last, "states"], ["is_state"]))
            nodes.append(helper.make_node("Cast", ["is_state"], ["inputs"], to=TensorProto.DOUBLE))
            last = "inputs"
        for i in range(len(self.layers)):
            final = i == len(self.layers) - 1
            nodes.append(helper.make_node("Gemm", [last, f"{i}.weight", f"{i}.bias"],
                                          ["raw" if final else f"{i}.sum"], transB=1))  # fmt: skip
            if not final:
                last = f"{i}.output"
                nodes.append(helper.make_node(self.activation.capitalize(), [f"{i}.sum"], [last]))
        return serialise(nodes, *self.shape, TensorProto.DOUBLE, initial)


def read_network(policy: BaseModelAdapter, folder: Path, activation: Activation) -> ActionNetwork:
    """Read the network that an adapter's settings, columns and actions call for.

    Raises:
        Broken: As ``ActionNetwork.read``.
    """
    inputs = None if policy.schema.names == STATE else policy.encoder.width
    return ActionNetwork.read(folder, widths_of(policy.hyperparams, inputs, len(policy.classes)), activation)


def widths_of(settings: dict[str, Any], inputs: int | None, outputs: int) -> list[int | None]:
    """List the widths of a policy's network from its input to its output.

    >>> widths_of({"hidden_units": 8, "hidden_layers": 2}, 4, 2)
    [4, 8, 8, 2]
    """
    return [inputs, *[settings["hidden_units"]] * settings["hidden_layers"], outputs]


def inputs_of(environment: Environment) -> int:
    """Count what the first layer takes.

    Raises:
        Incompatible: The environment has very many states.
    """
    if environment.states is not None and environment.states > MOST_STATES:
        raise Incompatible(
            f"environment {environment.name!r} has {environment.states} states; a network takes at most {MOST_STATES}"
        )
    return environment.states or len(environment.columns)


def new_network(widths: Sequence[int | None], activation: Activation, seed: int) -> nn.Sequential:
    """Make a torch network with weights drawn by a seed; torch's own state of chance is left as it was."""
    import torch  # noqa: PLC0415  # optional, and slow to load
    from torch import nn  # noqa: PLC0415  # as above

    parts: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in pairwise(widths):
            assert inputs and outputs  # a network to be made has all of its widths
            parts += [nn.Linear(inputs, outputs), nn.ReLU() if activation == "relu" else nn.Tanh()]
    return nn.Sequential(*parts[:-1])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread: such networks are too small for more, and its sums come out the same."""
    import torch  # noqa: PLC0415  # as above

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensors(path: Path, widths: Sequence[int | None]) -> dict[str, Array]:
    import safetensors  # noqa: PLC0415  # optional: its absence must not break an import
    from safetensors.numpy import load  # noqa: PLC0415  # as above

    sizes = [width or MOST_STATES for width in widths]
    numbers = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    most = 4 * numbers + MOST_HEADER_BYTES
    try:
        if path.stat().st_size > most:
            raise Broken(f"{path} is larger than {most} bytes, more than this network can have")
        return dict(load(path.read_bytes()))
    except OSError as error:
        raise Broken(f"{path} cannot be read: {error.strerror}") from error
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Broken(f"{path} holds no readable weights: {type(error).__name__}: {error}") from error
