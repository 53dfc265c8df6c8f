"""Trees that scikit-learn grew, as arrays of ours (see ``trees``). Imports nothing of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.trees import Array, Trees


def mean_of_trees(trees: Sequence[Any], *, outputs: int, classes: bool) -> Trees:
    """Give the mean of ``sklearn.tree._tree.Tree``s: of two classes the second's probability, of more every one's."""
    parts, values = [], []
    for tree in trees:
        nodes = tree.__getstate__()["nodes"]
        order, child = _breadth_first(nodes["left_child"].astype(np.int64), nodes["right_child"].astype(np.int64))
        nodes = nodes[order]
        parts.append(
            _part(
                child,
                nodes["feature"],
                nodes["threshold"],
                nodes["missing_go_to_left"],
                nodes["weighted_n_node_samples"],
            )
        )
        answers = tree.value[order[child == 0], 0, :]
        values.append(answers[:, 1:] if classes and answers.shape[1] == 2 else answers)
    targets = np.zeros(len(parts), dtype=np.int32)
    return _joined(parts, values, targets, np.zeros(outputs), divisor=len(parts))


def sum_of_trees(rounds: Sequence[Sequence[Any]], base: Doubles) -> Trees:
    """Give the sum of histogram boosting's ``TreePredictor``s: in each round one tree per output."""
    parts, values = [], []
    for predictor in (predictor for trees in rounds for predictor in trees):
        nodes = predictor.nodes
        inner = nodes["is_leaf"] == 0
        left, right = (np.where(inner, nodes[side].astype(np.int64), -1) for side in ("left", "right"))
        order, child = _breadth_first(left, right)
        nodes = nodes[order]
        parts.append(
            _part(child, nodes["feature_idx"], nodes["num_threshold"], nodes["missing_go_to_left"], nodes["count"])
        )
        values.append(nodes["value"][child == 0, None])
    targets = np.tile(np.arange(len(base), dtype=np.int32), len(rounds))
    return _joined(parts, values, targets, base, divisor=1)


def _breadth_first(left: Array, right: Array) -> tuple[Array, Array]:
    """Put nodes in an order in which siblings lie together; -1 is no child.

    Returns:
        The nodes in their new order, and where in it each one's left child is; 0 for a leaf.

    >>> order, child = _breadth_first(np.array([1, -1, 3, -1, -1]), np.array([2, -1, 4, -1, -1]))
    >>> order.tolist(), child.tolist()
    ([0, 1, 2, 3, 4], [1, 0, 3, 0, 0])
    """
    levels, level = [np.array([0])], np.array([0])
    while len(inner := level[left[level] >= 0]):
        level = np.stack([left[inner], right[inner]], axis=1).reshape(-1)
        levels.append(level)
    order = np.concatenate(levels)
    inner = left[order] >= 0
    child = np.zeros(len(order), dtype=np.int32)
    child[inner] = 1 + 2 * np.arange(int(inner.sum()))
    return order, child


def _part(child: Array, feature: Array, threshold: Array, missing_left: Array, cover: Array) -> dict[str, Array]:
    inner = child > 0
    place = np.where(inner, feature, np.cumsum(~inner) - 1)
    return {
        "child": child,
        "place": place.astype(np.int32),
        "at_most": np.where(inner, single(np.where(inner, threshold, 0.0)), 0).astype(np.float32),
        "missing_left": (inner & (missing_left != 0)).astype(np.uint8),
        "cover": cover.astype(np.float32),
    }


def _joined(
    parts: list[dict[str, Array]], values: list[Doubles], targets: npt.NDArray[np.int32], base: Doubles, *, divisor: int
) -> Trees:
    sizes, leaves = [len(part["child"]) for part in parts], [len(answers) for answers in values]
    starts = np.cumsum([0, *sizes[:-1]])
    tree = np.repeat(np.arange(len(parts)), sizes)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    inner = arrays["child"] > 0
    arrays["child"] = np.where(inner, arrays["child"] + starts[tree], 0).astype(np.int32)
    first = np.cumsum([0, *leaves[:-1]])
    arrays["place"] = np.where(inner, arrays["place"], arrays["place"] + first[tree]).astype(np.int32)
    return Trees.of(
        np.concatenate(values).astype(np.float64),
        starts=starts,
        targets=targets,
        base=np.asarray(base, dtype=np.float64),
        divisor=divisor,
        **arrays,
    )


def single(thresholds: Doubles) -> npt.NDArray[np.float32]:
    """Round down to single precision: ``x <= threshold`` stays what it was for every single-precision x.

    Above all of those (histogram boosting's ∞: whatever is not missing goes left) it becomes the largest.

    >>> single(np.array([0.5, 0.1, np.inf])).tolist()
    [0.5, 0.09999999403953552, 3.4028234663852886e+38]
    """
    largest = float(np.finfo(np.float32).max)
    held = np.clip(thresholds, -largest, largest)
    rounded = held.astype(np.float32)
    with np.errstate(over="ignore"):  # below the smallest number is -∞, which is not taken
        below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > held, below, rounded)
