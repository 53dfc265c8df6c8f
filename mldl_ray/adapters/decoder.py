"""From what a generator makes back to a table: the other way of ``encoder``.

A generator works on numbers between −1 and 1 (from the smallest to the largest value in training) and on one share per
category; the column that it is told, the condition, it does not make. What it makes of a column is led, rank by
rank, to the values of training: a column that is mostly 0 stays mostly 0, values never leave their range, and columns
that only had whole numbers get whole numbers. A missing number is not made; a missing category is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters.encoder import Doubles, Encoder, Matrix, block_width
from mldl_ray.adapters.schema import Column

MOST_LEVELS = 1000
"""Different values of a condition at most."""
KNOTS = 257
"""Ranks by which made numbers are led to real ones."""
_LARGEST_WHOLE = 2.0**53  # doubles above this are all whole

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Decoder:
    """Ranges of the encoder's number columns in their own units, and what the condition can be.

    ``levels`` are the condition's values, or positions of its categories, and ``shares`` how often each occurs; without
    a condition there is one level. ``ranks`` has, for each number that is made, its quantiles as made, and as they
    should be; shape ``(2, numbers, KNOTS)``.
    """

    encoder: Encoder
    condition: str | None
    low: Doubles
    high: Doubles
    whole: npt.NDArray[np.bool_]
    levels: Doubles
    shares: Doubles
    ranks: Doubles | None = None

    @classmethod
    def fit(cls, encoder: Encoder, M: Matrix, condition: str | None, weights: Doubles | None) -> Self:
        """Learn the ranges from encoded training rows; the encoder must be a scaled one.

        Raises:
            Incompatible: No such condition, or it has very many values; or it is the only column.
        """
        values = _values(encoder, M)
        near = np.abs(values - np.round(values)) < 1e-6
        filled = np.abs(values - encoder.fill) < 1e-6  # perhaps missing, which says nothing about the others
        whole = np.where(filled.all(axis=0), near.all(axis=0), (near | filled).all(axis=0))
        low, high = _tidy(values.min(axis=0), whole), _tidy(values.max(axis=0), whole)
        whole &= np.maximum(np.abs(low), np.abs(high)) < _LARGEST_WHOLE
        bare = cls(encoder, condition, low, high, whole, np.zeros(1), np.ones(1))
        if condition is None:
            return bare
        levels, places = np.unique(bare.told(M), return_inverse=True)
        if len(levels) > MOST_LEVELS:
            raise Incompatible(f"condition {condition!r} has {len(levels)} different values, more than {MOST_LEVELS}")
        counts = np.bincount(places, weights=weights)
        return cls(encoder, condition, low, high, whole, levels, counts / counts.sum())

    @cached_property
    def made(self) -> Places:
        """List the matrix columns that a generator makes: all but the condition's."""
        mine = np.ones(self.encoder.width, dtype=bool)
        if self.condition is not None:
            mine[self._own(self.condition)] = False
        if not mine.any():
            raise Incompatible(f"there is no column but the condition {self.condition!r}; there is nothing to learn")
        return np.flatnonzero(mine)

    @property
    def numbers(self) -> int:
        """Count the numbers at the left of what a generator makes."""
        return int((self.made < len(self.encoder.numbers)).sum())

    @property
    def blocks(self) -> tuple[int, ...]:
        """Give the widths of the categorical blocks that follow the numbers."""
        return tuple(block_width(column) for column, _ in self.encoder.blocks if column.name != self.condition)

    def told(self, M: Matrix) -> Doubles:
        """Give the condition of encoded rows: its value, or the position of its category; zeros without one."""
        if self.condition is None:
            return np.zeros(len(M))
        own = self._own(self.condition)
        if own[0] < len(self.encoder.numbers):
            return np.asarray(_tidy(_values(self.encoder, M), self.whole)[:, own[0]])
        return np.asarray(M[:, own].argmax(axis=1), dtype=np.float64)

    def place(self, values: Doubles) -> Places:
        """Find the level of each condition."""
        return np.searchsorted(self.levels, values).astype(np.int64)

    def compress(self, M: Matrix) -> Doubles:
        """Give encoded rows as a generator would make them, shape ``(n, made)``."""
        values, n = _values(self.encoder, M), len(self.encoder.numbers)
        spread = np.where(self.high > self.low, self.high - self.low, 1.0)
        numbers = np.where(self.high > self.low, 2 * (values - self.low) / spread - 1, 0.0)
        return np.hstack([numbers, M[:, n:]])[:, self.made]

    def led(self, made: Doubles, M: Matrix, weights: Doubles | None) -> Self:
        """Learn the ranks from what a generator makes, under conditions as often as in training, and training rows."""
        at, own = np.linspace(0, 1, KNOTS), self.made[: self.numbers]
        real = _tidy(_values(self.encoder, M), self.whole)[:, own]
        ranks = [
            np.quantile(numbers, at, axis=0, method="inverted_cdf", weights=mass).T
            for numbers, mass in ((made[:, : self.numbers], None), (real, weights))
        ]
        return replace(self, ranks=np.stack(ranks).astype(np.float64))

    def with_ranks(self, ranks: Doubles) -> Self:
        """Take stored ranks.

        Raises:
            Broken: They fall somewhere, or leave the ranges.
        """
        own = self.made[: self.numbers]
        inside = (ranks[1] >= self.low[own, None]).all() and (ranks[1] <= self.high[own, None]).all()
        if (np.diff(ranks, axis=2) < 0).any() or not inside:
            raise Broken("the stored ranks of made numbers do not rise within their ranges")
        return replace(self, ranks=ranks)

    def _real(self, made: Doubles) -> Doubles:
        """Give the number columns, in their own units, of what a generator made; the condition's are left 0."""
        values, own = np.zeros((len(made), len(self.encoder.numbers))), self.made[: self.numbers]
        if self.ranks is None:
            values[:, own] = self.low[own] + (made[:, : self.numbers] + 1) / 2 * (self.high - self.low)[own]
            return values
        for i, column in enumerate(own):
            values[:, column] = np.interp(made[:, i], self.ranks[0, i], self.ranks[1, i])
        return values

    def table(self, made: Doubles, places: Places) -> pa.Table:
        """Give what a generator made, under conditions, as rows of the schema; the largest share is the category."""
        full = np.zeros((len(made), self.encoder.width))
        full[:, self.made] = made
        told = self.levels[places]
        values = _tidy(self._real(made), self.whole)
        columns: dict[str, Any] = {}
        for i, column in enumerate(self.encoder.numbers):
            columns[column.name] = _numbers(column, told if column.name == self.condition else values[:, i],
                                            whole=bool(self.whole[i]))  # fmt: skip
        for column, offset in self.encoder.blocks:
            share = full[:, offset : offset + block_width(column)]
            columns[column.name] = _names(column, told if column.name == self.condition else share.argmax(axis=1))
        return pa.table({name: columns.get(name, pa.nulls(len(made))) for name in self.encoder.schema.names})

    def level(self, value: Any) -> int:
        """Find the level of a condition that a caller names.

        Raises:
            Incompatible: The training rows had no such value, or there is no condition.
        """
        if self.condition is None:
            raise Incompatible("this model was trained without a condition; set `condition` to a column when training")
        column = next(one for one in self.encoder.schema.columns if one.name == self.condition)
        known = [self._named(column, level) for level in self.levels.tolist()]
        if value not in known:
            shown = ", ".join(map(repr, known[:20]))
            raise Incompatible(f"{self.condition} was never {value!r} in training; it was: {shown}")
        return known.index(value)

    def _named(self, column: Column, level: float) -> Any:
        if column.kind == "categorical":
            return _names(column, np.array([level]))[0].as_py()
        return level

    def _own(self, name: str) -> Places:
        """Give the matrix columns of a column."""
        names = self.encoder.schema.names
        if name not in names:
            raise Incompatible(f"condition {name!r} is no column; there are: {', '.join(names[:40])}")
        own = np.flatnonzero(self.encoder.owners == names.index(name))
        if len(own) == 0:
            raise Incompatible(f"condition {name!r} is an empty column; choose one with values")
        return own

    def to_json(self) -> dict[str, Any]:
        """Give everything but the encoder as JSON values."""
        arrays = {name: getattr(self, name).tolist() for name in ("low", "high", "whole", "levels", "shares")}
        return arrays | {"condition": self.condition}

    @classmethod
    def from_json(cls, document: Any, encoder: Encoder) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            Broken: Fields are missing, or do not fit the encoder.
        """
        try:
            low, high, levels, shares = (
                np.array(document[name], dtype=np.float64) for name in ("low", "high", "levels", "shares")
            )
            whole, condition = np.array(document["whole"], dtype=bool), document["condition"]
            decoder = cls(encoder, condition, low, high, whole, levels, shares)
            fits = {low.shape, high.shape, whole.shape} == {(len(encoder.numbers),)} and levels.shape == shares.shape
            finite = all(np.isfinite(array).all() for array in (low, high, levels, shares))
            if not (fits and finite and levels.ndim == 1 and 0 < len(levels) <= MOST_LEVELS and len(decoder.made)):
                raise Broken("the stored decoder does not fit its encoder")
        except (KeyError, TypeError, ValueError, Incompatible) as error:
            raise Broken(f"the stored decoder is damaged: {type(error).__name__}: {error}") from error
        if (shares < 0).any() or abs(shares.sum() - 1) > 1e-6 or (high < low).any() or (np.diff(levels) <= 0).any():
            raise Broken("the stored decoder has ranges or shares that cannot be")
        return decoder


def _values(encoder: Encoder, M: Matrix) -> Doubles:
    """Give the number columns in their own units, without the last digits, which scaling there and back has changed."""
    values = np.asarray(M[:, : len(encoder.numbers)] * encoder.scale + encoder.shift, dtype=np.float64)
    digits = 13 - np.ceil(np.log10(np.abs(encoder.shift) + encoder.scale)).clip(-250, 250).astype(int)
    for i, places in enumerate(digits.tolist()):
        values[:, i] = np.round(values[:, i], places)
    return values


def _tidy(values: Doubles, whole: npt.NDArray[np.bool_]) -> Doubles:
    return np.where(whole, np.round(values), values)


def _numbers(column: Column, values: Doubles, *, whole: bool) -> pa.Array:
    if column.kind == "boolean":
        return pa.array(values >= 0.5)
    if column.kind == "datetime":
        return pa.array(np.round(values * 1e6).astype(np.int64), pa.timestamp("us", "UTC"))
    return pa.array(values.astype(np.int64) if whole else values)


def _names(column: Column, positions: npt.NDArray[Any]) -> pa.Array:
    known = [*column.categories, None]  # missing is the last category
    return pa.array([known[int(position)] for position in positions], pa.string())
