"""The judge of a rollout: every rule trips on what it is for, on nothing else, and promotion needs its proof."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.rollouts import ArmTelemetry, Decision, Deployment, RolloutTelemetry
from contracts.specs import DeploymentSpec
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.decide import TESTS, decide
from mldl_ray.deployment.exposure import exposure_of

NOW = 1_000.0
WINDOW = 4.0
STEPS = (5.0, 25.0, 50.0, 100.0)


def deployment(*, step: int = 0, age_s: float = 1.0, **spec: Any) -> Deployment:
    return Deployment(
        deployment_id="dep-1",
        model_key="m",
        version="2.0.0",
        spec=DeploymentSpec.model_validate(spec),
        strategy="canary",
        status="canary",
        stable="1.0.0",
        steps=STEPS,
        step=step,
        step_started_s=NOW - age_s,
        promotion_window_s=WINDOW,
        bake_window_s=3,
    )


def latencies(requests: int, ms: float) -> tuple[int, ...]:
    counts = [0] * (len(LATENCY_EDGES_MS) + 1)
    counts[next(i for i, edge in enumerate(LATENCY_EDGES_MS) if edge >= ms)] = requests
    return tuple(counts)


def arm(version: str, requests: int, *, share: float = 0.05, ms: float = 5.0, epoch: int = 7, **more: Any) -> Any:
    known: dict[str, Any] = {"errors": 0, "keys": requests} | more
    return ArmTelemetry(
        version=version, epoch=epoch, share=share, requests=requests, latency_counts=latencies(requests, ms), **known
    )


def both(
    share: float = 0.05, total: int = 2000, stable: dict[str, Any] | None = None, **candidate: Any
) -> RolloutTelemetry:
    """One epoch with as many requests of each arm as intended, nothing wrong but what is said."""
    mine = candidate.pop("requests", round(share * total))
    theirs = (stable or {}).pop("requests", total - round(share * total))
    return RolloutTelemetry(
        deployment_id="dep-1",
        stable=(arm("1.0.0", theirs, share=share, **(stable or {})),),
        candidate=(arm("2.0.0", mine, share=share, **candidate),),
    )


def judge(telemetry: RolloutTelemetry, wanted: Deployment | None = None) -> Decision:
    return decide(telemetry, wanted or deployment(), NOW)


# nothing to see


def test_no_traffic_is_hold_and_never_a_pass() -> None:
    nothing = RolloutTelemetry(deployment_id="dep-1")
    for age_s in (0.0, 1.0, 1e6):
        found = judge(nothing, deployment(age_s=age_s, early_promotion=True))
        assert (found.verdict, found.rule) == ("HOLD", "too_little_evidence")
        assert "none has come in this step" in found.why


def test_too_little_traffic_is_hold_after_the_window_too_and_says_what_is_missing() -> None:
    found = judge(both(total=1000), deployment(age_s=50.0))
    assert (found.verdict, found.rule) == ("HOLD", "too_little_evidence")
    assert found.evidence["exposure"]["n"] == 50
    assert 78 <= found.evidence["exposure"]["n_needed"] <= 86
    assert "more candidate requests are needed, at this rate in" in found.why


# promotion


def test_a_step_that_has_shown_no_harm_ends_with_its_window() -> None:
    early, late = (judge(both(), deployment(age_s=age_s)) for age_s in (1.0, WINDOW))
    assert (early.verdict, early.rule) == ("HOLD", "window")
    assert (late.verdict, late.rule) == ("PROMOTE", "non_inferior")
    assert late.step_pct == 5
    assert late.evidence["exposure"]["next_share"] == 0.25


def early(*, ms: float = 5.0, labels: bool = True, total: int = 20_000) -> Decision:
    """Ask half a second into the step, of a candidate with a p95 of ``ms`` where stable has 5 ms."""
    known, stable = (
        {"labelled": n, "correct": round(0.9 * n), "judged_keys": n, "misjudged_keys": round(0.1 * n)} if labels else {}
        for n in (total // 20, total)
    )
    telemetry = both(total=total, ms=ms, stable=stable, **known)
    return judge(telemetry, deployment(age_s=0.5, early_promotion=True))


def test_a_step_may_end_early_when_that_is_asked_for_and_all_is_shown() -> None:
    assert early().verdict == "PROMOTE"


def test_without_labels_a_step_lasts_its_window_and_says_why() -> None:
    found = early(labels=False)
    assert (found.verdict, found.rule) == ("HOLD", "window")
    assert "quality was not observed" in found.why
    assert found.why.endswith("its window ends in 4 s")
    assert judge(both(total=20_000), deployment(age_s=WINDOW, early_promotion=True)).verdict == "PROMOTE"


def test_a_step_does_not_end_early_before_latency_is_shown() -> None:
    found = early(total=1_600)
    assert found.evidence["exposure"]["verdict"] == "shown"
    assert found.evidence["latency_proof"]["verdict"] == "too_little"
    assert (found.verdict, found.rule) == ("HOLD", "window")
    assert "not slower than tolerated is not shown in this step after 80 requests" in found.why


def test_a_candidate_that_looks_too_slow_is_not_promoted_at_its_windows_end_either() -> None:
    telemetry = both(total=2_000, ms=5.0)
    mixed = tuple(a + b for a, b in zip(latencies(92, 5.0), latencies(8, 60.0), strict=True))
    slow = telemetry.candidate[0].model_copy(update={"latency_counts": mixed})
    found = judge(telemetry.model_copy(update={"candidate": (slow,)}), deployment(age_s=WINDOW))
    assert (found.verdict, found.rule) == ("HOLD", "latency_undecided")
    assert "more requests decide" in found.why


def test_a_busier_hour_after_a_calm_canary_is_not_the_candidates() -> None:
    alone = arm("2.0.0", 5_000, share=1.0, epoch=8, ms=180)
    before = both(0.25, 4_000, ms=45, stable={"ms": 45})
    telemetry = before.model_copy(update={"candidate": (*before.candidate, alone)})
    baking = deployment(step=3).model_copy(update={"status": "baking"})
    assert judge(telemetry, baking).verdict == "HOLD"
    hung = before.model_copy(update={"candidate": (*before.candidate, arm("2.0.0", 5_000, epoch=8, ms=400))})
    assert judge(hung, baking).rule == "latency"


@pytest.mark.parametrize(("step", "needed"), [(0, 78), (1, 168), (2, 357), (3, 357)])
def test_the_larger_the_next_step_the_more_error_free_requests_it_needs(step: int, needed: int) -> None:
    share = STEPS[step] / 100
    for requests, verdict in ((needed - 1, "HOLD"), (needed, "PROMOTE")):
        telemetry = both(share, requests=requests, stable={"requests": round(requests / share) - requests})
        assert judge(telemetry, deployment(step=step, age_s=WINDOW)).verdict == verdict


def test_evidence_of_earlier_steps_counts() -> None:
    telemetry = RolloutTelemetry(
        deployment_id="dep-1",
        stable=(arm("1.0.0", 1900, epoch=6), arm("1.0.0", 300, share=0.25)),
        candidate=(arm("2.0.0", 100, epoch=6), arm("2.0.0", 100, share=0.25)),
    )
    assert exposure_of(telemetry, deployment(step=1)).shown


def test_a_past_outage_of_both_arms_does_not_excuse_the_candidates_errors_now() -> None:
    telemetry = RolloutTelemetry(
        deployment_id="dep-1",
        stable=(arm("1.0.0", 760, epoch=6, errors=152), arm("1.0.0", 600, share=0.25)),
        candidate=(arm("2.0.0", 40, epoch=6, errors=8), arm("2.0.0", 200, share=0.25, errors=2)),
    )
    assert not exposure_of(telemetry, deployment(step=1)).shown


def test_a_larger_budget_needs_less_proof() -> None:
    telemetry = both(total=600)
    assert judge(telemetry, deployment(age_s=WINDOW)).verdict == "HOLD"
    assert judge(telemetry, deployment(age_s=WINDOW, harm_budget=0.08)).verdict == "PROMOTE"


def test_a_candidate_as_good_as_a_stable_that_fails_now_and_then_is_promoted() -> None:
    telemetry = both(0.5, 8000, errors=40, stable={"errors": 40})
    assert judge(telemetry, deployment(step=2, age_s=WINDOW)).verdict == "PROMOTE"


def test_a_candidate_that_fails_too_often_to_ever_be_promoted_is_held_and_says_so() -> None:
    telemetry = RolloutTelemetry(deployment_id="dep-1", candidate=(arm("2.0.0", 1000, share=1, errors=100),))
    found = judge(telemetry, deployment(age_s=WINDOW))
    assert (found.verdict, found.rule) == ("HOLD", "too_many_errors")
    assert "100 of 1000 candidate requests failed" in found.why
    assert found.evidence["exposure"]["n_needed"] is None


def test_the_demos_canary_takes_sixteen_seconds_at_two_hundred_requests_a_second() -> None:
    lasted: list[float] = []
    stable: list[ArmTelemetry] = []
    candidate: list[ArmTelemetry] = []
    for step, share in enumerate((0.05, 0.25, 0.5)):
        for quarter in range(1, 100):
            requests = int(50 * share * quarter)
            epochs = (
                arm("1.0.0", 50 * quarter - requests, share=share, epoch=step),
                arm("2.0.0", requests, share=share, epoch=step),
            )
            telemetry = RolloutTelemetry(
                deployment_id="dep-1", stable=(*stable, epochs[0]), candidate=(*candidate, epochs[1])
            )
            if judge(telemetry, deployment(step=step, age_s=quarter / 4)).verdict == "PROMOTE":
                break
        lasted.append(quarter / 4)
        stable.append(epochs[0])
        candidate.append(epochs[1])
    assert lasted == [8.0, 4.0, 4.0]


# harm


def test_errors_of_the_candidate_end_the_rollout() -> None:
    found = judge(both(errors=10, error_keys=10, stable={"errors": 2, "error_keys": 2}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "error_rate")
    assert "10 of 100 candidate requests failed against 2 of 1900 on stable" in found.why
    assert found.evidence["errors"]["statistic"] >= found.evidence["errors"]["bound"] == len(TESTS) / 0.05


def test_errors_that_hit_both_arms_alike_do_not() -> None:
    assert judge(both(errors=10, stable={"errors": 190})).verdict == "HOLD"


def test_one_caller_whose_every_request_fails_is_no_harm() -> None:
    telemetry = both(errors=60, error_keys=1, stable={"error_keys": 0})
    assert judge(telemetry).verdict == "HOLD"


def test_where_keys_are_not_counted_repeated_errors_weigh_as_often_as_keys_came() -> None:
    often = both(errors=12, keys=2, stable={"keys": 38})
    assert judge(often).verdict == "HOLD"
    assert judge(both(errors=12)).verdict == "ROLLBACK"


@pytest.mark.parametrize("people", [50, 200])
def test_equal_models_are_rarely_rolled_back_when_the_same_people_come_again_and_again(people: int) -> None:
    rng = np.random.default_rng(5)
    false_alarms = sum(_rolls_back(rng.random(people), rng.random(people) < 0.15) for _ in range(40))
    assert false_alarms <= 2


def _rolls_back(place: Any, wrong: Any) -> bool:
    """Rollout of a model equal to stable: everybody asks thirty times per step and is always right, or always wrong."""
    stable: list[ArmTelemetry] = []
    candidate: list[ArmTelemetry] = []
    seen = np.zeros(len(place), dtype=bool)
    for step, share in enumerate((0.05, 0.25, 0.5)):
        for arms, mine in ((candidate, place < share), (stable, place >= share)):
            fresh = mine & ~seen
            requests = 30 * int(mine.sum())
            counts = {"labelled": requests, "correct": requests - 30 * int((mine & wrong).sum())}
            by_key = {"labelled_keys": int(fresh.sum()), "wrong_keys": int((fresh & wrong).sum())}
            arms.append(arm("x", requests, share=share, epoch=step, keys=int(mine.sum()), **counts, **by_key))
        seen[:] = True
        telemetry = RolloutTelemetry(deployment_id="dep-1", stable=tuple(stable), candidate=tuple(candidate))
        if judge(telemetry, deployment(step=step)).rule == "metric_drop":
            return True
    return False


def test_a_row_of_failures_ends_the_rollout_at_once() -> None:
    def failed(row: int) -> RolloutTelemetry:
        stable = {"requests": 19 * row, "error_keys": 0}
        return both(requests=row, errors=row, errors_in_a_row=row, error_keys=0, stable=stable)

    assert judge(failed(4)).verdict == "HOLD"
    assert (judge(failed(5)).verdict, judge(failed(5)).rule) == ("ROLLBACK", "max_consecutive_errors")
    assert judge(failed(2), deployment(guardrails={"max_consecutive_errors": 2})).verdict == "ROLLBACK"


def test_a_candidate_that_is_surely_much_slower_is_rolled_back() -> None:
    found = judge(both(0.25, 2000, ms=60, stable={"ms": 5}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "latency")
    assert judge(both(0.25, 2000, ms=14, stable={"ms": 5})).verdict == "HOLD"
    assert judge(both(0.25, 2000, ms=60, stable={"ms": 50})).verdict == "HOLD"


def test_the_slow_first_answers_of_a_new_process_prove_nothing() -> None:
    assert judge(both(total=800, ms=500)).verdict == "HOLD"
    warm = latencies(90, 5.0)
    mixed = tuple(a + b for a, b in zip(warm, latencies(10, 500.0), strict=True))
    telemetry = both()
    candidate = telemetry.candidate[0].model_copy(update={"latency_counts": mixed})
    assert judge(telemetry.model_copy(update={"candidate": (candidate,)})).verdict == "HOLD"


def test_a_busy_moment_that_slows_both_arms_is_not_the_candidates() -> None:
    telemetry = RolloutTelemetry(
        deployment_id="dep-1",
        stable=(arm("1.0.0", 1520, epoch=6), arm("1.0.0", 180, share=0.25, ms=300)),
        candidate=(arm("2.0.0", 80, epoch=6), arm("2.0.0", 60, share=0.25, ms=300)),
    )
    assert judge(telemetry, deployment(step=1)).verdict == "HOLD"


def test_a_candidate_that_grew_slow_in_a_later_step_is_rolled_back() -> None:
    telemetry = RolloutTelemetry(
        deployment_id="dep-1",
        stable=(arm("1.0.0", 9500, epoch=6), arm("1.0.0", 300, share=0.25)),
        candidate=(arm("2.0.0", 500, epoch=6), arm("2.0.0", 100, share=0.25, ms=300)),
    )
    assert judge(telemetry, deployment(step=1)).rule == "latency"


def test_a_latency_limit_holds_even_when_stable_is_as_slow() -> None:
    slow = both(0.25, 2000, ms=60, stable={"ms": 60})
    found = judge(slow, deployment(guardrails={"max_latency_p95_ms": 50}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "max_latency_p95_ms")
    assert judge(slow, deployment(guardrails={"max_latency_p95_ms": 100})).verdict == "HOLD"


def test_fewer_right_answers_than_stable_end_the_rollout() -> None:
    worse = both(0.25, 2000, labelled=400, correct=280, stable={"labelled": 1200, "correct": 1080})
    found = judge(worse)
    assert (found.verdict, found.rule) == ("ROLLBACK", "metric_drop")
    assert "280 of 400 labelled answers of the candidate were right against 1080 of 1200" in found.why
    assert judge(worse, deployment(guardrails={"rollback_on": ["violation"]})).verdict == "HOLD"


def test_answers_as_right_as_stables_do_not() -> None:
    alike = both(0.25, 2000, labelled=400, correct=340, stable={"labelled": 1200, "correct": 1020})
    assert judge(alike).verdict == "HOLD"


@pytest.mark.parametrize(("requests", "wrong"), [(100, False), (400, True), (2, True), (130, False)])
def test_a_share_that_is_not_the_intended_one_is_a_violation(requests: int, wrong: bool) -> None:
    telemetry = both(0.05 if requests != 2 else 0.25, requests=requests, stable={"requests": 2000 - requests})
    found = judge(telemetry)
    assert (found.rule == "share_mismatch") is wrong
    if wrong:
        off = deployment(guardrails={"rollback_on": ["metric_drop"]})
        assert judge(telemetry, off).verdict == "HOLD"


def test_copies_that_were_dropped_are_no_wrong_share() -> None:
    copies = both(0.5, requests=100, stable={"requests": 1900})
    assert judge(copies).rule == "share_mismatch"
    assert judge(copies, deployment().model_copy(update={"strategy": "shadow"})).verdict == "HOLD"


def test_a_step_that_began_at_the_clocks_zero_ends_too() -> None:
    begun = deployment().model_copy(update={"step_started_s": 0.0})
    assert decide(both(), begun, WINDOW).verdict == "PROMOTE"


def test_live_calibration_below_its_guardrail_ends_the_rollout() -> None:
    telemetry = both().model_copy(update={"ece": 0.3, "ece_sure": 0.12})
    found = judge(telemetry, deployment(guardrails={"min_calibration": 0.9}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "min_calibration")
    assert judge(telemetry, deployment(guardrails={"min_calibration": 0.88})).verdict == "HOLD"
    assert judge(both(), deployment(guardrails={"min_calibration": 0.9})).verdict == "HOLD"


def test_live_unfairness_above_its_guardrail_ends_the_rollout() -> None:
    telemetry = both().model_copy(update={"fairness_delta": 0.3})
    found = judge(telemetry, deployment(guardrails={"fairness_delta_max": 0.2}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "fairness_delta_max")
    assert judge(telemetry).verdict == "HOLD"


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("drift", "drift_spike"), ("slo", "metric_drop"), ("guardrail", "violation"), ("data_quality", "violation")],
)
def test_an_open_alert_on_the_candidate_ends_the_rollout_when_its_cause_is_listed(kind: str, rule: str) -> None:
    telemetry = both().model_copy(update={"open_causes": (kind,)})
    found = judge(telemetry)
    assert (found.verdict, found.rule) == ("ROLLBACK", rule)
    others = [cause for cause in ("metric_drop", "drift_spike", "violation") if cause != rule]
    assert judge(telemetry, deployment(guardrails={"rollback_on": others})).verdict == "HOLD"


def test_harm_wins_over_a_shown_promotion_after_the_window() -> None:
    telemetry = both(0.25, 4000, labelled=900, correct=450, stable={"labelled": 2700, "correct": 2600})
    assert exposure_of(telemetry, deployment(step=1)).shown
    assert judge(telemetry, deployment(step=1, age_s=60)).verdict == "ROLLBACK"


def test_a_smaller_alpha_asks_for_more_evidence() -> None:
    telemetry = both(errors=3, error_keys=3, stable={"error_keys": 0})
    assert judge(telemetry, deployment(alpha=0.2)).verdict == "ROLLBACK"
    assert judge(telemetry, deployment(alpha=0.0001)).verdict == "HOLD"


def test_the_grounds_of_a_decision_are_json() -> None:
    found = judge(both(0.25, 2000, labelled=10, correct=9, stable={"labelled": 10, "correct": 9}))
    assert set(found.evidence) == {"errors", "latency_p95_ms", "quality", "quality_proof", "share", "exposure"}
    assert Decision.model_validate_json(found.model_dump_json()).verdict == "HOLD"
