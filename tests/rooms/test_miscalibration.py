"""Confidences are called wrong when they surely are, and right ones are not, though somebody looks all the time."""

from __future__ import annotations

import numpy as np
import pytest

from mldl_ray.deployment.miscalibration import ConfidenceBin, least_calibration_error

ALPHA, BINS, LABELS, EVERY = 0.1, 15, 4_000, 20


def ever_above(limit: float, overconfident: float, seed: int) -> int | None:
    """Give the labels after which the bound first passed a limit, looking at every ``EVERY`` labels."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.3, 0.9, LABELS)
    confidence = rate + overconfident
    right = rng.random(LABELS) < rate
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = np.zeros((3, LABELS, BINS))
    for which, values in enumerate((np.ones(LABELS), confidence, right)):
        sums[which, np.arange(LABELS), place] = values
    sums = sums.cumsum(axis=1)
    for n in range(EVERY - 1, LABELS, EVERY):
        bins = [ConfidenceBin(int(rows), sure, int(hits)) for rows, sure, hits in sums[:, n].T]
        if least_calibration_error(bins, ALPHA) > limit:
            return n + 1
    return None


def test_a_calibrated_model_is_hardly_ever_called_miscalibrated() -> None:
    alarms = sum(ever_above(0.0, 0.0, seed) is not None for seed in range(100))
    assert alarms <= ALPHA * 100


def test_a_model_at_the_limit_is_hardly_ever_called_beyond_it() -> None:
    alarms = sum(ever_above(0.05, 0.05, seed) is not None for seed in range(100, 150))
    assert alarms <= ALPHA * 50


@pytest.mark.parametrize(("overconfident", "within"), [(0.1, 4_000), (0.2, 1_500)])
def test_a_miscalibrated_model_is_found(overconfident: float, within: int) -> None:
    found = [ever_above(0.0, overconfident, seed) for seed in range(10)]
    assert all(n is not None and n <= within for n in found)


def test_bins_that_err_in_opposite_directions_do_not_make_up_for_each_other() -> None:
    sure = least_calibration_error([ConfidenceBin(5_000, 3_000.0, 4_000), ConfidenceBin(5_000, 4_000.0, 3_000)], 0.05)
    assert 0.15 < sure < 0.2
