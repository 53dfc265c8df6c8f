"""What labels tell of the streams: ours against NannyML's rule for realised performance, and its false alarms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bench.drifts.streams import drawn, source
from contracts.specs import Json
from mldl_ray.monitoring.concept import Detector
from mldl_ray.monitoring.drift import LABELS_SHARE, MONTH_S
from mldl_ray.monitoring.reference import Reference

REFERENCE_ROWS = 5_000
LABELS_A_DAY = 1_000
DAYS = 30


def with_losses(table: pa.Table) -> pa.Table:
    """Give rows what a version's held-out rows have: the answer, and whether it was wrong."""
    said = table["score"].to_numpy() > 0.5
    lost = said != (table["label"].to_numpy() == 1)
    told = pa.array(np.where(said, "1", "0"))
    return table.append_column("prediction", told).append_column("loss", pa.array(lost.astype(float)))


class Labels:
    """Both rules against the same held-out rows; ``verdicts`` is asked window by window.

    NannyML's: accuracy of a chunk more than three standard deviations of the reference's chunks from their mean.
    """

    def __init__(self, held_out: pa.Table, rows: int, span_s: float) -> None:
        promise = Reference.of(held_out).promise
        assert promise is not None  # the rows have losses
        self._detector = Detector(promise.at_most, 0.0)
        self._stake = LABELS_SHARE * span_s / MONTH_S
        losses = held_out["loss"].to_numpy()
        chunks = [chunk.mean() for chunk in np.array_split(losses, max(2, len(losses) // rows))]
        self._mean, self._limit = float(np.mean(chunks)), 3 * float(np.std(chunks))

    def verdicts(self, window: pa.Table) -> dict[str, bool]:
        """Say who raises an alarm."""
        losses = with_losses(window)["loss"].to_numpy()
        found = self._detector.add(len(losses), int(losses.sum()), self._stake, 0.0)
        return {"mldl_labels": found is not None, "nannyml_labels": abs(losses.mean() - self._mean) > self._limit}


def label_false_alarms(name: str, months: int) -> Json:
    """Count alarms per month by labels where nothing changes: a look a day, each month another reference.

    The whole budget of one alarm a month is given to it.
    """
    random, table = np.random.default_rng(2), with_losses(source(name).table)
    losses, alarms = table["loss"].to_numpy(), 0
    for _ in range(months):
        promise = Reference.of(drawn(table, random, REFERENCE_ROWS)).promise
        assert promise is not None  # as above
        detector = Detector(promise.at_most, 0.0)
        for _ in range(DAYS):
            wrong = int(losses[random.integers(0, len(losses), LABELS_A_DAY)].sum())
            alarms += detector.add(LABELS_A_DAY, wrong, 1 / DAYS, 0.0) is not None
    return {"table": name, "months": months, "per_month": round(alarms / months, 3), "kept": alarms <= months}
