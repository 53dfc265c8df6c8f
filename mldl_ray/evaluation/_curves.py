"""How the curves of a calibrator are fitted. One class against the rest at a time; the result is a few numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_EDGE = 1e-12  # probabilities are kept this far from 0 and 1 before a logarithm
_STEPS = 100
_GOLDEN = (5**0.5 - 1) / 2


def log_odds(p: Doubles) -> Doubles:
    """Give log(p / (1 − p)), finite also at 0 and 1.

    >>> log_odds(np.array([0.5])).tolist()
    [0.0]
    """
    inside = np.minimum(np.maximum(p, _EDGE), 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def sigmoid(x: Doubles) -> Doubles:
    """Give 1 / (1 + exp(−x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def isotonic(p: Doubles, hit: npt.NDArray[np.bool_], mass: Doubles) -> Doubles:
    """Fit a non-decreasing curve by pooling adjacent violators.

    No value is nearer to 0 or 1 than 1/(n + 2), Laplace's rule of succession: n rows cannot show that something never
    happens, and a single surprise would make the log loss infinite.

    Returns:
        Knots, shape ``(2, m)``: rising scores, and the probability at each.

    >>> isotonic(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, True, False, True]), np.ones(4)).round(3).tolist()
    [[0.1, 0.2, 0.8, 0.9], [0.167, 0.5, 0.5, 0.833]]
    """
    x, place = np.unique(p, return_inverse=True)
    weight = np.bincount(place, weights=mass)
    known = weight > 0
    x, total = x[known], np.bincount(place, weights=mass * hit)[known]
    level = _pooled(total / weight[known], weight[known])
    keep = _corners(level)
    least = 1.0 / (len(p) + 2)
    return np.vstack([x[keep], np.clip(level[keep], least, 1 - least)])


def _pooled(level: npt.NDArray[Any], weight: npt.NDArray[Any]) -> Doubles:
    """Pool adjacent violators: a stack of blocks, each merged into the one before while it is lower."""
    levels: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for value, mass in zip(level.tolist(), weight.tolist(), strict=True):
        size = 1
        while levels and levels[-1] >= value:
            before = weights.pop()
            value = (levels.pop() * before + value * mass) / (before + mass)  # noqa: PLW2901  # the block grows
            mass += before  # noqa: PLW2901
            size += sizes.pop()
        levels.append(value)
        weights.append(mass)
        sizes.append(size)
    return np.repeat(np.array(levels), sizes)


def _corners(level: Doubles) -> npt.NDArray[np.bool_]:
    """Keep the first and last point of each block: what lies between is on a straight line."""
    change = np.diff(level) != 0
    return np.asarray(np.concatenate([[True], change]) | np.concatenate([change, [True]]))


def platt(p: Doubles, hit: npt.NDArray[np.bool_], mass: Doubles) -> Doubles:
    """Fit ``sigmoid(slope × log-odds + offset)`` by Newton's method on Platt's smoothed targets.

    Returns:
        ``[slope, offset]``.

    Source:
        Platt (1999); Lin, Lin & Weng, A note on Platt's probabilistic outputs (Machine Learning 68, 2007).
    """
    x = log_odds(p)
    yes, no = float(mass[hit].sum()), float(mass[~hit].sum())
    target: Doubles = np.where(hit, (yes + 1) / (yes + 2), 1 / (no + 2))
    at = np.array([0.0, np.log((yes + 1) / (no + 1))])
    design = np.column_stack([x, np.ones_like(x)])
    loss = _cross_entropy(design @ at, target, mass)
    for _ in range(_STEPS):
        q = sigmoid(design @ at)
        gradient = design.T @ (mass * (q - target))
        if np.abs(gradient).max() < 1e-9 * max(1.0, yes + no):
            break
        hessian = (design * (mass * q * (1 - q))[:, None]).T @ design + 1e-12 * np.eye(2)
        at, better = _line_search(
            at, np.asarray(np.linalg.solve(hessian, gradient), np.float64), design, target, mass, loss
        )
        if loss - better <= 1e-12 * abs(loss):
            break
        loss = better
    return at


def _line_search(
    at: Doubles, step: Doubles, design: Doubles, target: Doubles, mass: Doubles, loss: float
) -> tuple[Doubles, float]:
    for halving in range(40):
        trial = at - step * 0.5**halving
        found = _cross_entropy(design @ trial, target, mass)
        if found < loss:
            return trial, found
    return at, loss


def _cross_entropy(margin: Doubles, target: Doubles, mass: Doubles) -> float:
    return float((mass * (np.logaddexp(0.0, margin) - target * margin)).sum())


def temperature(proba: Doubles, truth: npt.NDArray[np.int64], mass: Doubles) -> float:
    """Find the temperature with the least log loss, between 0.05 and 20.

    The loss is convex in 1/T, so a golden-section search cannot miss.

    Source:
        Guo, Pleiss, Sun & Weinberger (ICML 2017).
    """
    logs = np.log(np.maximum(proba, _EDGE))
    own = np.arange(len(truth)), truth

    def loss(inverse: float) -> float:
        scaled = logs * inverse
        top = scaled.max(axis=1)
        return float((mass * (top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)) - scaled[own])).sum())

    low, high = 0.05, 20.0
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-9:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return 2.0 / (low + high)
