"""Probabilities that mean what they say: calibrators, and how far stated confidence is from observed accuracy.

A fitted calibrator is a handful of numbers, applied with numpy alone, because every prediction goes through it. Which
rows it may learn from is not decided here: they must be neither training rows nor rows that judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from mldl_ray.evaluation import _curves

Doubles = npt.NDArray[np.float64]
Method = Literal["isotonic", "platt", "temperature", "none"]

ISOTONIC_ROWS = 1000
"""Below about this many rows isotonic regression follows noise; prefer platt or temperature (Niculescu-Mizil & Caruana,
ICML 2005). ``Calibrator.fit`` obeys the caller either way."""

BINS = 15
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Calibrator:
    """A map from a model's probabilities to calibrated ones.

    isotonic: any non-decreasing step curve per class, joined linearly; needs about ``ISOTONIC_ROWS`` rows.
    platt: a sigmoid per class on the log-odds; two numbers, fine from a few dozen rows.
    temperature: one number for all classes; never changes which class is on top.
    none: leaves everything as it is.

    With more than two classes, isotonic and platt learn each class against the rest and the results are normalised.
    """

    method: Method
    classes: int
    parameters: tuple[Doubles, ...] = ()

    @classmethod
    def fit(cls, scores: Any, y: Any, method: Method = "isotonic", *, weights: Any = None) -> Self:
        """Learn from rows that the model was not trained on.

        Args:
            scores: Probabilities, shape ``(n, k)`` with k ≥ 2, rows sum to 1.
            y: Position of each row's true class, shape ``(n,)``, integers in ``0..k-1``.
            method: How; see the class.
            weights: One weight per row, not negative.

        Raises:
            Incompatible: Shapes or values do not fit, or a class has no rows, so that there is nothing to learn.
        """
        if method not in get_args(Method):
            raise Incompatible(f"calibration {method!r} is unknown; choose from {', '.join(get_args(Method))}")
        proba, truth, mass = _checked(scores, y, weights)
        k = proba.shape[1]
        if method == "none":
            return cls(method, k)
        _every_class_present(truth, k, method)
        if method == "temperature":
            return cls(method, k, (np.array([_curves.temperature(proba, truth, mass)]),))
        learn = _curves.isotonic if method == "isotonic" else _curves.platt
        targets = (1,) if k == 2 else range(k)
        return cls(method, k, tuple(learn(proba[:, c], truth == c, mass) for c in targets))

    def apply(self, scores: Any) -> Doubles:
        """Calibrate probabilities, shape ``(n, k)``; the rows of the result sum to 1.

        Raises:
            Incompatible: The number of classes is another.

        >>> Calibrator("temperature", 2, (np.array([2.0]),)).apply([[0.2, 0.8]]).round(4).tolist()
        [[0.3333, 0.6667]]
        """
        proba = np.asarray(scores, dtype=np.float64)
        if proba.ndim != 2 or proba.shape[1] != self.classes:
            raise Incompatible(f"this calibrator takes shape (n, {self.classes}), got {proba.shape}")
        if self.method == "none":
            return proba
        if self.method == "temperature":
            return _normalised(np.maximum(proba, _TINY) ** (1.0 / self.parameters[0][0]))
        if self.classes == 2:
            result = np.empty_like(proba)
            result[:, 1] = self._curve(0, proba[:, 1])
            np.subtract(1.0, result[:, 1], out=result[:, 0])
            return result
        return _normalised(np.column_stack([self._curve(c, proba[:, c]) for c in range(self.classes)]))

    def _curve(self, c: int, p: Doubles) -> Doubles:
        if self.method == "isotonic":
            return np.asarray(np.interp(p, self.parameters[c][0], self.parameters[c][1]))
        slope, offset = self.parameters[c]
        return _curves.sigmoid(slope * _curves.log_odds(p) + offset)

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON values; every float comes back exactly."""
        return {"method": self.method, "classes": self.classes, "parameters": [p.tolist() for p in self.parameters]}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            Broken: It is not a calibrator's description, or its numbers cannot be one.

        >>> Calibrator.from_json({"method": "none", "classes": 3, "parameters": []}).classes
        3
        """
        try:
            method, classes = document["method"], int(document["classes"])
            parameters = tuple(np.array(p, dtype=np.float64) for p in document["parameters"])
        except (KeyError, TypeError, ValueError) as error:
            raise Broken(f"not a calibrator's description: {type(error).__name__}: {error}") from error
        if problem := _problem(method, classes, parameters):
            raise Broken(f"a calibrator's description is damaged: {problem}")
        return cls(method, classes, parameters)


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Measure how far stated confidence is from observed accuracy, in bins of equal width.

    The figure that people expect, and one that is never 0 by chance alone: a perfectly calibrated model gets about 0.12
    from 100 rows and 0.04 from 1,000. ``debiased_calibration_error`` takes that away.

    Args:
        confidence: Probability of the predicted class, shape ``(n,)``, in [0, 1].
        correct: Whether that class was right, shape ``(n,)``, 0 or 1.
        bins: Number of bins of equal width over [0, 1]; bins without rows count nothing.

    Returns:
        Mean gap weighted by rows, in [0, 1]; 0 is perfectly calibrated.

    Raises:
        Incompatible: The shapes differ, there are no rows, or values are outside [0, 1].

    Source:
        Naeini, Cooper & Hauskrecht (AAAI 2015).

    >>> expected_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0])
    0.0
    >>> round(expected_calibration_error([0.9, 0.9, 0.3], [1, 0, 0]), 4)
    0.3667
    """
    p, hit = _checked_pairs(confidence, correct, bins)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=p - hit, minlength=bins)
    return _tidy(float(np.abs(gaps).sum() / len(p)))


