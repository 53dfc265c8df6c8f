"""The silhouette of a clustering, for many weightings of the same rows at once, as in ``_figures``.

Every weighting weighs the distances too, not only the rows: how far a row is from its cluster depends on which rows the
cluster has, and intervals that forget this are too narrow (on two moons they held two times in three, not 19 in 20).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

SILHOUETTE_ROWS = 2000
"""A silhouette needs all distances, n²: beyond this many rows it is taken over so many, drawn with a fixed seed."""
_SUMS = 2_000  # sums of distances per row at once: 32 MB


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
    names, place = np.unique(cluster[kept], return_inverse=True)
    if len(names) < 2:
        return np.full(len(mass), np.nan)
    far, member = cdist(points[kept], points[kept]), place[:, None] == np.arange(len(names))
    step = max(1, _SUMS // len(names))
    parts = [_of(far, member, place, mass[i : i + step, kept]) for i in range(0, len(mass), step)]
    return np.concatenate(parts)


def _of(far: Doubles, member: Array, place: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
    rows, groups = member.shape
    weighed = mass.T[:, :, None] * member[:, None, :]  # (rows, draws, groups)
    total = (far @ weighed.reshape(rows, -1)).reshape(rows, len(mass), groups)
    held = weighed.sum(axis=0)
    own = np.arange(rows), slice(None), place
    others = held[:, place].T - mass.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a cluster that a resample lost is nobody's nearest
        near = np.where(held > 0, total / held, np.inf)
        within = total[own] / others
        near[own] = np.inf
        beside = near.min(axis=2)
        values = (beside - within) / np.maximum(within, beside)
    values = np.where((others > 1e-12 * held[:, place].T) & np.isfinite(values), values, 0.0)
    return np.asarray((values * mass.T).sum(axis=0) / mass.sum(axis=1))
