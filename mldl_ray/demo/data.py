"""The census rows of the demo: files to train from, records to send, and what goes wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import NotFound
from contracts.specs import Json

EXCLUDED = ("split", "fnlwgt")
SENSITIVE = ("sex", "race")


class Census(NamedTuple):
    """Two files to train from, and the live rows with their outcomes."""

    train_file: Path
    broken_file: Path
    rows: list[Json]
    labels: list[Any]


def adult_file() -> Path:
    """Find the shipped census file.

    Raises:
        NotFound: This is an installed package without the examples folder.
    """
    path = Path(__file__).parents[2] / "examples" / "data" / "adult.parquet"
    if not path.exists():
        raise NotFound(f"the demo's data is not at {path}; run the demo from a checkout of the project (make demo)")
    return path


def prepare(folder: Path, *, live_rows: int = 2000) -> Census:
    """Write the training files and take the first rows of the official test split as live traffic.

    The broken file has a column more (a credit score, made up from a seed) which no live caller will send.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(adult_file()).replace_schema_metadata(None)
    table = pa.table({name: _plain(table[name]) for name in table.column_names})
    train = table.filter(pc.equal(table["split"], "train")).drop_columns(list(EXCLUDED))
    live = table.filter(pc.equal(table["split"], "test")).drop_columns(list(EXCLUDED)).slice(0, live_rows)
    score = np.random.default_rng(0).normal(650, 80, train.num_rows) + 40 * train["income"].to_numpy()
    train_file, broken_file = folder / "adult_train.parquet", folder / "adult_with_credit_score.parquet"
    pq.write_table(train, train_file)
    pq.write_table(train.append_column("credit_score", pa.array(score)), broken_file)
    return Census(train_file, broken_file, live.drop_columns(["income"]).to_pylist(), live["income"].to_pylist())


def older_and_abroad(row: Json) -> Json:
    """Shift a record: the callers are twenty years older, work half the hours, and come from elsewhere."""
    return row | {
        "age": min(90, row["age"] + 20),
        "hours_per_week": max(1, row["hours_per_week"] // 2),
        "native_country": "Mexico",
    }


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
