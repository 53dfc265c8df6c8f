"""Columns in memory that grow at the end: what the index of versions is made of. Pure; nothing of models is here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)
_SMALLEST = 1024
Rows = NDArray[np.int64]


class Column(Generic[S]):
    """Values of one type, one a row; room is doubled when it is full.

    Args:
        dtype: Of the values.
        fill: What rows hold that nobody set.
        values: To begin with.

    >>> column = Column(np.dtype(np.float64), fill=np.nan)
    >>> column.put(2, 0.5)
    >>> column.values.tolist()
    [nan, nan, 0.5]
    """

    def __init__(self, dtype: np.dtype[S], *, fill: Any = 0, values: NDArray[S] | None = None) -> None:
        self._fill = fill
        self._room: NDArray[S] = np.full(_SMALLEST, fill, dtype=dtype) if values is None else values
        self._used = 0 if values is None else len(values)

    def __len__(self) -> int:
        return self._used

    @property
    def values(self) -> NDArray[S]:
        """Give what is held; a view, valid until the next change."""
        return self._room[: self._used]

    @property
    def size_bytes(self) -> int:
        """Say what it holds in memory."""
        return self._room.nbytes

    def put(self, row: int, value: Any) -> None:
        """Set a row, which may be a new one."""
        self.reach(row + 1)
        self._room[row] = value

    def reach(self, rows: int) -> None:
        """Have at least so many rows."""
        if rows > len(self._room):
            room = np.full(max(rows, 2 * len(self._room)), self._fill, dtype=self._room.dtype)
            room[: self._used] = self._room[: self._used]
            self._room = room
        self._used = max(self._used, rows)


class Names:
    """Texts, each once, as small numbers.

    >>> names = Names(["lr"])
    >>> names.code("xgb"), names.code("lr"), names.find("gbm"), names.containing("x")
    (1, 0, None, [1])
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = list(texts)
        self._codes = {text: code for code, text in enumerate(self.texts)}

    def code(self, text: str) -> int:
        """Give the number of a text, a new one when it is new."""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return found

    def find(self, text: str) -> int | None:
        """Give the number of a text, if it has one."""
        return self._codes.get(text)

    def containing(self, word: str) -> list[int]:
        """List the numbers of the texts that hold a word, whatever its case."""
        return [code for code, text in enumerate(self.texts) if word in text.casefold()]


class Postings:
    """Which rows hold each of some codes; a row may hold several.

    Args:
        pairs: ``(row, code)`` to begin with, shape ``(n, 2)``.

    >>> postings = Postings(np.array([[0, 1], [1, 0], [2, 1]]))
    >>> postings.add(3, 1)
    >>> postings.rows([1]).tolist(), postings.pairs().tolist()[-1]
    ([0, 2, 3], [3, 1])
    """

    def __init__(self, pairs: Rows | None = None) -> None:
        self._base = (
            np.empty((0, 2), dtype=np.int64) if pairs is None else pairs[np.argsort(pairs[:, 1], kind="stable")]
        )
        self._starts = np.searchsorted(self._base[:, 1], np.arange(self._most() + 2))
        self._new: dict[int, list[int]] = {}

    @property
    def size_bytes(self) -> int:
        """Say what it holds in memory, about."""
        return self._base.nbytes + self._starts.nbytes + sum(96 + 40 * len(rows) for rows in self._new.values())

    def add(self, row: int, code: int) -> None:
        """Say that a row holds a code."""
        self._new.setdefault(code, []).append(row)

    def rows(self, codes: Sequence[int]) -> Rows:
        """List the rows that hold any of the codes; one may be listed twice."""
        parts = [self._of(code) for code in codes]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def pairs(self) -> Rows:
        """Give everything as ``(row, code)``."""
        new = [(row, code) for code, rows in self._new.items() for row in rows]
        return np.concatenate([self._base, np.array(new, dtype=np.int64)]) if new else self._base

    def _of(self, code: int) -> Rows:
        new = np.array(self._new.get(code, ()), dtype=np.int64)
        if code > self._most():
            return new
        return np.concatenate([self._base[self._starts[code] : self._starts[code + 1], 0], new])

    def _most(self) -> int:
        return int(self._base[-1, 1]) if len(self._base) else -1
