"""What a card draws beyond single figures: curves, the confusion of classes, answers, and what answers hang on.

Small on purpose: a curve keeps ``POINTS`` points, so that an evaluation stays a document. Not here: any drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Refused
from contracts.evaluations import Curve, Picture
from mldl_ray.evaluation._rows import Rows

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter

Doubles = npt.NDArray[np.float64]

POINTS = 60
CURVES = 6
"""Of more than two classes, those with the most rows."""
MOST_CLASSES = 30
SHOWN_ANSWERS = 250
EXPLAINED = {"exact": 200, "sampled": 20}
"""Rows whose attributions are averaged, by how a family explains: sampling asks the model often."""
COLUMNS = 30
_STREAM = 5  # apart from the bootstrap's, the disturbances' and the attack's


class Drawn(NamedTuple):
    """A picture, and why it lacks the influence of columns where it does."""

    picture: Picture
    why_no_influence: str | None


def picture_of(adapter: BaseModelAdapter, table: pa.Table, rows: Rows, seed: int = 0) -> Drawn:
    """Sum up a classification's or a regression's judged rows.

    Args:
        adapter: The model; it is asked to explain some of the rows.
        table: The judged rows.
        rows: Their truth, answers and weights.
        seed: Of which rows are shown and explained.
    """
    random = np.random.default_rng([seed, _STREAM])
    kept = np.sort(random.permutation(table.num_rows)[:SHOWN_ANSWERS])
    influence, count, why = influence_of(adapter, table.take(kept))
    facts: dict[str, Any] = {"influence": influence, "influence_rows": count}
    if adapter.task == "regression":
        pairs = zip(_rounded(rows.truth[kept]), _rounded(rows.said[kept]), strict=True)
        return Drawn(Picture(answers=tuple(pairs), **facts), why)
    names = [str(label) for label in adapter.classes]
    roc, precision_recall = _curves(rows, names)
    shares = np.bincount(rows.truth, weights=rows.mass, minlength=len(names)) / rows.mass.sum()
    if len(names) <= MOST_CLASSES:
        cells = rows.truth * len(names) + rows.said.argmax(axis=1)
        confusion = np.bincount(cells, weights=rows.mass, minlength=len(names) ** 2).reshape(len(names), -1)
        facts |= {"confusion": tuple(_rounded(row) for row in confusion.astype(np.float64)), "labels": tuple(names)}
    rates = {name: float(share) for name, share in zip(names, shares, strict=True)}
    return Drawn(Picture(roc=roc, precision_recall=precision_recall, base_rates=rates, **facts), why)


def picture_of_answers(adapter: BaseModelAdapter, table: pa.Table, seed: int = 0) -> Drawn:
    """Sum up what a model without right answers says: rows per cluster or action, and what that hangs on."""
    random = np.random.default_rng([seed, _STREAM])
    influence, count, why = influence_of(
        adapter, table.take(np.sort(random.permutation(table.num_rows)[:SHOWN_ANSWERS]))
    )
    sizes: dict[str, int] = {}
    if adapter.task in {"clustering", "reinforcement"}:
        found, counts = np.unique(np.asarray(adapter.predict(table)), return_counts=True)
        ranked = sorted(zip(counts.tolist(), found.tolist(), strict=True), key=lambda entry: -entry[0])
        sizes = {str(label): rows for rows, label in ranked[:MOST_CLASSES]}
    return Drawn(Picture(influence=influence, influence_rows=count, sizes=sizes), why)


def influence_of(adapter: BaseModelAdapter, table: pa.Table) -> tuple[dict[str, float], int, str | None]:
    """Average the size of each column's attribution to the raw scores, over rows and outputs; largest first.

    Returns:
        By column, the largest ``COLUMNS``; the rows that were explained; why there is nothing, where that is so.
    """
    rows = table.slice(0, EXPLAINED[adapter.capabilities.explain])
    try:
        found = adapter.explain(rows)
    except Refused as error:
        return {}, 0, error.message
    size = np.abs(found.values).mean(axis=(0, 2))
    order = np.argsort(-size, kind="stable")[:COLUMNS]
    return {found.columns[i]: float(size[i]) for i in order if size[i] > 0}, rows.num_rows, None


def _curves(rows: Rows, names: list[str]) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    sizes = np.bincount(rows.truth, minlength=len(names))
    places = [len(names) - 1] if len(names) == 2 else np.argsort(-sizes, kind="stable")[:CURVES].tolist()
    roc, precision_recall = [], []
    for place in places:
        if 0 < sizes[place] < len(rows.truth):
            a, b = _one_class(rows.truth == place, rows.said[:, place], rows.mass, names[place])
            roc.append(a)
            precision_recall.append(b)
    return tuple(roc), tuple(precision_recall)


def _one_class(real: npt.NDArray[np.bool_], score: Doubles, mass: Doubles, name: str) -> tuple[Curve, Curve]:
    """Follow one class down its thresholds: rows of the same score enter together."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits, misses = (mass * real)[order].cumsum()[ends], (mass * ~real)[order].cumsum()[ends]
    recall, fall, precision = hits / hits[-1], misses / misses[-1], hits / (hits + misses)
    area = float(np.trapezoid(np.append(0.0, recall), np.append(0.0, fall)))
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    return (
        Curve(name=name, area=area, points=_thinned(np.append(0.0, fall), np.append(0.0, recall))),
        Curve(name=name, area=average, points=_thinned(np.append(0.0, recall), np.append(precision[0], precision))),
    )


def _thinned(x: Doubles, y: Doubles) -> tuple[tuple[float, float], ...]:
    """Keep points evenly along a curve's length, both ends among them."""
    way = np.append(0.0, np.hypot(np.diff(x), np.diff(y)).cumsum())
    place = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)).clip(0, len(way) - 1))
    place = np.unique(np.append(place, [0, len(way) - 1]))
    return tuple(zip(_rounded(x[place]), _rounded(y[place]), strict=True))


def _rounded(values: Doubles) -> tuple[float, ...]:
    """Write values with five significant digits: they are looked at, not computed with."""
    return tuple(float(f"{value:.5g}") for value in values.tolist())
