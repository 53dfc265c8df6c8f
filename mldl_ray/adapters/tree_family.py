"""What families of scikit-learn's trees share: they predict from arrays of ours, and keep those. Not here: growing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.graphs import sums_graph
from mldl_ray.adapters.links import Doubles, Link
from mldl_ray.adapters.tree_shap import TreeShap
from mldl_ray.adapters.trees import Trees

FILE = "trees.npz"


class TreesAdapter(BaseModelAdapter):
    """A family whose model is a sum of trees, once it is fitted."""

    _trees: Trees
    _shap: tuple[Trees, TreeShap] | None = None  # of the trees that it was made for

    def _raw(self, M: Matrix) -> Doubles:
        return self._trees.raw(M)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact, see ``tree_shap``."""
        if self._shap is None or self._shap[0] is not self._trees:
            self._shap = self._trees, TreeShap(self._trees)
        shap = self._shap[1]
        return shap.contributions(M), shap.base

    def _save(self, folder: Path) -> None:
        self._trees.write(folder / FILE)

    def _load(self, folder: Path) -> None:
        self._trees = Trees.read(folder / FILE, width=self.encoder.width, outputs=self.outputs)

    def graph(self) -> bytes:
        """Write the trees as a graph that gives the very same sums."""
        return sums_graph(self._trees, self.encoder.width)


class ProbabilityTreesAdapter(TreesAdapter):
    """Trees whose raw scores are already probabilities: the mean of what the leaves saw in training."""

    @property
    def link(self) -> Link:
        """Raw scores are probabilities, or values."""
        return "identity"

    @property
    def outputs(self) -> int:
        """Count the raw scores: one per class, also of two."""
        return len(self.classes) if self.task == "classification" else 1

    @property
    def _pair(self) -> bool:
        """Say whether there are two classes: then the trees hold the second's probability only."""
        return self.task == "classification" and len(self.classes) == 2

    def _raw(self, M: Matrix) -> Doubles:
        raw = self._trees.raw(M)
        return np.concatenate([1.0 - raw, raw], axis=1) if self._pair else raw

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        values, base = super()._contributions(M)
        if not self._pair:
            return values, base
        return np.concatenate([-values, values], axis=2), np.concatenate([1.0 - base, base])

    def _load(self, folder: Path) -> None:
        outputs = 1 if self._pair else self.outputs
        self._trees = Trees.read(folder / FILE, width=self.encoder.width, outputs=outputs)

    def graph(self) -> bytes:
        """Write the trees as a graph that gives the very same sums."""
        return sums_graph(self._trees, self.encoder.width, complement=self._pair)
