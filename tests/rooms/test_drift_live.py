"""Drift through the monitor: labels that turn are alerted and shown, and a harmless move takes no rollout back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rooms.test_monitor_actor import CANDIDATE, KEY, STABLE, Scene, rollout


class Labelled(Scene):
    """Held-out rows came with labels: of ``ROWS`` answers, ``WRONG`` were wrong, whatever the age."""

    ROWS, WRONG = 2000, 4

    def held_out(self) -> dict[str, Any]:
        lost = self.random.permutation(np.arange(self.ROWS) < self.WRONG)
        return super().held_out() | {"prediction": ["1"] * self.ROWS, "loss": lost.astype(float)}

    def answered(self, count: int, *, right: float) -> None:
        """Send rows that get their labels at once; a minute later the monitor looks."""
        first = self._sent
        self.send(count)
        labels = [{"request_id": f"r{first + i}", "label": 1 if i < right * count else 0} for i in range(count)]
        self.monitor.feedback(labels)
        self.clock.advance(60)
        self.monitor.tick()


@pytest.fixture
def scene(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path)


def test_labels_that_turn_are_a_critical_drift_alert_within_minutes(scene: Labelled) -> None:
    for _ in range(5):
        scene.answered(40, right=1.0)
    assert scene.causes() == set()
    for _ in range(5):
        scene.answered(40, right=0.75)
    (alert,) = scene.monitor.alerts(status="open")
    assert (alert.cause, alert.kind, alert.severity) == (f"drift:concept:{KEY}:{STABLE}", "drift", "critical")
    assert alert.evidence["error_rate"] == 0.25
    assert len(scene.journal.events(types=["MLDL_DRIFT_ALERT"])) == 1


def test_how_labels_stand_against_the_promise_is_shown(scene: Labelled) -> None:
    scene.answered(40, right=1.0)
    scene.answered(40, right=0.9)
    shown = scene.figures()["drift"]["labels"]
    assert (shown["labelled"], shown["wrong"], shown["alarms"]) == (80, 4, 0)
    assert shown["promised"] == 0.002
    assert 0.002 < shown["promised_at_most"] < 0.01
    assert shown["why_not"] is None


def test_a_candidate_whose_labels_turn_has_a_drift_spike(scene: Labelled) -> None:
    for start in range(0, 400, 40):
        scene.send(40, version=CANDIDATE)
        scene.monitor.feedback([{"request_id": f"r{start + i}", "label": i % 2} for i in range(40)])
        scene.clock.advance(60)
        scene.monitor.tick()
    assert scene.monitor.rollout(rollout()).open_causes == ("drift",)


def test_a_harmless_move_of_a_candidate_is_information_and_no_drift_spike(scene: Labelled) -> None:
    scene.send(100, version=CANDIDATE, age=np.clip(scene.random.normal(50, 5, 100), 20, 60))
    (alert,) = scene.monitor.alerts(status="open")
    assert (alert.kind, alert.severity, alert.version) == ("drift", "info", CANDIDATE)
    assert "it seems to cost" in alert.message
    assert scene.monitor.rollout(rollout()).open_causes == ()


def test_a_move_to_where_no_held_out_row_was_is_a_drift_spike(scene: Labelled) -> None:
    scene.send(100, version=CANDIDATE, age=scene.random.normal(90, 5, 100))
    assert scene.monitor.rollout(rollout()).open_causes == ("drift",)


def test_columns_are_shown_with_what_their_move_costs(scene: Labelled) -> None:
    scene.send(100, age=np.clip(scene.random.normal(50, 5, 100), 20, 60))
    first, second = scene.figures()["drift"]["columns"]
    assert (first["column"], first["drifted"], second["column"], second["drifted"]) == ("age", True, "score", False)
    assert first["loss_low"] <= first["estimated_loss"] <= first["loss_high"]
    assert "estimated_loss" not in second


class Several(Labelled):
    """Answers of three classes, each as often, with the same score."""

    def held_out(self) -> dict[str, Any]:
        return super().held_out() | {"prediction": [str(i % 3) for i in range(self.ROWS)]}


def test_a_mix_of_answers_that_moved_is_seen_where_the_score_does_not_tell_it(tmp_path: Path) -> None:
    scene = Several(tmp_path)
    scene.send(100, prediction=[str(i % 3) for i in range(100)])
    assert scene.causes() == set()
    scene.send(100, prediction="2")
    (alert,) = scene.monitor.alerts(status="open")
    assert "prediction" in {column["column"] for column in alert.evidence["columns"]}
    assert alert.message.startswith(f"the inputs and answers of {KEY} {STABLE} moved: prediction ")
