"""A model's numbers in one file: named arrays without pickle, each checked before it is used.

A family says which arrays there must be, of what type and shape; whatever else a file holds makes it damaged.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken

LARGEST_BYTES = 2 * 2**30

Shape = tuple[int | None, ...]
"""None: any length, from 1."""


def write_arrays(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write named arrays, uncompressed."""
    np.savez(path, allow_pickle=False, **arrays)


def read_arrays(path: Path, expected: Mapping[str, tuple[type[np.generic], Shape]]) -> dict[str, npt.NDArray[Any]]:
    """Read what ``write_arrays`` wrote.

    Args:
        path: The file.
        expected: Every array that it must hold: its type and its shape.

    Raises:
        Broken: Absent, damaged, unreasonably large, other arrays than expected, or numbers that are not finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if sum(sizes.values()) > LARGEST_BYTES:
                raise Broken(f"{path} unpacks to more than {LARGEST_BYTES} bytes")
            if set(sizes) != {f"{name}.npy" for name in expected}:
                raise Broken(f"{path} holds {', '.join(sorted(sizes)) or 'nothing'}; expected {', '.join(expected)}")
            found = {name: _array(archive, name, sizes[f"{name}.npy"], *wanted) for name, wanted in expected.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, zlib.error) as error:
        raise Broken(f"{path} is not a readable set of arrays: {type(error).__name__}: {error}") from error
    for name, array in found.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Broken(f"{path} is damaged: {name} has values that are not finite")
    return found


def _array(archive: zipfile.ZipFile, name: str, size: int, kind: type[np.generic], shape: Shape) -> npt.NDArray[Any]:
    """Read one array, once its header says that it is the expected one and that its numbers are all there."""
    with archive.open(f"{name}.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} has a header of an unknown version")
        found, _, dtype = np.lib.format.read_array_header_1_0(stream)
        fits = dtype == np.dtype(kind) and len(found) == len(shape) and 0 not in found
        if not fits or any(want not in (None, length) for want, length in zip(shape, found, strict=True)):
            raise Broken(f"{archive.filename} does not fit the adapter: {name} is {dtype} of shape {found}")
        if stream.tell() + math.prod(found) * dtype.itemsize != size:
            raise ValueError(f"{name} has more or fewer numbers than its header says")
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
