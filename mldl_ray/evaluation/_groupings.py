"""Arithmetic of the figures about models without a target, for many weightings at once, as in ``_figures``.

Clusters are judged by the points they hold or by labels that someone else gave; a reduction by what it leads back to;
made rows by real ones; a policy by what it earned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mldl_ray.evaluation import _figures

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def davies_bouldin(points: Array, cluster: Array, mass: Doubles) -> Doubles:
    """Mean over clusters of the worst (s_i + s_j) / d_ij: widths over the distance between centres; 0 is best.

    s is the mean distance of a cluster's rows from their centre, and centres move with every resample.

    Source:
        Davies & Bouldin, "A Cluster Separation Measure" (IEEE TPAMI, 1979).
    """
    from scipy.spatial.distance import cdist  # noqa: PLC0415  # only this figure needs it

    order = np.argsort(cluster, kind="stable")
    points, mass = points[order], mass[:, order]
    starts, place = np.unique(cluster[order], return_index=True, return_inverse=True)[1:]
    held = np.add.reduceat(mass, starts, axis=1)
    found = np.empty(len(mass))
    for draw, weights in enumerate(mass):
        centres = np.add.reduceat(points * weights[:, None], starts, axis=0) / held[draw, :, None]
        far = np.sqrt(((points - centres[place]) ** 2).sum(axis=1))
        wide = np.add.reduceat(weights * far, starts) / held[draw]
        apart = cdist(centres, centres)
        np.fill_diagonal(apart, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):  # centres that coincide: infinite, which is not counted
            found[draw] = ((wide[:, None] + wide) / apart).max(axis=1).mean()
    return found


def adjusted_rand(labels: Array, cluster: Array, mass: Doubles) -> Doubles:
    """Agreement of two groupings over all pairs of rows, corrected for chance: 1 the same, 0 as by chance.

    A row that a resample holds twice makes no pair with itself, which would agree for nothing.

    Source:
        Hubert & Arabie, "Comparing partitions" (Journal of Classification, 1985).
    """
    both = np.unique(np.stack([_codes(labels), _codes(cluster)]), axis=1, return_inverse=True)[1]
    together = _pairs(both, mass)
    by_label, by_cluster = _pairs(_codes(labels), mass), _pairs(_codes(cluster), mass)
    every = _pairs(np.zeros(len(labels), dtype=np.int64), mass)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one group in both: NaN, which is not counted
        chance = by_label * by_cluster / every
        return np.asarray((together - chance) / ((by_label + by_cluster) / 2 - chance))


def explained_variance(points: Array, again: Array, mass: Doubles) -> Doubles:
    """Share of the points' variance that is still there when they are led back; 1 is all of it.

    1 − Σ|x − x̂|² / Σ|x − mean|², over all columns together; below 0 the mean would do better.
    """
    centred = points - points.mean(axis=0)  # before squaring, so that a large mean costs no digits
    drift = mass @ centred / mass.sum(axis=1, keepdims=True)
    variance = _mean(mass, (centred**2).sum(axis=1)) - (drift**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one row: NaN, which is not counted
        return np.asarray(1.0 - _mean(mass, ((points - again) ** 2).sum(axis=1)) / variance)


def reconstruction_error(points: Array, again: Array, mass: Doubles) -> Doubles:
    """Mean squared difference between a value and what it is led back to, per column of the model's space."""
    return _mean(mass, ((points - again) ** 2).mean(axis=1))


def realism(real: Array, proba: Array, mass: Doubles) -> Doubles:
    """How little a classifier can tell real rows from made ones: 1 not at all (AUROC ½ or less), 0 always.

    Source:
        Classifier two-sample tests: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests" (ICLR 2017).
    """
    return np.minimum(1.0, 2 * (1 - _figures.auroc(real, proba, mass)))


def coverage(real: Array, group: Array, mass: Doubles) -> Doubles:
    """What made and real rows have in common when both are counted by groups: the sum of the smaller shares, 0 to 1."""
    groups = np.arange(int(group.max()) + 1)
    member = (group[:, None] == groups).astype(np.float64)
    shares = [(mass * side) @ member / (mass @ side.astype(np.float64))[:, None] for side in (real == 1, real == 0)]
    return np.asarray(np.minimum(*shares).sum(axis=1))


def mean(_: Array, values: Array, mass: Doubles) -> Doubles:
    """Mean of what was earned."""
    return np.asarray(mass @ values / mass.sum(axis=1))


def _pairs(group: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
    """Sum, over pairs of different rows in one group, the product of their masses; shape ``(b,)``."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sums = np.add.reduceat(mass[:, order], starts, axis=1)
    return np.asarray(((sums**2).sum(axis=1) - (mass**2).sum(axis=1)) / 2)


def _codes(names: Array) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return codes


def _mean(mass: Doubles, values: Array) -> Doubles:
    return np.asarray(mass @ values / mass.sum(axis=1))
