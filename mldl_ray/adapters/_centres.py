"""Clusters around centres (``kmeans``)."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.spaces import LinearSpaceAdapter, by_size, scale_setting

log = logging.getLogger(__name__)

FILE = "centres.npz"


class KMeansAdapter(LinearSpaceAdapter):
    """k-means: a row belongs to the nearest centre. Clusters are numbered from the largest, 0, to the smallest.

    A raw score is the squared length of the row minus its squared distance from the centre, which is linear in the row:
    2·x·c − |c|². The nearest centre has the largest.
    """

    family: ClassVar[str] = "kmeans"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"clustering"}), style="scaled", probabilities=False
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "n_clusters",
            "int",
            8,
            low=2,
            high=1000,
            aliases=("k",),
            search=SearchDimension(kind="int", low=2, high=12),
            grid=(2, 3, 4, 5, 6, 8, 10, 12),
        ),
        scale_setting("range"),
        Hyperparam("n_init", "int", 10, low=1, high=1000),
        Hyperparam("init", "choice", "k-means++", choices=("k-means++", "random")),
        Hyperparam("max_iter", "int", 300, low=1),
        Hyperparam("tol", "float", 1e-4, low=0.0),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from sklearn.cluster import KMeans  # noqa: PLC0415  # scikit-learn loads when first used
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

        enough_rows(self.family, len(M), self.hyperparams["n_clusters"])
        points = self._enter(M)
        settings = {name: value for name, value in self.hyperparams.items() if name != "scale"}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ConvergenceWarning)
            model = KMeans(**settings, random_state=self.seed).fit(points, sample_weight=weights)
        for warning in caught:
            log.warning("kmeans of %s: %s", self.model_key, str(warning.message).splitlines()[0])
        self._centres = model.cluster_centers_[by_size(model.labels_)]  # a centre that no row is nearest to is left out
        self.classes = list(range(len(self._centres)))

    def _linear(self) -> tuple[Doubles, Doubles]:
        return 2 * self._centres * self._weights, -(self._centres**2).sum(axis=1)

    def _save(self, folder: Path) -> None:
        write_arrays(folder / FILE, centres=self._centres, weights=self._weights)

    def _load(self, folder: Path) -> None:
        width = self.encoder.width
        if self.classes != list(range(len(self.classes))):
            raise Broken(f"{folder} names clusters that are not numbered from 0")
        found = read_arrays(
            folder / FILE,
            {"centres": (np.float64, (len(self.classes), width)), "weights": (np.float64, (width,))},
        )
        self._centres, self._weights = found["centres"], found["weights"]


def enough_rows(family: str, rows: int, clusters: int) -> None:
    """Refuse fewer rows than clusters.

    Raises:
        Incompatible: There are.
    """
    if rows < clusters:
        raise Incompatible(
            f"{family} is to find n_clusters={clusters} in {rows} rows; give more rows or fewer clusters",
            {"rows": rows, "n_clusters": clusters},
        )
