"""A model's numbers in one file: named arrays without pickle, each checked before it is used.

A family says which arrays there must be, of what type and shape; whatever else a file holds makes it damaged.
"""

from __future__ import annotations

import zipfile
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
    found = _read(path, expected)
    for name, (kind, shape) in expected.items():
        array = found[name]
        fits = array.dtype == np.dtype(kind) and array.ndim == len(shape) and array.size > 0
        if not fits or any(want not in (None, size) for want, size in zip(shape, array.shape, strict=True)):
            raise Broken(f"{path} does not fit the adapter: {name} is {array.dtype} of shape {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Broken(f"{path} is damaged: {name} has values that are not finite")
    return found


def _read(path: Path, expected: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:  # what it unpacks to is known before anything is
            if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
                raise Broken(f"{path} unpacks to more than {LARGEST_BYTES} bytes")
        with np.load(path, allow_pickle=False) as stored:
            if set(stored.files) != set(expected):
                raise Broken(f"{path} holds {', '.join(sorted(stored.files))}; expected {', '.join(sorted(expected))}")
            return {name: np.asarray(stored[name]) for name in expected}  # a member that is no array comes as bytes
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise Broken(f"{path} is not a readable set of arrays: {type(error).__name__}: {error}") from error