def debiased_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Measure the same in bins of equal mass, less the part that sampling alone explains.

    On average a bin's squared gap is too large by the variance of its hit rate; without that part the sum of squares is
    unbiased. The plain figure is scaled by the root of the share of the squares that remains, which keeps its unit.

    Args:
        confidence: Probability of the predicted class, shape ``(n,)``, in [0, 1].
        correct: Whether that class was right, shape ``(n,)``, 0 or 1.
        bins: Number of bins of equal mass; fewer where that would leave fewer than two rows in one.

    Returns:
        A gap in [0, 1]; 0 when sampling explains all of it. Below four rows there is no telling, and it is 0.

    Raises:
        Incompatible: As ``expected_calibration_error``.

    Source:
        Kumar, Liang & Ma (NeurIPS 2019), section 5, for the unbiased squares.

    >>> debiased_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0])
    0.0
    >>> round(debiased_calibration_error([0.9] * 1000, [1, 0] * 500, bins=1), 4)
    0.3997
    """
    p, hit = _checked_pairs(confidence, correct, bins)
    edges = np.linspace(0, len(p), max(1, min(bins, len(p) // 2)) + 1).astype(np.int64)
    order, rows = np.argsort(p, kind="stable"), np.diff(edges)
    if rows.min() < 2:
        return 0.0
    rate = np.add.reduceat(hit[order], edges[:-1]) / rows
    gap = np.abs(np.add.reduceat(p[order], edges[:-1]) / rows - rate)
    squares = float((rows * gap**2).sum())
    noise = float((rows * rate * (1 - rate) / (rows - 1)).sum())
    if squares <= noise:
        return 0.0
    return _tidy(float((rows * gap).sum() / len(p)) * float(np.sqrt(1 - noise / squares)))


def top_label(proba: Doubles, truth: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Give each row's confidence in its predicted class, and whether that class was right (0 or 1).

    >>> top_label(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1]))
    (array([0.8, 0.6]), array([1., 0.]))
    """
    return proba.max(axis=1), (proba.argmax(axis=1) == truth).astype(np.float64)


