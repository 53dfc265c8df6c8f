"""The space in which rows are near or far: what families without a target share. Not here: any model of those rows.

A space weighs the encoder's columns, no more, so a distance stays a sum over columns and a linear model stays linear.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder, Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles

SCALES = ("range", "unit", "none")


def scale_setting(default: str) -> Hyperparam:
    """Make the setting that says what one unit of distance is along a column."""
    return Hyperparam("scale", "choice", default, choices=SCALES)


def column_weights(M: Matrix, encoder: Encoder, scale: str) -> Doubles:
    """Give what each encoded column is multiplied by before distances are taken.

    ``range``: a column's whole range in training is 1, and so is another category; pixels and ages alike are fair, and
    a rare outlier does not blow a quiet column up. ``unit``: numbers have unit deviation. ``none``: numbers stay in
    their own units. A column that does not vary in training weighs nothing.

    Source:
        Milligan & Cooper, "A study of standardization of variables in cluster analysis" (J. Classification, 1988):
        of eight ways, dividing by the range recovers clusters best. Half per dummy column: Gower (Biometrics, 1971).
    """
    spread = np.ptp(M, axis=0).astype(np.float64)
    left = len(encoder.numbers)
    weights = np.ones(M.shape[1])
    if scale == "range":
        np.divide(1.0, spread, out=weights, where=spread > 0)
        weights[left:] = np.sqrt(0.5)  # rows of two categories differ in two dummy columns
    elif scale == "none":
        weights[:left] = encoder.scale
    weights[spread == 0] = 0.0
    return weights


def by_size(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """List clusters from the largest to the smallest; of equal ones the lower number first. Negative ones are none.

    >>> by_size(np.array([2, 0, 0, 2, 2, -1, 1])).tolist()
    [2, 0, 1]
    """
    found, rows = np.unique(labels[labels >= 0], return_counts=True)
    order: npt.NDArray[np.int64] = found[np.argsort(-rows, kind="stable")].astype(np.int64)
    return order


class SpaceAdapter(BaseModelAdapter):
    """A family that learns from where rows lie in a space of weighted columns."""

    _weights: Doubles

    def points(self, M: Matrix) -> Doubles:
        """Give encoded rows as points of this model's space; shape ``(n, width)``."""
        self._check_matrix(M)
        return self._place(M)

    def _place(self, M: Matrix) -> Doubles:
        return np.asarray(M * self._weights, dtype=np.float64)

    def _enter(self, M: Matrix) -> Doubles:
        """Learn the space from training rows, and give them as its points."""
        self._weights = column_weights(M, self.encoder, str(self.hyperparams["scale"]))
        return self._place(M)


class LinearSpaceAdapter(SpaceAdapter):
    """A family whose raw scores are linear in the encoded columns: exact attributions, an exact graph."""

    @abstractmethod
    def _linear(self) -> tuple[Doubles, Doubles]:
        """Give ``(outputs, width)`` and ``(outputs,)``: what multiplies an encoded row, and what is added."""

    def _raw(self, M: Matrix) -> Doubles:
        slopes, start = self._linear()
        return np.asarray(M @ slopes.T + start)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact: each term of the sum is taken against its mean in training."""
        (slopes, start), centre = self._linear(), self.encoder.centre
        return (M - centre)[:, :, None] * slopes.T[None], slopes @ centre + start

    def graph(self) -> bytes:
        """Write the scores as a graph in double precision."""
        from mldl_ray.adapters.graphs import linear_graph  # noqa: PLC0415  # only compiling needs it

        return linear_graph(*self._linear())
