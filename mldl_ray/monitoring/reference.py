"""What a version's live rows are compared with: its held-out rows, column by column, in a form that is quick to test.

They lie in the version's artifact as ``reference.parquet``. Points in time are left out: time passes without drift.
Series are left out too: live rows come without them, and the score speaks for them.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import Broken, NotFound
from contracts.ports import Blobs
from contracts.records import TrainedBundle
from contracts.telemetry import FEATURE
from mldl_ray.blobs.artifact import read_manifest
from mldl_ray.monitoring.promise import Promise, promise_of

FILE = "reference.parquet"
SCORE = "score"
PREDICTION = "prediction"
"""The answer as JSON; of classes only, and compared only where the score does not tell it: with several of them."""
LOSS = "loss"
"""How wrong a held-out answer was: 0 or 1 for classes, the distance for values."""
MOST_ROWS = 20_000
MOST_SAMPLED = 1_000
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Numbers:
    """A numeric column: its values, sorted, and how many are missing."""

    values: Doubles
    missing: int


@dataclass(frozen=True, eq=False)
class Words:
    """A categorical column: how often each value occurs, and how many are missing."""

    counts: Counter[str]
    missing: int


@dataclass(frozen=True, eq=False)
class Reference:
    """The held-out rows of a version.

    ``sample``: some of them as they were, for tests of whole rows. ``table``: all of them, beside their ``losses``;
    None where they came without labels. ``values``: whether the version answers values, and not classes.
    """

    rows: int
    columns: dict[str, Numbers | Words]
    sample: pa.Table
    table: pa.Table
    losses: Doubles | None = None
    values: bool = False

    @cached_property
    def promise(self) -> Promise | None:
        """What they promise about labelled answers; None without labels."""
        return None if self.losses is None else promise_of(self.losses, values=self.values)

    @classmethod
    def of(cls, table: pa.Table) -> Reference:
        """Take the features and the score of a table in the form of telemetry.

        >>> reference = Reference.of(pa.table({"f.age": [40, None], "f.sex": ["f", "m"], "note": ["a", "b"]}))
        >>> reference.columns["f.age"].missing, sorted(reference.columns)
        (1, ['f.age', 'f.sex'])
        """
        table = table.slice(0, MOST_ROWS)
        told = {SCORE, PREDICTION} if _several(table) else {SCORE}
        names = [name for name in table.column_names if name.startswith(FEATURE) or name in told]
        columns = {name: _column(table[name]) for name in names}
        kept = {name: column for name, column in columns.items() if column is not None}
        losses = as_numbers(table[LOSS]) if LOSS in table.column_names else None
        values, rows = PREDICTION not in table.column_names, table.select(list(kept))
        return cls(table.num_rows, kept, rows.take(_spread(table.num_rows)), rows, losses, values)

    @classmethod
    def load(cls, blobs: Blobs, bundle: TrainedBundle) -> Reference:
        """Read it from the version's artifact.

        Raises:
            NotFound: The artifact has no reference rows.
            Broken: They cannot be read, or there are none.
        """
        what = f"{bundle.model_key} {bundle.version}"
        entry = read_manifest(blobs, bundle.validation_hash)["files"].get(FILE)
        if entry is None:
            raise NotFound(f"the artifact of {what} has no {FILE}, so its drift cannot be watched")
        try:
            table = pq.read_table(io.BytesIO(blobs.get(entry["digest"])))
        except (pa.ArrowException, OSError) as error:
            raise Broken(f"{FILE} of {what} cannot be read: {error}") from error
        if not table.num_rows:
            raise Broken(f"{FILE} of {what} has no rows")
        return cls.of(table)


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Give a column of telemetry; missing throughout where it never came."""
    return table[name] if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])


def as_numbers(column: pa.ChunkedArray) -> Doubles:
    """Turn a column into doubles; NaN where it is missing or no number.

    >>> as_numbers(pa.chunked_array([["1", "x", None]])).tolist()
    [1.0, nan, nan]
    """
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if _is_number(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    return np.array([_number(value) for value in column.to_pylist()], dtype=np.float64)


def as_words(column: pa.ChunkedArray) -> list[str | None]:
    """Turn a column into the words of its categories; None where it is missing.

    >>> as_words(pa.chunked_array([[1.0, 2.5, None]]))
    ['1', '2.5', None]
    """
    return [_word(value) for value in column.to_pylist()]


def counted(column: pa.ChunkedArray) -> Counter[str]:
    """Count the words of a column's categories; what is missing is not counted.

    Each value is made a word once, however often it occurs.

    >>> counted(pa.chunked_array([[1.0, 2.5, None, 1.0]]))
    Counter({'1': 2, '2.5': 1})
    """
    if pa.types.is_nested(column.type):  # whatever a caller sent; Arrow does not count such
        return Counter(word for word in as_words(column) if word is not None)
    counts: Counter[str] = Counter()
    found = pc.value_counts(column)
    for value, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
        if (word := _word(value)) is not None:
            counts[word] += count
    return counts


def _column(column: pa.ChunkedArray) -> Numbers | Words | None:
    if pa.types.is_temporal(column.type) or pa.types.is_nested(column.type) or pa.types.is_null(column.type):
        return None
    if _is_number(column.type):
        values = as_numbers(column)
        present = values[~np.isnan(values)]
        return Numbers(np.sort(present), len(values) - len(present))
    counts = counted(column)
    return Words(counts, len(column) - counts.total())


def _several(table: pa.Table) -> bool:
    """Say whether there are answers of more than two classes."""
    return PREDICTION in table.column_names and len(pc.unique(table[PREDICTION])) > 2


def _spread(rows: int) -> npt.NDArray[np.int64]:
    """Give the places of at most ``MOST_SAMPLED`` rows, evenly spread, so that files in some order do no harm."""
    return np.unique(np.linspace(0, max(0, rows - 1), min(rows, MOST_SAMPLED)).astype(np.int64))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _word(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
