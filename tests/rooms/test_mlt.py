"""Experience: kept once per job, found again by likeness."""

from __future__ import annotations

import pyarrow as pa
import pytest

from contracts.records import Cost, Job, TrainedBundle
from contracts.specs import JobSpec, Json, ModelSpec
from mldl_ray.bridges.mlt import experience, meta_of, record_experience, warm_configs
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal

SMALL: Json = {"task": "classification", "rows": 500, "columns": 30, "classes": 2, "balance": 0.95}
LARGE: Json = {"task": "classification", "rows": 500_000, "columns": 14, "classes": 2, "balance": 0.8}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SettableClock())


def learn(journal: MemoryJournal, job_id: str, meta: Json, config: Json, family: str = "xgb") -> None:
    spec = ModelSpec(model_key="churn", family=family)
    job = Job(job_id=job_id, status="succeeded", job=JobSpec(spec=spec), metric="auroc")
    bundle = TrainedBundle(
        model_key="churn", artifact_uri="blobs:x", validation_hash="x", created_at="", family=family, spec=spec,
        task="classification", hyperparams=config, cv_score=0.9, cost=Cost(cost_units=0.02),
    )  # fmt: skip
    record_experience(journal, job, bundle, meta, by="jobs")


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
        "task": "classification", "rows": 4, "columns": 2, "numeric_share": 0.5, "missing_share": 0.25,
        "classes": 2, "balance": pytest.approx(0.8113),
    }  # fmt: skip
    assert "classes" not in meta_of(table, [0.5, 1.5, 2.5, 3.5], "regression")
