"""Fewer columns that keep most of the variance (``pca``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.spaces import LinearSpaceAdapter, scale_setting

FILE = "components.npz"
_LEAST = 1e-12  # share of the variance below which a component is rounding, and whitening would blow it up


class PCAAdapter(LinearSpaceAdapter):
    """Principal components: orthogonal directions, each with the most of the variance that is left.

    ``n_components`` 0 takes as many as hold ``variance_share`` of the variance. There is no default search: more
    components always keep more.
    """

    family: ClassVar[str] = "pca"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"dimension_reduction"}), style="scaled", probabilities=False, sample_weight=False
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam("n_components", "int", 2, low=0),
        Hyperparam("variance_share", "float", 0.95, low=0.0, high=1.0, above=True),
        Hyperparam("whiten", "bool", False),
        scale_setting("unit"),
    )

    @property
    def outputs(self) -> int:
        """Count the components."""
        return len(self._components)

    @property
    def variance_shares(self) -> Doubles:
        """Give the share of the training rows' variance that each component holds."""
        return self._shares

    def inverse(self, raw: npt.ArrayLike) -> Matrix:
        """Give the encoded rows that coordinates stand for, as far as the components know; shape ``(n, width)``.

        Raises:
            Incompatible: Not one coordinate per component.
        """
        self._check_fitted()
        coordinates = np.asarray(raw, dtype=np.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != self.outputs:
            raise Incompatible(f"expected coordinates of shape (n, {self.outputs}), got {coordinates.shape}")
        points = coordinates * self._lengths @ self._components + self._mean
        varies = self._weights > 0
        found: Doubles = np.tile(self.encoder.centre, (len(points), 1))  # a column that never varied has one value
        np.divide(points, self._weights, out=found, where=varies)
        return found

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from sklearn.decomposition import PCA  # noqa: PLC0415  # scikit-learn loads when first used

        points, most, wanted = self._enter(M), min(M.shape), self.hyperparams["n_components"]
        if wanted > most:
            raise Incompatible(
                f"pca is to keep n_components={wanted} of {M.shape[0]} rows and {M.shape[1]} encoded columns; "
                f"at most {most} exist",
                {"n_components": wanted, "most": most},
            )
        if not np.ptp(points, axis=0).any():
            raise Incompatible("no column varies in the training rows, so there is nothing to reduce")
        model = PCA(wanted or None, svd_solver="full").fit(points)
        shares = model.explained_variance_ratio_
        kept = wanted or self._enough(shares)
        real = shares[:kept] > _LEAST
        lengths = np.sqrt(model.explained_variance_[:kept], where=real, out=np.ones(kept))
        self._components, self._mean = model.components_[:kept].copy(), model.mean_
        self._lengths = lengths if self.hyperparams["whiten"] else np.ones(kept)
        self._shares = np.asarray(shares[:kept], dtype=np.float64)

    def _enough(self, shares: Doubles) -> int:
        """Count the components that hold the wanted share, a rounding error aside."""
        return int(np.searchsorted(shares.cumsum(), self.hyperparams["variance_share"] - _LEAST)) + 1

    def _linear(self) -> tuple[Doubles, Doubles]:
        turned = self._components / self._lengths[:, None]
        return turned * self._weights, -(turned @ self._mean)

    def _save(self, folder: Path) -> None:
        write_arrays(
            folder / FILE,
            components=self._components,
            mean=self._mean,
            lengths=self._lengths,
            shares=self._shares,
            weights=self._weights,
        )

    def _load(self, folder: Path) -> None:
        width, wanted = self.encoder.width, self.hyperparams["n_components"] or None
        found = read_arrays(
            folder / FILE,
            {
                "components": (np.float64, (wanted, width)),
                "mean": (np.float64, (width,)),
                "lengths": (np.float64, (wanted,)),
                "shares": (np.float64, (wanted,)),
                "weights": (np.float64, (width,)),
            },
        )
        if len({len(found[name]) for name in ("components", "lengths", "shares")}) != 1:
            raise Broken(f"{folder / FILE} is damaged: its components, lengths and shares differ in number")
        self._components, self._mean, self._lengths = found["components"], found["mean"], found["lengths"]
        self._shares, self._weights = found["shares"], found["weights"]
