"""A network's weights on disk: safetensors, which hold numbers and nothing that runs. Read with suspicion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch
from torch import Tensor, nn

from contracts.errors import Broken

Arrays = dict[str, npt.NDArray[np.generic]]

MOST_HEADER_BYTES = 2**20
_NETWORK = "network."


def write_weights(path: Path, network: nn.Module, extra: Arrays) -> None:
    """Write a network in single precision, in which it was trained, and arrays that belong to it."""
    arrays = {_NETWORK + name: _stored(tensor) for name, tensor in network.state_dict().items()}
    plain = {name: np.array(array, order="C") for name, array in extra.items()}  # it writes memory as it lies
    safetensors.numpy.save_file(arrays | plain, path)


def read_weights(path: Path, network: nn.Module, extra: Arrays) -> Arrays:
    """Fill a freshly built network from a file.

    Args:
        path: What ``write_weights`` wrote.
        network: Of the architecture that the adapter's settings give; changed in place.
        extra: Arrays of the names, shapes and types that must be there too.

    Returns:
        The extra arrays.

    Raises:
        Broken: Absent, damaged, too large, or other names, shapes, types than expected; or values that are not finite.
    """
    expected = {_NETWORK + name: _stored(tensor) for name, tensor in network.state_dict().items()} | extra
    found = _read(path, sum(array.nbytes for array in expected.values()) + MOST_HEADER_BYTES)
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise Broken(f"{path} does not hold this network: {', '.join(odd[:5])} missing or unknown")
    for name, array in expected.items():
        _check(path, name, found[name], array)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.from_numpy(found[_NETWORK + name].copy()))
    return {name: found[name] for name in extra}


def _stored(tensor: Tensor) -> npt.NDArray[np.generic]:
    plain = tensor.detach().cpu()
    return np.array((plain.float() if plain.is_floating_point() else plain).numpy(), order="C")


def _read(path: Path, most_bytes: int) -> Arrays:
    try:
        if path.stat().st_size > most_bytes:
            raise Broken(f"{path} is larger than {most_bytes} bytes, more than this network can have")
        return dict(safetensors.numpy.load(path.read_bytes()))
    except OSError as error:
        raise Broken(f"{path} cannot be read: {error.strerror}") from error
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Broken(f"{path} holds no readable weights: {type(error).__name__}: {error}") from error


def _check(path: Path, name: str, found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise Broken(
            f"{path}: {name} is {found.dtype} {found.shape}; this network has {expected.dtype} {expected.shape}"
        )
    if not np.isfinite(found.astype(np.float64)).all():
        raise Broken(f"{path}: {name} has values that are not finite")
