"""Experience: kept once per job, found again by likeness."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from contracts.ports import Write
from contracts.records import Cost, Job, TrainedBundle, TrialRecord
from contracts.specs import JobSpec, Json, ModelSpec
from mldl_ray.bridges.mlt import distance, experience, meta_of, record_experience, warm_starts
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal

SMALL: Json = {"task": "classification", "rows": 500, "columns": 30, "classes": 2, "balance": 0.95}
LARGE: Json = {"task": "classification", "rows": 500_000, "columns": 14, "classes": 2, "balance": 0.8}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SettableClock())


def learn(
    journal: MemoryJournal,
    job_id: str,
    meta: Json,
    config: Json,
    family: str = "xgb",
    trials: tuple[TrialRecord, ...] = (),
    metric: str = "auroc",
) -> None:
    spec = ModelSpec(model_key="churn", family=family)
    job = Job(job_id=job_id, status="succeeded", job=JobSpec(spec=spec), metric=metric, trials=trials)
    bundle = TrainedBundle(
        model_key="churn", artifact_uri="blobs:x", validation_hash="x", created_at="", family=family, spec=spec,
        task="classification", hyperparams=config, cv_score=0.9, cost=Cost(cost_units=0.02),
    )  # fmt: skip
    record_experience(journal, job, bundle, meta, by="jobs")


def trial(name: str, config: Json, score: float) -> TrialRecord:
    return TrialRecord(trial_id=name, config=config, score=score, status="completed", seconds=1.0)


def warm_configs(journal: MemoryJournal, meta: Json, family: str, limit: int = 50) -> list[Json]:
    return [start.config for start in warm_starts(journal, meta, family, limit)]


def test_a_search_begins_with_what_won_on_the_most_similar_data(journal: MemoryJournal) -> None:
    learn(journal, "job-1", LARGE, {"max_depth": 9})
    learn(journal, "job-2", SMALL, {"max_depth": 3})
    assert warm_configs(journal, SMALL | {"rows": 600}, "xgb") == [{"max_depth": 3}, {"max_depth": 9}]
    assert warm_configs(journal, LARGE | {"rows": 300_000}, "xgb", limit=1) == [{"max_depth": 9}]


def test_another_family_and_another_task_have_nothing_to_say(journal: MemoryJournal) -> None:
    learn(journal, "job-1", SMALL, {"C": 1.0}, family="lr")
    learn(journal, "job-2", SMALL, {"max_depth": 3})
    assert warm_configs(journal, SMALL, "lr") == [{"C": 1.0}]
    assert warm_configs(journal, SMALL | {"task": "regression"}, "xgb") == []


def test_the_same_configuration_is_proposed_once(journal: MemoryJournal) -> None:
    for number in range(3):
        learn(journal, f"job-{number}", SMALL, {"max_depth": 3})
    assert warm_configs(journal, SMALL, "xgb") == [{"max_depth": 3}]


def test_the_winners_of_all_data_come_before_anyones_second_best(journal: MemoryJournal) -> None:
    tried = (
        trial("t0", {"max_depth": 4}, 0.89),
        trial("t1", {"max_depth": 3}, 0.9),
        trial("t2", {"max_depth": 8}, 0.1),
    )
    learn(journal, "job-1", SMALL, {"max_depth": 3}, trials=tried)
    learn(journal, "job-2", LARGE, {"max_depth": 9})
    found = [(start.job_id, start.config["max_depth"]) for start in warm_starts(journal, SMALL, "xgb")]
    assert found == [("job-1", 3), ("job-2", 9), ("job-1", 4), ("job-1", 8)]


def test_the_best_of_an_error_are_the_lowest(journal: MemoryJournal) -> None:
    tried = tuple(trial(f"t{depth}", {"max_depth": depth}, depth / 10) for depth in (6, 5, 3, 4))
    learn(journal, "job-1", SMALL, {"max_depth": 3}, trials=tried, metric="logloss")
    kept = experience(journal)[0]["best"]
    assert [entry["config"]["max_depth"] for entry in kept] == [3, 4, 5]


def test_experience_of_before_there_were_second_bests_still_counts(journal: MemoryJournal) -> None:
    body = {"model_key": "m", "family": "xgb", "task": "classification", "meta": SMALL, "config": {"max_depth": 5}}
    journal.append([Write(kind="experience", key="job-0", expected_version=0, body=body)], actor="a", reason="old")
    assert warm_configs(journal, SMALL, "xgb") == [{"max_depth": 5}]


def test_a_start_says_which_job_and_model_found_it_and_how_far_its_data_are(journal: MemoryJournal) -> None:
    learn(journal, "job-1", SMALL, {"max_depth": 3})
    (start,) = warm_starts(journal, SMALL | {"rows": 5000}, "xgb")
    assert (start.job_id, start.model_key) == ("job-1", "churn")
    assert start.distance == pytest.approx(1.0)


def test_a_figure_known_of_one_side_only_neither_brings_data_together_nor_parts_them() -> None:
    known = SMALL | {"stump": 0.5}
    assert distance(known, known) == 0.0
    assert 0.0 < distance(known, SMALL) < distance(known, SMALL | {"stump": 0.9})


def test_a_job_that_ends_twice_leaves_one_experience(journal: MemoryJournal) -> None:
    learn(journal, "job-1", SMALL, {"max_depth": 3})
    learn(journal, "job-1", SMALL, {"max_depth": 3})
    assert journal.position() == 1


def test_experience_is_listed_newest_first_with_its_job_score_and_cost(journal: MemoryJournal) -> None:
    learn(journal, "job-b", SMALL, {"max_depth": 3})
    learn(journal, "job-a", LARGE, {"max_depth": 9})
    listed = experience(journal, "churn")
    assert [entry["job_id"] for entry in listed] == ["job-a", "job-b"]
    assert (listed[0]["score"], listed[0]["cost_units"], listed[0]["metric"]) == (0.9, 0.02, "auroc")
    assert experience(journal, "other") == []


def test_meta_features_count_rows_kinds_gaps_and_the_balance_of_classes() -> None:
    table = pa.table({"a": [1.0, float("nan"), 3.0, 4.0], "b": ["x", "y", None, "z"]})
    meta = meta_of(table, [0, 0, 0, 1], "classification")
    assert meta == {
        "task": "classification", "rows": 4, "columns": 2, "numeric_share": 0.5, "categorical_share": 0.5,
        "missing_share": 0.25, "classes": 2, "balance": pytest.approx(0.8113), "rarest_share": 0.25,
    }  # fmt: skip
    assert "classes" not in meta_of(table, [0.5, 1.5, 2.5, 3.5], "regression")


def test_landmarks_tell_data_that_one_split_settles_from_data_that_none_does() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"a": np.arange(400.0), "b": rng.normal(size=400), "c": ["x", "y", "x", None] * 100})
    easy = meta_of(table, (np.arange(400) > 250).tolist(), "classification")
    noise = meta_of(table, rng.integers(0, 2, size=400).tolist(), "classification")
    assert easy["stump"] > 0.95
    assert noise["stump"] < 0.3
    line = meta_of(table, np.arange(400.0).tolist(), "regression")
    assert line["stump"] < line["tree"]


def test_data_without_a_column_for_a_tree_have_no_landmarks() -> None:
    table = pa.table({"s": [[1.0, 2.0]] * 40})
    assert "stump" not in meta_of(table, [0, 1] * 20, "classification")
