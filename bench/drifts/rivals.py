"""The default rules of Evidently and NannyML, on the columns of a table; what they do, not how they do it.

Evidently 0.7.23, ``legacy/calculations/stattests/registry.py``: with more than 1,000 reference rows, numbers of more
than five values by Wasserstein distance over the reference's standard deviation, all else by Jensen-Shannon distance
(natural logarithm); drifted from 0.1 on. The whole table has drifted when half of its columns have.
NannyML 0.13, ``drift/univariate/methods.py``: Jensen-Shannon distance (base 2), numbers of more than 50 values in the
reference's bins by Doane's rule, what is new to it in a bin of its own; an alert above 0.1. With labels, a chunk whose
accuracy is more than three standard deviations of the reference's chunks from their mean.
Both leave missing values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

LIMIT = 0.1
SHARE = 0.5
FEW, SEVERAL = 5, 50


class Column(NamedTuple):
    """A column of the reference: its values, their shares (words), or their shares in bins (numbers)."""

    values: Any
    shares: Mapping[Any, float]
    edges: Any


class Rivals:
    """Both rules against one reference of more than 1,000 rows."""

    def __init__(self, reference: pa.Table) -> None:
        self._columns = {name: _column(reference[name]) for name in reference.column_names}

    def evidently_columns(self, window: pa.Table) -> list[str]:
        """Name the columns that Evidently's preset calls drifted."""
        return [name for name, column in self._columns.items() if _evidently(column, window[name]) >= LIMIT]

    def verdicts(self, window: pa.Table) -> dict[str, bool]:
        """Say who raises an alarm: ``evidently`` at half of the columns, ``evidently_any`` and ``nannyml`` at one."""
        columns = self.evidently_columns(window)
        return {
            "evidently": len(columns) >= SHARE * len(self._columns),
            "evidently_any": bool(columns),
            "nannyml": any(_nannyml(column, window[name]) > LIMIT for name, column in self._columns.items()),
        }


def _column(column: pa.ChunkedArray) -> Column:
    values = _values(column)
    shares = _shares(values)
    numbers = values.dtype != object
    edges = np.histogram_bin_edges(values, bins="doane") if numbers and len(shares) > SEVERAL else None
    return Column(values, shares, edges)


def _values(column: pa.ChunkedArray) -> Any:
    values = column.drop_null().to_numpy()
    return values if values.dtype == object else values[np.isfinite(values)]


def _shares(values: Any) -> dict[Any, float]:
    counts = pc.value_counts(pa.array(values))
    return {one["values"]: one["counts"] / len(values) for one in counts.to_pylist()}


def _evidently(column: Column, live: pa.ChunkedArray) -> float:
    values = _values(live)
    if not len(values):
        return 0.0
    shares = _shares(values)
    keys = column.shares.keys() | shares.keys()
    if values.dtype != object and len(keys) > FEW:
        return float(wasserstein_distance(column.values, values) / max(float(np.std(column.values)), 0.001))
    return float(jensenshannon(*([one.get(key, 0.0) for key in keys] for one in (column.shares, shares))))


def _nannyml(column: Column, live: pa.ChunkedArray) -> float:
    values = _values(live)
    if not len(values):
        return 0.0
    if column.edges is not None:
        then, now = (np.histogram(v, column.edges)[0] / len(v) for v in (column.values, values))
    else:
        shares = _shares(values)
        then = np.array(list(column.shares.values()))
        now = np.array([shares.get(key, 0.0) for key in column.shares])
    return float(jensenshannon([*then, 0.0], [*now, max(0.0, 1 - now.sum())], base=2))
