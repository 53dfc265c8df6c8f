"""Blue/green: the switch comes after green was asked what stable was asked lately, and only if it answered."""

from __future__ import annotations

import pytest

from contracts.errors import Unavailable
from contracts.replays import RecentRow, RecentRows, ReplayAnswer
from contracts.rollouts import Deployment
from contracts.specs import DeploymentSpec, Guardrails, Json
from mldl_ray.deployment.replay import CHECK_TIMEOUT_S, judge
from tests.rooms.test_deployment_manager import SPEC, World, story

GREEN = "sha256:" + "110".rjust(64, "0")
ROWS = tuple(RecentRow(record={"age": age}, prediction="no", score=0.25) for age in range(20))
ASKED = RecentRows(source="traffic", rows=ROWS)
SWITCH = SPEC.model_copy(update={"strategy": "blue_green"})


def fine(record: Json) -> ReplayAnswer:
    return ReplayAnswer(status=200, prediction="no", score=0.25, took_ms=2.0)


async def switched(world: World, until: str, spec: DeploymentSpec = SWITCH) -> Deployment:
    """Have 1.1.0 replace 1.0.0."""
    await world.served("1.0.0")
    world.counts.asked = ASKED
    asked = await world.deploy("1.1.0", spec)
    return await world.settle(asked.deployment_id, until=until)


@story
async def test_green_that_answers_is_switched_to_and_blue_stays_warm(world: World) -> None:
    world.serving.answer(fine, manifest=GREEN)
    found = await switched(world, "baking")
    assert [change.status for change in found.history] == ["requested", "starting", "checking", "promoting", "baking"]
    assert found.replay is not None
    assert (found.replay.passed, found.replay.rows, found.replay.agreement) == (True, 20, 1.0)
    assert (found.decisions[0].rule, found.decisions[0].verdict) == ("replay", "PROMOTE")
    assert "20 recent requests replayed: none failed" in found.history[3].reason
    assert world.endpoint().stable == "1.1.0"


@story
async def test_green_that_refuses_what_stable_answered_gets_no_traffic(world: World) -> None:
    def picky(record: Json) -> ReplayAnswer:
        return ReplayAnswer(status=422, problem="no column 'income'") if record["age"] == 7 else fine(record)

    world.serving.answer(picky, manifest=GREEN)
    found = await switched(world, "failed")
    assert all("1.1.0" not in change.traffic for change in found.history)
    assert "1 failed that stable answered; the first: no column 'income'" in found.history[-1].reason
    assert found.decisions[-1].verdict == "ROLLBACK"
    assert world.endpoint().stable == "1.0.0"
    assert [event.data["rule"] for event in world.journal.events(types=["MLDL_VIOLATION"])] == ["replay"]
    for _ in range(3):
        await world.manager.turn()
        await world.apply()
    assert [app for app in world.serving.states() if app.startswith("m-")] == []


@story
async def test_green_that_is_too_slow_gets_no_traffic(world: World) -> None:
    world.serving.answer(fine, manifest=GREEN)
    strict = SWITCH.model_copy(update={"guardrails": Guardrails(max_latency_p95_ms=1)})
    found = await switched(world, "failed", strict)
    assert "p95 2 ms is above max_latency_p95_ms 1" in found.history[-1].reason


@story
async def test_a_manager_that_dies_during_the_check_begins_it_again(world: World) -> None:
    world.serving.slow = True
    found = await switched(world, "checking")
    world.start()
    world.serving.slow = False
    assert (await world.settle(found.deployment_id, until="baking")).replay is not None


@story
async def test_a_check_that_does_not_end_is_a_failure(world: World) -> None:
    world.serving.slow = True
    found = await switched(world, "checking")
    world.clock.advance(CHECK_TIMEOUT_S + 1)
    ended = await world.settle(found.deployment_id, until="failed")
    assert f"did not end within {CHECK_TIMEOUT_S:g} s" in ended.history[-1].reason


@story
async def test_a_check_is_ended_by_hand(world: World) -> None:
    world.serving.slow = True
    found = await switched(world, "checking")
    await world.manager.rollback(found.deployment_id, by="ann", reason="not today")
    assert (await world.settle(found.deployment_id, until="rolled_back")).replay is None
    assert world.endpoint().stable == "1.0.0"


@story
async def test_green_waits_while_nobody_can_say_what_was_asked(world: World) -> None:
    answered = world.counts.recent

    def away(model_key: str, version: str, limit: int) -> RecentRows:
        raise Unavailable("the monitor restarts")

    world.counts.recent = away  # type: ignore[method-assign]  # it comes back below
    found = await switched(world, "checking")
    await world.manager.turn()
    assert (await world.manager.deployment(found.deployment_id)).status == "checking"
    world.counts.recent = answered  # type: ignore[method-assign]
    await world.settle(found.deployment_id, until="baking")


def answers(**fields: object) -> list[ReplayAnswer]:
    return [ReplayAnswer.model_validate({"status": 200, "took_ms": 1.0} | fields)] * len(ROWS)


def test_nothing_to_replay_passes_and_says_so() -> None:
    report = judge(RecentRows(source="none", why="nobody asked"), [], Guardrails())
    assert (report.passed, report.rows, report.why) == (True, 0, "nothing could be replayed: nobody asked")


def test_held_out_rows_are_named_as_what_they_are() -> None:
    reference = RecentRows(source="reference", rows=ROWS)
    assert judge(reference, answers(), Guardrails()).why.startswith("20 held-out rows of stable replayed")


def test_only_rows_that_were_asked_are_judged() -> None:
    assert judge(ASKED, answers()[:5], Guardrails()).rows == 5


@pytest.mark.parametrize(("prediction", "agreement"), [("no", 1.0), ("yes", 0.0)])
def test_disagreement_is_reported_and_forbids_nothing(prediction: str, agreement: float) -> None:
    report = judge(ASKED, answers(prediction=prediction, score=0.75), Guardrails())
    assert (report.passed, report.agreement) == (True, agreement)
    assert (report.mean_score_shift, report.largest_score_shift) == (0.5, 0.5)


def test_the_limit_is_on_the_slowest_twentieth() -> None:
    slow_one = [*answers()[:19], ReplayAnswer(status=200, took_ms=100)]
    slow_two = [*slow_one[1:], ReplayAnswer(status=200, took_ms=100)]
    limit = Guardrails(max_latency_p95_ms=10)
    assert judge(ASKED, slow_one, limit).passed
    assert not judge(ASKED, slow_two, limit).passed
