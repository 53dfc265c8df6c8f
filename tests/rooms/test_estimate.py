"""Accuracy without labels, beside the realised one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mldl_ray.monitoring.estimate import Confidences
from tests.rooms.test_monitor_actor import Scene


def test_estimate_stands_beside_what_labels_show(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(100, score=0.9)
    found = scene.figures()
    assert found["accuracy"] is None
    assert found["accuracy_estimated"]["estimate"] == pytest.approx(0.9)
    assert "calibrated" in found["accuracy_estimated"]["assumption"]
    scene.monitor.feedback([{"request_id": f"r{i}", "label": int(i >= 12)} for i in range(100)])
    found = scene.figures()
    assert found["accuracy"] == 0.88
    assert found["accuracy_estimated"]["low"] < 0.88 < found["accuracy_estimated"]["high"]


def test_interval_holds_what_labels_show_nineteen_times_of_twenty() -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(500):
        score, seen = random.beta(2, 2, 400), Confidences()
        seen.add(score)
        right = ((random.random(400) < score) == (score >= 0.5)).mean()
        found = seen.accuracy(classes=2)
        assert found is not None
        held += found["low"] <= right <= found["high"]
    assert held / 500 == pytest.approx(0.95, abs=0.03)
