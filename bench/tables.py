"""Real tables for the benches, split into rows that teach and rows that judge."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from mldl_ray.adapters.sequences import series_table

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"
FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Debian: ``apt install dataset-fashion-mnist``."""


class Table(NamedTuple):
    """Rows that teach and rows that judge."""

    X: pa.Table
    y: Any
    X_judge: pa.Table
    y_judge: Any


def adult(seed: int) -> Table:
    """Census, the official split; the seed changes nothing here."""
    del seed
    table = pq.read_table(EXAMPLES / "adult.parquet").replace_schema_metadata(None)
    train, test = (table.filter(pc.equal(table["split"], name)) for name in ("train", "test"))
    dropped = ["split", "fnlwgt", "income"]
    return Table(train.drop_columns(dropped), train["income"].to_numpy(), test.drop_columns(dropped),
                 test["income"].to_numpy())  # fmt: skip


def digits(seed: int) -> Table:
    """1,797 images of 8 × 8; a quarter judges, drawn by the seed."""
    X, y = load_digits(return_X_y=True)
    return _drawn(X, y, seed, stratify=y)


def diabetes(seed: int) -> Table:
    """442 patients, 10 numbers each; a quarter judges, drawn by the seed."""
    X, y = load_diabetes(return_X_y=True)
    return _drawn(X, y, seed, stratify=None)


def fashion(seed: int) -> Table:
    """60,000 + 10,000 images of 28 × 28, the official split; the seed changes nothing here."""
    del seed
    return Table(*_fashion("train"), *_fashion("t10k"))


def vowels(seed: int) -> Table:
    """270 + 370 utterances by nine speakers, twelve series each of 7 to 29 steps; the official split."""
    del seed
    long = pq.read_table(EXAMPLES / "japanese_vowels.parquet").replace_schema_metadata(None)
    features = [name for name in long.column_names if name.startswith("lpc_")]
    parts: list[Any] = []
    for split in ("train", "test"):
        rows = long.filter(pc.equal(long["split"], split))
        X = series_table(rows, series="series", step="t", features=features, target="speaker")
        parts += [X.drop_columns(["speaker"]), X["speaker"].to_numpy()]
    return Table(*parts)


def _drawn(X: Any, y: Any, seed: int, *, stratify: Any) -> Table:
    names = [f"x{i}" for i in range(X.shape[1])]
    a, b, y_a, y_b = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify)
    return Table(_table(a, names), y_a, _table(b, names), y_b)


def _table(X: Any, names: list[str]) -> pa.Table:
    return pa.table(dict(zip(names, np.ascontiguousarray(X.T), strict=True)))


@cache
def _fashion(part: str) -> tuple[pa.Table, Any]:
    images = np.frombuffer(
        gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    X = images.reshape(-1, 784).astype(np.float64)
    return _table(X, [f"p{i}" for i in range(784)]), labels.astype(np.int64)
