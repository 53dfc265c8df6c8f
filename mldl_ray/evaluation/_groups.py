"""Rates within groups and classes: their uncertainty, and differences for every class. What is compared: ``fairness``.

Wilson's interval for shares and Student's for means; the rows' weights count as in ``intervals``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from contracts.evaluations import Interval
from mldl_ray.evaluation._rows import Rows
from mldl_ray.evaluation.intervals import effective_rows, of_mean, of_share

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def target_unit(rows: Rows) -> float:
    """Give the standard deviation of a regression's target, 0 where it has one value."""
    mean = np.average(rows.truth, weights=rows.mass)
    return float(np.sqrt(np.average((rows.truth - mean) ** 2, weights=rows.mass)))


def share_intervals(rows: Rows, within: Mask, rates: Collection[str]) -> dict[str, Interval]:
    """Bound the named rates of one group of a classification: selection, true and false positive, error."""
    last = rows.said.shape[1] - 1
    said, real = rows.said.argmax(axis=1), rows.truth == last
    known = {
        "selection_rate": (said == last, within),
        "true_positive_rate": (said == last, within & real),
        "false_positive_rate": (said == last, within & ~real),
        "error_rate": (said != rows.truth, within),
    }
    found = {}
    for rate in rates:
        hit, beneath = known[rate]
        mass = rows.mass[beneath]
        found[rate] = of_share(float(np.average(hit[beneath], weights=mass)), effective_rows(mass))
    return found


def mean_intervals(rows: Rows, within: Mask, rates: Collection[str]) -> dict[str, Interval]:
    """Bound the named means of one group of a regression: prediction, error, absolute error."""
    said, error = rows.said[within], (rows.said - rows.truth)[within]
    known = {"mean_prediction": said, "mean_error": error, "mean_absolute_error": np.abs(error)}
    return {rate: of_mean(known[rate], rows.mass[within]) for rate in rates}


def class_differences(
    rows: Rows, columns: Sequence[tuple[npt.NDArray[np.str_], Sequence[str]]], place: int, least: int
) -> dict[str, float]:
    """Give the largest differences within one column when one class counts as the selected one.

    Args:
        rows: Of a classification.
        columns: The group of each row, and the groups that are compared.
        place: Position of the class.
        least: Rows that a rate needs beneath it.

    Returns:
        Always ``selection_rate``; a rate that fewer than two groups have in every column is absent.
    """
    chosen, real = rows.said.argmax(axis=1) == place, rows.truth == place
    everyone = np.ones_like(real)
    found: dict[str, float] = {}
    for rate, beneath in (
        ("selection_rate", everyone),
        ("true_positive_rate", real),
        ("false_positive_rate", ~real),
    ):
        for group, judged in columns:
            sides = [beneath & (group == label) for label in judged]
            rates = [np.average(chosen[side], weights=rows.mass[side]) for side in sides if side.sum() >= least]
            if len(rates) > 1:
                found[rate] = max(found.get(rate, 0.0), float(max(rates) - min(rates)))
    return found
