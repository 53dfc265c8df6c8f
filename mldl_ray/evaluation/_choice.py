"""Which way of calibrating suits these rows: what each would have lost on rows that it had not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Truth = npt.NDArray[np.int64]
Fitted = Callable[[Doubles], Doubles]
Fit = Callable[[str, Doubles, Truth, Doubles], Fitted]

FOLDS = 5
ISOTONIC_ROWS = 1000
"""Below about this many rows isotonic regression follows noise; prefer platt or temperature (Niculescu-Mizil & Caruana,
ICML 2005)."""
_LEAST = float(np.finfo(np.float64).eps)


def suitable(rows: int) -> tuple[str, ...]:
    """Name the methods that so many rows can carry, the one with the fewest parameters first.

    >>> suitable(200)
    ('temperature', 'platt')
    """
    return ("temperature", "platt", "isotonic") if rows >= ISOTONIC_ROWS else ("temperature", "platt")


def held_out_losses(
    fit: Fit, methods: Sequence[str], proba: Doubles, truth: Truth, mass: Doubles
) -> dict[str, float] | None:
    """Measure each method by cross-fitting: its log loss on rows that its curves were not fitted to.

    Args:
        fit: Takes a method, probabilities, truth and mass, and gives what calibrates other probabilities.
        methods: To compare.
        proba: A model's probabilities of rows it had not learned, ``(n, k)``.
        truth: Class positions.
        mass: Row weights.

    Returns:
        Mean log loss in nats by method; None where a class has a single row, so that nothing can be held out.
    """
    place = _folds(truth)
    if place is None:
        return None
    losses = {}
    for method in methods:
        answered = np.empty_like(proba)
        for fold in range(int(place.max()) + 1):
            learn, judge = place != fold, place == fold
            answered[judge] = fit(method, proba[learn], truth[learn], mass[learn])(proba[judge])
        surprise = -np.log(np.maximum(answered[np.arange(len(truth)), truth], _LEAST))
        losses[method] = float(mass @ surprise / mass.sum())
    return losses


def _folds(truth: Truth) -> npt.NDArray[np.int64] | None:
    """Deal the rows of each class out over the folds, in an order that never changes."""
    fewest = int(np.unique(truth, return_counts=True)[1].min())
    if fewest < 2:
        return None
    order = np.random.default_rng(0).permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    place = np.empty(len(truth), dtype=np.int64)
    place[order] = np.arange(len(truth)) % min(FOLDS, fewest)
    return place
