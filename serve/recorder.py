"""What a replica tells the monitor about its predictions: off the request path, bounded, losses counted.

Rows are kept as Python tuples until a flush turns them into Arrow tables, one per version, role and epoch (the format
is ``contracts.telemetry``), that go together. While the monitor is away rows wait; when there are too many the newest
are dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from contracts.errors import Refused, Unavailable
from contracts.telemetry import FEATURE, MASKED
from mldl_ray.adapters.schema import Column, InputSchema
from mldl_ray.adapters.table import LARGEST
from mldl_ray.serving_form.record import seconds
from mldl_ray.settings import MonitoringDefaults

log = logging.getLogger(__name__)
Send = Callable[[Sequence[bytes]], Awaitable[None]]
"""Hands tables to the monitor, which counts all of them at one moment."""
MOST_ROWS_TOGETHER = 5000


class Seen(NamedTuple):
    """One answered row. ``row`` and ``prediction`` are None when the version failed."""

    request_id: str
    key: str
    at_s: float
    latency_ms: float
    status: int
    prediction: Any
    score: float | None
    row: Sequence[Any] | None


class Group(NamedTuple):
    """What the rows of one table have in common."""

    version: str
    role: str
    epoch: int
    share: float
    deployment_id: str


class Privacy(NamedTuple):
    """Which input columns leave a replica only as hashes, and which not at all."""

    masked: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    key: bytes = b""

    @classmethod
    def of(cls, defaults: MonitoringDefaults) -> Privacy:
        """Read the settings; a column that is in both is dropped."""
        return cls(frozenset(defaults.masked), frozenset(defaults.dropped), defaults.mask_key.encode()[:64])

    def mask(self, value: Any) -> str | None:
        """Hash a value: the same value the same hash, under one key; None stays None."""
        if value is None:
            return None
        return hashlib.blake2b(str(value).encode("utf-8", "surrogatepass"), key=self.key, digest_size=16).hexdigest()


OPEN = Privacy()


class Outgoing(NamedTuple):
    """The oldest rows, as the tables that carry them. What was not heard is sent again as it was, so it is known."""

    tables: tuple[bytes, ...]
    rows: int
    lost: int


class Recorder:
    """A bounded buffer in the order of arrival, and its flush. One event loop uses it.

    The rows of one stretch of time go to the monitor together, whatever group they are of: who compares the arms of a
    rollout must never see one of them further on than the other.
    """

    def __init__(self, model_key: str, send: Send, *, flush_s: float, most_rows: int, privacy: Privacy = OPEN) -> None:
        self._model_key, self._send, self._privacy = model_key, send, privacy
        self._flush_s, self._most_rows = flush_s, most_rows
        self._rows: deque[tuple[Group, Seen]] = deque()
        self._schemas: dict[str, InputSchema] = {}
        self._series: dict[str, frozenset[int]] = {}
        self._lost = 0
        self._outgoing: Outgoing | None = None

    def knows(self, version: str) -> bool:
        """Say whether the columns of a version are known."""
        return version in self._schemas

    def describe(self, version: str, schema: InputSchema) -> None:
        """Say which columns the rows of a version have."""
        self._schemas[version] = schema
        self._series[version] = frozenset(i for i, column in enumerate(schema.columns) if column.kind == "sequence")

    def add(self, group: Group, seen: Seen) -> None:
        """Keep one row for the next flush."""
        if len(self._rows) >= self._most_rows:
            self._lost += 1
            return
        self._rows.append((group, self._without_series(group.version, seen)))

    def lose(self, rows: int) -> None:
        """Count rows that were dropped before they came here."""
        self._lost += rows

    def _without_series(self, version: str, seen: Seen) -> Seen:
        """Let go of series at once: no drift test reads them, and a full buffer of them would fill the memory."""
        heavy = self._series.get(version)
        if not heavy or seen.row is None:
            return seen
        return seen._replace(row=[None if i in heavy else value for i, value in enumerate(seen.row)])

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                await self.flush()
            except Unavailable as error:
                log.info("telemetry waits: %s", error)
            except Exception:  # telemetry must never end the loop that carries it; what failed is logged
                log.exception("a telemetry batch failed")

    async def flush(self) -> None:
        """Send what is there now; what could not be sent stays for the next time, and so does what comes meanwhile.

        Under load rows come all the time: who sent those of the last moment too would never stop, in many small tables,
        each of which costs the same few milliseconds.
        """
        left = len(self._rows)
        while left > 0:
            if self._outgoing is None:
                some = list(islice(self._rows, min(left, MOST_ROWS_TOGETHER)))
                self._outgoing = await asyncio.to_thread(self._pack, some)
            tables, rows, lost = self._outgoing
            try:
                await self._send(tables)
            except Refused as error:
                log.error("the monitor refused %s rows: %s", rows, error)
                self._lost += rows
            self._outgoing = None
            self._lost -= lost
            for _ in range(rows):
                self._rows.popleft()
            left -= rows

    def _pack(self, rows: Sequence[tuple[Group, Seen]]) -> Outgoing:
        by_group: dict[Group, list[Seen]] = defaultdict(list)
        for group, seen in rows:
            by_group[group].append(seen)
        lost = self._lost
        tables: list[bytes] = []
        for group, those in by_group.items():
            schema, told = self._schemas.get(group.version), 0 if tables else lost  # losses are told once
            tables.append(batch_bytes(self._model_key, group, those, schema, told, self._privacy))
        return Outgoing(tuple(tables), len(rows), lost)


def batch_bytes(
    model_key: str,
    group: Group,
    rows: Sequence[Seen],
    schema: InputSchema | None,
    lost: int,
    privacy: Privacy = OPEN,
) -> bytes:
    """Write one table as an Arrow IPC stream; of private columns what may leave."""
    predictions = [None if seen.status != 200 else orjson.dumps(seen.prediction).decode() for seen in rows]
    columns: dict[str, pa.Array] = {
        "request_id": pa.array([seen.request_id for seen in rows], pa.string()),
        "key": pa.array([seen.key for seen in rows], pa.string()),
        "at_s": pa.array([seen.at_s for seen in rows], pa.float64()),
        "latency_ms": pa.array([seen.latency_ms for seen in rows], pa.float64()),
        "status": pa.array([seen.status for seen in rows], pa.int16()),
        "role": pa.array([group.role] * len(rows), pa.string()),
        "prediction": pa.array(predictions, pa.string()),
        "score": pa.array([seen.score for seen in rows], pa.float64()),
    }
    if schema is not None:
        absent = [None] * len(schema.columns)
        values = zip(*(absent if seen.row is None else seen.row for seen in rows), strict=True)
        for column, those in zip(schema.columns, values, strict=True):
            if column.kind == "sequence" or column.name in privacy.dropped:
                continue
            if column.name in privacy.masked:
                columns[f"{MASKED}{column.name}"] = pa.array([privacy.mask(value) for value in those], pa.string())
            else:
                columns[f"{FEATURE}{column.name}"] = _feature(column, those)
    facts = group._asdict() | {"model_key": model_key, "lost": lost}
    facts.pop("role")
    table = pa.table(columns).replace_schema_metadata({name: str(value) for name, value in facts.items()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _feature(column: Column, values: Sequence[Any]) -> pa.Array:
    """Give values in the type of their column: callers may send times as text, and booleans as 0 and 1."""
    if column.empty:
        return pa.nulls(len(values))
    if column.kind != "datetime":
        try:
            return pa.array(values, _TYPES[column.kind])  # as they nearly always are; ten times faster than one by one
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    read = _READ[column.kind]
    return pa.array([None if value is None else read(value) for value in values], _TYPES[column.kind])


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond every float; the model saw the largest float32, too
        return LARGEST if value > 0 else -LARGEST


def _moment(value: Any) -> Any:
    return _EPOCH + timedelta(seconds=seconds(value))


_READ: dict[str, Callable[[Any], Any]] = {"numeric": _number, "boolean": bool, "categorical": str, "datetime": _moment}
_TYPES = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
    "datetime": pa.timestamp("us", "UTC"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
