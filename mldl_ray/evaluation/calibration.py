"""Probabilities that mean what they say: calibrators. How far off they are is measured in ``calibration_error``.

A fitted calibrator is a handful of numbers, applied with numpy alone, because every prediction goes through it. Which
rows it may learn from is not decided here: they must be neither training rows nor rows that judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Incompatible
from mldl_ray.evaluation import _choice, _curves

Doubles = npt.NDArray[np.float64]
Method = Literal["isotonic", "platt", "temperature", "none"]
Asked = Method | Literal["auto"]

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Calibrator:
    """A map from a model's probabilities to calibrated ones.

    isotonic: any non-decreasing step curve per class, joined linearly; needs about a thousand rows.
    platt: a sigmoid per class on the log-odds; two numbers, fine from a few dozen rows.
    temperature: one number for all classes; never changes which class is on top.
    none: leaves everything as it is.

    With more than two classes, isotonic and platt learn each class against the rest and the results are normalised.
    ``compared`` holds the held-out log loss of each method, where ``auto`` chose among them.
    """

    method: Method
    classes: int
    parameters: tuple[Doubles, ...] = ()
    compared: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, scores: Any, y: Any, method: Asked = "isotonic", *, weights: Any = None) -> Self:
        """Learn from rows that the model was not trained on.

        Args:
            scores: Probabilities, shape ``(n, k)`` with k ≥ 2, rows sum to 1.
            y: Position of each row's true class, shape ``(n,)``, integers in ``0..k-1``.
            method: How; see the class. ``auto`` compares by cross-fitting those that so many rows can carry, takes the
                one with the least log loss on the rows that were held out, and fits it to all.
            weights: One weight per row, not negative.

        Raises:
            Incompatible: Shapes or values do not fit, or a class has no rows, so that there is nothing to learn.
        """
        if method not in (*get_args(Method), "auto"):
            raise Incompatible(f"calibration {method!r} is unknown; choose from {', '.join(get_args(Method))}, auto")
        proba, truth, mass = _checked(scores, y, weights)
        if method == "none":
            return cls(method, proba.shape[1])
        _every_class_present(truth, proba.shape[1], method)
        if method == "auto":
            return cls._chosen(proba, truth, mass)
        return cls._fitted(method, proba, truth, mass)

    @classmethod
    def _chosen(cls, proba: Doubles, truth: npt.NDArray[np.int64], mass: Doubles) -> Self:
        methods = _choice.suitable(len(truth))
        losses = _choice.held_out_losses(
            lambda name, *rows: cls._fitted(cast("Method", name), *rows).apply, methods, proba, truth, mass
        )
        best = methods[0] if losses is None else min(losses, key=losses.__getitem__)
        return replace(cls._fitted(cast("Method", best), proba, truth, mass), compared=losses or {})

    @classmethod
    def _fitted(cls, method: Method, proba: Doubles, truth: npt.NDArray[np.int64], mass: Doubles) -> Self:
        k = proba.shape[1]
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
        described = {
            "method": self.method,
            "classes": self.classes,
            "parameters": [p.tolist() for p in self.parameters],
        }
        return described | ({"compared": dict(self.compared)} if self.compared else {})

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
            compared = {str(name): float(loss) for name, loss in document.get("compared", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Broken(f"not a calibrator's description: {type(error).__name__}: {error}") from error
        if problem := _problem(method, classes, parameters, compared):
            raise Broken(f"a calibrator's description is damaged: {problem}")
        return cls(method, classes, parameters, compared)


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


def _normalised(powers: Doubles) -> Doubles:
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / total)


def _problem(method: Any, classes: int, parameters: Sequence[Doubles], compared: Mapping[str, float]) -> str | None:
    if method not in get_args(Method) or not set(compared) <= set(get_args(Method)):
        return f"method {method!r} is unknown, or one of those it was compared with: {', '.join(compared)}"
    if not np.isfinite(list(compared.values())).all():
        return "a log loss is not finite"
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
