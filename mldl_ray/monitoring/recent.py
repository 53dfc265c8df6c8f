"""The latest rows that stable answered, kept to ask another version the same; and its held-out rows where none came.

Bounded, and empty after a restart. Rows come as typed features from telemetry. Versions that take series do not send
those, so their held-out rows stand in for what callers sent.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import MldlError
from contracts.ports import Blobs
from contracts.records import TrainedBundle
from contracts.replays import RecentRow, RecentRows
from contracts.telemetry import FEATURE
from mldl_ray.adapters.schema import Column, InputSchema
from mldl_ray.blobs.artifact import read_manifest
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.reference import FILE, SCORE

KEPT_ROWS = 1000
MOST_STREAMS = 64
MOST_BYTES = 64 * 2**20
COLUMN_BYTES = 512
"""What a column costs beside its values: small batches are mostly that."""
Stream = tuple[str, str]
"""A model_key and a version."""


class Piece(NamedTuple):
    """Rows of one batch, and the answers to them."""

    table: pa.Table
    predictions: list[Any]
    size_bytes: int


class Recents:
    """Keep the latest answered rows of each stable version. Not thread-safe.

    Args:
        most_rows: Of one version.
        most_bytes: Of all; the versions longest unheard of go first.
    """

    def __init__(self, most_rows: int = KEPT_ROWS, most_bytes: int = MOST_BYTES) -> None:
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._kept: OrderedDict[Stream, deque[Piece]] = OrderedDict()
        self._rows: Counter[Stream] = Counter()
        self._size_bytes = 0

    def add(self, batch: Batch) -> None:
        """Keep what stable answered of a batch."""
        mine = np.array(batch.texts("role"), dtype=object) == "stable"
        rows = np.flatnonzero(mine & (batch.numbers("status") == 200))[-self._most_rows :].tolist()
        if not rows:
            return
        names = [name for name in batch.table.column_names if name.startswith(FEATURE)]
        table = batch.table.select([*names, SCORE]).take(rows)
        size_bytes = table.nbytes + COLUMN_BYTES * table.num_columns
        stream = (batch.facts.model_key, batch.facts.version)
        pieces = self._kept.setdefault(stream, deque())
        pieces.append(Piece(table, [batch.predictions[row] for row in rows], size_bytes))
        self._rows[stream] += len(rows)
        self._size_bytes += size_bytes
        self._kept.move_to_end(stream)
        while self._rows[stream] - pieces[0].table.num_rows >= self._most_rows:
            self._drop(stream)
        while len(self._kept) > MOST_STREAMS or (self._size_bytes > self._most_bytes and self._kept):
            self._drop(next(iter(self._kept)))

    def latest(self, model_key: str, version: str) -> list[Piece]:
        """Give what is kept of a version, the latest last."""
        return list(self._kept.get((model_key, version), ()))

    def _drop(self, stream: Stream) -> None:
        piece = self._kept[stream].popleft()
        self._rows[stream] -= piece.table.num_rows
        self._size_bytes -= piece.size_bytes
        if not self._kept[stream]:
            del self._kept[stream], self._rows[stream]


def recent_rows(latest: Sequence[Piece], bundle: TrainedBundle, blobs: Blobs, limit: int) -> RecentRows:
    """Give distinct rows that callers sent to a version lately; else its held-out rows; else say why there are none."""
    schema = InputSchema.from_json(bundle.input_schema)
    version = str(bundle.version)
    why = f"no requests to {version} lately"
    if any(column.kind == "sequence" for column in schema.columns):
        why = f"series that callers send to {version} are not kept"
    elif found := _distinct(latest, schema, limit):
        return RecentRows(source="traffic", rows=tuple(found))
    try:
        held_out = _held_out(bundle, blobs, schema, limit)
    except MldlError as error:
        return RecentRows(source="none", why=f"{why}, and {error.message}")
    if held_out is None:
        return RecentRows(source="none", why=f"{why}, and it came without held-out rows")
    return RecentRows(source="reference", rows=tuple(held_out), why=why)


def records(table: pa.Table, schema: InputSchema) -> Iterator[RecentRow]:
    """Read rows in the columns of telemetry as a caller would send them; predictions are not in them."""
    names = [FEATURE + column.name for column in schema.columns]
    columns = [table[name].to_pylist() if name in table.column_names else [None] * table.num_rows for name in names]
    scores = table[SCORE].to_pylist() if SCORE in table.column_names else [None] * table.num_rows
    for i, score in enumerate(scores):
        values = zip(schema.columns, columns, strict=True)
        record = {column.name: _plain(column, column_values[i]) for column, column_values in values}
        yield RecentRow(record=record, score=score if score is not None and math.isfinite(score) else None)


def _distinct(latest: Sequence[Piece], schema: InputSchema, limit: int) -> list[RecentRow]:
    """Take different rows, the latest first."""
    found: dict[str, RecentRow] = {}
    for piece in reversed(latest):
        for row, prediction in zip(
            reversed(list(records(piece.table, schema))), reversed(piece.predictions), strict=True
        ):
            if len(found) == limit:
                break
            found.setdefault(json.dumps(row.record, sort_keys=True), row.model_copy(update={"prediction": prediction}))
    return list(found.values())


def _held_out(bundle: TrainedBundle, blobs: Blobs, schema: InputSchema, limit: int) -> list[RecentRow] | None:
    entry = read_manifest(blobs, bundle.validation_hash)["files"].get(FILE)
    if entry is None:
        return None
    table = pq.read_table(io.BytesIO(blobs.get(entry["digest"]))).slice(0, limit)
    return list(records(table, schema)) or None


def _plain(column: Column, value: Any) -> Any:
    """Give a value as JSON would bring it; what is not finite is missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if column.kind == "sequence":
        return [None if step is None or not math.isfinite(step) else float(step) for step in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | bool | int) else float(value)
