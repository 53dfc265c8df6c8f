"""A second dataset as it was known at each moment: the point-in-time join. Pure.

Only what was known by then counts: of the rows with a key, the latest whose time is not after the row's own. Two rows
of one key and time: the later in the file.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.features import FeatureKind, Join
from mldl_ray.features.kinds import canonical, kinds_of

MOST_ROWS = 2_000_000
"""Of a joined dataset: every version that learned by it carries them, and every replica holds them."""


class History:
    """The rows of the second dataset, by key and in the order of their time. Read only; safe from any thread.

    Args:
        join: What is joined.
        rows: Its key, time and columns, in the types of their kinds.
    """

    def __init__(self, join: Join, rows: pa.Table) -> None:
        self.join, self.rows = join, rows
        self._taken = rows.select(list(join.columns)).rename_columns([join.prefix + name for name in join.columns])
        keys, times = rows.column(join.key).to_pylist(), _ticks(rows.column(join.time))
        usable = [i for i, key in enumerate(keys) if key is not None and not np.isnan(times[i])]
        by_key: dict[Any, list[int]] = {}
        for i in usable:
            by_key.setdefault(keys[i], []).append(i)
        self._places: dict[Any, npt.NDArray[np.int64]] = {}
        self._times: dict[Any, npt.NDArray[np.float64]] = {}
        for key, places in by_key.items():
            ordered = np.asarray(places)[np.argsort(times[places], kind="stable")]
            self._places[key], self._times[key] = ordered, times[ordered]

    @classmethod
    def of(cls, join: Join, table: pa.Table) -> Self:
        """Take what is needed of a table.

        Raises:
            Incompatible: It lacks a column, has too many rows, or a time that does not order.
        """
        wanted = list(dict.fromkeys((join.key, join.time, *join.columns)))
        for name in wanted:
            if name not in table.column_names:
                raise Incompatible(
                    f"join: dataset {join.dataset_id} has no column {name!r}; it has: "
                    f"{', '.join(table.column_names[:20])}",
                    {"column": name, "dataset_id": join.dataset_id},
                )
        if table.num_rows > MOST_ROWS:
            raise Incompatible(f"join: dataset {join.dataset_id} has {table.num_rows} rows; {MOST_ROWS} at most")
        taken = table.select(wanted)
        kinds = kinds_of(taken)
        if kinds[join.time] not in {"datetime", "numeric"}:
            raise Incompatible(f"join: time {join.time!r} is {kinds[join.time]}; give a time or a number")
        return cls(join, canonical(taken, kinds))

    @property
    def kinds(self) -> dict[str, FeatureKind]:
        """The kinds of the columns that it adds, under their new names."""
        return kinds_of(self._taken)

    def kind(self, column: str) -> FeatureKind:
        """Give the kind of one of its own columns."""
        return kinds_of(self.rows.select([column]))[column]

    def joined(self, table: pa.Table) -> pa.Table:
        """Append its columns to rows that have the key and a time; missing where nothing was known."""
        keys, times = table.column(self.join.key).to_pylist(), _ticks(table.column(self.join.time))
        places = pa.array([self._place(key, time) for key, time in zip(keys, times.tolist(), strict=True)], pa.int64())
        found = self._taken.take(places)
        for name in found.column_names:
            table = table.append_column(name, found.column(name))
        return table

    def _place(self, key: Any, time: float) -> int | None:
        times = self._times.get(key)
        if times is None or time != time:  # noqa: PLR0124  # missing
            return None
        at = int(np.searchsorted(times, time, side="right")) - 1
        if at < 0 or (self.join.max_age is not None and time - times[at] > self.join.max_age):
            return None
        return int(self._places[key][at])


def _ticks(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Give times as doubles, NaN where missing: Unix seconds to the microsecond, or the numbers that they are."""
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.int64()).cast(pa.float64(), safe=False)
        return np.asarray(micros.to_numpy(zero_copy_only=False), dtype=np.float64) / 1e6
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
