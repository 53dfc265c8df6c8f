"""The check of a version before it takes all traffic at once: what was asked lately, its answers, and what they say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contracts.specs import Json, Words


class RecentRow(Words):
    """One row that stable answered, as a caller would send it, and the answer."""

    record: Json = Field(description="Value per feature; times as text.")
    prediction: Any = Field(default=None, description="None where only the score was kept.")
    score: float | None = None


class RecentRows(Words):
    """Distinct rows to ask another version, the latest first."""

    source: Literal["traffic", "reference", "none"] = Field(
        description="What callers sent lately; or, where nobody did, stable's held-out rows; or there are none."
    )
    rows: tuple[RecentRow, ...] = ()
    why: str = Field(default="", description="Why it is not traffic, or why there are none.")


class ReplayAnswer(Words):
    """What a version answered to one row. ``status``: 200, or what its own answer would have been."""

    status: int
    prediction: Any = None
    score: float | None = None
    took_ms: float | None = Field(default=None, description="In the version's process, without the way there.")
    problem: str = Field(default="", description="What it said when it refused or failed.")


class ReplayReport(Words):
    """What a replay showed of a version, and whether it may take the traffic."""

    passed: bool
    why: str = Field(description="One sentence for the person on call.")
    source: Literal["traffic", "reference", "none"]
    rows: int = Field(description="That were asked and judged.")
    failures: int = Field(default=0, description="Rows that stable answered, and this version refused or failed.")
    first_failure: str | None = None
    latency_p95_ms: float | None = None
    agreement: float | None = Field(default=None, description="Share of rows with stable's answer; 0–1.")
    mean_score_shift: float | None = Field(default=None, description="Mean of its score less stable's.")
    largest_score_shift: float | None = Field(default=None, description="Largest difference of a score, either way.")
