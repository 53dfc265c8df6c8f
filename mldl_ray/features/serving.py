"""A view in an artifact: written by training, read by the endpoint, which makes features of requests by it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from contracts.errors import Broken
from contracts.features import FeatureView
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.adapters.table import LARGEST
from mldl_ray.features.history import History
from mldl_ray.features.kinds import TYPES
from mldl_ray.features.view import Transformer
from mldl_ray.serving_form.record import RecordEncoder, Row, seconds

FILE, HISTORY = "feature_view.json", "feature_history.parquet"
FORMAT = 1


class ServedView:
    """Reads requests in the view's terms, strictly, and makes the model's columns of them.

    Args:
        transformer: The view.
        schema: What callers send, with what training saw of it.
    """

    def __init__(self, transformer: Transformer, schema: InputSchema) -> None:
        self.transformer, self.schema = transformer, schema
        self._kinds = list(transformer.view.kinds.items())
        self._records = RecordEncoder(Encoder.fit(_any_row(transformer.view), "plain"))

    def write(self, folder: Path) -> None:
        """Write it into an artifact's folder."""
        view = self.transformer.view
        document = {"format": FORMAT, "view": view.model_dump(mode="json"), "schema": self.schema.to_json()}
        write_json(folder / FILE, document)
        if self.transformer.history is not None:
            pq.write_table(self.transformer.history.rows, folder / HISTORY)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read an artifact's view; None where it has none.

        Raises:
            Broken: It is damaged, or of a format that this release does not know.
        """
        if not (folder / FILE).exists():
            return None
        document = read_json(folder / FILE)
        if document.get("format") != FORMAT:
            raise Broken(f"{folder / FILE} has format {document.get('format')!r}; this release reads {FORMAT}")
        try:
            view = FeatureView.model_validate(document.get("view"))
            history = None
            if view.join is not None:
                history = History(view.join, pq.read_table(io.BytesIO((folder / HISTORY).read_bytes())))
        except (ValidationError, OSError, pa.ArrowException, KeyError) as error:
            raise Broken(f"the feature view in {folder} is damaged: {type(error).__name__}: {error}") from error
        return cls(Transformer(view, history), InputSchema.from_json(document.get("schema")))

    def rows(self, inputs: Any) -> list[Row]:
        """Bring records and lists into column order, every value checked.

        Raises:
            Incompatible: As ``RecordEncoder``; the message names the row, the column, the value and what was expected.
        """
        rows = self._records.rows(inputs)
        self._records.matrix(rows)  # refuses what is not of its column's kind
        return rows

    def features(self, rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
        """Make the model's columns of checked rows."""
        table = self.transformer.apply(self.table(rows))
        return [list(row) for row in zip(*(table.column(name).to_pylist() for name in columns), strict=True)]

    def table(self, rows: Sequence[Row]) -> pa.Table:
        """Give checked rows as the table that training would have of them."""
        columns = zip(*rows, strict=True)
        return pa.table({
            name: pa.array([_READ[kind](value) for value in values], TYPES[kind])
            for (name, kind), values in zip(self._kinds, columns, strict=True)
        })  # fmt: skip


def _any_row(view: FeatureView) -> pa.Table:
    """Give a row of the view's kinds: all that reading strictly needs to know."""
    return pa.table({name: pa.array([_ANY[kind]], TYPES[kind]) for name, kind in view.kinds.items()})


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond every double; the encoder would cut it to this as well
        return LARGEST if value > 0 else -LARGEST


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _micros(value: Any) -> int | None:
    return None if value is None else round(seconds(value) * 1e6)


_ANY = {"numeric": 0.0, "boolean": False, "categorical": "", "datetime": 0}
_READ = {"numeric": _number, "boolean": _flag, "categorical": _text, "datetime": _micros}
