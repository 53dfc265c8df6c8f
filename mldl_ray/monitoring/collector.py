"""Live rows of one version, gathered until there are enough for one drift test.

The unit is the sticky key (with the row's place in its request): within a window each unit counts once, because a
person who asks a hundred times is one person, and a test that took them for a hundred would cry wolf. So a window is
full with enough units, or, when the same few keep coming, after ``PATIENCE`` times as many rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts.telemetry import FEATURE
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.reference import PREDICTION, SCORE

PATIENCE = 4
LEAST_UNITS = 50


class Full(NamedTuple):
    """A window ready to be tested. ``span_s``: seconds since the window before, by the rows' own times."""

    table: pa.Table
    seen: int
    span_s: float


class Collector:
    """Gather one version's rows; at most ``window_rows`` of them are held.

    Args:
        window_rows: Units of a full window.
    """

    def __init__(self, window_rows: int) -> None:
        self._rows = window_rows
        self._since_s: float | None = None
        self._latest_s = 0.0
        self._begin()

    @property
    def units(self) -> int:
        """Distinct units in the window so far."""
        return len(self._units)

    def so_far(self) -> pa.Table | None:
        """Give the rows of the window so far; None when there are none."""
        return _joined(self._pieces) if self._pieces else None

    def add(self, batch: Batch) -> list[Full]:
        """Take the rows that were answered; give the windows that became full."""
        answered = np.flatnonzero(~batch.failed() & (batch.numbers("status") < 400))
        if not len(answered):
            return []
        names = [name for name in batch.table.column_names if name.startswith(FEATURE) or name in {SCORE, PREDICTION}]
        table = batch.table.select(names)
        ids, keys, times = batch.texts("request_id"), batch.texts("key"), batch.numbers("at_s")
        full, keep = [], []
        for row in answered.tolist():
            self._seen += 1
            self._latest_s = max(self._latest_s, float(times[row]))
            if self._since_s is None:
                self._since_s = self._latest_s
            unit = hash((keys[row], ids[row].partition("#")[2]))
            if unit not in self._units:
                self._units.add(unit)
                keep.append(row)
            if self._complete():
                self._pieces.append(table.take(keep))
                full.append(self._close())
                keep = []
        if keep:
            self._pieces.append(table.take(keep))
        return full

    def _complete(self) -> bool:
        enough = min(LEAST_UNITS, self._rows)
        return self.units >= self._rows or (self._seen >= PATIENCE * self._rows and self.units >= enough)

    def _close(self) -> Full:
        began_s = self._latest_s if self._since_s is None else self._since_s
        table = _joined(self._pieces)
        full = Full(table, self._seen, self._latest_s - began_s)
        self._since_s = self._latest_s
        self._begin()
        return full

    def _begin(self) -> None:
        self._units: set[int] = set()
        self._pieces: list[pa.Table] = []
        self._seen = 0


def _joined(pieces: list[pa.Table]) -> pa.Table:
    """Put pieces together; a column whose type changed in between becomes text, one that is not everywhere has gaps."""
    types: dict[str, set[pa.DataType]] = {}
    for piece in pieces:
        for field in piece.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, found in types.items() if len({t for t in found if not pa.types.is_null(t)}) > 1}
    plain = [_as_text(piece, mixed) for piece in pieces]
    return pa.concat_tables(plain, promote_options="default")


def _as_text(piece: pa.Table, names: set[str]) -> pa.Table:
    for name in names & set(piece.column_names):
        words = [None if value is None else str(value) for value in piece[name].to_pylist()]
        place = piece.schema.get_field_index(name)
        piece = piece.set_column(place, name, pa.array(words, pa.string()))
    return piece
