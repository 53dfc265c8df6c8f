"""Where a deployment goes from each state, given what is seen."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Conflict
from contracts.replays import ReplayReport
from contracts.rollouts import Decision, Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.advance import (
    START_TIMEOUT_S,
    SWITCH_TIMEOUT_S,
    Observed,
    advance,
    needs_candidate,
)
from mldl_ray.deployment.by_hand import promote, roll_back
from mldl_ray.deployment.moves import Move
from mldl_ray.deployment.plan import candidate_share

NOW_S = 1000.0


def endpoint(**changes: Any) -> Endpoint:
    values = {"model_key": "m", "stable": "1.0.0", "deployment_ids": ("dep-1",), "epoch": 7, "salt": "s"}
    return Endpoint.model_validate(values | changes)


def deployment(**changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "deployment_id": "dep-1",
        "model_key": "m",
        "version": "1.1.0",
        "spec": DeploymentSpec(),
        "strategy": "canary",
        "status": "requested",
        "stable": "1.0.0",
        "steps": (5, 50, 100),
        "promotion_window_s": 10,
        "bake_window_s": 5,
        "candidate_app": "m-m-v1.1.0-x",
        "created_at_s": NOW_S,
    }
    return Deployment.model_validate(values | changes)


def seen(**changes: Any) -> Observed:
    return Observed(now_s=NOW_S, new_app="m-m-v1.1.0-new")._replace(**changes)


def verdict(what: str) -> Decision:
    return Decision.model_validate({"verdict": what, "rule": "errors", "why": "because", "at_s": NOW_S, "step_pct": 5})


def moved(move: Move | None) -> Move:
    assert move is not None
    return move


def types(move: Move) -> list[str]:
    return [fact.type for fact in move.facts]


def test_the_first_version_gets_all_traffic_at_once() -> None:
    move = moved(advance(endpoint(stable=None), deployment(strategy="direct", stable=None), seen()))
    assert (move.endpoint.stable, move.endpoint.epoch, move.deployment.status) == ("1.1.0", 8, "promoting")


def test_a_canary_is_named_before_it_is_started() -> None:
    move = moved(advance(endpoint(), deployment(candidate_app=None), seen()))
    assert (move.deployment.status, move.deployment.candidate_app) == ("starting", "m-m-v1.1.0-new")
    assert move.endpoint.epoch == 7
    assert needs_candidate(move.deployment)


@pytest.mark.parametrize("state", ["absent", "starting"])
def test_a_candidate_that_is_not_up_is_waited_for(state: str) -> None:
    assert advance(endpoint(), deployment(status="starting"), seen(app=state)) is None


def test_a_canary_that_is_up_gets_its_first_share() -> None:
    move = moved(advance(endpoint(), deployment(status="starting"), seen(app="running")))
    assert (move.deployment.status, candidate_share(move.deployment)) == ("canary", 0.05)
    assert move.deployment.first_epoch == move.endpoint.epoch == 8
    assert types(move) == ["MLDL_DEPLOYMENT_STEPPED"]


def test_a_shadow_that_is_up_gets_copies_and_no_share() -> None:
    move = moved(
        advance(endpoint(), deployment(status="starting", strategy="shadow", steps=(100,)), seen(app="running"))
    )
    assert (move.deployment.status, candidate_share(move.deployment)) == ("shadow", 0.0)


def test_green_that_is_up_is_checked_without_any_traffic() -> None:
    green = deployment(status="starting", strategy="blue_green", steps=(100,))
    move = moved(advance(endpoint(), green, seen(app="running")))
    assert (move.endpoint.stable, move.deployment.status) == ("1.0.0", "checking")
    assert move.endpoint.epoch == endpoint().epoch
    assert needs_candidate(move.deployment)


def test_green_that_passed_its_check_is_switched_to_at_once() -> None:
    green = deployment(status="checking", strategy="blue_green", steps=(100,))
    report = ReplayReport(passed=True, why="fine", source="traffic", rows=9)
    move = moved(advance(endpoint(), green, seen(app="running", replay=report)))
    assert (move.deployment.replay, move.reason) == (report, "fine")
    assert (move.endpoint.stable, move.endpoint.previous, move.deployment.status) == ("1.1.0", "1.0.0", "promoting")


@pytest.mark.parametrize("app", ["failed", "absent"])
def test_green_that_goes_down_during_its_check_ends_as_failed(app: str) -> None:
    green = deployment(status="checking", strategy="blue_green", steps=(100,))
    move = moved(advance(endpoint(), green, seen(app=app)))
    assert (move.endpoint.stable, move.deployment.status) == ("1.0.0", "failed")


@pytest.mark.parametrize(
    "sight",
    [{"app": "failed", "app_failure": "no such file"}, {"app": "starting", "now_s": NOW_S + START_TIMEOUT_S + 1}],
)
def test_a_candidate_that_does_not_start_ends_as_failed_with_stable_untouched(sight: dict[str, Any]) -> None:
    move = moved(advance(endpoint(), deployment(status="starting"), seen(**sight)))
    assert (move.deployment.status, move.endpoint.stable, move.endpoint.deployment_ids) == ("failed", "1.0.0", ())
    assert not needs_candidate(move.deployment)


def test_hold_keeps_the_step() -> None:
    assert advance(endpoint(), deployment(status="canary"), seen(decision=verdict("HOLD"))) is None


def test_promote_goes_one_step_on_and_keeps_the_grounds() -> None:
    move = moved(advance(endpoint(), deployment(status="canary"), seen(decision=verdict("PROMOTE"))))
    assert (move.deployment.step, candidate_share(move.deployment)) == (1, 0.5)
    assert [d.verdict for d in move.deployment.decisions] == ["PROMOTE"]


def test_the_last_step_makes_the_version_stable() -> None:
    move = moved(advance(endpoint(), deployment(status="canary", step=1), seen(decision=verdict("PROMOTE"))))
    assert (move.endpoint.stable, move.endpoint.previous, move.deployment.status) == ("1.1.0", "1.0.0", "promoting")


def test_rollback_takes_the_share_away_and_says_why() -> None:
    move = moved(advance(endpoint(), deployment(status="canary", step=1), seen(decision=verdict("ROLLBACK"))))
    assert (move.deployment.status, candidate_share(move.deployment)) == ("rolling_back", 0.0)
    assert types(move) == ["ROLLBACK_REQUESTED", "MLDL_VIOLATION"]
    assert move.deployment.decisions[-1].why == "because"


def test_a_shadow_is_never_promoted_by_evidence() -> None:
    shadow = deployment(status="shadow", strategy="shadow", steps=(100,))
    assert advance(endpoint(), shadow, seen(decision=verdict("PROMOTE"))) is None
    assert moved(advance(endpoint(), shadow, seen(decision=verdict("ROLLBACK")))).deployment.status == "rolling_back"


def test_promotion_is_done_when_every_replica_has_it_and_nothing_is_in_flight() -> None:
    promoting, own = deployment(status="promoting"), endpoint(stable="1.1.0", previous="1.0.0")
    for not_yet in (
        {"applied": True, "endpoint": "running"},
        {"applied": True, "drained": True, "endpoint": "starting"},
    ):
        assert advance(own, promoting, seen(**not_yet)) is None
    move = moved(advance(own, promoting, seen(applied=True, drained=True, endpoint="running")))
    assert (move.deployment.status, types(move)) == ("baking", ["MLDL_DEPLOYMENT_PROMOTED"])
    assert not needs_candidate(move.deployment)


def test_a_switch_that_replicas_do_not_apply_goes_back() -> None:
    late = seen(now_s=NOW_S + SWITCH_TIMEOUT_S + 1)
    move = moved(advance(endpoint(stable="1.1.0"), deployment(status="promoting"), late))
    assert (move.endpoint.stable, move.deployment.status) == ("1.0.0", "rolling_back")


def test_a_first_version_whose_endpoint_does_not_start_leaves_nothing_serving() -> None:
    first = deployment(status="promoting", strategy="direct", stable=None)
    move = moved(advance(endpoint(stable="1.1.0"), first, seen(endpoint="failed", endpoint_failure="broken file")))
    assert (move.endpoint.stable, move.deployment.status) == (None, "failed")


def test_the_old_version_is_let_go_after_the_bake_window() -> None:
    baking = deployment(status="baking", step_started_s=NOW_S)
    own = endpoint(stable="1.1.0")
    assert advance(own, baking, seen(now_s=NOW_S + 4)) is None
    move = moved(advance(own, baking, seen(now_s=NOW_S + 5)))
    assert (move.deployment.status, move.endpoint.deployment_ids) == ("succeeded", ())


def test_harm_in_the_bake_window_goes_back() -> None:
    baking = deployment(status="baking", step_started_s=NOW_S)
    move = moved(advance(endpoint(stable="1.1.0"), baking, seen(decision=verdict("ROLLBACK"))))
    assert (move.endpoint.stable, move.deployment.status) == ("1.0.0", "rolling_back")


def test_rolled_back_only_when_no_replica_sends_to_it_any_more() -> None:
    rolling = deployment(status="rolling_back")
    assert advance(endpoint(), rolling, seen(applied=True)) is None
    move = moved(advance(endpoint(), rolling, seen(applied=True, drained=True)))
    assert (move.deployment.status, types(move)) == ("rolled_back", ["MLDL_DEPLOYMENT_ROLLED_BACK"])
    assert move.endpoint.deployment_ids == ()


def test_the_epoch_rises_whenever_traffic_changes() -> None:
    states = [deployment(status="canary"), deployment(status="rolling_back")]
    sights = [seen(decision=verdict("ROLLBACK")), seen(applied=True, drained=True)]
    for state, sight in zip(states, sights, strict=True):
        assert moved(advance(endpoint(), state, sight)).endpoint.epoch == 8


def test_a_person_promotes_to_the_next_or_to_a_named_step() -> None:
    canary = deployment(status="canary")
    assert promote(endpoint(), canary, None, now_s=NOW_S, actor="ann", reason="ok").deployment.step == 1
    whole = promote(endpoint(), canary, 100, now_s=NOW_S, actor="ann", reason="ok")
    assert (whole.endpoint.stable, whole.deployment.history[-1].actor) == ("1.1.0", "ann")


@pytest.mark.parametrize(("status", "to_pct"), [("starting", None), ("succeeded", None), ("canary", 5), ("canary", 33)])
def test_a_promotion_that_makes_no_sense_is_a_conflict(status: str, to_pct: float | None) -> None:
    with pytest.raises(Conflict):
        promote(endpoint(), deployment(status=status), to_pct, now_s=NOW_S, actor="ann", reason="ok")


def test_a_person_rolls_back_a_finished_rollout() -> None:
    own = endpoint(stable="1.1.0", previous="1.0.0", deployment_ids=())
    move = roll_back(own, deployment(status="succeeded"), now_s=NOW_S, actor="ann", reason="no")
    assert (move.endpoint.stable, move.endpoint.deployment_ids) == ("1.0.0", ("dep-1",))


@pytest.mark.parametrize(
    ("own", "state"),
    [
        ({"deployment_ids": ()}, {"status": "rolled_back"}),
        ({}, {"status": "rolling_back"}),
        ({"deployment_ids": ("dep-2",), "stable": "1.1.0"}, {"status": "succeeded"}),
        ({"stable": "1.1.0", "deployment_ids": ()}, {"status": "succeeded", "stable": None}),
    ],
)
def test_a_rollback_that_makes_no_sense_is_a_conflict(own: dict[str, Any], state: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        roll_back(endpoint(**own), deployment(**state), now_s=NOW_S, actor="ann", reason="no")
