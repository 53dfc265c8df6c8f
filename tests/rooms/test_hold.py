"""A person's hold: the evidence does not move what is held, harm does, and a way back is open from every state."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from contracts.errors import Conflict
from contracts.rollouts import LIVE_STATES, Decision, Deployment, DeploymentState, Endpoint, Hold
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.advance import Observed, advance
from mldl_ray.deployment.beside import considered
from mldl_ray.deployment.by_hand import hold, promote, resume, roll_back
from mldl_ray.deployment.moves import HOLDABLE

NOW_S = 1000.0
OWN = Endpoint(model_key="m", stable="1.0.0", deployment_ids=("dep-1",), epoch=7, salt="s")
HELD = Hold(at_s=900, by="ann", reason="support calls")


def rollout(status: str, **changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "deployment_id": "dep-1",
        "model_key": "m",
        "version": "1.1.0",
        "spec": DeploymentSpec(),
        "strategy": "canary",
        "status": status,
        "stable": "1.0.0",
        "steps": (5, 50, 100),
        "step_started_s": NOW_S - 500,
        "promotion_window_s": 10,
        "bake_window_s": 5,
        "candidate_app": "m-m-v1.1.0-x",
    }
    return Deployment.model_validate(values | changes)


def verdict(what: str) -> Decision:
    return Decision.model_validate({"verdict": what, "rule": "errors", "why": "because", "at_s": NOW_S, "step_pct": 5})


def test_a_hold_keeps_traffic_step_and_epoch_and_says_who_and_why() -> None:
    canary = rollout("canary", spans=((0.0, 0.05),))
    move = hold(OWN, canary, now_s=NOW_S, actor="ann", reason="support calls")
    assert move.deployment.held == Hold(at_s=NOW_S, by="ann", reason="support calls")
    assert (move.endpoint, move.deployment.step, move.deployment.spans) == (OWN, 0, ((0.0, 0.05),))
    last = move.deployment.history[-1]
    assert (last.status, last.actor, last.reason) == ("canary", "ann", "held: support calls")
    assert last.traffic == {"1.0.0": 0.95, "1.1.0": 0.05}
    assert [(fact.type, fact.data["why"]) for fact in move.facts] == [("MLDL_DEPLOYMENT_HELD", "support calls")]


def test_what_is_held_is_not_promoted_by_evidence_and_says_so() -> None:
    canary = rollout("canary", held=HELD)
    assert advance(OWN, canary, Observed(now_s=NOW_S, decision=verdict("PROMOTE"))) is None
    shown = considered(verdict("PROMOTE"), canary, ())
    assert shown is not None
    assert (shown.verdict, shown.rule) == ("HOLD", "held")
    assert "ann holds it here: support calls" in shown.why


@pytest.mark.parametrize("status", ["canary", "baking"])
def test_harm_takes_back_what_is_held(status: str) -> None:
    move = advance(OWN, rollout(status, held=HELD), Observed(now_s=NOW_S, decision=verdict("ROLLBACK")))
    assert move is not None
    assert (move.deployment.status, move.deployment.held) == ("rolling_back", None)


def test_held_while_it_starts_it_comes_up_and_gets_no_traffic() -> None:
    named = advance(OWN, rollout("requested", held=HELD), Observed(now_s=NOW_S, new_app="a"))
    assert named is not None and (named.deployment.status, named.deployment.held) == ("starting", HELD)
    assert advance(OWN, rollout("starting", held=HELD), Observed(now_s=NOW_S, app="running")) is None


def test_held_in_the_bake_window_the_old_version_stays_warm() -> None:
    after = Observed(now_s=NOW_S + 3600)
    assert advance(OWN, rollout("baking", held=HELD), after) is None
    assert advance(OWN, rollout("baking"), after) is not None


def test_a_person_promotes_what_is_held_and_it_is_held_at_the_new_step() -> None:
    move = promote(OWN, rollout("canary", held=HELD), 50, now_s=NOW_S, actor="bob", reason="more")
    assert (move.deployment.step, move.deployment.held) == (1, HELD)
    whole = promote(OWN, rollout("canary", held=HELD), 100, now_s=NOW_S, actor="bob", reason="all")
    assert (whole.deployment.status, whole.deployment.held) == ("promoting", None)


def test_resumed_it_goes_on_by_the_evidence() -> None:
    move = resume(OWN, rollout("canary", held=HELD), now_s=NOW_S, actor="bob", reason="found it")
    assert move.deployment.held is None
    assert [(fact.type, fact.data["held_by"]) for fact in move.facts] == [("MLDL_DEPLOYMENT_RESUMED", "ann")]
    assert advance(move.endpoint, move.deployment, Observed(now_s=NOW_S, decision=verdict("PROMOTE"))) is not None


def test_held_twice_or_resumed_without_a_hold_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="ann holds deployment dep-1 already"):
        hold(OWN, rollout("canary", held=HELD), now_s=NOW_S, actor="bob", reason="x")
    with pytest.raises(Conflict, match="nobody holds"):
        resume(OWN, rollout("canary"), now_s=NOW_S, actor="bob", reason="x")


@pytest.mark.parametrize("status", sorted(set(get_args(DeploymentState)) - HOLDABLE))
def test_what_does_not_stand_at_a_step_cannot_be_held(status: str) -> None:
    with pytest.raises(Conflict, match="cannot be held"):
        hold(OWN, rollout(status), now_s=NOW_S, actor="ann", reason="x")


@pytest.mark.parametrize("status", sorted(LIVE_STATES - {"rolling_back"}))
@pytest.mark.parametrize("held", [None, HELD])
def test_a_person_aborts_from_every_live_state(status: str, held: Hold | None) -> None:
    switched = status in {"promoting", "baking"}
    own = OWN.model_copy(update={"stable": "1.1.0", "previous": "1.0.0"}) if switched else OWN
    move = roll_back(own, rollout(status, held=held), now_s=NOW_S, actor="ann", reason="no")
    assert (move.endpoint.stable, move.endpoint.epoch) == ("1.0.0", 8)
    assert (move.deployment.status, move.deployment.held, move.deployment.spans) == ("rolling_back", None, ())
    assert move.deployment.history[-1].traffic == {"1.0.0": 1.0}
    ended = advance(move.endpoint, move.deployment, Observed(now_s=NOW_S, applied=True, drained=True))
    assert ended is not None
    assert (ended.deployment.status, ended.endpoint.deployment_ids) == ("rolled_back", ())


@pytest.mark.parametrize("status", ["requested", "promoting"])
def test_a_first_version_that_is_still_coming_up_is_aborted_to_nothing(status: str) -> None:
    own = OWN.model_copy(update={"stable": None if status == "requested" else "1.1.0"})
    first = rollout(status, strategy="direct", stable=None, candidate_app=None)
    move = roll_back(own, first, now_s=NOW_S, actor="ann", reason="wrong model")
    assert (move.endpoint.stable, move.endpoint.deployment_ids) == (None, ())
    assert (move.deployment.status, move.deployment.history[-1].actor) == ("rolled_back", "ann")
