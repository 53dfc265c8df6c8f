"""Labels in bulk: from a table's rows to the items that feedback takes. What they meet is in ``answers``."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from contracts.errors import Incompatible
from contracts.specs import Json


def label_items(table: pa.Table, *, model_key: str | None = None) -> list[Json]:
    """Read ``request_id, label`` rows, or ``key, at_s, label`` rows of one model; rows without a label are left out.

    Args:
        table: Other columns are ignored. ``at_s``: Unix seconds, or a time; one without a zone is UTC.
        model_key: Whose predictions they judge, where the table has no column ``model_key``.

    Raises:
        Incompatible: A column is missing, or a value is not what it must be.

    >>> label_items(pa.table({"request_id": ["r1", "r2"], "label": [1, None]}))
    [{'request_id': 'r1', 'label': 1}]
    """
    names = set(table.column_names)
    if "label" not in names:
        raise Incompatible("labels need a column 'label'", {"columns": sorted(names)})
    labels = [_plain(value) for value in table["label"].to_pylist()]
    if "request_id" in names:
        ids = table["request_id"].cast(pa.string()).to_pylist()
        return [_item(place, label, request_id=ids[place]) for place, label in enumerate(labels) if label is not None]
    if not {"key", "at_s"} <= names:
        raise Incompatible("labels need a column 'request_id', or 'key' and 'at_s'", {"columns": sorted(names)[:50]})
    if "model_key" not in names and model_key is None:
        raise Incompatible("labels by key and time need to say whose: a column 'model_key', or one model_key for all")
    models = table["model_key"].to_pylist() if "model_key" in names else [model_key] * table.num_rows
    keys, times = table["key"].cast(pa.string()).to_pylist(), table["at_s"].to_pylist()
    return [
        _item(place, label, model_key=models[place], key=keys[place], at_s=_moment(place, times[place]))
        for place, label in enumerate(labels)
        if label is not None
    ]


def _item(place: int, label: Any, **what: Any) -> Json:
    if any(value is None for value in what.values()):
        absent = next(name for name, value in what.items() if value is None)
        raise Incompatible(f"row {place} of the labels has no {absent}", {"row": place})
    return what | {"label": label}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _moment(place: int, value: Any) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise Incompatible(f"at_s of row {place} must be Unix seconds or a time, got {value!r}", {"row": place})
