"""Telemetry rows on disk: Parquet under ``<home>/history/<model_key>/day=YYYY-MM-DD``, by day of arrival.

A file is written aside and renamed, so a reader never sees half of one. Files that are too old, or the oldest of too
many bytes, are deleted. Rows that were not yet written when the process ends are gone; a full disk loses rows, which
are counted, and nothing else.
"""

from __future__ import annotations

import io
import logging
import threading
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mldl_ray.monitoring.batch import Batch

log = logging.getLogger(__name__)
FLUSH_S = 10.0
FLUSH_ROWS = 5_000
SWEEP_S = 3600.0


class _Place(NamedTuple):
    model_key: str
    version: str
    day: str


class History:
    """Buffer rows and write them now and then.

    Args:
        folder: Root of the history.
        flush_s: How long a row waits at most, while ``flush_if_due`` is called.
        keep_s: Files older than this are deleted; None: never.
        max_bytes: Of all files together; the oldest are deleted first. None: no limit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flush_s: float = FLUSH_S,
        keep_s: float | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._folder, self._flush_s, self._keep_s, self._max_bytes = folder, flush_s, keep_s, max_bytes
        self._swept_s = float("-inf")
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._pieces: dict[_Place, list[pa.Table]] = defaultdict(list)
        self._rows = 0
        self._flushed_s: float | None = None
        self.written_rows = self.lost_rows = 0

    def add(self, batch: Batch, now_s: float) -> None:
        """Keep a batch for the next flush."""
        if not batch.table.num_rows:
            return
        facts = batch.facts
        place = _Place(facts.model_key, facts.version, f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}")
        with self._lock:
            self._pieces[place].append(_self_contained(batch))
            self._rows += batch.table.num_rows
            if self._flushed_s is None:
                self._flushed_s = now_s

    def flush_if_due(self, now_s: float) -> None:
        """Write what is there if it is much, or has waited for ``flush_s``; once an hour delete what is too old."""
        if now_s - self._swept_s >= SWEEP_S:
            self._swept_s = now_s
            self.sweep(now_s)
        with self._lock:
            waited_s = now_s - (now_s if self._flushed_s is None else self._flushed_s)
            if not self._rows or (self._rows < FLUSH_ROWS and waited_s < self._flush_s):
                return
        self.flush(now_s)

    def flush(self, now_s: float) -> None:
        """Write what is there, in files of at most ``FLUSH_ROWS`` rows."""
        with self._lock:
            pieces, self._pieces = self._pieces, defaultdict(list)
            self._rows, self._flushed_s = 0, now_s
        with self._writing:
            for place, tables in pieces.items():
                whole = pa.concat_tables(tables, promote_options="permissive") if _alike(tables) else None
                for table in [whole] if whole is not None else tables:
                    for start in range(0, table.num_rows, FLUSH_ROWS):
                        self._write(place, table.slice(start, FLUSH_ROWS), now_s)

    def sweep(self, now_s: float) -> int:
        """Delete files that are too old or too much, and days that are empty; give how many bytes went."""
        files = sorted((_written_s(path), path.stat().st_size, path) for path in self._folder.glob("*/day=*/*.parquet"))
        held, gone = sum(size for _, size, _ in files), 0
        for written_s, size, path in files:
            old = self._keep_s is not None and written_s < now_s - self._keep_s
            if not old and (self._max_bytes is None or held - gone <= self._max_bytes):
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s is due to be deleted, which failed: %s", path, error)
                continue
            gone += size
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return gone

    def _write(self, place: _Place, table: pa.Table, now_s: float) -> None:
        folder = self._folder / place.model_key / f"day={place.day}"
        name = f"{place.version}-{int(now_s * 1000)}-{uuid.uuid4().hex[:8]}.parquet"
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".{name}.aside"
            aside.write_bytes(buffer.getvalue())
            aside.replace(folder / name)
        except OSError as error:
            self.lost_rows += table.num_rows
            log.warning("%d telemetry rows could not be written to %s: %s", table.num_rows, folder, error)
            return
        self.written_rows += table.num_rows


def _written_s(path: Path) -> float:
    """Read when a file was written off its name; a file that others put there is as old as it says."""
    parts = path.stem.rsplit("-", 2)
    return int(parts[1]) / 1000 if len(parts) == 3 and parts[1].isdigit() else path.stat().st_mtime


def _self_contained(batch: Batch) -> pa.Table:
    """Put the batch's facts into columns, so that a file tells everything."""
    facts, table = batch.facts, batch.table
    for name, value, kind in (
        ("version", facts.version, pa.string()),
        ("epoch", facts.epoch, pa.int64()),
        ("deployment_id", facts.deployment_id, pa.string()),
    ):
        table = table.append_column(name, pa.repeat(pa.scalar(value, kind), table.num_rows))
    return table


def _alike(tables: list[pa.Table]) -> bool:
    """Say whether tables can be one file: no column changes between text and numbers."""
    try:
        pa.unify_schemas([table.schema for table in tables], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False
    return True
