"""Labels against what held-out rows promised: no false alarms beyond the budget, and a change is found soon."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import NotFound
from mldl_ray.monitoring.concept import ConceptWatch, Detector, Seen
from mldl_ray.monitoring.drift import LABELS_SHARE, MONTH_S
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.promise import promise_of
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.slo import Want

STREAM = ("m", "1.0.0")
DAY_S = 86_400.0


def held_out(rows: int = 2000, wrong: float = 0.1) -> Reference:
    losses = (np.arange(rows) < wrong * rows).astype(float)
    return Reference.of(
        pa.table({"f.x": np.arange(float(rows)), "prediction": ["0", "1"] * (rows // 2), "loss": losses})
    )


class Labels:
    """A watch over one version whose labels are drawn."""

    def __init__(self, reference: Reference, budget: float = 1.0) -> None:
        self.random = np.random.default_rng(0)
        self.watch = ConceptWatch(lambda _: reference, versions=lambda _: 1, false_alarms_per_month=budget)
        self.now_s, self.labelled, self.correct = 0.0, 0, 0
        self.come(1, 0.0, 0.0)

    def come(self, count: int, error_rate: float, span_s: float) -> Want | None:
        self.now_s += span_s
        self.labelled += count
        self.correct += count - int(self.random.binomial(count, error_rate))
        wants = self.watch.look({STREAM: Seen(self.labelled, self.correct, Counter())}, self.now_s)
        return wants[0] if wants else None


# The arithmetic


def test_the_promise_is_missed_by_one_version_in_a_hundred_at_most() -> None:
    random = np.random.default_rng(1)
    promises = [promise_of(random.random(200) < 0.15, values=False) for _ in range(2000)]
    missed = np.mean([promise is not None and promise.at_most < 0.15 for promise in promises])
    assert missed <= 0.01 + 3 * (0.01 / 2000) ** 0.5


def test_the_promise_of_values_is_how_often_they_are_far_off() -> None:
    promise = promise_of(np.arange(1.0, 1001.0), values=True)
    assert promise is not None
    assert promise.far == 901.0  # the least error that nine in ten do not exceed
    assert promise.rate == pytest.approx(0.099)
    outcomes = Outcomes()
    for error in (1.0, 901.0, 1000.0, 5000.0):
        outcomes.add(0.0, error, None)
    assert promise.wrong(4, 0, outcomes.error_sizes) == 2


def test_without_a_change_alarms_come_no_more_often_than_was_staked() -> None:
    random, alarms, staked = np.random.default_rng(2), 0, 0.0
    for _ in range(300):
        detector = Detector(0.1, 0.0)
        for _ in range(100):
            alarms += detector.add(20, int(random.binomial(20, 0.1)), 0.005, 0.0) is not None
            staked += 0.005
    assert alarms <= staked + 3 * staked**0.5
    assert alarms > 0  # or it could never raise one


def test_however_many_labels_come_in_no_time_nothing_is_staked_on_them() -> None:
    labels = Labels(held_out())
    assert labels.come(10_000, 0.5, 0.0) is None
    assert labels.come(100, 0.5, 60.0) is not None


def test_a_year_of_labels_as_promised_keeps_to_the_budget() -> None:
    labels = Labels(held_out(), budget=8.0)
    for _ in range(12 * 30):
        labels.come(50, 0.1, DAY_S)
    expected = 12 * 8.0 * LABELS_SHARE
    assert labels.watch.state(STREAM)["alarms"] <= expected + 3 * expected**0.5


# What is found


def test_labels_that_turn_are_found_within_hundreds_and_the_alert_says_since_when() -> None:
    labels = Labels(held_out())
    for _ in range(100):
        assert labels.come(20, 0.1, 600.0) is None
    changed_s = labels.now_s
    for _ in range(60):
        if (want := labels.come(20, 0.3, 600.0)) is not None:
            break
    assert want is not None
    assert labels.labelled - 2001 <= 500
    assert (want.kind, want.severity, want.cause) == ("drift", "critical", "drift:concept:m:1.0.0")
    assert want.message.startswith("labels show m 1.0.0 wrong in ")
    assert abs(want.evidence["since_s"] - changed_s) <= 20 * 600
    assert want.evidence["error_rate"] > 0.2
    assert want.evidence["promised"] == 0.1
    assert labels.watch.state(STREAM)["alarms"] == 1


def test_fewer_wrong_answers_than_promised_are_no_alarm() -> None:
    labels = Labels(held_out(wrong=0.3), budget=100.0)
    for _ in range(200):
        assert labels.come(50, 0.1, 3600.0) is None


def test_values_that_are_far_off_more_often_are_found() -> None:
    random = np.random.default_rng(3)
    reference = Reference.of(pa.table({"f.x": np.arange(1000.0), "loss": np.abs(random.normal(size=1000))}))
    watch = ConceptWatch(lambda _: reference, versions=lambda _: 1, false_alarms_per_month=1.0)
    outcomes, found = Outcomes(), list[Want]()
    for look in range(40):
        for error in random.normal(0, 1 if look < 20 else 2, 20).tolist():
            outcomes.add(0.0, error, None)
        found += watch.look(
            {STREAM: Seen(outcomes.labelled, outcomes.correct, Counter(outcomes.error_sizes))}, look * 3600.0
        )
        assert look >= 20 or not found
    assert len(found) >= 1
    assert " off in " in found[0].message


def test_counters_that_began_again_are_counted_from_zero() -> None:
    labels = Labels(held_out())
    labels.come(1000, 0.1, 3600.0)
    labels.labelled, labels.correct = 0, 0
    labels.come(10, 0.0, 3600.0)
    state = labels.watch.state(STREAM)
    assert state["labelled"] == 10
    assert state["wrong"] <= 200


def test_without_held_out_labels_there_is_a_note_and_no_alarm() -> None:
    labels = Labels(Reference.of(pa.table({"f.x": [1.0, 2.0]})))
    assert labels.come(1000, 1.0, MONTH_S) is None
    assert labels.watch.state(STREAM)["why_not"] == "its held-out rows came without labels"


def test_held_out_rows_that_cannot_be_read_are_asked_for_again_later() -> None:
    asked = []

    def gone(stream: tuple[str, str]) -> Reference:
        asked.append(stream)
        raise NotFound("gone")

    watch = ConceptWatch(gone, versions=lambda _: 1, false_alarms_per_month=1.0)
    for second in range(100):
        watch.look({STREAM: Seen(second + 1, 0, Counter())}, float(second))
    assert len(asked) == 2
    assert watch.state(STREAM)["why_not"] == "gone"
