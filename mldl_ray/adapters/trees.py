"""Decision trees as plain arrays: what every family of trees but ``xgb`` predicts from, and keeps on disk.

Not here: how scikit-learn's trees become these (``grown``), and what is made of these (``graphs``, ``tree_shap``).

A leaf's value is a whole number of a small unit that is a power of two. Whole numbers add up to the same sum in any
order and, in two parts of 24 bits, in single precision too. So a graph gives the native answer bit for bit, which no
sum of rounded fractions does; and it is off from scikit-learn's sum in double precision by less than 1e-9 of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.links import Doubles

Array = npt.NDArray[Any]

PLACES = 2**17
"""Rows × trees that are followed at a time: as many as stay in a processor's cache."""
_BITS = 24  # of a whole number in single precision
_LARGEST = 2**50

_KINDS: dict[str, type[np.generic]] = {
    "starts": np.int64,
    "child": np.int32,
    "place": np.int32,
    "at_most": np.float32,
    "missing_left": np.uint8,
    "cover": np.float32,
    "leaves": np.int64,
    "targets": np.int32,
    "base": np.float64,
    "scales": np.int64,
}


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose sums, each divided by ``divisor``, are a model's raw scores.

    The nodes of a tree lie together, its root first and every node before its children; a left child is followed by
    the right one, and a row goes left when ``M[row, place] <= at_most``, or when it is missing and ``missing_left``.
    """

    starts: Array  # (trees,): where each tree's root is
    child: Array  # (nodes,): the left child; 0 for a leaf
    place: Array  # (nodes,): the matrix column asked about; for a leaf, its row in ``leaves``
    at_most: Array  # (nodes,)
    missing_left: Array  # (nodes,): 0 or 1
    cover: Array  # (nodes,): weight of the training rows that came by
    leaves: Array  # (leaves, columns): values in units of 2 ** exponent
    targets: Array  # (trees,): the output that the first column of its leaves adds to
    base: Doubles  # (outputs,): what the sums start from
    scales: Array  # exponent of the unit, how many units are one of the coarser part, and the divisor

    @classmethod
    def of(cls, values: Doubles, *, divisor: int = 1, **arrays: Array) -> Self:
        """Build from leaf values as doubles, ``(leaves, columns)``, and the other arrays."""
        starts, place, leaf = arrays["starts"], arrays["place"], arrays["child"] == 0
        largest = np.zeros(len(place))
        largest[leaf] = np.abs(values[place[leaf]]).max(axis=1)
        total = float(np.maximum.reduceat(largest, starts).sum())  # no sum of one leaf per tree is larger
        coarse = math.ceil(math.log2(total)) - (_BITS - 1) if total else 0
        finer = max(0, _BITS - math.ceil(math.log2(len(starts))))
        units = np.rint(np.ldexp(values, finer - coarse)).astype(np.int64)
        return cls(leaves=units, scales=np.array([coarse - finer, 1 << finer, divisor]), **arrays)

    @property
    def columns(self) -> int:
        """Count the values of a leaf."""
        return int(self.leaves.shape[1])

    @property
    def unit(self) -> float:
        """Give what a leaf's values are multiples of."""
        return math.ldexp(1.0, int(self.scales[0]))

    @property
    def finer(self) -> int:
        """Give how many units are one of the coarser part: ``leaves = coarser · finer + rest``."""
        return int(self.scales[1])

    @property
    def divisor(self) -> int:
        """Give what sums are divided by: 1, or the number of trees for their mean."""
        return int(self.scales[2])

    @cached_property
    def values(self) -> Doubles:
        """Give the leaf values as doubles; shape ``(leaves, columns)``."""
        return self.leaves * self.unit

    @cached_property
    def ends(self) -> Array:
        """Give where each tree ends."""
        return np.append(self.starts[1:], len(self.child))

    def raw(self, M: Matrix) -> Doubles:
        """Give the sums over all trees; shape ``(rows, outputs)``."""
        sums = np.zeros((len(M), len(self.base)), dtype=np.int64)
        gaps = bool(np.isnan(M).any())
        together = max(1, min(len(self.starts), PLACES // max(1, len(M))))
        for first in range(0, len(self.starts), together):
            trees = slice(first, first + together)
            leaves = self.leaves[self.place[self._follow(M, self.starts[trees], gaps=gaps)]]  # rows × trees × columns
            self._add(sums, leaves, self.targets[trees])
        return (sums * self.unit + self.base) / self.divisor

    def _add(self, sums: Array, leaves: Array, targets: Array) -> None:
        if len(self.base) == self.columns:
            sums += leaves.sum(axis=1)
            return
        for target in np.unique(targets):
            sums[:, target : target + self.columns] += leaves[:, targets == target].sum(axis=1)

    def _follow(self, M: Matrix, roots: Array, *, gaps: bool) -> Array:
        """Give the leaf that each row reaches in each tree; shape ``(rows, trees)``."""
        nodes = np.tile(roots, len(M))
        flat, width = np.ascontiguousarray(M).reshape(-1), M.shape[1]
        row = np.repeat(np.arange(len(M)) * width, len(roots))
        walking = np.flatnonzero(self.child[nodes])
        while len(walking):
            now = nodes[walking]
            value = flat[row[walking] + self.place[now]]
            left = value <= self.at_most[now]
            if gaps:
                left |= np.isnan(value) & (self.missing_left[now] == 1)
            now = self.child[now] + ~left
            nodes[walking] = now
            walking = walking[self.child[now] > 0]
        return nodes.reshape(len(M), len(roots))

    # Files

    def write(self, path: Path) -> None:
        """Write everything as arrays."""
        write_arrays(path, **{name: getattr(self, name) for name in _KINDS})

    @classmethod
    def read(cls, path: Path, *, width: int, outputs: int) -> Self:
        """Read what ``write`` wrote.

        Args:
            path: The file.
            width: Columns of the matrix.
            outputs: Raw scores of a row.

        Raises:
            Broken: Absent, damaged, or holding what are no trees over these columns.
        """
        shapes: dict[str, tuple[int | None, ...]] = dict.fromkeys(_KINDS, (None,))
        shapes |= {"leaves": (None, None), "base": (outputs,), "scales": (3,)}
        trees = cls(**read_arrays(path, {name: (kind, shapes[name]) for name, kind in _KINDS.items()}))
        if objection := trees._objection(width):
            raise Broken(f"{path} holds trees that are none: {objection}")
        return trees

    def _objection(self, width: int) -> str | None:
        """Say what is wrong; a walk follows any number that a file names."""
        nodes, trees = len(self.child), len(self.starts)
        if len(self.targets) != trees or any(len(getattr(self, n)) != nodes for n in _KINDS if n in _PER_NODE):
            return "its arrays do not belong together"
        if self.starts[0] != 0 or (self.ends - self.starts < 1).any():
            return "a tree has no nodes"
        inner = np.flatnonzero(self.child)
        left = self.child[inner].astype(np.int64)
        end = np.repeat(self.ends, self.ends - self.starts)[inner]
        children = np.sort(np.concatenate([left, left + 1]))
        if (left <= inner).any() or (left + 1 >= end).any():
            return "a child is not among the nodes that follow"
        if not np.array_equal(children, np.setdiff1d(np.arange(nodes), self.starts)):
            return "a node has two parents, or none"
        return self._wrong_numbers(width, inner)

    def _wrong_numbers(self, width: int, inner: Array) -> str | None:
        most, (exponent, finer, divisor) = np.full(len(self.child), len(self.leaves)), self.scales.tolist()
        most[inner] = width
        if (self.place < 0).any() or (self.place >= most).any():
            return "it splits on a column that the encoder does not give, or ends in a leaf that is not there"
        if (self.targets < 0).any() or (self.targets > len(self.base) - self.columns).any():
            return "a tree adds to an output that is not there"
        if np.abs(self.leaves.astype(np.float64)).max() * len(self.starts) > _LARGEST or not -1000 < exponent < 900:
            return "its leaves are out of range"
        if finer < 1 or divisor < 1:
            return "its scales are out of range"
        return None if (self.cover > 0).all() else "a node was passed by nothing"


_PER_NODE = ("place", "at_most", "missing_left", "cover")
