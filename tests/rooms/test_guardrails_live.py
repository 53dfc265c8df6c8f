"""Every guardrail trips on live rows, through the monitor and the judge, as a canary and in the bake window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.rollouts import Decision, RolloutTelemetry
from contracts.specs import DeploymentSpec
from mldl_ray.deployment import decide
from tests.rooms.test_monitor_actor import CANDIDATE, DEPLOYMENT, KEY, STABLE, Scene, rollout

AS = {
    "canary": {"role": "candidate", "epoch": 3, "share": 0.25},
    "baking": {"role": "stable", "epoch": 9, "share": 0.0},
}
PHASES = pytest.mark.parametrize("phase", list(AS))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Stable has answered 1,800 requests beside the candidate."""
    scene = Scene(tmp_path)
    scene.send(1800, deployment_id=DEPLOYMENT, share=0.25)
    return scene


def candidate(scene: Scene, phase: str, count: int = 600, **facts: Any) -> None:
    scene.send(count, version=CANDIDATE, deployment_id=DEPLOYMENT, **AS[phase], **facts)


def label(scene: Scene, last: int, *, right: float, value: int = 1) -> None:
    """Label the last answers, so that a share of those that said ``value`` is right."""
    first = scene._sent - last
    items = [{"request_id": f"r{first + i}", "label": value if i % 100 < 100 * right else 9} for i in range(last)]
    scene.monitor.feedback(items)


def telemetry(scene: Scene, phase: str, **fields: Any) -> RolloutTelemetry:
    return scene.monitor.rollout(rollout(status=phase, **fields))


def judged(scene: Scene, phase: str, *, spec: dict[str, Any] | None = None, **fields: Any) -> Decision:
    now_s = scene.clock.now_s()
    asked = rollout(
        status=phase,
        step_started_s=now_s - 10,
        spec=DeploymentSpec.model_validate(spec or {}),
        steps=(25, 100),
        bake_window_s=60,
        **fields,
    )
    return decide(scene.monitor.rollout(asked), asked, now_s)


@PHASES
def test_a_candidate_like_stable_trips_none(scene: Scene, phase: str) -> None:
    label(scene, 1800, right=0.9)
    candidate(scene, phase, sex=["f", "m"] * 300)
    label(scene, 600, right=0.9)
    limits = {"min_calibration": 0.5, "fairness_delta_max": 0.2, "max_latency_p95_ms": 50}
    found = judged(scene, phase, spec={"guardrails": limits})
    assert found.verdict == "HOLD"
    assert {entry["verdict"] for entry in found.evidence.values()} <= {"no_harm", "shown", "too_little"}


@PHASES
def test_server_errors_in_a_row(scene: Scene, phase: str) -> None:
    candidate(scene, phase, status=[200] * 595 + [500] * 5)
    assert judged(scene, phase).rule == "max_consecutive_errors"


@PHASES
def test_more_errors_than_stable(scene: Scene, phase: str) -> None:
    candidate(scene, phase, status=([200] * 9 + [500]) * 60, key=[f"c{i}" for i in range(600)])
    found = judged(scene, phase)
    assert (found.verdict, found.rule) == ("ROLLBACK", "error_rate")


@PHASES
def test_min_calibration(scene: Scene, phase: str) -> None:
    candidate(scene, phase, score=0.95)
    label(scene, 600, right=0.6)
    found = judged(scene, phase, spec={"guardrails": {"min_calibration": 0.9, "rollback_on": []}})
    assert (found.verdict, found.rule) == ("ROLLBACK", "min_calibration")
    assert found.evidence["calibration"]["verdict"] == "harm"
    assert judged(scene, phase, spec={"guardrails": {"rollback_on": []}}).verdict == "HOLD"


@PHASES
def test_fairness_delta_max(scene: Scene, phase: str) -> None:
    candidate(scene, phase, sex=["f", "m"] * 300, prediction=["0", "1", "1", "1"] * 150)
    found = judged(scene, phase, spec={"guardrails": {"fairness_delta_max": 0.2}})
    assert (found.verdict, found.rule) == ("ROLLBACK", "fairness_delta_max")
    assert judged(scene, phase).verdict == "HOLD"


@PHASES
def test_max_latency_p95_ms(scene: Scene, phase: str) -> None:
    candidate(scene, phase, latency_ms=14.0)
    found = judged(scene, phase, spec={"guardrails": {"max_latency_p95_ms": 10}})
    assert (found.verdict, found.rule) == ("ROLLBACK", "max_latency_p95_ms")
    assert judged(scene, phase).verdict == "HOLD"


