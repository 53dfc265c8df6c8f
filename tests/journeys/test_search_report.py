"""A search that really ran, asked about afterwards: its trials, their table, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from contracts.records import Job
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.settings import Settings

TRIALS = 12


@pytest.fixture(scope="module")
def job(system: Settings, breast_cancer: Path) -> Job:
    asked = {
        "spec": {"model_key": "searched", "family": "lr"},
        "data": {"uri": str(breast_cancer), "target": "target"},
        "cv": {"folds": 2},
        "hpo": {"strategy": "random", "max_trials": TRIALS, "early_stop": False},
    }
    with MLDLClient(system.url) as client:
        done = client.wait_job(client.train(asked).job_id)
    assert done.status == "succeeded", done.error
    return done


def test_every_trial_of_a_search_can_be_queried_and_exported(system: Settings, job: Job, tmp_path: Path) -> None:
    out = tmp_path / "trials.parquet"
    with MLDLClient(system.url) as client:
        assert client.trials(job.job_id) == list(job.trials)
        best = client.trials(job.job_id, sort="score", limit=1)[0]
    done = CliRunner(env={"MLDL_URL": system.url}).invoke(app, ["jobs", "trials", job.job_id, "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    rows = parquet.read_table(out).to_pylist()
    assert len(rows) == TRIALS
    assert job.bundle is not None
    assert best.score == job.bundle.cv_score == max(row["score"] for row in rows)
    assert 0 < sum(row["cost_units"] for row in rows) <= job.cost_units
    won = next(row for row in rows if row["trial_id"] == best.trial_id)
    assert won["config.C"] == job.bundle.hyperparams["C"]


def test_page_of_a_search_tells_how_it_went(system: Settings, job: Job) -> None:
    with MLDLClient(system.url) as client:
        page = client.report(job.job_id)
    for part in ("How it went", "The best 10", "What mattered", "What was tried", "What it cost", "1 ✓"):
        assert part in page
    assert "<script" not in page
