"""Several canaries at once: who may join, who may grow, and who has to go when one takes over."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.errors import Conflict
from contracts.rollouts import Decision, Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.advance import Observed, advance
from mldl_ray.deployment.beside import check_join, considered
from mldl_ray.deployment.by_hand import promote, roll_back
from mldl_ray.deployment.plan import route_table, traffic

NOW_S = 1000.0
BESIDE = DeploymentSpec(beside=True)
OWN = Endpoint(model_key="m", stable="1.0.0", deployment_ids=("dep-b", "dep-c"), epoch=7, salt="s")


def candidate(name: str, **changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "deployment_id": f"dep-{name}",
        "model_key": "m",
        "version": f"1.1.0-{name}",
        "spec": BESIDE,
        "strategy": "canary",
        "status": "canary",
        "stable": "1.0.0",
        "steps": (5, 50, 60, 100),
        "promotion_window_s": 10,
        "bake_window_s": 5,
        "candidate_app": f"m-m-v{name}",
    }
    return Deployment.model_validate(values | changes)


def promotion() -> Decision:
    return Decision(verdict="PROMOTE", rule="non_inferior", why="it is fine", at_s=NOW_S, step_pct=5)


B, C = candidate("b", spans=((0.0, 0.05),)), candidate("c", spans=((0.05, 0.1),))


def seen(*others: Deployment, decision: Decision | None = None) -> Observed:
    return Observed(now_s=NOW_S, decision=decision, others=others)


def test_a_canary_that_starts_beside_another_gets_space_of_its_own() -> None:
    starting = candidate("c", status="starting", spans=())
    move = advance(OWN, starting, seen(B)._replace(app="running"))
    assert move is not None
    assert (move.deployment.status, move.deployment.spans) == ("canary", ((0.05, 0.1),))
    assert move.deployment.history[-1].traffic == {"1.0.0": 0.9, "1.1.0-b": 0.05, "1.1.0-c": 0.05}


def test_a_canary_that_steps_keeps_its_space_and_takes_nobodys() -> None:
    move = advance(OWN, B, seen(C, decision=promotion()))
    assert move is not None
    assert move.deployment.spans == ((0.0, 0.05), (0.1, 0.55))
    assert move.ended == ()


def test_one_table_has_an_arm_for_each_with_its_own_rollout() -> None:
    manifests = {"1.0.0": "sha256:1", B.version: "sha256:b", C.version: "sha256:c"}
    table = route_table(OWN, [B, C], manifests, key_roles={}, key_required=False)
    assert table is not None
    assert [(arm.version, arm.share, arm.deployment_id) for arm in table.arms] == [
        ("1.0.0", 0.9, None),
        (B.version, 0.05, "dep-b"),
        (C.version, 0.05, "dep-c"),
    ]
    assert table.deployment_ids == ("dep-b", "dep-c")
    assert traffic(OWN, [B, C]) == {"1.0.0": 0.9, B.version: 0.05, C.version: 0.05}


def test_a_step_that_would_make_more_than_everybody_is_held_with_the_reason() -> None:
    big = candidate("c", step=2, spans=((0.05, 0.65),))
    assert advance(OWN, B, seen(big, decision=promotion())) is None
    held = considered(promotion(), B, (big,))
    assert held is not None
    assert (held.verdict, held.rule) == ("HOLD", "beside")
    assert "50% is more than is left: 60% is taken (1.1.0-c 60%)" in held.why
    with pytest.raises(Conflict, match="more than is left"):
        promote(OWN, B, 50, now_s=NOW_S, actor="ann", reason="go", others=(big,))


def test_the_evidence_takes_none_to_100_while_another_is_there() -> None:
    ready = candidate("b", step=2, steps=(5, 10, 20, 100), spans=((0.0, 0.2),))
    assert advance(OWN, ready, seen(C, decision=promotion())) is None
    held = considered(promotion(), ready, (C,))
    assert held is not None and "promote one by hand" in held.why
    alone = advance(OWN, ready, seen(decision=promotion()))
    assert alone is not None and alone.deployment.status == "promoting"


def test_a_person_takes_one_to_100_and_the_others_end_superseded_with_the_reason() -> None:
    move = promote(OWN, B, 100, now_s=NOW_S, actor="ann", reason="it is better", others=(C,))
    assert (move.endpoint.stable, move.endpoint.deployment_ids, move.deployment.spans) == (B.version, ("dep-b",), ())
    (ended,) = move.ended
    assert (ended.deployment_id, ended.status, ended.spans) == ("dep-c", "superseded", ())
    assert "dep-b" in ended.history[-1].reason
    assert ended.history[-1].actor == "ann"
    assert move.deployment.history[-1].traffic == {B.version: 1.0}
    assert [fact.subject for fact in move.facts] == ["dep-b", "dep-c"]


def test_one_goes_back_and_the_other_goes_on_where_it_was() -> None:
    move = roll_back(OWN, B, now_s=NOW_S, actor="ann", reason="no", others=(C,))
    assert (move.endpoint.stable, move.deployment.status, move.ended) == ("1.0.0", "rolling_back", ())
    assert move.deployment.history[-1].traffic == {"1.0.0": 0.95, C.version: 0.05}
    ended = advance(move.endpoint, move.deployment, seen(C)._replace(applied=True, drained=True))
    assert ended is not None and ended.endpoint.deployment_ids == ("dep-c",)


def test_a_finished_rollout_is_not_taken_back_under_the_ones_that_are_compared_with_it() -> None:
    own = OWN.model_copy(update={"stable": "1.0.0", "deployment_ids": ("dep-b",)})
    done = candidate("a", version="1.0.0", status="succeeded", stable="0.9.0")
    with pytest.raises(Conflict, match="dep-b"):
        roll_back(own, done, now_s=NOW_S, actor="ann", reason="no", others=(B,))


@pytest.mark.parametrize(
    ("spec", "version", "first_pct", "live", "says"),
    [
        (DeploymentSpec(), "9", 5, [B], "still going on"),
        (BESIDE, "9", 5, [candidate("b", strategy="shadow", status="shadow")], "a shadow"),
        (BESIDE, "9", 100, [candidate("b", strategy="blue_green", status="starting")], "a blue_green"),
        (BESIDE, "9", 5, [candidate("b", status="baking")], "baking"),
        (BESIDE, B.version, 5, [B], "same version"),
        (BESIDE, "9", 41, [candidate("b", step=2)], "60% is taken"),
        (BESIDE, "9", 96, [candidate("b", status="requested")], "5% is taken"),
        (BESIDE, "9", 1, [candidate(str(i)) for i in range(8)], "the most at once"),
    ],
)
def test_who_may_not_join_is_told_why(
    spec: DeploymentSpec, version: str, first_pct: float, live: list[Deployment], says: str
) -> None:
    own = OWN.model_copy(update={"deployment_ids": tuple(other.deployment_id for other in live)})
    with pytest.raises(Conflict, match=says):
        check_join(own, spec, version, first_pct, live)


def test_one_that_goes_back_stands_in_nobodys_way() -> None:
    check_join(OWN, BESIDE, "9", 95, [candidate("b", status="rolling_back")])


@pytest.mark.parametrize("alone", [{"shadow": True}, {"strategy": "blue_green"}, {"strategy": "shadow"}])
def test_a_shadow_or_blue_green_cannot_ask_to_be_beside(alone: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="runs alone"):
        DeploymentSpec.model_validate({"beside": True} | alone)
