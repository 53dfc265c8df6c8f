"""Data quality rules: what the rows of a dataset must keep, as data that a person can edit; and what was found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.features import Column
from contracts.specs import Json, Name, Reason, Words

Severity = Literal["info", "warning", "critical"]
ColumnKind = Literal["numeric", "boolean", "datetime", "categorical", "other"]
QualityStatus = Literal["ok", "info", "warning", "critical"]
Share = Annotated[float, Field(ge=0, le=1)]


class _Rule(Words):
    severity: Severity = Field(
        default="warning", description="critical: no job trains on such rows. warning, info: the job says so."
    )


class SchemaRule(_Rule):
    """A column is there, and of this kind."""

    check: Literal["schema"] = "schema"
    column: Column
    kind: ColumnKind
    severity: Severity = "critical"


class RangeRule(_Rule):
    """Numbers of a column lie within bounds, which are included; of those that do not, at most a share."""

    check: Literal["range"] = "range"
    column: Column
    low: float | None = None
    high: float | None = None
    max_share: Share = 0.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is above high ({self.high:g})")
        return self


class CategoriesRule(_Rule):
    """Values of a column are among those listed; of those that are not, at most a share."""

    check: Literal["categories"] = "categories"
    column: Column
    values: tuple[str, ...] = Field(min_length=1, max_length=1000, description="As text: 3 and 3.0 are 3.")
    max_share: Share = 0.0


class MissingRule(_Rule):
    """At most a share of a column's values is missing."""

    check: Literal["missing"] = "missing"
    column: Column
    max_share: Share = 0.0


class DuplicatesRule(_Rule):
    """At most a share of the rows are copies of others."""

    check: Literal["duplicates"] = "duplicates"
    max_share: Share = 0.0


class FreshnessRule(_Rule):
    """The latest time of a column is not longer ago than this."""

    check: Literal["freshness"] = "freshness"
    column: Column
    max_age_s: float = Field(gt=0)


class VolumeRule(_Rule):
    """There are so many rows."""

    check: Literal["volume"] = "volume"
    min_rows: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_rows is None and self.max_rows is None:
            raise ValueError("give min_rows, max_rows or both")
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"min_rows ({self.min_rows}) is above max_rows ({self.max_rows})")
        return self


QualityRule = Annotated[
    SchemaRule | RangeRule | CategoriesRule | MissingRule | DuplicatesRule | FreshnessRule | VolumeRule,
    Field(discriminator="check"),
]


class QualityRules(Words):
    """What the rows of a dataset must keep, whichever version of it they are."""

    rules: tuple[QualityRule, ...] = Field(max_length=5000)
    inferred_from: str | None = Field(default=None, description="`<dataset_id>@<version>` that they were read off.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[tuple[str, str | None]] = set()
        for rule in self.rules:
            if (key := (rule.check, getattr(rule, "column", None))) in seen:
                raise ValueError(f"there are two {rule.check} rules{f' of column {key[1]!r}' if key[1] else ''}")
            seen.add(key)
        return self


class QualityRulesVersion(Words):
    """Rules as they were set once."""

    dataset_id: str
    number: int
    rules: QualityRules | None = Field(description="None: they were removed.")
    set_by: str
    reason: str
    at_s: float


class QualityRulesRequest(Words):
    """Rules that replace those in force."""

    rules: QualityRules
    reason: Reason
    expected_number: int | None = Field(
        default=None, ge=0, description="Refused when others were set since this number; 0: there are none yet."
    )


class QualityFinding(Words):
    """A rule that rows do not keep."""

    check: str
    column: str | None = None
    severity: Severity
    message: str
    evidence: Json = Field(default_factory=dict)


class QualityReport(Words):
    """Rows held against the rules of their dataset."""

    dataset_id: Name
    version: str | None = Field(default=None, description="Of the dataset; none where it was not registered yet.")
    rules_number: int
    rows: int
    status: QualityStatus = Field(description="The gravest severity among the findings.")
    findings: tuple[QualityFinding, ...] = ()
