"""Whether a version may take all traffic at once, by its answers to what stable was asked lately. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from contracts.replays import RecentRow, RecentRows, ReplayAnswer, ReplayReport
from contracts.rollouts import Decision
from contracts.specs import Guardrails

MOST_ROWS = 500
CHECK_TIMEOUT_S = 90.0
"""A check that has not ended by then is a version that does not answer."""
SAME = 1e-6
"""Relative difference up to which two numbers are the same answer."""
_WORDS = {"traffic": "recent requests", "reference": "held-out rows of stable"}


def judge(asked: RecentRows, answers: Sequence[ReplayAnswer], guardrails: Guardrails) -> ReplayReport:
    """Compare a version's answers with stable's.

    A row that stable answered and this version did not ends the check, and so does a 95th percentile of its latency
    above ``max_latency_p95_ms``. How often both agree, and how far scores moved, is reported and decides nothing: a
    new version is meant to answer differently. Nothing to replay passes, and says so.

    Args:
        asked: Rows that stable answered.
        answers: To the first of them, in their order; fewer where time ran out.
        guardrails: Limits of the deployment.

    >>> asked = RecentRows(source="traffic", rows=(RecentRow(record={"a": 1}, prediction="yes", score=0.75),))
    >>> judge(asked, [ReplayAnswer(status=200, prediction="yes", score=0.5, took_ms=2)], Guardrails()).why
    "1 recent requests replayed: none failed, p95 2 ms, 100% of the answers are stable's, scores moved by -0.25"
    """
    pairs = list(zip(asked.rows, answers, strict=False))
    if not pairs:
        return ReplayReport(passed=True, why=f"nothing could be replayed: {asked.why}", source=asked.source, rows=0)
    failed = [answer for _, answer in pairs if answer.status != 200]
    shown = _shown(asked.source, pairs, failed)
    problem = _problem(shown, guardrails)
    why = f"{shown.rows} {_WORDS.get(asked.source, asked.source)} replayed: {problem or _fine(shown)}"
    return shown.model_copy(update={"passed": problem is None, "why": why})


def too_late() -> ReplayReport:
    """Say that a version did not get through its check in time."""
    why = f"the replay of recent requests did not end within {CHECK_TIMEOUT_S:g} s"
    return ReplayReport(passed=False, why=why, source="none", rows=0)


def decision(report: ReplayReport, now_s: float) -> Decision:
    """Put a report among the decisions of its deployment."""
    return Decision(
        verdict="PROMOTE" if report.passed else "ROLLBACK",
        rule="replay",
        why=report.why,
        at_s=now_s,
        step_pct=0,
        evidence=report.model_dump(mode="json", exclude={"why"}),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of the values do not exceed.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.95)
    (2, 4)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _shown(source: Any, pairs: Sequence[tuple[RecentRow, ReplayAnswer]], failed: list[ReplayAnswer]) -> ReplayReport:
    answered = [(row, answer) for row, answer in pairs if answer.status == 200]
    times_ms = [answer.took_ms for _, answer in answered if answer.took_ms is not None]
    same = [_same(row.prediction, answer.prediction) for row, answer in answered if row.prediction is not None]
    shifts = [answer.score - row.score for row, answer in answered if None not in {answer.score, row.score}]  # type: ignore[operator]  # neither is None here
    return ReplayReport(
        passed=False,
        why="",
        source=source,
        rows=len(pairs),
        failures=len(failed),
        first_failure=(failed[0].problem or f"status {failed[0].status}") if failed else None,
        latency_p95_ms=percentile(times_ms, 0.95) if times_ms else None,
        agreement=sum(same) / len(same) if same else None,
        mean_score_shift=math.fsum(shifts) / len(shifts) if shifts else None,
        largest_score_shift=max(map(abs, shifts)) if shifts else None,
    )


def _problem(shown: ReplayReport, guardrails: Guardrails) -> str | None:
    if shown.failures:
        return f"{shown.failures} failed that stable answered; the first: {shown.first_failure}"
    most_ms, p95_ms = guardrails.max_latency_p95_ms, shown.latency_p95_ms
    if most_ms is not None and p95_ms is not None and p95_ms > most_ms:
        return f"p95 {p95_ms:.3g} ms is above max_latency_p95_ms {most_ms:g}"
    return None


def _fine(shown: ReplayReport) -> str:
    parts = ["none failed"]
    if shown.latency_p95_ms is not None:
        parts.append(f"p95 {shown.latency_p95_ms:.3g} ms")
    if shown.agreement is not None:
        parts.append(f"{100 * shown.agreement:.4g}% of the answers are stable's")
    if shown.mean_score_shift is not None:
        parts.append(f"scores moved by {shown.mean_score_shift:+.3g}")
    return ", ".join(parts)


def _same(one: Any, other: Any) -> bool:
    """Say whether two answers are the same.

    >>> _same(1.0, 1.0000001), _same([1.0, 2.0], [1.0, 2.5]), _same("a", "a"), _same(1, "1")
    (True, False, True, False)
    """
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME) if numbers else bool(one == other)
