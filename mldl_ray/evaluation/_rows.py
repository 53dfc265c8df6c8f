"""Judged rows: the truth, what a model says about them, and what each weighs. Not here: any figure about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import Task
from mldl_ray.adapters import target

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter

Doubles = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """Rows to judge by, one entry each, every weight above zero.

    classification: ``truth`` holds class positions, ``said`` probabilities of shape ``(n, k)``.
    regression: both hold values.
    clustering: ``truth`` holds points of shape ``(n, d)``, or one known label each, ``said`` the cluster of each.
    dimension_reduction: ``truth`` holds points, ``said`` what their coordinates lead back to, both ``(n, d)``.
    """

    truth: npt.NDArray[Any]
    said: npt.NDArray[Any]
    mass: Doubles


def rows_of(task: Task, truth: Any, said: Any, weights: Any = None) -> Rows:
    """Check what there is to judge; rows that weigh nothing are dropped.

    Raises:
        Incompatible: No rows, lengths that differ, values that the task does not have, or a task without metrics.
    """
    if task not in _READERS:
        raise Incompatible(f"task {task!r} has no metrics; these have: {', '.join(_READERS)}")
    answers, predictions = _READERS[task](truth, said)
    if len(answers) == 0:
        raise Incompatible("there are no rows to judge; give at least one")
    target.same_length(len(predictions), len(answers), "y")
    mass = target.to_weights(weights, len(answers))
    if mass is None:
        return Rows(answers, predictions, np.ones(len(answers)))
    heavy = mass > 0
    return Rows(answers[heavy], predictions[heavy], mass[heavy])


def truth_of(adapter: BaseModelAdapter, y: Any, rows: int) -> npt.NDArray[Any]:
    """Turn labels into positions in the adapter's classes; values stay values.

    Raises:
        Incompatible: Missing labels, another number of them than rows, or a class that the model does not know.
    """
    vector = target.to_vector(y)
    target.same_length(rows, len(vector), "y")
    if adapter.task != "classification":
        return target.to_values(vector)
    place = {label: i for i, label in enumerate(adapter.classes)}
    labels = vector.tolist()
    if unknown := sorted({repr(label) for label in labels if label not in place}):
        known = ", ".join(map(repr, adapter.classes[:20]))
        raise Incompatible(
            f"y has {', '.join(unknown[:5])}, which the model does not know; its classes are: {known}",
            {"unknown": unknown[:100]},
        )
    return np.array([place[label] for label in labels], dtype=np.int64)


def said_of(adapter: BaseModelAdapter, table: Any) -> Doubles:
    """Ask a model: probabilities for classes, otherwise values."""
    if adapter.task == "classification":
        return adapter.predict_proba(table)
    return np.asarray(adapter.predict(table), dtype=np.float64)


def _classes(truth: Any, said: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    answers, proba = np.asarray(truth), np.asarray(said, dtype=np.float64)
    if proba.ndim != 2 or proba.shape[1] < 2:
        raise Incompatible(f"expected probabilities of shape (n, k) with k ≥ 2, got {proba.shape}")
    if not np.isfinite(proba).all() or (proba < 0).any() or (np.abs(proba.sum(axis=1) - 1) > 1e-3).any():
        raise Incompatible("expected probabilities: finite, not negative, rows that sum to 1")
    if answers.ndim != 1 or (answers.size and answers.dtype.kind not in "iub"):
        raise Incompatible(f"y must be class positions (integers), one per row; got {answers.dtype} {answers.shape}")
    answers = answers.astype(np.int64)
    if answers.size and not (answers.min() >= 0 and answers.max() < proba.shape[1]):
        raise Incompatible(
            f"y has class positions {answers.min()} to {answers.max()}; there are {proba.shape[1]} classes, from 0"
        )
    return answers, proba


def _values(truth: Any, said: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return target.to_values(truth), target.to_values(said)


def _clusters(truth: Any, said: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if np.ndim(truth) == 1:
        return np.unique(target.to_vector(truth, "label"), return_inverse=True)[1], target.to_vector(said, "cluster")
    return _points(truth), target.to_vector(said, "cluster")


def _reductions(truth: Any, said: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    points, again = _points(truth), _points(said)
    if points.shape[1:] != again.shape[1:]:
        raise Incompatible(f"points have {points.shape[1]} columns, and what they are led back to {again.shape[1]}")
    return points, again


def _points(values: Any) -> Doubles:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise Incompatible(f"expected finite points of shape (n, d), got {points.shape}")
    return points


_READERS = {
    "classification": _classes,
    "regression": _values,
    "clustering": _clusters,
    "dimension_reduction": _reductions,
}