def _checked(scores: Any, y: Any, weights: Any) -> tuple[Doubles, npt.NDArray[np.int64], Doubles]:
    proba = np.asarray(scores, dtype=np.float64)
    if proba.ndim != 2 or proba.shape[1] < 2 or len(proba) == 0:
        raise Incompatible(f"calibration needs probabilities of shape (n, k) with n ≥ 1, k ≥ 2; got {proba.shape}")
    if not np.isfinite(proba).all() or proba.min() < 0 or np.abs(proba.sum(axis=1) - 1).max() > 1e-3:
        raise Incompatible("calibration needs probabilities: finite, not negative, rows that sum to 1")
    truth = np.asarray(y)
    if truth.shape != (len(proba),) or truth.dtype.kind not in "iub":
        raise Incompatible(f"y must be {len(proba)} class positions (integers), got {truth.dtype} {truth.shape}")
    truth = truth.astype(np.int64)
    if truth.min() < 0 or truth.max() >= proba.shape[1]:
        raise Incompatible(f"y has class position {truth.max()}; the scores have {proba.shape[1]} classes, from 0")
    mass = np.ones(len(proba)) if weights is None else np.asarray(weights, dtype=np.float64)
    if mass.shape != truth.shape or not np.isfinite(mass).all() or mass.min() < 0:
        raise Incompatible("weights must be one finite number per row, not negative")
    return proba, truth, mass


def _every_class_present(truth: npt.NDArray[np.int64], k: int, method: str) -> None:
    absent = sorted(set(range(k)) - set(np.unique(truth).tolist()))
    if absent:
        raise Incompatible(
            f"{method} calibration needs rows of every class, but of {k} classes these positions have none among "
            f"{len(truth)} rows: {absent}; hold out more rows, stratified, or use method none",
            {"absent": absent, "rows": len(truth)},
        )


def _checked_pairs(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int) -> tuple[Doubles, Doubles]:
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if p.ndim != 1 or p.shape != hit.shape or len(p) == 0:
        raise Incompatible(f"confidence and correct must be vectors of one length ≥ 1, got {p.shape} and {hit.shape}")
    if bins < 1:
        raise Incompatible(f"bins must be at least 1, got {bins}")
    for what, values in (("confidence", p), ("correct", hit)):
        if not ((values >= 0) & (values <= 1)).all():
            raise Incompatible(f"{what} must lie in [0, 1], got {values.min()} to {values.max()}")
    return p, hit


def _normalised(powers: Doubles) -> Doubles:
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / total)


def _tidy(value: float) -> float:
    return 0.0 if value < _TINY else value  # 0.8 − 4/5 is 1e-17 in doubles


def _problem(method: Any, classes: int, parameters: Sequence[Doubles]) -> str | None:
    if method not in get_args(Method):
        return f"method {method!r} is unknown"
    curves = 1 if classes == 2 else classes
    if classes < 2 or len(parameters) != {"none": 0, "temperature": 1}.get(method, curves):
        return f"{method} for {classes} classes with {len(parameters)} parameters"
    valid, what = _SHAPES[method]
    return None if all(np.isfinite(values).all() and valid(values) for values in parameters) else what


def _is_curve(values: Doubles) -> bool:
    if values.ndim != 2 or values.shape[0] != 2 or values.shape[1] == 0:
        return False
    x, y = values
    return bool((np.diff(x) > 0).all() and (np.diff(y) >= 0).all() and y[0] >= 0 and y[-1] <= 1)


_SHAPES: dict[str, tuple[Callable[[Doubles], bool], str]] = {
    "none": (lambda _: True, ""),
    "temperature": (lambda values: values.shape == (1,) and values[0] > 0, "a temperature is one number above 0"),
    "platt": (lambda values: values.shape == (2,), "platt has a slope and an offset per class"),
    "isotonic": (_is_curve, "an isotonic curve has two rising rows of one length, its values in [0, 1]"),
}
