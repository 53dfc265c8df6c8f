"""Proof that a serving form equals the native model: on real rows, and on rows made to break it.

The two sides share as little as they can: the native side goes from an Arrow table through the fitted encoder and the
family's own framework; the form goes from records through its lookups and its graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.errors import MldlError
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Matrix, table_of
from mldl_ray.adapters.schema import Column, InputSchema
from mldl_ray.serving_form.model import Answer

Predict = Callable[[list[dict[str, Any]]], Answer]

TOLERANCE = 1e-6
"""Largest difference of a score; of what is no probability, relative to its size when that is above 1."""
SAMPLE_ROWS = 500
ALONE = 60

_NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e300, -1e300, 1e-320, 2**63, -(2**70), 0.1 + 0.2, 16_777_217)
_STRINGS = ("", " ", "never-seen-before", "né\u0000é", "x" * 10_000)
_TIMES = ("1970-01-01T00:00:00Z", "1900-02-28T23:59:59.999999+05:30", "2999-12-31T00:00:00Z", "2024-02-29T12:00:00")


@dataclass(frozen=True)
class Proof:
    """What a comparison found. ``objection`` is None when the form may serve."""

    rows: int
    largest_difference: float
    objection: str | None


def prove(adapter: BaseModelAdapter, predict: Predict, sample: pa.Table) -> Proof:
    """Compare a form with the adapter that it was made from.

    Rows go through the form in one batch, and some one by one, because both happen.
    """
    rows = [*sample_rows(adapter.schema, sample), *hostile_rows(adapter.schema, sample)]
    records = [dict(zip(adapter.schema.names, row, strict=True)) for row in rows]
    table = table_of(adapter.schema, rows)
    native = adapter.encoder.transform(table)
    labels, expected = _native(adapter, native)
    try:
        batch = predict(records)
        alone = [predict([record]) for record in records[-ALONE:]]
    except MldlError as error:
        return Proof(0, float("inf"), f"the form refuses a row that the model takes: {error.message}")
    found_labels = batch.predictions + [answer.predictions[0] for answer in alone]
    found = np.array(_scores(batch) + [_scores(answer)[0] for answer in alone])
    expected = np.concatenate([expected, expected[-ALONE:]])
    if labels is not None:
        labels += labels[-ALONE:]
    return _compare(labels, expected, found_labels, found, relative=adapter.task != "classification")


def _native(adapter: BaseModelAdapter, matrix: Matrix) -> tuple[list[Any] | None, Any]:
    """Give the labels, where there are any, and the scores that the form must give too."""
    if adapter.task == "classification":
        return adapter.predict_matrix(matrix).tolist(), adapter.predict_proba_matrix(matrix)
    raw = adapter.raw_matrix(matrix)
    if adapter.task in {"clustering", "reinforcement"}:
        return adapter.predict_matrix(matrix).tolist(), raw.max(axis=1)[:, None]
    return None, raw


def sample_rows(schema: InputSchema, sample: pa.Table) -> list[list[Any]]:
    """Take rows of a table as Python values in column order, spread evenly; NaN and None are missing."""
    schema.check(sample)
    step = max(1, sample.num_rows // SAMPLE_ROWS)
    taken = sample.select(list(schema.names)).take(list(range(0, sample.num_rows, step))[:SAMPLE_ROWS])
    columns = [
        [_plain(column, value) for value in values.to_pylist()]
        for column, values in zip(schema.columns, taken.columns, strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def hostile_rows(schema: InputSchema, sample: pa.Table) -> Iterator[list[Any]]:
    """Make rows that break careless forms: missing and unseen values, extremes, signed zeros, huge integers.

    Series of a row have one length: alone each keeps that of the usual row; together they are short, long and absent.
    """
    usual = sample_rows(schema, sample.slice(0, 1))[0] if sample.num_rows else [None] * len(schema.columns)
    length = max([len(value) for value in usual if isinstance(value, list)], default=0) or 3
    hostile = [list(_hostile(column, length)) for column in schema.columns]
    yield [None] * len(schema.columns)
    for i, values in enumerate(hostile):
        for value in (None, *values):
            yield [*usual[:i], value, *usual[i + 1 :]]
    for turn in range(max(map(len, hostile))):
        yield [values[turn % len(values)] for values in hostile]
    if any(column.kind == "sequence" for column in schema.columns):
        for steps in (0, 1, 2, length + 1, 10 * length + 100):
            series = _series(steps)
            yield [series if column.kind == "sequence" else usual[i] for i, column in enumerate(schema.columns)]


def _series(steps: int) -> list[Any]:
    """Make a series of extremes and gaps."""
    return [(None, *_NUMBERS)[step % (len(_NUMBERS) + 1)] for step in range(steps)]


def _hostile(column: Column, steps: int) -> tuple[Any, ...]:
    if column.kind == "sequence":
        return (_series(steps), [], [None] * steps, *([number] * steps for number in _NUMBERS))
    if column.kind == "numeric":
        return _NUMBERS
    if column.kind == "boolean":
        return (True, False)
    if column.kind == "datetime":
        return tuple(map(datetime.fromisoformat, _TIMES))
    return (*_STRINGS, *column.categories[:50])


def _plain(column: Column, value: Any) -> Any:
    """Give a value as JSON would bring it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if column.kind == "boolean":
        return bool(value)
    if column.kind == "sequence":
        return [None if step is None or math.isnan(step) else float(step) for step in value]
    return float(value) if column.kind == "numeric" and not isinstance(value, int) else value


def _scores(answer: Answer) -> list[Any]:
    if answer.probabilities is not None:
        return answer.probabilities
    if answer.predictions and isinstance(answer.predictions[0], list):
        return answer.predictions
    return [[score] for score in answer.scores]


def _compare(labels: list[Any] | None, expected: Any, found_labels: list[Any], found: Any, *, relative: bool) -> Proof:
    if found.shape != expected.shape or not np.isfinite(found).all() or not np.isfinite(expected).all():
        return Proof(len(expected), float("inf"), "the form, or the model itself, gives scores that are no numbers")
    difference = np.abs(found - expected)
    if relative:
        difference = difference / np.maximum(1.0, np.abs(expected))
    largest = float(difference.max())
    if largest > TOLERANCE:
        worst = int(difference.max(axis=1).argmax())
        count = int((difference.max(axis=1) > TOLERANCE).sum())
        return Proof(len(expected), largest, f"{count} of {len(expected)} rows differ, the most by {largest:.3g} "
                     f"(row {worst}); at most {TOLERANCE:g} is tolerated")  # fmt: skip
    if labels is not None and labels != found_labels:
        return Proof(len(expected), largest, "labels differ")
    return Proof(len(expected), largest, None)
