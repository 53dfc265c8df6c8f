"""What labels say of live answers: figures, intervals, and where they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from contracts.errors import Incompatible
from mldl_ray.monitoring.quality import MOST_CELLS, Quality, delong, macro_f1, wilson
from tests.rooms.test_monitor_actor import Scene


def test_figures_equal_those_of_a_library() -> None:
    random, quality = np.random.default_rng(4), Quality()
    scores = random.integers(0, 512, 3000) / 512
    truth = (random.random(3000) < scores).astype(int)
    for label, score in zip(truth.tolist(), scores.tolist(), strict=True):
        quality.add(label, int(score >= 0.5), score)
    answers = (scores >= 0.5).astype(int)
    auroc, f1, macro = quality.auroc(1), quality.f1(1), quality.f1_macro()
    assert auroc is not None and f1 is not None and macro is not None
    assert auroc["estimate"] == pytest.approx(roc_auc_score(truth, scores))
    assert f1["estimate"] == pytest.approx(f1_score(truth, answers))
    assert macro["estimate"] == pytest.approx(f1_score(truth, answers, average="macro"))


def test_intervals_hold_the_truth_nineteen_times_of_twenty() -> None:
    random, repeats = np.random.default_rng(5), 400
    chances = np.array([[0.4, 0.1], [0.15, 0.35]])
    macro = macro_f1(chances * 1e6)["estimate"]
    up, down = random.normal(0.6, 0.1, (repeats, 60)), random.normal(0.5, 0.1, (repeats, 90))
    area = 0.76025  # of two normal scores one spread apart: the normal distribution at 1 / sqrt(2)
    held = np.zeros(2)
    for one in range(repeats):
        found = macro_f1(random.multinomial(300, chances.ravel()).reshape(2, 2).astype(float))
        ranked = delong(*(np.histogram(scores[one], 512, (0, 1))[0].astype(float) for scores in (up, down)))
        assert ranked is not None
        held += (found["low"] <= macro <= found["high"], ranked["low"] <= area <= ranked["high"])
    assert held / repeats == pytest.approx([0.95, 0.95], abs=0.03)


def test_errors_of_numbers_have_a_root_mean_square() -> None:
    quality = Quality()
    for label in (1.0, 3.0, 5.0, 9.0):
        quality.add(label, 4, None)
    found = quality.rmse()
    assert found is not None
    assert found["estimate"] == pytest.approx(np.sqrt((9 + 1 + 1 + 25) / 4))
    assert found["low"] < found["estimate"] < found["high"]


def test_a_label_too_far_away_to_be_squared_leaves_no_rmse_and_no_error() -> None:
    quality = Quality()
    quality.add(1e200, 0, None)
    quality.add(1.0, 0, None)
    assert quality.rmse() is None


def test_a_label_that_no_float_holds_is_refused_before_any_is_counted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(2)
    with pytest.raises(Incompatible, match="finite"):
        scene.monitor.feedback([{"request_id": "r0", "label": 1}, {"request_id": "r1", "label": 10**400}])
    assert scene.figures()["labelled"] == 0


def test_perfect_answers_are_not_said_to_be_sure_for_ever() -> None:
    quality = Quality()
    for i in range(40):
        quality.add(i % 2, i % 2, 0.9 if i % 2 else 0.1)
    for found in (quality.f1_macro(), quality.f1(1), quality.auroc(1), wilson(40, 40)):
        assert found is not None
        assert found["estimate"] == found["high"] == 1.0
        assert 0.8 < found["low"] < 0.95


def test_labels_without_end_take_no_more_memory_and_give_no_f1() -> None:
    quality = Quality()
    for i in range(MOST_CELLS + 100):
        quality.add(f"label {i}", "a", 0.5)
    assert len(quality._cells) == MOST_CELLS and len(quality._scores) <= 3
    assert quality.f1_macro() is None and quality.auroc("a") is None


def test_kinds_of_values_are_told_apart_in_figures_as_in_accuracy() -> None:
    quality = Quality()
    quality.add(True, 1, None)
    quality.add(1, 1.0, None)
    found = quality.f1(1)
    assert found is not None and found["estimate"] == pytest.approx(2 / 3)


def test_parts_add_up_to_the_whole() -> None:
    whole, parts = Quality(), [Quality(), Quality()]
    for i in range(100):
        for quality in (whole, parts[i % 2]):
            quality.add(int(i % 3 == 0), int(i % 4 == 0), (i % 10) / 10)
    total = parts[0].plus(parts[1])
    assert (total.f1_macro(), total.auroc(1), total.rmse()) == (whole.f1_macro(), whole.auroc(1), whole.rmse())


def test_live_figures_and_prometheus_show_the_intervals(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(600, score=0.9)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": int(i >= 60)} for i in range(600)])
    found = scene.figures()
    assert set(found["intervals"]) == {"accuracy", "f1", "f1_macro", "ece", "auroc"}
    assert found["intervals"]["accuracy"]["low"] == pytest.approx(0.8733, abs=1e-4)
    assert found["intervals"]["ece"]["low"] <= found["ece"] <= found["intervals"]["ece"]["high"]
    assert found["accuracy_estimated"]["agrees"] is True
    text = scene.monitor.prometheus()
    assert 'metric="accuracy",bound="low"} 0.8733' in text
    assert "mldl_f1_macro_ratio{" in text


def test_an_estimate_that_labels_refute_is_said_to_disagree(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.send(200, score=0.99)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": i % 2} for i in range(200)])
    estimated = scene.figures()["accuracy_estimated"]
    assert estimated["agrees"] is False
    assert estimated["realised"]["estimate"] == 0.5