@PHASES
def test_slower_than_stable(scene: Scene, phase: str) -> None:
    candidate(scene, phase, latency_ms=140.0)
    assert judged(scene, phase).rule == "latency"


@PHASES
def test_rollback_on_metric_drop(scene: Scene, phase: str) -> None:
    label(scene, 1800, right=0.9)
    candidate(scene, phase)
    label(scene, 600, right=0.6)
    found = judged(scene, phase)
    assert (found.verdict, found.rule) == ("ROLLBACK", "metric_drop")
    assert judged(scene, phase, spec={"guardrails": {"rollback_on": ["violation"]}}).verdict == "HOLD"


@PHASES
def test_rollback_on_drift_spike(scene: Scene, phase: str) -> None:
    candidate(scene, phase, age=90.0)
    assert judged(scene, phase).rule == "drift_spike"
    assert judged(scene, phase, spec={"guardrails": {"rollback_on": ["violation"]}}).verdict == "HOLD"


@PHASES
def test_rollback_on_violation(scene: Scene, phase: str) -> None:
    candidate(scene, phase)
    scene.monitor.raise_alert(
        cause="c", kind="data_quality", severity="warning", model_key=KEY, version=CANDIDATE, message="a column is gone"
    )
    assert judged(scene, phase).rule == "violation"
    assert judged(scene, phase, spec={"guardrails": {"rollback_on": ["metric_drop"]}}).verdict == "HOLD"


def test_a_share_of_the_people_that_was_not_intended_is_a_violation(scene: Scene) -> None:
    candidate(scene, "canary", 1800)
    assert judged(scene, "canary").rule == "share_mismatch"


@PHASES
def test_mistakes_that_cost_more_than_stables(scene: Scene, phase: str) -> None:
    costs = {"mistakes": {"0": {"1": 10}, "9": {"1": 1}}}
    label(scene, 1800, right=0.8)
    candidate(scene, phase)
    first = scene._sent - 600
    items = [{"request_id": f"r{first + i}", "label": 1 if i % 10 < 8 else 0} for i in range(600)]
    scene.monitor.feedback(items)
    found = judged(scene, phase, spec={"costs": costs})
    assert (found.verdict, found.rule) == ("ROLLBACK", "cost")
    assert found.evidence["cost"]["statistic"] == pytest.approx(2.0)
    assert found.evidence["cost"]["stable"] == pytest.approx(0.2)
    assert judged(scene, phase, spec={"costs": {"mistake": 1}}).verdict == "HOLD"


def test_a_blue_green_switch_is_compared_with_what_stable_did_before(tmp_path: Path) -> None:
    for errors in (0, 1):
        scene = Scene(tmp_path / str(errors))
        scene.send(900)
        status = ([200] * 9 + [500 if errors else 200]) * 60
        scene.send(600, version=CANDIDATE, deployment_id=DEPLOYMENT, epoch=3, share=0.0, status=status)
        found = judged(scene, "baking", strategy="blue_green")
        assert found.verdict == ("ROLLBACK" if errors else "HOLD")
        assert found.evidence["baking_errors"]["n_stable"] == 900


def test_promotion_waits_for_labels_once_they_come_and_says_how_many(scene: Scene) -> None:
    candidate(scene, "canary")
    unseen = judged(scene, "canary", spec={"early_promotion": True, "harm_budget": 0.2})
    assert (unseen.verdict, unseen.rule) == ("HOLD", "window")
    assert "quality was not observed" in unseen.why
    assert unseen.evidence["quality_proof"]["verdict"] == "not_observed"
    label(scene, 50, right=0.9)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": 1} for i in range(50)])
    waiting = judged(scene, "canary", spec={"early_promotion": True, "harm_budget": 0.2})
    assert (waiting.verdict, waiting.rule) == ("HOLD", "too_few_labels")
    assert waiting.evidence["quality_proof"]["needed"] > waiting.evidence["quality_proof"]["n"] == 50
    assert waiting.evidence["quality_proof"]["time_to_decide_s"] > 0
    label(scene, 600, right=0.9)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": 1 if i % 10 else 9} for i in range(1800)])
    done = judged(scene, "canary", spec={"early_promotion": True, "harm_budget": 0.2, "quality_margin": 0.15})
    assert (done.verdict, done.rule) == ("PROMOTE", "non_inferior")
    assert "labelled" in done.why


