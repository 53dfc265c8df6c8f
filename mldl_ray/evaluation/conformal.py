"""Prediction intervals of values: how far the truth lies from what a model says, learned from rows it had not learned.

A split-conformal interval of constant width, or, from the out-of-fold answers of cross-validation, the CV interval: the
final model's answer ± a quantile of the absolute residuals. It holds the promised share of values on average over rows
like these, whatever their distribution; rows that are harder than most are held less often. What it held on the
judged rows is measured and stored beside it.

Sources:
    Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, Distribution-free predictive inference for regression (JASA 2018);
    Barber, Candès, Ramdas & Tibshirani, Predictive inference with the jackknife+ (Annals of Statistics 2021), for
    out-of-fold residuals; Tibshirani, Barber, Candès & Ramdas (NeurIPS 2019), for weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.evaluations import Interval, PredictionInterval
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows, rows_of

Doubles = npt.NDArray[np.float64]

LEVEL = 0.9


def prediction_interval(truth: Any, said: Any, level: float = LEVEL, weights: Any = None) -> PredictionInterval | None:
    """Learn how wide an interval around a prediction must be.

    Args:
        truth: Values of rows that the model, or its fold's model, was not trained on.
        said: What it said about them.
        level: Share of new values that the interval shall hold.
        weights: One weight per row, not negative; the new row is taken to weigh as much as they do on average.

    Returns:
        The interval, not yet judged; None where so few rows cannot promise this level (90% takes nine).

    Raises:
        Incompatible: No rows, lengths that differ, values that are not finite, or a level outside (0, 1).

    >>> prediction_interval([1, 2, 3, 4, 5, 6, 7, 8, 9], [0.0] * 9).half_width
    9.0
    >>> prediction_interval([1.0, 2.0], [0.0, 0.0]) is None
    True
    """
    if not 0 < level < 1:
        raise Incompatible(f"level must lie between 0 and 1, got {level}")
    rows = rows_of("regression", truth, said, weights)
    residual = np.abs(rows.truth - rows.said)
    order = np.argsort(residual, kind="stable")
    # the unseen row stands at infinity with the mean weight: without weights this is the ⌈level (n + 1)⌉-th residual
    share = rows.mass[order].cumsum() / (rows.mass.sum() + rows.mass.mean())
    enough = np.flatnonzero(share >= level - 1e-12)
    if len(enough) == 0:
        return None
    return PredictionInterval(level=level, half_width=float(residual[order[enough[0]]]), rows=len(residual))


def judged_interval(interval: PredictionInterval, rows: Rows, draws: Resamples) -> PredictionInterval:
    """Measure which share of the judged rows' values an interval holds, with the uncertainty of that share."""
    held = np.abs(rows.truth - rows.said) <= interval.half_width

    def coverage(kept: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
        return np.asarray(mass @ held[kept] / mass.sum(axis=1))

    share = float(coverage(np.arange(len(held)), rows.mass[None])[0])
    bounds: Interval | None = draws.interval(share, draws.figures(coverage, rows.mass), 0, 1)
    return interval.model_copy(update={"coverage": bounds})
