"""How a version's live rows compare with its held-out ones, column by column: what is shown to a person."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Words


class Bar(Words):
    """A part of a column's values: a range of numbers, or one category."""

    label: str
    reference: float = Field(description="Share of the held-out rows that have a value, 0–1.")
    live: float | None = Field(description="Share of the live rows that have a value; none: no such row yet.")


class Cost(Words):
    """What a move seems to cost, with a 95% interval, if answers are as often wrong as on held-out rows like these."""

    loss: float = Field(description="Of accuracy, 0–1; for numbers what it adds to the mean absolute error.")
    low: float
    high: float


class ColumnDrift(Words):
    """One column: both distributions, and what the test says."""

    column: str
    kind: Literal["numeric", "categorical"]
    bars: tuple[Bar, ...]
    low: float | None = Field(default=None, description="Where the first range begins; it takes what lies below too.")
    high: float | None = Field(default=None, description="Where the last range ends; it takes what lies above too.")
    reference_missing: float = Field(description="Share of the held-out rows, 0–1.")
    live_missing: float | None
    test: str | None = Field(default=None, description="None: not tested yet.")
    statistic: float | None = None
    p: float | None = None
    moved: str = Field(default="", description="What moved most, in words.")
    drifted: bool = False
    cost: Cost | None = Field(default=None, description="None: it did not move, or the held-out rows have no labels.")


class DriftView(Words):
    """How the watch over a version stands; the columns that cost most first, then the most surprising."""

    model_key: str
    version: str
    verdict: Literal["not_tested", "steady", "drifted"] = Field(description="Of the last window that was full.")
    words: str = Field(description="The verdict for a person.")
    severity: Literal["info", "warning", "critical"] | None = Field(
        default=None, description="How loud the move of the columns is: by what it seems to cost."
    )
    cost_in: Literal["accuracy", "absolute_error"] = "accuracy"
    rows: int = Field(description="Live rows shown: of the last full window, or of the first one so far.")
    reference_rows: int
    windows: int
    windows_drifted: int
    rows_towards_next: int
    window_rows: int
    alpha: float | None = Field(default=None, description="Chance of a false alarm that the window was given.")
    threshold: float | None = Field(default=None, description="The p-value at which a column counts as moved.")
    false_alarms_per_month: float = Field(description="The budget of all versions together.")
    why_not: str | None = Field(default=None, description="Why there is no test.")
    columns_known: int
    columns: tuple[ColumnDrift, ...] = ()