def test_rows_of_stable_count_for_every_live_rollout(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(90, deployment_id=f"{DEPLOYMENT},dep-2", share=0.3)
    scene.send(10, deployment_id="dep-2", version="1.2.0", role="candidate", share=0.1)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": 1} for i in range(90)])
    for name, version in ((DEPLOYMENT, CANDIDATE), ("dep-2", "1.2.0")):
        (stable,) = telemetry(scene, "canary", deployment_id=name, version=version).stable
        assert (stable.version, stable.requests, stable.labelled_keys) == (STABLE, 90, 90)


# Shadows


def shadowed(scene: Scene, count: int, *, wrong: float, first: str, reverse: bool = False) -> Decision:
    """Send the same rows to stable and to a shadow that is wrong on a share of them; label all."""
    ids = [f"{first}{i}" for i in range(count)]
    facts: dict[str, Any] = {"deployment_id": DEPLOYMENT, "share": 0.5, "request_id": ids, "key": ids}
    said = ["0" if i % 100 < 100 * wrong else "1" for i in range(count)]
    scores = scene.random.random(count) * 0.9
    stable, shadow = facts | {"score": scores}, facts | {"version": CANDIDATE, "role": "shadow"}
    shadow |= {"prediction": said, "score": scores + 0.1}
    for one in (shadow, stable) if reverse else (stable, shadow):
        scene.send(count, **one)
    scene.monitor.feedback([{"request_id": name, "label": 1} for name in ids])
    return judged(scene, "shadow", strategy="shadow")


def test_a_shadow_is_compared_pair_by_pair_whichever_answer_comes_first(tmp_path: Path) -> None:
    for reverse in (False, True):
        scene = Scene(tmp_path / str(reverse))
        found = shadowed(scene, 400, wrong=0.02, first="s", reverse=reverse)
        assert (found.verdict, found.rule) == ("HOLD", "shadow")
        assert found.evidence["agreement"]["statistic"] == pytest.approx(0.98)
        assert found.evidence["score_shift"]["statistic"] == pytest.approx(0.1)
        assert found.evidence["score_shift"]["low"] < 0.1 < found.evidence["score_shift"]["high"]
        assert found.evidence["quality"]["pairs"] == {
            "both_right": 392,
            "only_candidate_wrong": 8,
            "only_stable_wrong": 0,
            "both_wrong": 0,
        }


def test_a_shadow_that_is_wrong_where_stable_is_right_is_found_by_few_pairs(tmp_path: Path) -> None:
    found = shadowed(Scene(tmp_path), 100, wrong=0.15, first="s")
    assert (found.verdict, found.rule) == ("ROLLBACK", "metric_drop")
    assert "only the shadow was wrong in 15, only stable in 0" in found.why


def test_a_good_shadow_says_that_it_would_be_promoted_and_is_not(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    early = shadowed(scene, 100, wrong=0.0, first="a")
    late = shadowed(scene, 400, wrong=0.0, first="b")
    assert (early.evidence["promotion"]["verdict"], late.evidence["promotion"]["verdict"]) == ("too_little", "shown")
    assert late.verdict == "HOLD"
    assert "a shadow is never promoted by itself; its copies would allow it" in late.why


def test_one_person_asking_again_is_one_pair_to_the_tests(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for role, version, said in (("stable", STABLE, "1"), ("shadow", CANDIDATE, "0")):
        ids = [f"x{i}" for i in range(200)]
        scene.send(
            200, version=version, role=role, deployment_id=DEPLOYMENT, request_id=ids, key="one", prediction=said
        )
    scene.monitor.feedback([{"request_id": f"x{i}", "label": 1} for i in range(200)])
    (pairs,) = telemetry(scene, "shadow", strategy="shadow").pairs
    assert (pairs.pairs, pairs.keys, pairs.only_candidate_wrong, pairs.labelled) == (200, 1, 1, 1)


def test_a_copy_that_failed_or_was_dropped_makes_no_pair(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ids = [f"x{i}" for i in range(10)]
    scene.send(10, deployment_id=DEPLOYMENT, request_id=ids, key=ids)
    status = [500] * 3 + [200] * 5
    copied: dict[str, Any] = {"request_id": ids[:8], "key": ids[:8], "status": status}
    scene.send(8, version=CANDIDATE, role="shadow", deployment_id=DEPLOYMENT, **copied)
    (pairs,) = telemetry(scene, "shadow", strategy="shadow").pairs
    assert (pairs.pairs, pairs.agreeing) == (5, 5)
