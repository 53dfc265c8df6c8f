"""Labels in bulk: by request id, or by key and time, from Parquet and CSV."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Incompatible, NotFound
from mldl_ray.monitoring.answers import Answer, Answers, Where
from mldl_ray.monitoring.labels import label_items
from mldl_ray.monitoring.outcomes import Outcomes
from tests.rooms.test_monitor_actor import KEY, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_parquet_file_is_joined_by_request_id(scene: Scene, tmp_path: Path) -> None:
    scene.send(10)
    table = pa.table({"request_id": [f"r{i}" for i in range(12)], "label": [1] * 4 + [0] * 8})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert scene.monitor.feedback_file(str(tmp_path / "labels.parquet")) == {"accepted": 10, "unknown": 2}
    assert scene.figures()["accuracy"] == 0.4


def test_a_csv_file_is_joined_by_key_and_time(scene: Scene, tmp_path: Path) -> None:
    scene.send(1, key="ann", at_s=100.0, prediction="1")
    scene.send(1, key="ann", at_s=200.0, prediction="0")
    scene.send(1, key="bo", at_s=100.0, prediction="0")
    rows = "key,at_s,label\nann,150,1\nann,250,1\nbo,99,1\n"
    (tmp_path / "labels.csv").write_text(rows)
    found = scene.monitor.feedback_file(str(tmp_path / "labels.csv"), model_key=KEY)
    assert found == {"accepted": 2, "unknown": 1}  # bo's was answered after the label's time
    assert scene.figures()["accuracy"] == 0.5
    assert scene.monitor.feedback_file(str(tmp_path / "labels.csv"), model_key="other")["accepted"] == 0


def test_times_with_and_without_a_zone_are_read() -> None:
    moments = pa.array([1_700_000_000], pa.timestamp("s"))
    table = pa.table({"key": ["a"], "at_s": moments, "label": [1], "model_key": ["m"]})
    assert label_items(table) == [{"model_key": "m", "key": "a", "at_s": 1_700_000_000.0, "label": 1}]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"request_id": ["a"]}, "'label'"),
        ({"label": [1]}, "'request_id'"),
        ({"key": ["a"], "at_s": [1.0], "label": [1]}, "model_key"),
        ({"request_id": [None, "a"], "label": [1, 1]}, "row 0 of the labels has no request_id"),
        ({"key": ["a"], "at_s": ["soon"], "label": [1], "model_key": ["m"]}, "'soon'"),
    ],
)
def test_what_is_no_table_of_labels_is_refused_with_what_is_wrong(columns: dict[str, list[object]], says: str) -> None:
    with pytest.raises(Incompatible, match=says):
        label_items(pa.table(columns))


def test_a_damaged_file_counts_nothing(scene: Scene, tmp_path: Path) -> None:
    scene.send(3)
    with pytest.raises(NotFound):
        scene.monitor.feedback_file(str(tmp_path / "none.csv"))
    table = pa.table({"request_id": ["r0", "r1"], "label": [1.0, float("inf")]})
    pq.write_table(table, tmp_path / "labels.parquet")
    with pytest.raises(Incompatible, match="finite"):
        scene.monitor.feedback_file(str(tmp_path / "labels.parquet"))
    assert scene.figures()["labelled"] == 0


def test_forgotten_answers_are_forgotten_by_key_too() -> None:
    answers = Answers(most=2)
    for number in range(4):
        answers.remember(f"r{number}", Answer(1, 0.9, Outcomes(), key=hash("k")), "m", float(number))
    assert answers.find(Where("m", "k", 1.5)) is None
    assert answers.find(Where("m", "k", 2.5)) == "r2"
