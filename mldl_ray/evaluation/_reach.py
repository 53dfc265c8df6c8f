"""How far a row's numbers may be moved: which of them, by how much at most, and within which range.

Moved are numeric columns that vary. Never moved: categories and booleans, one-hot or as numbers that are only 0 and 1,
times, missing values, and sensitive columns. Of a series every step moves on its own, and what stands beside it stays,
as it is repeated at each step. What searches within this is in ``_attacks``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mldl_ray.adapters.schema import Column
from mldl_ray.adapters.table import numbers

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter
    from mldl_ray.adapters.encoder import Matrix

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Encoded rows and what may be done to them, in the encoder's units.

    ``step`` is one training deviation of each encoded column of each row, ``(rows, width)``, 0 where nothing may move;
    ``low`` and ``high`` are the range of each encoded column among all judged rows, ``(width,)``.
    """

    start: Matrix
    step: Doubles
    low: Doubles
    high: Doubles
    columns: tuple[str, ...]

    @classmethod
    def of(
        cls, adapter: BaseModelAdapter, table: pa.Table, kept: npt.NDArray[np.int64], sensitive: Collection[str] = ()
    ) -> Self:
        """Find what of the ``kept`` rows may move; ranges are those of the whole table."""
        encoder = adapter.encoder
        if encoder.series is not None:
            return cls._of_series(adapter, table, kept, sensitive)
        start = encoder.transform(table.take(kept))
        step = np.zeros(start.shape)
        low, high = np.full(encoder.width, -np.inf), np.full(encoder.width, np.inf)
        names = []
        for i, column in enumerate(encoder.numbers):
            values = numbers(column, table.column(column.name))
            unit = deviation(adapter, column, values)
            if column.kind != "numeric" or column.name in sensitive or unit == 0 or _is_flag(values):
                continue
            names.append(column.name)
            step[~np.isnan(values[kept]), i] = unit / encoder.scale[i]
            ends = encoder.standardise(_row_of(encoder, i, np.array([np.nanmin(values), np.nanmax(values)])))[:, i]
            low[i], high[i] = ends.astype(start.dtype)
        return cls(start, step, low, high, tuple(names))

    @classmethod
    def _of_series(
        cls, adapter: BaseModelAdapter, table: pa.Table, kept: npt.NDArray[np.int64], sensitive: Collection[str]
    ) -> Self:
        """Let every step of every series move; a value of exactly the mean may be a missing one, and stays."""
        encoder = adapter.encoder
        matrix = encoder.transform(table)
        step = np.zeros((len(kept), encoder.width))
        low, high = np.full(encoder.width, -np.inf), np.full(encoder.width, np.inf)
        names = []
        for i, column in enumerate(encoder.sequences):
            places = np.arange(i, encoder.width, encoder.step_width)
            values = matrix[:, places]
            known = values[~np.isnan(values) & (values != 0)]
            if column.name in sensitive or len(known) < 2 or np.ptp(known) == 0:
                continue
            names.append(column.name)
            step[:, places] = ~np.isnan(values[kept]) & (values[kept] != 0)
            low[places], high[places] = known.min(), known.max()
        return cls(matrix[kept], step, low, high, tuple(names))

    @property
    def movable(self) -> npt.NDArray[np.int64]:
        """List the encoded columns that move in some row."""
        return np.flatnonzero(self.step.any(axis=0))

    def at(self, offset: Doubles, rows: npt.NDArray[Any] | slice = slice(None)) -> Matrix:
        """Give rows moved by so many training deviations per encoded column, cut to the range that was seen."""
        moved = np.clip(self.start[rows] + offset * self.step[rows], self.low, self.high)
        return np.where(self.step[rows] > 0, moved, self.start[rows]).astype(self.start.dtype)


def deviation(adapter: BaseModelAdapter, column: Column, values: Doubles) -> float:
    """Give a column's deviation in training where the encoder keeps it, otherwise here; 0 where nothing varies."""
    known = values[~np.isnan(values)]
    if len(known) < 2 or np.ptp(known) == 0:
        return 0.0  # a scale of 1 stands for a constant column in the encoder, which is no deviation
    if adapter.encoder.style != "plain":
        return float(adapter.encoder.scale[adapter.encoder.numbers.index(column)])
    return float(known.std())


def _is_flag(values: Doubles) -> bool:
    return bool(np.isin(values[~np.isnan(values)], (0.0, 1.0)).all())


def _row_of(encoder: Any, place: int, values: Doubles) -> Doubles:
    left = np.zeros((len(values), len(encoder.numbers)))
    left[:, place] = values
    return left
