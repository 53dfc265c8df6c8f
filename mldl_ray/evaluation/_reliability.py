"""The calibration part of an evaluation: the error of every statement four ways, with intervals, and the diagram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.evaluations import Calibration, CalibrationErrors, ReliabilityBin
from mldl_ray.adapters.links import probabilities
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._judged import Found, Judged
from mldl_ray.evaluation._rows import Rows
from mldl_ray.evaluation.calibration_error import (
    BINS,
    binned,
    debiased_error,
    equal_mass,
    equal_width,
    plain_error,
    top_label,
)
from mldl_ray.evaluation.metrics import METRICS, value_of

Doubles = npt.NDArray[np.float64]

MOST_CLASSES = 20
"""Of so many classes, those with the most rows, the error is measured class by class."""
FOUR = ("equal_width", "equal_width_debiased", "equal_mass", "equal_mass_debiased")


def calibration_of(judged: Judged, draws: Resamples, found: Found, uncalibrated: float | None) -> Calibration:
    """Measure confidence against accuracy; the debiased error is bounded too: a gate must not trust the plain one.

    Args:
        judged: The rows and the model.
        draws: The evaluation's resamples.
        found: Gets the interval ``ece_debiased``.
        uncalibrated: ECE before calibration when known; measured on the same rows otherwise.
    """
    if not judged.classifies:
        return Calibration()
    rows, calibrator = judged.rows, judged.adapter.calibrator
    top = errors_of(*top_label(rows.said, rows.truth), rows.mass, draws)
    found.bound("ece_debiased", top.intervals.get("equal_mass_debiased"))
    return Calibration(
        ece=top.equal_width,
        method="none" if calibrator is None else calibrator.method,
        ece_debiased=top.equal_mass_debiased,
        ece_uncalibrated=_before(judged) if uncalibrated is None else uncalibrated,
        reliability=_reliability(rows),
        top_label=top,
        by_class=_by_class(judged, draws, found),
        compared={} if calibrator is None else dict(calibrator.compared),
    )


def errors_of(p: Doubles, hit: Doubles, mass: Doubles, draws: Resamples) -> CalibrationErrors:
    """Measure one statement's error four ways.

    Args:
        p: The probability that was stated for each row, ``(n,)``.
        hit: Whether it came true, ``(n,)``, 0 or 1.
        mass: Row weights; they count as rows, on average one each, because sampling bias is about how many there are.
        draws: Resamples of these rows.
    """
    mass = mass * (len(mass) / mass.sum())

    def four(kept: npt.NDArray[np.int64], drawn: Doubles) -> Doubles:
        return _four(p[kept], hit[kept], drawn)

    values = _four(p, hit, mass[None])[0].tolist()
    moved = draws.figures(four, mass)
    intervals = {name: draws.interval(values[i], moved[:, i], 0, 1) for i, name in enumerate(FOUR)}
    return CalibrationErrors(
        **dict(zip(FOUR, values, strict=True)),
        intervals={name: interval for name, interval in intervals.items() if interval is not None},
    )


def _four(p: Doubles, hit: Doubles, mass: Doubles) -> Doubles:
    """Give the four errors of every weighting, in the order of ``FOUR``; shape ``(b, 4)``."""
    by_width, by_mass = (binned(p, hit, place, mass) for place in (equal_width(p), equal_mass(p)))
    errors = [plain_error(by_width), debiased_error(by_width), plain_error(by_mass), debiased_error(by_mass)]
    found = np.column_stack(errors)
    return np.where(found < 1e-12, 0.0, found)  # 0.8 − 4/5 is 1e-17 in doubles


def _by_class(judged: Judged, draws: Resamples, found: Found) -> dict[str, CalibrationErrors]:
    rows, classes = judged.rows, judged.adapter.classes
    counts = np.bincount(rows.truth, minlength=len(classes))
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES]).tolist()
    if len(kept) < len(classes):
        found.left_out["calibration by class"] = (
            f"measured for the {MOST_CLASSES} classes with the most rows, of {len(classes)}"
        )
    return {
        str(classes[c]): errors_of(rows.said[:, c], (rows.truth == c).astype(np.float64), rows.mass, draws)
        for c in kept
    }


def _before(judged: Judged) -> float | None:
    adapter, rows = judged.adapter, judged.rows
    if adapter.calibrator is None:
        return None
    raw = adapter.raw_matrix(adapter.encoder.transform(judged.table))
    return _ece(rows._replace(said=probabilities(raw, adapter.link)))


def _ece(rows: Rows) -> float:
    return max(0.0, 1.0 - value_of(METRICS["calibration"], rows))


def _reliability(rows: Rows) -> tuple[ReliabilityBin, ...]:
    confidence, hit = top_label(rows.said, rows.truth)
    place = equal_width(confidence)
    counts = np.bincount(place, minlength=BINS)
    sums = binned(confidence, hit, place, rows.mass[None])
    return tuple(
        ReliabilityBin(
            confidence=float(sums.stated[0, b] / sums.rows[0, b]),
            accuracy=float(sums.right[0, b] / sums.rows[0, b]),
            rows=int(counts[b]),
        )
        for b in np.flatnonzero(counts).tolist()
    )
