"""One batch of telemetry, read from bytes and checked whole before anything is counted.

The format is ``contracts.telemetry``. Whatever does not keep to it is refused here, so that nothing is half counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from contracts.errors import Incompatible, TooLarge
from contracts.specs import ModelKey, Name, Words
from contracts.telemetry import FACTS, FEATURE, MASKED

MOST_BYTES = 64 * 2**20
MOST_ROWS = 200_000
MOST_COLUMNS = 5_000
LATEST_S = 4_102_444_800.0  # the year 2100
ROLES: Final = frozenset({"stable", "candidate", "shadow"})
_TYPES: Final = {
    "request_id": pa.string(),
    "key": pa.string(),
    "at_s": pa.float64(),
    "latency_ms": pa.float64(),
    "status": pa.int16(),
    "role": pa.string(),
    "prediction": pa.string(),
    "score": pa.float64(),
}
_MAY_BE_NULL: Final = frozenset({"prediction", "score"})


class BatchFacts(Words):
    """The table's metadata."""

    model_key: ModelKey
    version: Name
    epoch: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    deployment_id: str = Field(max_length=20_000)
    lost: int = Field(ge=0, le=2**53)

    @property
    def deployment_ids(self) -> tuple[str, ...]:
        """The rollouts that the rows belong to: of a candidate one, of stable all that are live."""
        return tuple(dict.fromkeys(name for name in self.deployment_id.split(",") if name))


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one version, from one flush of one replica.

    ``table`` has the fields in their types, then the features; ``predictions`` are the answers, read from their JSON.
    """

    facts: BatchFacts
    table: pa.Table
    predictions: list[Any]

    @property
    def stream(self) -> tuple[str, str]:
        """The model_key and the version that answered."""
        return self.facts.model_key, self.facts.version

    def texts(self, name: str) -> list[Any]:
        """Give a column as Python values."""
        values: list[Any] = self.table[name].to_pylist()
        return values

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Give a column as a numpy vector; NaN where it is null."""
        values: npt.NDArray[Any] = self.table[name].to_numpy()
        return values

    def scores(self) -> list[float | None]:
        """Give the scores; None where there is none, or none that is finite."""
        return [None if not math.isfinite(score) else score for score in self.numbers("score").tolist()]

    def failed(self) -> npt.NDArray[np.bool_]:
        """Say per row whether it counts as an error of this version.

        A stable version's 4xx is the caller's mistake. A candidate's is its own, because the same request is then
        answered by stable; where stable refuses it too, replicas do not report it as the candidate's.
        """
        status = self.numbers("status")
        ours = np.array(self.texts("role"), dtype=object) == "stable"
        result: npt.NDArray[np.bool_] = np.where(ours, status >= 500, status >= 400)
        return result

    @classmethod
    def parse(cls, data: bytes) -> Batch:
        """Read an Arrow IPC stream.

        Raises:
            Incompatible: Not such a stream, a fact or a field is missing, or a value cannot be.
            TooLarge: More than ``MOST_BYTES`` bytes, ``MOST_ROWS`` rows or ``MOST_COLUMNS`` columns.
        """
        if not isinstance(data, bytes):
            raise Incompatible(f"a telemetry batch is bytes of an Arrow IPC stream, not {type(data).__name__}")
        if len(data) > MOST_BYTES:
            raise TooLarge(f"the telemetry batch has {len(data)} bytes; at most {MOST_BYTES} are taken at once")
        table = _read(data)
        facts = _facts(table)
        for name, wanted in _TYPES.items():
            table = _typed(table, name, wanted)
        _check_values(table)
        features = [name for name in table.column_names if name.startswith((FEATURE, MASKED))]
        predictions = _predictions(table["prediction"].to_pylist())
        return cls(facts, table.select([*_TYPES, *features]).replace_schema_metadata(None), predictions)


def _read(data: bytes) -> pa.Table:
    try:
        with pa.ipc.open_stream(data) as stream:
            names = stream.schema.names
            if len(names) > MOST_COLUMNS:
                raise TooLarge(f"the telemetry batch has {len(names)} columns; at most {MOST_COLUMNS} are taken")
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Incompatible(f"the telemetry batch is not an Arrow IPC stream: {error}") from error
    if table.num_rows > MOST_ROWS:
        raise TooLarge(f"the telemetry batch has {table.num_rows} rows; at most {MOST_ROWS} are taken at once")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Incompatible(f"the telemetry batch has column {twice[0]!r} twice")
    return table


def _facts(table: pa.Table) -> BatchFacts:
    metadata = table.schema.metadata or {}
    try:
        found = {name: metadata[name.encode()].decode() for name in FACTS if name.encode() in metadata}
        return BatchFacts.model_validate(found)
    except UnicodeDecodeError as error:
        raise Incompatible(f"the telemetry batch's metadata is not UTF-8: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Incompatible(f"the telemetry batch's metadata {where!r}: {first['msg']}", {"field": where}) from error


def _typed(table: pa.Table, name: str, wanted: pa.DataType) -> pa.Table:
    place = table.schema.get_field_index(name)
    if place < 0:
        raise Incompatible(f"the telemetry batch has no column {name!r}", {"field": name})
    column = table.column(place)
    if column.null_count and name not in _MAY_BE_NULL:
        raise Incompatible(f"{column.null_count} rows of the telemetry batch have no {name}", {"field": name})
    if column.type == wanted:
        return table
    try:
        return table.set_column(place, name, column.cast(wanted))
    except pa.ArrowException as error:
        raise Incompatible(f"column {name!r} is {column.type}, not {wanted}: {error}", {"field": name}) from error


def _check_values(table: pa.Table) -> None:
    if not table.num_rows:
        return
    for name, most in (("at_s", LATEST_S), ("latency_ms", 1e9)):
        values = table[name].to_numpy()
        if not ((values >= 0) & (values <= most)).all():  # false for NaN too
            raise Incompatible(f"{name} of the telemetry batch must lie in 0 to {most:g}", {"field": name})
    statuses = table["status"].to_numpy()
    if statuses.min() < 100 or statuses.max() > 599:
        raise Incompatible("status of the telemetry batch must be an HTTP status", {"field": "status"})
    if unknown := set(pc.unique(table["role"]).to_pylist()) - ROLES:
        raise Incompatible(f"role {sorted(unknown)[0]!r} is unknown; it is one of {', '.join(sorted(ROLES))}")


def _predictions(texts: list[str | None]) -> list[Any]:
    try:
        return [None if text is None else orjson.loads(text) for text in texts]
    except orjson.JSONDecodeError as error:
        raise Incompatible(f"a prediction in the telemetry batch is not JSON: {error}") from error
