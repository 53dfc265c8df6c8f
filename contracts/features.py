"""Feature views: what is made of the columns that callers send, as data and not as code; for training and serving."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.specs import Json, Name, Reason, Words

FeatureKind = Literal["numeric", "categorical", "boolean", "datetime"]
Column = Annotated[str, Field(min_length=1, max_length=255)]


class Select(Words):
    """Keep these columns, in this order."""

    op: Literal["select"] = "select"
    columns: tuple[Column, ...] = Field(min_length=1)


class Rename(Words):
    """Give columns other names."""

    op: Literal["rename"] = "rename"
    columns: dict[Column, Column] = Field(min_length=1, description="Old name → new name.")


class Cast(Words):
    """Read a column as another kind. Text that is no number becomes missing; times are Unix seconds as numbers."""

    op: Literal["cast"] = "cast"
    column: Column
    to: FeatureKind


class Fill(Words):
    """Put a value where one is missing: a given one, or one taken from the dataset when the view is registered."""

    op: Literal["fill"] = "fill"
    column: Column
    value: float | bool | str | None = None
    statistic: Literal["mean", "median", "most_frequent"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value is None) == (self.statistic is None):
            raise ValueError("give exactly one of value or statistic")
        return self


class Clip(Words):
    """Move numbers that are too small or too large to the bound."""

    op: Literal["clip"] = "clip"
    column: Column
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is above high ({self.high:g})")
        return self


class Log1p(Words):
    """Take ln(1 + x); missing where x ≤ −1."""

    op: Literal["log1p"] = "log1p"
    column: Column
    into: Column | None = Field(default=None, description="A new column; the same one when absent.")


class Ratio(Words):
    """Divide one number by another into a new column; missing where the denominator is 0."""

    op: Literal["ratio"] = "ratio"
    numerator: Column
    denominator: Column
    into: Column


class Bucket(Words):
    """Name the bucket of a number: ``"0"`` below the first edge, ``"1"`` from it to below the second, and so on."""

    op: Literal["bucket"] = "bucket"
    column: Column
    edges: tuple[float, ...] = Field(min_length=1, max_length=1000, description="Rising.")
    into: Column | None = Field(default=None, description="A new column; the same one when absent.")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges {list(self.edges)} must rise")
        return self


class OneOf(Words):
    """Keep the texts that are listed; every other one becomes ``other``, or missing. Missing stays missing."""

    op: Literal["one_of"] = "one_of"
    column: Column
    values: tuple[str, ...] = Field(min_length=1, max_length=1000)
    other: str | None = None
    into: Column | None = Field(default=None, description="A new column; the same one when absent.")


class DateParts(Words):
    """Take a time apart, in UTC, into numbers ``<column>_<part>``; the weekday is 0 on Mondays. The time goes."""

    op: Literal["date_parts"] = "date_parts"
    column: Column
    parts: tuple[Literal["year", "month", "day", "weekday", "hour"], ...] = Field(
        default=("year", "month", "day", "weekday", "hour"), min_length=1
    )


Step = Annotated[
    Select | Rename | Cast | Fill | Clip | Log1p | Ratio | Bucket | OneOf | DateParts, Field(discriminator="op")
]


class Join(Words):
    """Columns of a second dataset as they were known at each row's time: of its latest row with that key until then."""

    dataset_id: Name
    version: str | None = Field(
        default=None, max_length=64, description="Its latest when absent; fixed at registration."
    )
    key: Column = Field(description="Column of both.")
    time: Column = Field(description="Column of both: when a row is asked about; when a row became known.")
    columns: tuple[Column, ...] = Field(min_length=1, description="That are taken over.")
    prefix: str = Field(default="", max_length=64, description="Put before their names.")
    max_age: float | None = Field(
        default=None, gt=0, description="Older values are missing: seconds, or the unit of a numeric time."
    )
    digest: str | None = Field(default=None, description="Of the rows; set at registration.")


class FeatureViewSpec(Words):
    """A view that someone wants. The join comes first, then the steps in their order."""

    name: Name
    dataset_id: Name = Field(description="Whose columns it begins with.")
    dataset_version: str | None = Field(default=None, max_length=64, description="Its latest when absent.")
    columns: tuple[Column, ...] | None = Field(
        default=None, description="What callers send; when absent all that have no other role, and what the join needs."
    )
    join: Join | None = None
    steps: tuple[Step, ...] = Field(default=(), max_length=200)


class FeatureColumn(Words):
    """A column of a view: their order counts, because rows may be sent as lists."""

    name: str
    kind: FeatureKind


class FeatureView(Words):
    """A registered view: everything in it is fixed, and its version is a digest of that."""

    name: Name
    version: str
    dataset_id: str
    dataset_version: str
    inputs: tuple[FeatureColumn, ...] = Field(description="What callers send, in order.")
    outputs: tuple[FeatureColumn, ...] = Field(description="What a model learns from, in order.")
    join: Join | None = None
    steps: tuple[Step, ...] = ()
    statistics: dict[str, Json] = Field(default_factory=dict, description="Of the outputs, over the dataset.")
    created_at_s: float = 0.0

    @property
    def reference(self) -> str:
        """How a model names it: ``<name>@<version>``."""
        return f"{self.name}@{self.version}"

    @property
    def kinds(self) -> dict[str, FeatureKind]:
        """What callers send: column → kind, in order."""
        return {column.name: column.kind for column in self.inputs}


class FeatureViewRequest(Words):
    """A view to register."""

    view: FeatureViewSpec
    reason: Reason


class TransformRequest(Words):
    """Rows to make features of, as in a prediction."""

    inputs: tuple[Json | tuple[object, ...], ...] = Field(min_length=1, max_length=1000)


class TransformAnswer(Words):
    """What a model would learn from these rows."""

    view: str
    features: tuple[Json, ...]


class FeatureViewLineage(Words):
    """Where a view comes from, and what came of it."""

    view: str
    datasets: tuple[str, ...] = Field(description="`<dataset_id>@<version>`: its own, then the joined one.")
    jobs: tuple[str, ...]
    versions: tuple[str, ...] = Field(description="`<model_key>@<version>`.")
