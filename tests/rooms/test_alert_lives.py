"""Alerts as people meet them: grouped, worse, flapping, silenced; and their way to the judge of a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotFound
from contracts.records import Alert
from contracts.slos import SilenceRequest
from mldl_ray.deployment.decide import decide
from mldl_ray.monitoring.recovery import HOLD_S, Recovery
from tests.rooms.test_monitor_actor import CANDIDATE, KEY, STABLE, Scene, rollout


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def opened(scene: Scene, cause: str = "c", **fields: Any) -> Alert:
    facts: dict[str, Any] = {
        "kind": "slo",
        "severity": "warning",
        "model_key": KEY,
        "version": CANDIDATE,
        "message": "slow",
    }
    return scene.monitor.raise_alert(cause=cause, **facts | fields)


@pytest.mark.parametrize(
    ("kind", "cause"), [("drift", "drift_spike"), ("slo", "metric_drop"), ("guardrail", "violation")]
)
def test_every_cause_takes_a_candidate_back_at_the_next_look(scene: Scene, kind: str, cause: str) -> None:
    deployment = rollout(step_started_s=scene.clock.now_s())
    assert decide(scene.monitor.rollout(deployment), deployment, scene.clock.now_s()).verdict != "ROLLBACK"
    opened(scene, kind=kind)
    decision = decide(scene.monitor.rollout(deployment), deployment, scene.clock.now_s())
    assert decision.verdict == "ROLLBACK"
    assert cause in str(decision)


def test_a_silence_does_not_keep_a_rollout_from_being_taken_back(scene: Scene) -> None:
    scene.monitor.silence(SilenceRequest(lasts_s=60, reason="at night"), by="ann")
    opened(scene, kind="drift")
    assert scene.monitor.rollout(rollout()).open_causes == ("drift",)


def test_a_cause_that_becomes_graver_is_the_same_alert_and_is_told_again(scene: Scene) -> None:
    first = opened(scene)
    scene.monitor.acknowledge(first.alert_id, reason="looking", by="bo")
    known = scene.monitor.alert(first.alert_id)
    assert (known.acknowledged_by, known.acknowledged_at_s) == ("bo", scene.clock.now_s())
    worse = opened(scene, severity="critical", message="down")
    assert (worse.alert_id, worse.severity, worse.status) == (first.alert_id, "critical", "open")
    assert opened(scene, severity="info") == worse
    assert len(scene.journal.events(types=["MLDL_VIOLATION"])) == 2


def test_unresolved_alerts_are_grouped_by_version_with_the_worst_first(scene: Scene) -> None:
    mild = opened(scene, "a", severity="info")
    grave = opened(scene, "b", severity="critical", kind="drift", message="moved")
    opened(scene, "c", version=STABLE)
    worst, other = scene.monitor.alert_groups()
    assert worst.alert_ids == (grave.alert_id, mild.alert_id)
    assert (worst.version, worst.severity, worst.kinds, worst.message) == (
        CANDIDATE,
        "critical",
        ("drift", "slo"),
        "moved",
    )
    assert (other.version, other.severity) == (STABLE, "warning")


def test_a_cause_that_comes_back_after_it_ended_by_itself_must_be_calm_for_longer(scene: Scene) -> None:
    for flaps in range(3):
        scene.send(1000, status=[500] * 900 + [200] * 100)
        (alert,) = [one for one in scene.monitor.alerts(status="open") if one.cause.startswith("slo:errors")]
        assert alert.flaps == flaps
        calm_s = 0.0
        while scene.monitor.alert(alert.alert_id).status == "open":
            scene.clock.advance(30)
            calm_s += 30
            scene.monitor.tick()
        assert calm_s >= HOLD_S * 2**flaps


def test_a_cause_that_is_not_calm_begins_its_wait_again(scene: Scene) -> None:
    alert, recovery = opened(scene), Recovery()
    for at_s, calm in ((0.0, True), (50.0, False), (100.0, True), (155.0, True)):
        assert recovery.over([alert], (lambda _: True) if calm else (lambda _: False), at_s) == []
    assert recovery.over([alert], lambda _: True, 160.0) == [alert]


def test_a_silence_that_is_ended_tells_of_what_is_open(scene: Scene) -> None:
    silence = scene.monitor.silence(SilenceRequest(kind="slo", lasts_s=600, reason="release"), by="ann")
    opened(scene)
    opened(scene, "other", kind="drift")
    assert [event.type for event in scene.journal.events(types=["MLDL_VIOLATION", "MLDL_DRIFT_ALERT"])] == [
        "MLDL_DRIFT_ALERT"
    ]
    scene.monitor.end_silence(silence.silence_id, reason="released", by="ann")
    scene.clock.advance(2)
    scene.monitor.tick()
    assert len(scene.journal.events(types=["MLDL_VIOLATION"])) == 1
    with pytest.raises(NotFound):
        scene.monitor.end_silence("silence-none", reason="x", by="ann")
