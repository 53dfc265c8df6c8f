"""How many different keys there were, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

EXACT_KEYS = 4096


class DistinctKeys:
    """Count distinct keys: exactly below ``EXACT_KEYS``, within about 2% beyond.

    Keeps the smallest hashes; their density tells how many there are in all.

    Source:
        Bar-Yossef et al., *Counting distinct elements in a data stream* (RANDOM 2002), algorithm 1.

    >>> keys = DistinctKeys()
    >>> keys.add(["a", "b", "a"])
    >>> keys.count
    2
    """

    def __init__(self) -> None:
        self._smallest: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def add(self, keys: Iterable[str]) -> None:
        """See keys, again or for the first time."""
        self._merge(np.array([hash(key) & 0xFFFFFFFFFFFFFFFF for key in keys], dtype=np.uint64))

    def update(self, other: DistinctKeys) -> None:
        """See all keys that another one saw."""
        self._merge(other._smallest)

    @property
    def count(self) -> int:
        """Number of distinct keys seen."""
        if len(self._smallest) < EXACT_KEYS:
            return len(self._smallest)
        return round((EXACT_KEYS - 1) / (float(self._smallest[-1]) / 2**64))

    def _merge(self, hashes: npt.NDArray[np.uint64]) -> None:
        self._smallest = np.union1d(self._smallest, hashes)[:EXACT_KEYS]
