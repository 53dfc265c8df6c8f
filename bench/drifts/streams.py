"""Streams of rows from real tables: resampled as they are, or with a shift planted. In the form of telemetry.

``label`` is the truth, 0 or 1, ``score`` the probability of 1 by a model that learned from rows the streams leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
TARGETS = {"adult": "income", "rainfall": "rain"}
Random = np.random.Generator


class Source(NamedTuple):
    """Rows to draw from, and the model that gives new ones their score."""

    table: pa.Table
    model: Any


@cache
def source(name: str) -> Source:
    """Read a table; the model learns from one half of it, drawn once, and the other half is the source."""
    table = pq.read_table(EXAMPLES / f"{name}.parquet").replace_schema_metadata(None)
    label = table[TARGETS[name]].to_numpy()
    table = table.drop_columns([column for column in (TARGETS[name], "split") if column in table.column_names])
    plain = {f"f.{n}": _plain(table[n]) for n in table.column_names}
    table = pa.table(plain | {"label": label})
    order = np.random.default_rng(0).permutation(table.num_rows)
    taught, rest = (table.take(part) for part in np.array_split(order, 2))
    model = _model().fit(_frame(taught), taught["label"].to_numpy())
    return Source(scored(model, rest), model)


def scored(model: Any, table: pa.Table) -> pa.Table:
    """Give the rows the score that the model gives them."""
    score = model.predict_proba(_frame(table))[:, 1]
    place = table.column_names.index("score") if "score" in table.column_names else None
    return table.append_column("score", [score]) if place is None else table.set_column(place, "score", [score])


def drawn(table: pa.Table, random: Random, rows: int) -> pa.Table:
    """Resample with replacement: rows and reference drawn so are exchangeable."""
    return table.take(random.integers(0, table.num_rows, rows))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _frame(table: pa.Table) -> Any:
    return table.select([name for name in table.column_names if name.startswith("f.")]).to_pandas()


def _model() -> Any:
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = make_column_transformer(
        (words, make_column_selector(dtype_exclude="number")), remainder="passthrough", verbose_feature_names_out=False
    )
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=60, random_state=0))


# Shifts of the census


Shift = Callable[[pa.Table, Random], pa.Table]


def _mean(table: pa.Table, random: Random) -> pa.Table:
    del random
    return _set(table, "f.age", table["f.age"].to_numpy() + 3)


def _variance(table: pa.Table, random: Random) -> pa.Table:
    del random
    hours = table["f.hours_per_week"].to_numpy()
    return _set(table, "f.hours_per_week", np.rint(hours.mean() + 1.4 * (hours - hours.mean())).astype(np.int64))


def _mix(table: pa.Table, random: Random) -> pa.Table:
    return _replaced(table, "f.marital_status", "Divorced", random.random(table.num_rows) < 0.1)


def _missing(table: pa.Table, random: Random) -> pa.Table:
    return _replaced(table, "f.occupation", None, random.random(table.num_rows) < 0.06)


def _new_category(table: pa.Table, random: Random) -> pa.Table:
    return _replaced(table, "f.native_country", "Atlantis", random.random(table.num_rows) < 0.03)


def _label(table: pa.Table, random: Random) -> pa.Table:
    weights = np.where(table["label"].to_numpy() == 1, 1.75, 1.0)
    return table.take(random.choice(table.num_rows, table.num_rows, p=weights / weights.sum()))


def _concept(table: pa.Table, random: Random) -> pa.Table:
    label = table["label"].to_numpy()
    return _set(table, "label", np.where(random.random(table.num_rows) < 0.1, 1 - label, label))


def _small_group(table: pa.Table, random: Random) -> pa.Table:
    del random
    group = np.array(table["f.race"].to_pylist()) == "Black"
    return _set(table, "f.hours_per_week", np.where(group, 20, table["f.hours_per_week"].to_numpy()))


def _harmless(table: pa.Table, random: Random) -> pa.Table:
    del random
    return _set(table, "f.fnlwgt", (table["f.fnlwgt"].to_numpy() * 1.2).astype(np.int64))


SHIFTS: dict[str, Shift] = {
    "mean": _mean,
    "variance": _variance,
    "category_mix": _mix,
    "missing": _missing,
    "new_category": _new_category,
    "label_shift": _label,
    "concept": _concept,
    "small_group": _small_group,
    "harmless": _harmless,
}
"""Everyone three years older; working hours 1.4 times as spread; 10% become divorced; 6% of the occupations lost; 3%
from a country never seen; 1.75 times the odds of a high income; 10% of the labels turned; the hours of one group of
ten in a hundred 20; a column that the model hardly uses 20% higher. Scores follow the rows."""


def _set(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.chunked_array([pa.array(values)]))


def _replaced(table: pa.Table, name: str, value: str | None, where: Any) -> pa.Table:
    old = table[name].to_pylist()
    return _set(table, name, [value if now else was for was, now in zip(old, where.tolist(), strict=True)])
