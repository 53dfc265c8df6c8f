"""Clusters known by their rows: a hierarchy that is cut (``agglo``), and dense regions (``dbscan``).

Neither method says anything about rows that it has not seen. Here a new row joins the cluster of the nearest stored
row, ``agglo`` always, ``dbscan`` when that row lies within ``eps``; so a stored row is answered with its own cluster.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters._centres import enough_rows
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.nearest_graph import nearest_graph
from mldl_ray.adapters.spaces import SpaceAdapter, by_size, scale_setting

log = logging.getLogger(__name__)

FILE = "rows.npz"
NOISE = -1
"""The class of rows that are near no cluster."""
FARTHEST = 1e100
"""Encoded values are held within this on both sides, so that their squares stay finite."""
_SAME = 1e-6  # of the rows' size: rows so near are the same row
_ROUNDING = 1e-14  # of squared distances, beside the squared lengths that they are the difference of
_CELLS = 4_000_000  # of rows × stored rows at once: 32 MB


class NearestAdapter(SpaceAdapter):
    """A family that keeps labelled rows. A raw score of a cluster is |x|² − d², d to its nearest stored row.

    |x|² is the same for all and makes the score a maximum of linear functions, 2·x·p − |p|². Noise, where there is a
    radius, has |x|² − radius².
    """

    _stored: Doubles  # as points, cluster by cluster
    _starts: npt.NDArray[np.int64]  # where each cluster begins
    _radius: float = 0.0  # what is farther than this from all stored rows is noise; 0: nothing is

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        most = self.hyperparams["max_rows"]
        if len(M) > most:
            log.warning("%s of %s learns from %d of %d rows, drawn with seed %d: it needs the distances of all pairs",
                        self.family, self.model_key, most, len(M), self.seed)  # fmt: skip
            drawn = np.sort(np.random.default_rng(self.seed).choice(len(M), most, replace=False))
            M, weights = M[drawn], None if weights is None else weights[drawn]
        points = self._enter(M)
        labels = self._cluster(points, weights)
        order = by_size(labels)
        groups = [points[labels == label] for label in order]
        self._keep(np.concatenate(groups), np.cumsum([0, *map(len, groups[:-1])], dtype=np.int64))
        self.classes = self._names(len(groups))

    @abstractmethod
    def _cluster(self, points: Doubles, weights: Doubles | None) -> npt.NDArray[Any]:
        """Give the cluster of each row that is to be stored, and a negative number for one that is not."""

    def _keep(self, stored: Doubles, starts: npt.NDArray[np.int64]) -> None:
        self._stored, self._starts = stored, starts
        self._slopes, self._lengths = 2 * stored.T, (stored**2).sum(axis=1)  # once, and not for every row asked about

    def _names(self, clusters: int) -> list[int]:
        return [*range(clusters), *([NOISE] if self._radius else [])]

    def _place(self, M: Matrix) -> Doubles:
        return np.asarray(np.clip(M, -FARTHEST, FARTHEST) * self._weights, dtype=np.float64)

    def _raw(self, M: Matrix) -> Doubles:
        points = self._place(M)
        raw = np.empty((len(M), len(self._starts)))
        step = max(1, _CELLS // len(self._stored))
        for i in range(0, len(M), step):
            near = points[i : i + step] @ self._slopes - self._lengths
            raw[i : i + step] = np.maximum.reduceat(near, self._starts, axis=1)
        if not self._radius:
            return raw
        return np.hstack([raw, (points**2).sum(axis=1, keepdims=True) - self._radius**2])

    def _save(self, folder: Path) -> None:
        radius = np.array([self._radius])
        write_arrays(folder / FILE, stored=self._stored, starts=self._starts, weights=self._weights, radius=radius)

    def _load(self, folder: Path) -> None:
        width = self.encoder.width
        found = read_arrays(
            folder / FILE,
            {
                "stored": (np.float64, (None, width)),
                "starts": (np.int64, (None,)),
                "weights": (np.float64, (width,)),
                "radius": (np.float64, (1,)),
            },
        )
        starts, self._radius = found["starts"], float(found["radius"][0])
        if starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= len(found["stored"]):
            raise Broken(f"{folder / FILE} is damaged: its clusters do not divide its rows")
        if not 0 <= self._radius <= FARTHEST or self.classes != self._names(len(starts)):
            raise Broken(f"{folder / FILE} has {len(starts)} clusters; the adapter names {self.classes}")
        self._keep(found["stored"], starts)
        self._weights = found["weights"]

    def graph(self) -> bytes:
        """Write the scores as a graph in double precision.

        Raises:
            Incompatible: There are very many clusters.
        """
        return nearest_graph(self._stored, self._starts, self._weights, FARTHEST, self._radius)


class AgglomerativeAdapter(NearestAdapter):
    """Hierarchical clusters, cut where ``n_clusters`` are left. Beyond ``max_rows`` it learns from a random part.

    A new row joins the cluster of the nearest training row; training rows keep theirs. Clusters are numbered from the
    largest, 0, to the smallest.
    """

    family: ClassVar[str] = "agglo"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"clustering"}), style="scaled", probabilities=False, explain="sampled", sample_weight=False
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
        Hyperparam(
            "linkage",
            "choice",
            "ward",
            choices=("ward", "average", "complete", "single"),
            search=SearchDimension(kind="categorical", choices=("ward", "average", "complete")),
            grid=("ward", "average"),
        ),
        scale_setting("range"),
        Hyperparam("max_rows", "int", 5000, low=2, high=20_000),
    )

    def _cluster(self, points: Doubles, weights: Doubles | None) -> npt.NDArray[Any]:
        from sklearn.cluster import AgglomerativeClustering  # noqa: PLC0415  # scikit-learn loads when first used

        count, linkage = self.hyperparams["n_clusters"], self.hyperparams["linkage"]
        enough_rows(self.family, len(points), count)
        return np.asarray(AgglomerativeClustering(count, linkage=linkage).fit(points).labels_)


class DBSCANAdapter(NearestAdapter):
    """Dense regions: rows with ``min_samples`` rows (themselves too) within ``eps`` are cores, and near cores are one.

    A new row joins the cluster of the nearest core when that is within ``eps``, and is noise, −1, otherwise. Training
    rows keep what they got; only a row at the edge of two regions may change to the nearer one. ``eps`` 0 is taken from
    the data: the distance within which all rows but ``noise_share`` of them have ``min_samples`` rows. Beyond
    ``max_rows`` it learns from a random part, and densities are those of the part.

    Source:
        Ester, Kriegel, Sander & Xu (KDD 1996); the choice of eps is theirs, by the sorted k-dist graph.
    """

    family: ClassVar[str] = "dbscan"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"clustering"}), style="scaled", probabilities=False, explain="sampled"
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam("eps", "float", 0.0, low=0.0, high=FARTHEST),
        Hyperparam(
            "noise_share",
            "float",
            0.1,
            low=0.0,
            high=0.9,
            search=SearchDimension(kind="float", low=0.01, high=0.4),
            grid=(0.02, 0.05, 0.1, 0.2, 0.3),
        ),
        Hyperparam(
            "min_samples",
            "int",
            5,
            low=1,
            search=SearchDimension(kind="int", low=3, high=20),
            grid=(4, 8, 16),
        ),
        scale_setting("range"),
        Hyperparam("max_rows", "int", 5000, low=2, high=20_000),
    )

    @property
    def eps(self) -> float:
        """How near is near, in the space of the model; what was given, or was taken from the data."""
        self._check_fitted()
        return self._radius

    def _cluster(self, points: Doubles, weights: Doubles | None) -> npt.NDArray[Any]:
        from sklearn.cluster import DBSCAN  # noqa: PLC0415  # scikit-learn loads when first used

        fewest = self.hyperparams["min_samples"]
        self._radius = self.hyperparams["eps"] or self._eps_of(points, fewest)
        model = DBSCAN(eps=self._radius, min_samples=fewest).fit(points, sample_weight=weights)
        if len(model.core_sample_indices_) == 0:
            raise Incompatible(
                f"dbscan finds no cluster: no row has min_samples={fewest} rows within eps={self._radius:.4g} "
                f"(scale {self.hyperparams['scale']!r}); raise eps or lower min_samples, or give eps=0 to take it from "
                "the data",
                {"eps": self._radius, "min_samples": fewest},
            )
        if self._radius**2 < _ROUNDING * float((points**2).sum(axis=1).max()):
            raise Incompatible(
                f"eps={self._radius:.4g} is too small to be seen beside values as large as these in double precision; "
                "raise it, or use scale 'range'",
                {"eps": self._radius},
            )
        labels = np.full(len(points), NOISE)
        labels[model.core_sample_indices_] = model.labels_[model.core_sample_indices_]
        return labels

    def _eps_of(self, points: Doubles, fewest: int) -> float:
        from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415  # as above

        enough_rows_near(len(points), fewest)
        reach = NearestNeighbors(n_neighbors=fewest).fit(points).kneighbors(points)[0][:, -1]
        eps = float(np.quantile(reach, 1 - self.hyperparams["noise_share"], method="higher"))
        if eps > 0:
            return eps
        if reach.any():
            return float(reach[reach > 0].min())  # most rows repeat: what tells any apart
        return _SAME * (float(np.linalg.norm(points, axis=1).max()) or 1.0)


def enough_rows_near(rows: int, fewest: int) -> None:
    """Refuse fewer rows than a core needs.

    Raises:
        Incompatible: There are.
    """
    if rows < fewest:
        raise Incompatible(
            f"dbscan needs min_samples={fewest} rows near each other and there are {rows}; give more rows or lower it",
            {"rows": rows, "min_samples": fewest},
        )
