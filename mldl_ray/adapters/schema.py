"""What a model takes in: columns by name, kind and known categories. How they become numbers is in ``encoder``."""

from __future__ import annotations

from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from contracts.errors import Broken, Incompatible
from contracts.specs import Words

Kind = Literal["numeric", "categorical", "boolean", "datetime", "sequence"]

MOST_CATEGORIES = 255
"""Known categories of one column at most, the most frequent ones; a rarer value counts as one never seen."""


class Column(Words):
    """One input column."""

    name: str
    kind: Kind
    nullable: bool = Field(default=False, description="Missing values were seen in training; always accepted later.")
    categories: tuple[str, ...] = Field(default=(), description="Known values, sorted; categorical only.")
    distinct: int | None = Field(default=None, description="Different values seen; categorical only.")
    empty: bool = Field(default=False, description="No value at all was seen: accepted later, without effect.")


class InputSchema(Words):
    """The columns of a model's input, in the order that rows without names must keep."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """List the columns in order."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Describe a table's columns.

        Raises:
            Incompatible: No columns, a name twice, or a type that no kind covers.

        >>> InputSchema.of(pa.table({"age": [1, None], "sex": ["f", "m"]})).columns[1].categories
        ('f', 'm')
        """
        names = table.column_names
        if not names:
            raise Incompatible("the data has no feature columns; give at least one")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Incompatible(f"column {twice[0]!r} is there twice; rename or drop one", {"columns": twice})
        return cls(columns=tuple(_describe(name, table.column(name)) for name in names))

    def check(self, table: pa.Table) -> None:
        """Refuse a table that does not have exactly these columns, each of its kind; their order does not matter.

        Raises:
            Incompatible: A column is missing, unknown, or of another kind; the message names it.
        """
        found = table.column_names
        missing = [name for name in self.names if name not in found]
        extra = [name for name in found if name not in self.names]
        if missing or extra:
            raise Incompatible(unfit(missing, extra, self.names), {"missing": missing, "extra": extra})
        for column in self.columns:
            _check_kind(column, table.column(column.name))

    def breaks(self, older: InputSchema) -> list[str]:
        """Say why a caller of the older schema could not use this one; empty when every old request still works.

        >>> new, old = (InputSchema.of(pa.table({n: [1.0] for n in names})) for names in ("ab", "a"))
        >>> new.breaks(old)
        ["column 'b' is new and required"]
        """
        mine = {column.name: column.kind for column in self.columns}
        theirs = {column.name: column.kind for column in older.columns}
        reasons = [f"column {name!r} is new and required" for name in mine if name not in theirs]
        reasons += [f"column {name!r} is no longer accepted" for name in theirs if name not in mine]
        reasons += [
            f"column {name!r} was {theirs[name]} and is {kind} now"
            for name, kind in mine.items()
            if name in theirs and theirs[name] != kind
        ]
        if not reasons and self.names != older.names:
            reasons.append("the columns are in another order, so rows sent as lists would be misread")
        return reasons

    def to_json(self) -> dict[str, Any]:
        """Give the schema as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            Broken: It is not a schema.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise Broken(f"the stored input schema is not one: {error.errors()[0]['msg']}") from error


def unfit(missing: list[str], extra: list[str], expected: tuple[str, ...]) -> str:
    """Say which columns are missing or unknown, and which are expected.

    >>> unfit(["age"], ["agee"], ("age", "sex"))
    "column 'age' is missing; column 'agee' is unknown; expected: age, sex"
    """
    parts = [f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names[:5]))}"
             f"{f' and {len(names) - 5} more' if len(names) > 5 else ''} {'are' if len(names) > 1 else 'is'} {what}"
             for names, what in ((missing, "missing"), (extra, "unknown")) if names]  # fmt: skip
    shown = ", ".join(expected[:40]) + (f" and {len(expected) - 40} more" if len(expected) > 40 else "")
    return f"{'; '.join(parts)}; expected: {shown}"


def kind_of(name: str, kind: pa.DataType) -> Kind:
    """Tell the kind of an Arrow type.

    Raises:
        Incompatible: Structs, bytes, durations, lists of anything but numbers…: nothing that a model takes.

    >>> kind_of("day", pa.date32()), kind_of("pulse", pa.list_(pa.int64()))
    ('datetime', 'sequence')
    """
    if pa.types.is_dictionary(kind):
        return kind_of(name, kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if _numeric(kind):
        return "numeric"
    if _list(kind) and _numeric(kind.value_type):
        return "sequence"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "categorical"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "datetime"
    raise Incompatible(
        f"column {name!r} has type {kind}; expected numbers, strings, booleans, dates or lists of numbers: "
        "convert or drop it",
        {"column": name, "type": str(kind)},
    )


def _numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo dictionary encoding, which is storage and not meaning."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _describe(name: str, column: pa.ChunkedArray) -> Column:
    kind = kind_of(name, column.type)
    column = plain(column)
    if kind == "sequence":
        return _describe_series(name, column)
    missing = column.null_count
    if pa.types.is_floating(column.type):
        missing += pc.sum(pc.is_nan(column)).as_py() or 0
    empty = missing == len(column)
    if kind != "categorical":
        return Column(name=name, kind=kind, nullable=missing > 0, empty=empty)
    counts = [(entry["counts"], entry["values"]) for entry in pc.value_counts(pc.drop_null(column)).to_pylist()]
    ranked = sorted(counts, key=lambda entry: (-entry[0], entry[1]))
    known = tuple(sorted(value for _, value in ranked[:MOST_CATEGORIES]))
    return Column(name=name, kind=kind, nullable=missing > 0, categories=known, distinct=len(counts), empty=empty)


def _describe_series(name: str, column: pa.ChunkedArray) -> Column:
    steps = pc.list_flatten(column)
    gaps = steps.null_count
    if pa.types.is_floating(steps.type):
        gaps += pc.sum(pc.is_nan(steps)).as_py() or 0
    absent = len(column) - (pc.sum(pc.greater(pc.list_value_length(column), 0)).as_py() or 0)
    return Column(name=name, kind="sequence", nullable=gaps + absent > 0, empty=gaps == len(steps))


def _check_kind(expected: Column, column: pa.ChunkedArray) -> None:
    if expected.empty or column.null_count == len(column):
        return
    found = kind_of(expected.name, column.type)
    if found != expected.kind and (expected.kind, found) != ("boolean", "numeric"):
        raise Incompatible(
            f"column {expected.name!r} holds {found} values ({column.type}); the model expects {expected.kind} ones",
            {"column": expected.name, "expected": expected.kind, "found": found},
        )
