"""Arithmetic of every figure, for many weightings of the same rows at once: a bootstrap is then a few matrix products.

Each takes the truth, what the model said (``_rows.Rows``) and ``mass`` of shape ``(b, n)``, and gives ``(b,)``. With a
single row of ones it is the plain figure. Where a figure is undefined (``metrics`` says where), it may be NaN here.
Their definitions, averaging and sources are in one table: docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mldl_ray.evaluation import calibration_error as error
from mldl_ray.evaluation.calibration_error import top_label

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
Curve = Callable[[Doubles, Doubles], Doubles]

_LEAST = float(np.finfo(np.float64).eps)


def accuracy(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Share of rows whose most probable class is right."""
    return _mean(mass, proba.argmax(axis=1) == truth)


def f1(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn)."""
    hit, said, real = _counts(truth, proba, mass)
    return _over_classes(_ratio(2 * hit, said + real), said + real)


def f1_macro(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """F1 of each class, averaged; of two classes both count."""
    hit, said, real = _counts(truth, proba, mass)
    return _macro(_ratio(2 * hit, said + real), said + real)


def f1_weighted(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """F1 of each class, averaged by how many rows are of it."""
    hit, said, real = _counts(truth, proba, mass)
    return np.asarray((_ratio(2 * hit, said + real) * real).sum(axis=1) / real.sum(axis=1))


def balanced_accuracy(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Recall of each class that has rows, averaged: the accuracy if all classes were equally frequent."""
    hit, _, real = _counts(truth, proba, mass)
    return _macro(_ratio(hit, real), real)


def precision(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Of the rows said to be of a class, the share that is; 0 when none is said to be."""
    hit, said, real = _counts(truth, proba, mass)
    return _over_classes(_ratio(hit, said), said + real)


def recall(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Of the rows of a class, the share said to be."""
    hit, said, real = _counts(truth, proba, mass)
    return _over_classes(_ratio(hit, real), said + real)


def auroc(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Chance that a row of the class gets a higher probability of it than another row; a tie counts half.

    Two classes: of the last one. More: each against the rest, averaged over the classes that have rows.
    """
    return _one_against_rest(_auroc_of, truth, proba, mass)


def auprc(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Average precision: the precision at every threshold, weighted by the recall that it adds; no interpolation.

    Two classes: of the last one. More: as ``auroc``. Guessing reaches the class's share of the rows.
    """
    return _one_against_rest(_auprc_of, truth, proba, mass)


def _one_against_rest(curve: Curve, truth: Array, proba: Array, mass: Doubles) -> Doubles:
    k = proba.shape[1]
    judged = [k - 1] if k == 2 else np.unique(truth).tolist()
    return np.asarray(np.mean([curve(*_by_score(truth == c, proba[:, c], mass)) for c in judged], axis=0))


def _by_score(positive: Array, score: Array, mass: Doubles) -> tuple[Doubles, Doubles]:
    """Sum the mass of positives and of negatives at every distinct score, the lowest first."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    sorted_mass, is_positive = mass[:, order], positive[order]
    yes = np.add.reduceat(sorted_mass * is_positive, starts, axis=1)
    return yes, np.add.reduceat(sorted_mass * ~is_positive, starts, axis=1)


def _auroc_of(yes: Doubles, no: Doubles) -> Doubles:
    below = no.cumsum(axis=1) - no / 2
    return _ratio((yes * below).sum(axis=1), yes.sum(axis=1) * no.sum(axis=1))


def _auprc_of(yes: Doubles, no: Doubles) -> Doubles:
    yes, no = yes[:, ::-1], no[:, ::-1]
    found = yes.cumsum(axis=1)
    return _ratio((yes * _ratio(found, found + no.cumsum(axis=1))).sum(axis=1), yes.sum(axis=1))


def logloss(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Mean of −log of the probability given to the true class, in nats; probabilities are kept above 2e-16."""
    return _mean(mass, -np.log(np.clip(proba[np.arange(len(truth)), truth], _LEAST, 1.0)))


def brier(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Mean squared distance of probabilities from the truth: of the last of two classes, summed over more than two."""
    gap = proba - (truth[:, None] == np.arange(proba.shape[1]))
    return _mean(mass, gap[:, 1] ** 2 if proba.shape[1] == 2 else (gap**2).sum(axis=1))


def calibration(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """Give 1 − ``expected_calibration_error`` of the most probable class, so that more is better."""
    confidence, hit = top_label(proba, truth)
    return 1.0 - error.plain_error(error.binned(confidence, hit, error.equal_width(confidence), mass))


def debiased_ece(truth: Array, proba: Array, mass: Doubles) -> Doubles:
    """``debiased_calibration_error`` of the most probable class; mass counts as rows."""
    confidence, hit = top_label(proba, truth)
    return error.debiased_error(error.binned(confidence, hit, error.equal_mass(confidence), mass))


def rmse(truth: Array, said: Array, mass: Doubles) -> Doubles:
    """Root of the mean squared error, in the target's unit."""
    return np.sqrt(_mean(mass, (truth - said) ** 2))


def mae(truth: Array, said: Array, mass: Doubles) -> Doubles:
    """Mean absolute error, in the target's unit."""
    return _mean(mass, np.abs(truth - said))


def r2(truth: Array, said: Array, mass: Doubles) -> Doubles:
    """Share of the target's variance that the model explains; below 0 it does worse than the mean."""
    centred = truth - truth.mean()  # before squaring, so that a large mean costs no digits
    variance = _mean(mass, centred**2) - _mean(mass, centred) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one value: NaN, which is not counted
        return np.asarray(1.0 - _mean(mass, (truth - said) ** 2) / variance)


def _mean(mass: Doubles, values: Array) -> Doubles:
    return np.asarray(mass @ values / mass.sum(axis=1))


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _counts(truth: Array, proba: Array, mass: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Give, per weighting and class, the mass of true positives, of what is said to be of it, and of what is."""
    classes = np.arange(proba.shape[1])
    said, real = proba.argmax(axis=1)[:, None] == classes, truth[:, None] == classes
    return mass @ (said & real), mass @ said, mass @ real


def _over_classes(values: Doubles, seen: Doubles) -> Doubles:
    """Of two classes take the last; of more the mean over those that are true or said of some row."""
    return values[:, 1] if values.shape[1] == 2 else _macro(values, seen)


def _macro(values: Doubles, seen: Doubles) -> Doubles:
    return np.asarray((values * (seen > 0)).sum(axis=1) / (seen > 0).sum(axis=1))
