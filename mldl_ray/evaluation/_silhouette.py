"""The silhouette of a clustering, for many weightings of the same rows at once, as in ``_figures``.

Every weighting weighs the distances too, not only the rows: how far a row is from its cluster depends on which rows the
cluster has, and intervals that forget this are too narrow (on two moons they held two times in three, not 19 in 20).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

SILHOUETTE_ROWS = 2000
"""A silhouette needs all distances, n²: beyond this many rows it is taken over so many, drawn with a fixed seed."""
_LEAST = 1e-12  # share of its cluster's mass that a row leaves over when it is alone there, rounding aside


def silhouette(points: Array, cluster: Array, mass: Doubles) -> Doubles:
    """Mean of (b − a) / max(a, b): a to the row's own cluster, b to the nearest other one; −1 to 1.

    A row makes no pair with itself, however much it weighs; one that is alone in its cluster counts 0.

    Source:
        Rousseeuw, "Silhouettes" (Journal of Computational and Applied Mathematics, 1987).
    """
    from scipy.spatial.distance import cdist  # noqa: PLC0415  # only this figure needs it

    kept = np.arange(len(points))
    if len(points) > SILHOUETTE_ROWS:
        kept = np.sort(np.random.default_rng(0).choice(len(points), SILHOUETTE_ROWS, replace=False))
    kept = kept[np.argsort(cluster[kept], kind="stable")]
    starts = np.unique(cluster[kept], return_index=True)[1]
    if len(starts) < 2:
        return np.full(len(mass), np.nan)
    return _weighed(cdist(points[kept], points[kept]), np.append(starts, len(kept)), mass[:, kept].T)


def _weighed(far: Doubles, starts: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
    """Do it for rows that stand cluster by cluster; ``mass`` has shape ``(rows, draws)``."""
    within, beside = np.empty_like(mass), np.full_like(mass, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for start, end in pairwise(starts.tolist()):
            total, held = far[:, start:end] @ mass[start:end], mass[start:end].sum(axis=0)
            others = held - mass[start:end]  # of the row's own cluster, without itself
            within[start:end] = np.where(others > _LEAST * held, total[start:end] / others, np.nan)
            mean = np.where(held > 0, total / held, np.inf)  # a cluster that a resample lost is nobody's nearest
            mean[start:end] = np.inf
            np.minimum(beside, mean, out=beside)
        values = (beside - within) / np.maximum(within, beside)
    values = np.where(np.isfinite(values), values, 0.0)  # alone in its cluster, or all rows in one place
    return np.asarray((values * mass).sum(axis=0) / mass.sum(axis=0))
