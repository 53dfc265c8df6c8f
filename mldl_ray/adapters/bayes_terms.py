"""What a number says about the classes: a step function of bins, or a curve from two normal densities.

``against`` turns what each class says (last axis: classes) into what is added to the raw scores (last axis: outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mldl_ray.adapters.links import Doubles

Against = Callable[[Doubles], Doubles]


@dataclass(frozen=True, eq=False)
class Bins:
    """A score per bin: below the first edge, from each edge on, and, last, for missing."""

    edges: Doubles  # (m,), ascending
    scores: Doubles  # (m + 2, outputs)

    @classmethod
    def fit(cls, x: Doubles, member: Doubles, bins: int, against: Against) -> Self:
        """Learn from a column, NaN being missing, and each row's weight in each class."""
        edges = bin_edges(x[~np.isnan(x)], bins)
        places = _places(edges, x)
        counts = np.empty((len(edges) + 2, member.shape[1]))
        for c, weights in enumerate(member.T):
            counts[:, c] = np.bincount(places, weights, minlength=len(counts))
        if not np.isnan(x).any():  # missing was never seen: it says nothing
            return cls(edges, np.vstack([against(counts[:-1]), 0 * against(counts[-1:])]))
        return cls(edges, against(counts))

    def of(self, x: Doubles) -> Doubles:
        """Give the score of each value; shape ``(n, outputs)``."""
        return np.asarray(self.scores[_places(self.edges, x)])

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON values; doubles survive exactly."""
        return {"edges": self.edges.tolist(), "scores": self.scores.tolist()}


@dataclass(frozen=True, eq=False)
class Curve:
    """``(square · z + slope) · z + level`` of ``z = (x - middle) / scale``, x held within the training range."""

    range: Doubles  # lowest, highest, middle, scale
    powers: Doubles  # (3, outputs): square, slope, level

    @classmethod
    def fit(cls, x: Doubles, member: Doubles, smoothing: float, against: Against) -> Self:
        """Learn a normal density per class; ``smoothing`` is added to each variance, as a share of the whole one."""
        known = ~np.isnan(x)
        values, member = x[known], member[known]
        lowest, highest, middle = float(values.min()), float(values.max()), float(values.mean())
        scale = float(values.std()) or 1.0
        z = (values - middle) / scale
        mass = member.sum(axis=0)
        safe = np.where(mass > 0, mass, 1.0)
        mean = np.where(mass > 0, z @ member / safe, 0.0)
        spread = ((z[:, None] - mean) ** 2 * member).sum(axis=0) / safe
        variance = np.where(mass > 0, spread, 1.0) + smoothing
        logs = [-0.5 / variance, mean / variance, -0.5 * (mean**2 / variance + np.log(variance))]
        return cls(np.array([lowest, highest, middle, scale]), against(np.array(logs)))

    def of(self, x: Doubles) -> Doubles:
        """Give the score of each value; shape ``(n, outputs)``; 0 where it is missing."""
        lowest, highest, middle, scale = self.range
        z = ((np.clip(x, lowest, highest) - middle) / scale)[:, None]
        square, slope, level = self.powers
        return np.where(np.isnan(z), 0.0, (square * z + slope) * z + level)

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON values; doubles survive exactly."""
        return {"range": self.range.tolist(), "powers": self.powers.tolist()}


Term = Bins | Curve


def term_from_json(document: Any, outputs: int) -> Term:
    """Read what ``to_json`` gave.

    Raises:
        KeyError, TypeError, ValueError: It is no such document, or does not fit the outputs.
    """
    term: Term
    if "edges" in document:
        term = Bins(*(np.array(document[name], dtype=np.float64) for name in ("edges", "scores")))
        fits = (
            term.edges.ndim == 1
            and term.scores.shape == (len(term.edges) + 2, outputs)
            and bool((np.diff(term.edges) > 0).all())
        )
        arrays = term.edges, term.scores
    else:
        term = Curve(*(np.array(document[name], dtype=np.float64) for name in ("range", "powers")))
        fits = term.range.shape == (4,) and term.powers.shape == (3, outputs) and bool(term.range[3] > 0)
        arrays = term.range, term.powers
    if not fits or not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a column's term has other sizes than its classes ask for, or values that are not finite")
    return term


def bin_edges(values: Doubles, bins: int) -> Doubles:
    """Choose where bins begin: few values, one each; many, about as many rows in each, frequent values on their own.

    >>> bin_edges(np.array([0.0, 1.0, 0.0]), 10).tolist()
    [1.0]
    >>> bin_edges(np.array([0.0] * 8 + [1.0, 2.0, 3.0, 4.0]), 4).tolist()
    [1.0, 2.0]
    >>> bin_edges(np.arange(12.0), 4).tolist()
    [3.0, 6.0, 9.0]
    """
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return distinct[1:]
    found = np.quantile(values, np.arange(bins + 1) / bins, method="higher")
    marks, times = np.unique(found, return_counts=True)
    after = np.searchsorted(distinct, marks[times > 1], side="right")  # a mark met twice fills a bin on its own
    edges = np.unique([*marks[marks < distinct[-1]], *distinct[after[after < len(distinct)]]])
    return np.asarray(edges[edges > distinct[0]])


def _places(edges: Doubles, x: Doubles) -> Any:
    """Give each value's bin; missing ones have the last."""
    return np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x, side="right"))
