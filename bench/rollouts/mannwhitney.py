"""Kayenta's classification of one metric: Mann–Whitney with a confidence interval of the shift, against a tolerance.

Source: spinnaker/kayenta a69573b, ``MannWhitney.scala`` (as R's ``wilcox.test``), ``MannWhitneyClassifier.scala``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

TOLERANCE, CONFIDENCE = 0.25, 0.98
Numbers = npt.NDArray[np.float64]


def is_high(experiment: Numbers, control: Numbers) -> bool:
    """Say whether the experiment is classified as High: surely more than a quarter of the shift's estimate above.

    >>> control = np.linspace(1, 2, 50)
    >>> is_high(control + 1, control), is_high(control, control + 1), is_high(control, control)
    (True, False, False)
    """
    if np.array_equal(np.sort(experiment), np.sort(control)) or len(np.unique([*experiment, *control])) == 1:
        return False
    if len(np.unique(experiment)) == 1 and len(np.unique(control)) == 1:
        return bool(experiment[0] > control[0] and min(len(experiment), len(control)) > 4)  # it adds noise of 1e-5
    lower, estimate = shift(experiment, control)
    ratio = experiment.mean() / control.mean() if control.mean() and experiment.mean() else np.nan
    return bool(lower > TOLERANCE * abs(estimate) and not ratio < 1)


def shift(experiment: Numbers, control: Numbers) -> tuple[float, float]:
    """Give the lower bound and the estimate of how much the experiment lies above the control."""
    low, high = experiment.min() - control.max(), experiment.max() - control.min()

    def root(quantile: float) -> float:
        at_low, at_high = (_statistic(mu, experiment, control) - quantile for mu in (low, high))
        if at_low <= 0:
            return float(low)
        if at_high >= 0:
            return float(high)
        return float(brentq(lambda mu: _statistic(mu, experiment, control) - quantile, low, high, xtol=1e-4))

    return root(float(norm.ppf(1 - (1 - CONFIDENCE) / 2))), root(0.0)


def _statistic(mu: float, experiment: Numbers, control: Numbers) -> float:
    """Give the standard normal statistic of "shifted by mu", with corrections for continuity and ties."""
    mine, theirs = len(experiment), len(control)
    both = mine + theirs
    ranks = rankdata(np.concatenate([experiment - mu, control]))
    _, ties = np.unique(ranks, return_counts=True)
    above = ranks[:mine].sum() - mine * (mine + 1) / 2 - mine * theirs / 2
    spread = np.sqrt(mine * theirs / 12 * (both + 1 - (ties**3 - ties).sum() / (both * (both - 1))))
    return float((above - np.sign(above) * 0.5) / spread) if spread else 0.0
