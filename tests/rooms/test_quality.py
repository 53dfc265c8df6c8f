"""Quality, cost and the bake window: what the judge says of answers, in pairs and in groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from contracts.rollouts import Decision, PairTelemetry, RolloutTelemetry
from contracts.specs import Costs
from mldl_ray.deployment.costs import cost_of
from mldl_ray.monitoring.confusions import ANOTHER, MOST_CELLS, OTHER, Confusions
from mldl_ray.monitoring.firsts import Firsts
from mldl_ray.monitoring.pairs import PairCounts, Side
from tests.rooms.test_decide import arm, both, deployment, judge

SHAPE = {"verdict", "words", "statistic", "bound", "n", "n_stable", "needed", "time_to_decide_s"}
VERDICTS = {"harm", "no_harm", "shown", "too_little", "not_observed", "not_judged"}


def labels(judged: int, wrong: int) -> dict[str, Any]:
    by_arm = {"judged_keys": judged, "misjudged_keys": wrong}
    return {"labelled": judged, "correct": judged - wrong, "labelled_keys": judged, "wrong_keys": wrong} | by_arm


def regression(errors: list[tuple[float, float]]) -> RolloutTelemetry:
    """Pairs of a regression: stable's and the shadow's absolute error of each."""
    counts = PairCounts(Firsts(), "regression")
    for key, (stable, shadow) in enumerate(errors):
        sides = Side(10 + stable, 10 + stable), Side(10 - shadow, 10 - shadow)
        counts.add(*sides, key)
        counts.judge(10.0, *sides, key)
    telemetry = both(0.5, 2 * len(errors))
    return telemetry.model_copy(update={"pairs": (counts.telemetry(7),), "task": "regression"})


# the proof


def test_the_larger_the_next_step_the_more_labels_it_needs() -> None:
    telemetry = both(0.25, 8000, **labels(300, 45), stable=labels(900, 135))
    needed = [judge(telemetry, deployment(step=step)).evidence["quality_proof"]["needed"] for step in (0, 1, 2)]
    assert needed[0] == 300 < needed[2]
    assert needed == sorted(needed)


def test_a_candidate_that_is_worse_than_the_margin_is_held_and_told_that_labels_will_not_help() -> None:
    telemetry = both(0.5, 4000, **labels(60, 18), stable=labels(60, 8))
    found = judge(telemetry, deployment(step=2, age_s=60))
    assert (found.verdict, found.rule) == ("HOLD", "quality_worse")
    assert found.evidence["quality_proof"]["needed"] is None


def test_a_few_stray_labels_ask_for_no_proof() -> None:
    telemetry = both(0.5, 4000, **labels(19, 2), stable=labels(19, 2))
    found = judge(telemetry, deployment(step=2, age_s=60))
    assert found.verdict == "PROMOTE"
    assert found.evidence["quality_proof"]["verdict"] == "not_observed"


def test_where_people_are_not_counted_repeated_labels_are_worth_one() -> None:
    facts = {"labelled": 3000, "correct": 2700}
    people = both(0.5, 6000, keys=100, **facts, stable={"keys": 100} | facts)
    assert judge(people, deployment(step=2, age_s=60)).rule == "too_few_labels"
    assert judge(both(0.5, 6000, **facts, stable=facts), deployment(step=2, age_s=60)).verdict == "PROMOTE"


def test_a_candidate_worse_by_the_margin_is_rarely_shown_to_be_fine_however_often_one_looks() -> None:
    rng, shown = np.random.default_rng(4), 0
    for _ in range(60):
        wrong, others = (rng.random(1500) < 0.25).cumsum(), (rng.random(1500) < 0.15).cumsum()
        for look in range(50, 1500, 50):
            mine, theirs = int(wrong[look - 1]), int(others[look - 1])
            telemetry = both(0.5, 4000, **labels(look, mine), stable=labels(look, theirs))
            wanted = deployment(step=2, guardrails={"rollback_on": []})
            if judge(telemetry, wanted).evidence["quality_proof"]["verdict"] == "shown":
                shown += 1
                break
    assert shown <= 3


# pairs


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_a_regression_with_larger_errors_is_found_in_pairs_whatever_its_unit(unit: float) -> None:
    rng = np.random.default_rng(5)
    stable, shadow = rng.exponential(unit, 300), rng.exponential(2 * unit, 300)
    worse = judge(regression(list(zip(stable, shadow, strict=True))), deployment(step=2))
    assert (worse.verdict, worse.rule) == ("ROLLBACK", "metric_drop")
    alike = judge(regression(list(zip(stable, rng.exponential(unit, 300), strict=True))), deployment(step=2))
    assert alike.verdict == "HOLD"


def test_values_are_not_judged_by_being_equal_to_labels() -> None:
    telemetry = both(0.5, 4000, labelled=900, correct=0, stable={"labelled": 900, "correct": 0})
    found = judge(telemetry.model_copy(update={"task": "regression"}), deployment(step=2, age_s=60))
    assert found.verdict == "PROMOTE"
    assert found.evidence["quality"]["verdict"] == "not_judged"
    assert found.evidence["quality_proof"]["verdict"] == "not_observed"


def test_a_shift_of_unbounded_values_is_relative_and_of_probabilities_absolute() -> None:
    for task, scores, shift in (("regression", (300.0, 100.0), -0.5), ("classification", (0.25, 0.75), 0.5)):
        counts = PairCounts(Firsts(), task)
        counts.add(Side(1, scores[0]), Side(1, scores[1]), 1)
        telemetry = both().model_copy(update={"pairs": (counts.telemetry(7),)})
        assert judge(telemetry).evidence["score_shift"]["statistic"] == pytest.approx(shift, abs=0.005)


def test_pairs_of_several_epochs_add_up() -> None:
    one = PairTelemetry(
        epoch=7, pairs=50, agreeing=40, keys=50, keys_agreeing=40, both_right=36, only_candidate_wrong=9
    )
    telemetry = both().model_copy(update={"pairs": (one, one.model_copy(update={"epoch": 8}))})
    found = judge(telemetry)
    assert found.evidence["agreement"]["statistic"] == 0.8
    assert found.evidence["quality"]["pairs"]["only_candidate_wrong"] == 18
    assert found.rule == "metric_drop"


# costs


def test_costs_add_mistakes_and_computing_within_their_bounds() -> None:
    one = arm("2", 1000, ms=100.0, confusions=(("0", "0", 180), ("0", "1", 20)))
    found = cost_of((one,), Costs(mistakes={"0": {"1": 50}}, compute_second=2), 0.05)
    assert found.mean == pytest.approx(0.1 * 50 + 0.1 * 2, rel=0.02)
    assert 0 < found.low < found.mean < found.high < 25
    nothing = cost_of((), Costs(mistakes={"0": {"1": 50}}), 0.05)
    assert (nothing.low, nothing.high) == (0, 50)


def test_answers_that_take_longer_cost_more_and_that_can_be_harm() -> None:
    slow = both(0.5, 40_000, ms=14.0)
    found = judge(slow, deployment(step=2, costs={"compute_second": 1}))
    assert (found.verdict, found.rule) == ("ROLLBACK", "cost")
    assert judge(slow, deployment(step=2, costs={"compute_second": 1, "most_ratio": 5})).verdict == "HOLD"
    assert judge(slow, deployment(step=2, costs={"compute_second": 1, "margin": 0.1})).verdict == "HOLD"


def test_a_dear_candidate_with_cheap_mistakes_is_judged_by_the_sum() -> None:
    better = {"confusions": (("1", "1", 5000),)}
    worse = {"confusions": (("1", "1", 4000), ("1", "0", 1000))}
    telemetry = both(0.5, 40_000, ms=14.0, **better, stable=worse)
    assert judge(telemetry, deployment(step=2, costs={"compute_second": 1, "mistake": 1})).verdict == "HOLD"


def test_costs_that_price_nothing_or_below_zero_are_refused() -> None:
    for wrong in ({}, {"mistake": 0}, {"mistakes": {"0": {"1": -1}}}, {"mistake": float("inf")}):
        with pytest.raises(ValidationError):
            Costs.model_validate(wrong)


def test_equal_costs_are_rarely_called_harm_however_often_one_looks() -> None:
    rng, prices, alarms = np.random.default_rng(6), Costs(mistake=1, most_ratio=1), 0
    for _ in range(40):
        mine, theirs = ((rng.random(600) < 0.2).cumsum() for _ in range(2))
        for look in range(20, 600, 20):
            costs = []
            for wrong in (mine, theirs):
                bad = int(wrong[look - 1])
                cells = (("1", "0", bad), ("1", "1", look - bad))
                costs.append(cost_of((arm("x", look, confusions=cells),), prices, 0.025))
            if costs[0].low > costs[1].high:
                alarms += 1
                break
    assert alarms <= 2


def test_a_table_of_confusions_is_bounded_and_keeps_right_from_wrong() -> None:
    table = Confusions()
    for i in range(MOST_CELLS + 50):
        table.add(i, i if i % 2 else -1)
    cells = {(label, said): count for label, said, count in table.cells()}
    assert len(cells) == MOST_CELLS + 2
    assert cells[OTHER, OTHER] + cells[OTHER, ANOTHER] == 50
    table.add(1.0, True)
    assert sum(count for _, _, count in table.cells()) == MOST_CELLS + 51


# the shape


def test_whatever_was_looked_at_is_told_in_one_shape_as_json() -> None:
    seen: set[str] = set()
    cases = [
        (RolloutTelemetry(deployment_id="dep-1"), deployment()),
        (both(errors=10, errors_in_a_row=3, **labels(60, 5), stable=labels(60, 5)), deployment()),
        (both(), deployment(costs={"mistake": 1})),
        (both().model_copy(update={"open_causes": ("drift",), "ece": 0.1, "fairness_delta": 0.1}), deployment()),
        (both(), deployment(guardrails={"min_calibration": 0.5, "fairness_delta_max": 0.5})),
        (regression([(1.0, 1.0)] * 30), deployment().model_copy(update={"strategy": "shadow", "status": "shadow"})),
        (both(), deployment().model_copy(update={"status": "baking"})),
    ]
    for telemetry, wanted in cases:
        found = judge(telemetry, wanted)
        for name, entry in found.evidence.items():
            assert set(entry) >= SHAPE, name
            assert entry["verdict"] in VERDICTS
            seen.add(name)
        assert Decision.model_validate_json(found.model_dump_json()).evidence.keys() == found.evidence.keys()
    assert seen >= {"errors", "latency_p95_ms", "quality", "quality_proof", "share", "exposure", "cost", "agreement"}
    assert seen >= {"score_shift", "promotion", "baking_errors", "calibration", "fairness_delta", "errors_in_a_row"}


def test_evidence_that_grows_says_when_it_will_decide() -> None:
    found = judge(both(errors=2, error_keys=2, stable={"error_keys": 0}), deployment(age_s=10)).evidence["errors"]
    assert found["verdict"] == "no_harm"
    assert found["needed"] > found["n"]
    assert found["time_to_decide_s"] > 0
