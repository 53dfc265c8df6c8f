"""What a person on call sees of a rollout: where it is, who moved it last and why, and what the evidence says."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from contracts.http import DeploymentView
from mldl_ray.terminal.rollout_view import line, reason, view

NOW_S = 1000.0
EVIDENCE = {
    "errors": {
        "verdict": "harm", "statistic": 214.3, "bound": 100.0, "n": 12345, "n_stable": 234567,
        "time_to_decide_s": None, "words": "failed 40 times where stable did 3 times",
    },
    "a_metric_of_tomorrow": {
        "verdict": "too_little", "statistic": 0.00123, "bound": 0.02, "n": 7, "n_stable": 90,
        "needed": 400, "time_to_decide_s": 4321.0, "words": "about 393 more are needed",
    },
    "quality": None,
}  # fmt: skip


def found(**changes: Any) -> DeploymentView:
    decision = {"verdict": "HOLD", "rule": "held", "why": "ann holds it here: calls", "at_s": NOW_S, "step_pct": 25}
    act = {"at_s": 940, "status": "canary", "traffic": {}, "actor": "bob", "reason": "it is fine at 5%"}
    values: dict[str, Any] = {
        "deployment_id": "dep-1",
        "model_key": "churn",
        "version": "1.1.0",
        "candidate": "1.1.0",
        "spec": {},
        "strategy": "canary",
        "status": "canary",
        "stable": "1.0.0",
        "steps": (5, 25, 100),
        "step": 1,
        "step_started_s": 940,
        "promotion_window_s": 3600,
        "bake_window_s": 10,
        "traffic": {"1.0.0": 0.7, "1.1.0": 0.25, "1.2.0": 0.05},
        "held": {"at_s": 970, "by": "ann", "reason": "calls"},
        "decisions": (decision | {"evidence": EVIDENCE},),
        "history": (act,),
    }
    return DeploymentView.model_validate(values | changes)


def drawn(seen: DeploymentView) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=200).print(view(seen, NOW_S))
    return out.getvalue().splitlines()


def test_it_says_where_the_rollout_is_who_holds_it_and_what_happened_last() -> None:
    text = "\n".join(drawn(found()))
    for words in (
        "dep-1  churn 1.1.0  canary",
        "1.0.0 70%, 1.1.0 25%, 1.2.0 5%",
        "5% → [25%] → 100%   60 s of 3600 s",
        "by ann, 30 s ago: calls",
        "HOLD (held): ann holds it here: calls",
        "canary: it is fine at 5% (bob, 60 s ago)",
    ):
        assert words in text


def test_every_metric_is_a_line_with_its_figures_harm_first() -> None:
    lines = drawn(found())
    harm, little = (next(i for i, told in enumerate(lines) if name in told) for name in ("errors", "a metric of"))
    assert harm < little
    assert lines[harm].split()[:6] == ["errors", "harm", "214.3", "100", "12,345", "234,567"]
    assert "too little  " in lines[little] and "4,321 s" in lines[little] and "393 more" in lines[little]
    assert not any("quality" in told for told in lines)


def test_without_evidence_there_is_no_table_and_nothing_is_missing() -> None:
    text = "\n".join(drawn(found(status="requested", decisions=(), held=None, step_started_s=None, traffic={})))
    assert "metric" not in text
    assert "none yet" in text


def test_one_line_says_status_traffic_and_hold() -> None:
    assert line(found()) == "dep-1 canary       1.0.0 70%, 1.1.0 25%, 1.2.0 5%  held by ann"


def test_the_reason_of_the_end_is_the_decision_for_harm_and_the_persons_words_otherwise() -> None:
    harm = {"verdict": "ROLLBACK", "rule": "errors", "why": "it fails", "at_s": 1, "step_pct": 5}
    assert reason(found(decisions=(harm,))) == "it fails"
    assert reason(found(decisions=())) == "it is fine at 5%"
