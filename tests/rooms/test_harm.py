"""Drift by what it costs: a planted harmless move stays quiet, a harmful one is loud, the unknown is never quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mldl_ray.monitoring.collector import Full
from mldl_ray.monitoring.drift import compare
from mldl_ray.monitoring.drift_wants import columns_want, ranked
from mldl_ray.monitoring.harm import harm
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.slo import Want

STREAM = ("m", "1")
ROWS = 5000


def rows(random: np.random.Generator, count: int = 1000, **given: Any) -> dict[str, Any]:
    """Draw rows where answers are wrong 2% of the time, but 42% where ``hard`` is high; ``idle`` has no part in it."""
    hard = given.get("hard", random.random(count))
    wrong = np.where(hard > 0.8, 0.42, 0.02)
    columns: dict[str, Any] = {
        "f.hard": hard,
        "f.idle": random.random(count),
        "f.word": random.choice(["a", "b", "c"], count),
        "f.group": np.where(random.random(count) < 0.05, "few", "most"),
        "score": 1 - wrong + random.normal(0, 0.001, count),
    }
    return columns | {f"f.{name}": values for name, values in given.items()}


@pytest.fixture(scope="module")
def reference() -> Reference:
    random = np.random.default_rng(0)
    columns = rows(random, ROWS)
    lost = random.random(ROWS) < np.where(columns["f.hard"] > 0.8, 0.42, 0.02)
    return Reference.of(pa.table(columns | {"prediction": ["1", "0"] * (ROWS // 2), "loss": lost.astype(float)}))


def want(reference: Reference, columns: dict[str, Any]) -> Want:
    window = pa.table(columns)
    verdict = compare(reference, window, 0.001)
    assert verdict.drifted
    return columns_want(STREAM, Full(window, window.num_rows, 60.0), verdict, ranked(reference, window, verdict))


def test_a_harmless_move_is_information_and_says_that_it_costs_nothing(reference: Reference) -> None:
    random = np.random.default_rng(1)
    found = want(reference, rows(random, 4000, idle=random.random(4000) ** 1.3))
    assert found.severity == "info"
    assert found.evidence["columns"][0]["loss_high"] < 0.01
    assert "it seems to cost" in found.message


def test_a_harmful_move_is_critical_and_its_loss_is_about_the_true_one(reference: Reference) -> None:
    random = np.random.default_rng(2)
    found = want(reference, rows(random, hard=1 - random.random(1000) ** 2))
    worst = found.evidence["columns"][0]
    truth = 0.4 * (0.2**0.5 - 0.2)  # the share of hard rows was 20% and is the root of it
    assert found.severity == "critical"
    assert worst["loss_low"] > 0.01
    assert worst["loss_low"] <= truth <= worst["loss_high"]
    assert found.evidence["assumption"].startswith("rows with the same value")


def test_the_column_that_costs_most_comes_first_however_little_it_moved(reference: Reference) -> None:
    random = np.random.default_rng(3)
    found = want(reference, rows(random, 4000, idle=random.random(4000) ** 3, hard=random.random(4000) ** 0.8))
    names = [column["column"] for column in found.evidence["columns"]]
    assert {"idle", "hard"} <= set(names)
    assert names.index("hard") < names.index("idle")
    assert found.evidence["columns"][names.index("idle")]["p"] < found.evidence["columns"][names.index("hard")]["p"]


def test_a_move_that_changes_the_answers_to_a_few_is_a_warning_that_names_them(reference: Reference) -> None:
    random = np.random.default_rng(11)
    columns = rows(random, idle=random.random(1000) ** 1.3)
    assert want(reference, columns).severity == "info"
    columns["score"] = columns["score"] + np.where(columns["f.group"] == "few", 0.002, 0)
    found = want(reference, columns)
    assert [column["column"] for column in found.evidence["columns"]] == ["idle"]  # all together hide it
    assert found.severity == "warning"
    assert "; answers to group few moved: mean score " in found.message
    assert found.evidence["group_moved"]["group"] == "few"


def test_what_was_never_seen_is_never_harmless(reference: Reference) -> None:
    random = np.random.default_rng(4)
    words = np.where(random.random(1000) < 0.05, "new", random.choice(["a", "b", "c"], 1000))
    for given in ({"word": words}, {"idle": random.random(1000) + 0.2}):
        found = want(reference, rows(random, **given))
        assert found.severity != "info"
        assert found.evidence["columns"][0]["unseen_share"] > 0.02


def test_moved_answers_are_critical_unless_the_move_is_harmless(reference: Reference) -> None:
    random = np.random.default_rng(5)
    columns = rows(random)
    columns["score"] = columns["score"] - 0.3
    assert want(reference, columns).severity == "critical"


def test_without_labels_of_held_out_rows_a_move_is_a_warning() -> None:
    random = np.random.default_rng(6)
    reference = Reference.of(pa.table(rows(random, ROWS)))
    found = want(reference, rows(random, idle=random.random(1000) ** 2))
    assert found.severity == "warning"
    assert "seems to cost" not in found.message
    assert "overall" not in found.evidence


def test_the_interval_holds_the_true_loss_about_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(7), 0
    for _ in range(200):
        x = random.random(1000)
        lost = random.random(1000) < 0.1 + 0.4 * (x > 0.5)
        reference = Reference.of(pa.table({"f.x": x, "prediction": ["0", "1"] * 500, "loss": lost.astype(float)}))
        found = harm(reference, pa.table({"f.x": np.minimum(random.random(500) ** 0.5, x.max())}), "f.x")
        assert found is not None
        held += found.low <= 0.4 * (0.75 - 0.5) <= found.high
    assert held >= 180


def test_values_lose_in_the_unit_of_the_target() -> None:
    random = np.random.default_rng(8)
    x = random.random(ROWS)
    reference = Reference.of(pa.table({"f.x": x, "score": x, "loss": 10 * x}))
    moved = np.clip(random.random(1000) ** 0.3, x.min(), x.max())
    found = want(reference, {"f.x": moved, "score": moved})
    assert "to the mean absolute error" in found.message
    assert found.severity == "critical"
    assert found.evidence["columns"][0]["estimated_loss"] == pytest.approx(10 / 1.3 - 5, abs=0.3)


def test_a_column_that_never_came_is_all_unseen_or_all_missing(reference: Reference) -> None:
    window = pa.table({name: values for name, values in rows(np.random.default_rng(9)).items() if name != "f.idle"})
    found = harm(reference, window, "f.idle")
    assert found is not None
    assert found.unseen == 1.0  # no held-out row lacked it
    assert found.high > 0.5
