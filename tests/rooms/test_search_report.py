"""A search as its reader sees it: as a list, as a table, and as a page that needs nothing else."""

from __future__ import annotations

import csv
import json
import math
import random
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn
from pyarrow import parquet
from typer.testing import CliRunner, Result

from contracts.errors import Incompatible, NotFound
from contracts.records import Cost, Job, TrainedBundle, TrialRecord
from contracts.specs import Hpo, JobSpec, ModelSpec
from mldl_ray.blobs.tables import parquet_bytes, table_from_parquet
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import load_settings
from mldl_ray.training.history import TrialStatus, listed, price_of, ranked, trials_table
from mldl_ray.training.importance import importance
from mldl_ray.training.report import best_so_far, report_html, won
from serve.api import BASE, Actors, build_app

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta"}


def trial(number: int, score: float | None = 0.5, status: str = "completed", **more: Any) -> TrialRecord:
    folds = () if score is None else (score,) * (5 if status == "completed" else 2)
    facts = {"trial_id": f"t{number}", "config": {"C": float(number + 1)}, "score": score, "fold_scores": folds,
             "status": status, "seconds": 1.0}  # fmt: skip
    return TrialRecord.model_validate(facts | more)


def job(*trials: TrialRecord, metric: str = "auroc", **more: Any) -> Job:
    spec = JobSpec(spec=ModelSpec(model_key="income", family="lr"), hpo=more.pop("hpo", Hpo()))
    return Job(job_id="job-1", status="running", job=spec, metric=metric, trials=trials, **more)


def searched(count: int = 60) -> Job:
    """A search where ``C`` decides nearly everything, ``solver`` nothing, and losers were stopped early."""
    rng = random.Random(3)
    trials = []
    for i in range(count):
        config = {"C": 10 ** rng.uniform(-3, 2), "solver": rng.choice(["a", "b", "c"]), "noise": rng.random()}
        middle = 0.9 - 0.02 * math.log10(config["C"]) ** 2
        folds = [middle + rng.gauss(0, 0.005) for _ in range(5 if middle > 0.85 else 2)]
        status = "completed" if len(folds) == 5 else "pruned"
        trials.append(trial(i, float(np.mean(folds)), status, config=config, fold_scores=folds))
    return job(*trials)


class Page(HTMLParser):
    """Collects elements, text and attributes, and refuses tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_best_by_a_loss_is_the_smallest_and_by_a_gain_the_largest() -> None:
    trials = [trial(0, 0.3), trial(1, 0.2), trial(2, 0.4)]
    assert [t.trial_id for t in listed(job(*trials, metric="logloss"), order="score")] == ["t1", "t0", "t2"]
    assert [t.trial_id for t in listed(job(*trials), order="score")] == ["t2", "t0", "t1"]


def test_trials_without_a_score_come_last_whichever_way_is_better() -> None:
    trials = [trial(0, None, "failed"), trial(1, 0.2)]
    for metric in ("auroc", "logloss"):
        assert [t.trial_id for t in listed(job(*trials, metric=metric), order="score")] == ["t1", "t0"]


def test_pages_of_a_list_follow_one_another_and_miss_nothing() -> None:
    whole, seen, after = searched(25), [], ""
    while page := listed(whole, status="completed", order="score", after=after, limit=4):
        seen += page
        after = page[-1].trial_id
    assert seen == listed(whole, status="completed", order="score", limit=1000)
    assert {t.status for t in seen} == {"completed"}


def test_going_on_after_a_trial_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotFound, match="t9"):
        listed(job(trial(0)), after="t9")


def test_every_status_of_a_trial_can_be_asked_for() -> None:
    assert set(get_args(TrialStatus)) == set(get_args(TrialRecord.model_fields["status"].annotation))


def test_stopped_trial_is_not_ranked_above_one_that_was_judged_whole() -> None:
    found = job(trial(0, 0.9, "pruned"), trial(1, 0.5))
    assert [t.trial_id for t in ranked(found)] == ["t1"]
    assert best_so_far(found) == [(2, 0.5)]


def test_table_has_a_column_for_each_setting_and_keeps_its_type_through_parquet() -> None:
    configs = [{"depth": 3, "rate": 1, "kind": "a", "deep": True, "layers": [4, 2]},
               {"depth": 4, "rate": 0.5, "kind": "b", "deep": False, "layers": "none"}, {"rate": 2}]  # fmt: skip
    made = trials_table(job(*(trial(i, config=config) for i, config in enumerate(configs))))
    table = table_from_parquet(parquet_bytes(made))
    assert table["config.depth"].to_pylist() == [3, 4, None]
    assert table["config.rate"].to_pylist() == [1.0, 0.5, 2.0]
    assert table["config.deep"].type == pa.bool_()
    assert table["config.layers"].to_pylist() == ["[4, 2]", '"none"', None]
    assert table["fold_scores"].to_pylist()[0] == [0.5] * 5


def test_setting_named_as_a_column_of_ours_hides_nothing() -> None:
    table = trials_table(job(trial(0, config={"status": "on", "score": 7})))
    assert (table["status"].to_pylist(), table["config.status"].to_pylist()) == (["completed"], ["on"])


def test_numbers_beyond_64_bits_are_kept_as_well_as_a_float_can() -> None:
    assert trials_table(job(trial(0, config={"big": 2**70})))["config.big"].to_pylist() == [float(2**70)]


def test_job_without_trials_has_an_empty_table_and_a_page() -> None:
    assert table_from_parquet(parquet_bytes(trials_table(job()))).num_rows == 0
    assert "No trial has a score yet" in Page(report_html(job())).words


def test_cost_of_the_trials_is_at_the_price_that_the_job_was_billed() -> None:
    bundle = TrainedBundle(model_key="income", artifact_uri="", validation_hash="", created_at="",
                           cost=Cost(cost_units=3.0, cpu_seconds=30.0))  # fmt: skip
    ended = job(trial(0, seconds=4.0), bundle=bundle, cost_units=3.0)
    assert price_of(ended) == pytest.approx(0.1)
    assert trials_table(ended)["cost_units"].to_pylist() == pytest.approx([0.4])
    assert price_of(job()) is None


def test_setting_that_decides_is_found_and_those_that_do_not_stay_within_chance() -> None:
    found = {share.axis: share for share in importance(searched())}
    assert found["C"].share > 0.6
    assert found["C"].share > found["C"].chance
    assert found["solver"].share < 0.15
    assert found["noise"].share < 0.15


def test_setting_without_effect_seldom_passes_its_mark() -> None:
    rng, passed = np.random.default_rng(0), 0
    for _ in range(40):
        trials = [trial(i, float(rng.random()), config={"C": float(rng.random())}) for i in range(30)]
        passed += any(share.share > share.chance for share in importance(job(*trials)))
    assert passed <= 6


def test_one_wild_score_does_not_decide_what_mattered() -> None:
    calm = searched()
    wild = calm.trials[0].model_copy(update={"score": -1e6, "fold_scores": (-1e6,) * len(calm.trials[0].fold_scores)})
    found = importance(calm.model_copy(update={"trials": (wild, *calm.trials[1:])}))
    assert found[0].axis == "C"
    assert found[0].share > 0.5


def test_too_few_trials_say_so_instead_of_what_mattered() -> None:
    few = searched(5)
    assert importance(few) == []
    assert "it takes 10" in Page(report_html(few)).words


def test_equal_scores_say_so_instead_of_what_mattered() -> None:
    assert "All trials scored the same" in Page(report_html(job(*(trial(i) for i in range(12))))).words


@pytest.mark.parametrize("count", [0, 1, 2, 60, 700])
@pytest.mark.parametrize("metric", ["auroc", "logloss"])
def test_page_is_well_formed_and_loads_and_runs_nothing(count: int, metric: str) -> None:
    found = searched(count).model_copy(update={"metric": metric})
    page = report_html(found)
    read = Page(page)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(read.tags)
    assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in read.attributes)
    assert re.search(r"url\(|@import|https?:|nan|inf[^o]", page.split("</style>")[1]) is None
    assert "url(" not in page
    assert len(page) < 400_000


def test_nothing_from_outside_is_taken_as_markup() -> None:
    config = {EVIL: EVIL, "C": 1.0}
    trials = [trial(i, 0.5 + i / 100, config=config | {"C": float(i)}, trial_id=f"{EVIL}{i}") for i in range(12)]
    found = job(*trials, trial(20, None, "failed", error=EVIL), error={"message": EVIL})
    spec = found.job.model_copy(update={"spec": found.job.spec.model_copy(update={"tags": (EVIL,)})})
    page = report_html(found.model_copy(update={"job": spec}))
    assert "script" not in Page(page).tags
    assert EVIL in Page(page).words


def test_page_counts_what_was_stopped_and_what_failed_and_tells_why() -> None:
    found = job(trial(0), trial(1, 0.4, "pruned"), trial(2, None, "failed", error="out of memory"))
    words = Page(report_html(found)).words
    assert "stopped early133%" in words
    assert "failed133%" in words
    assert "out of memory" in words


def test_page_marks_the_trial_that_became_the_model_even_below_the_ten_best() -> None:
    trials = [trial(i, 0.9 - i / 100) for i in range(15)]
    bundle = TrainedBundle(model_key="income", artifact_uri="", validation_hash="", created_at="",
                           hyperparams={"C": 13.0, "penalty": "l2"})  # fmt: skip
    found = job(*trials, bundle=bundle)
    assert won(found) == trials[12]
    assert "13 ✓" in Page(report_html(found)).words


def test_trial_that_breaks_a_constraint_is_shown_with_the_reason_and_is_not_the_best() -> None:
    found = job(trial(0, 0.9, passed_over="answers one row in 5 ms"), trial(1, 0.5))
    assert [t.trial_id for t in ranked(found)] == ["t1"]
    assert best_so_far(found) == [(2, 0.5)]
    assert "answers one row in 5 ms" in Page(report_html(found)).words
    assert trials_table(found)["passed_over"].to_pylist() == ["answers one row in 5 ms", None]


def test_further_figures_have_columns_of_their_own() -> None:
    table = trials_table(job(trial(0, metrics={"f1": 0.4}), trial(1)))
    assert table["metrics.f1"].to_pylist() == [0.4, None]


def test_trial_that_held_several_cpus_costs_as_many() -> None:
    bundle = TrainedBundle(model_key="income", artifact_uri="", validation_hash="", created_at="",
                           cost=Cost(cost_units=3.0, cpu_seconds=30.0))  # fmt: skip
    found = job(trial(0), bundle=bundle)
    asked = JobSpec.model_validate(found.job.model_dump() | {"resources": {"cpus": 4}})
    assert price_of(found.model_copy(update={"job": asked})) == pytest.approx(0.4)


def test_settings_that_only_some_trials_have_are_drawn_where_they_are() -> None:
    trials = [trial(i, i / 20, config={"a": i} | ({"b": "x"} if i % 2 else {})) for i in range(20)]
    drawn = Page(report_html(job(*trials)))
    assert drawn.tags.count("polyline") == 21


class OneJob:
    """The jobs actor of a system that has one job."""

    def __init__(self, found: Job) -> None:
        self._found = found

    def status(self, job_id: str) -> Job:
        if job_id != self._found.job_id:
            raise NotFound(f"there is no job {job_id!r}")
        return self._found


@pytest.fixture
def url(tmp_path: Path, free_port: int) -> Iterator[str]:
    """A service on a port of this machine, with one job."""
    settings = load_settings({}, home=tmp_path, port=free_port)
    actors = Actors(MemoryJournal(SystemClock()), None, None, None, None, OneJob(searched()), None)
    config = uvicorn.Config(build_app(actors, settings), port=free_port, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield settings.url
    server.should_exit = True
    thread.join(30)


def test_trials_are_listed_filtered_and_paged_over_http(url: str) -> None:
    with MLDLClient(url) as client:
        best = client.trials("job-1", status="completed", sort="score", limit=3)
        then = client.trials("job-1", status="completed", sort="score", after=best[-1].trial_id, limit=2)
        assert best + then == listed(searched(), status="completed", order="score", limit=5)
        with pytest.raises(NotFound, match="nowhere"):
            client.trials("job-1", after="nowhere")
        for wrong in ({"status": "lost"}, {"sort": "name"}, {"limit": 0}):
            with pytest.raises(Incompatible):
                client.trials("job-1", **wrong)


def test_all_trials_come_as_one_parquet_file(url: str) -> None:
    with MLDLClient(url) as client:
        assert client.trials_table("job-1").equals(trials_table(searched()))
        answer = httpx.get(f"{url}{BASE}/jobs/job-1/trials.parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert "job-1-trials.parquet" in answer.headers["content-disposition"]


def test_page_comes_with_a_policy_that_lets_it_load_and_run_nothing(url: str) -> None:
    with MLDLClient(url) as client:
        answer = httpx.get(f"{url}{BASE}/jobs/job-1/report")
        assert client.report("job-1") == answer.text == report_html(searched())
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["content-type"].startswith("text/html")


def test_unknown_job_has_no_trials_no_table_and_no_page(url: str) -> None:
    with MLDLClient(url) as client:
        for ask in (client.trials, client.trials_table, client.report):
            with pytest.raises(NotFound, match="job-2"):
                ask("job-2")


def typed(url: str, *words: str) -> Result:
    return CliRunner(env={"MLDL_URL": url}).invoke(app, ["jobs", *words])


def test_terminal_lists_trials_and_writes_them_and_the_page_to_files(url: str, tmp_path: Path) -> None:
    assert "t5" in typed(url, "trials", "job-1", "--sort", "score").stdout
    assert len(json.loads(typed(url, "trials", "job-1", "--limit", "7", "--json").stdout)) == 7
    table, text, page = (tmp_path / name for name in ("trials.parquet", "trials.csv", "search.html"))
    assert "60 trials" in typed(url, "trials", "job-1", "--out", str(table)).stdout
    assert parquet.read_table(table).equals(trials_table(searched()))
    typed(url, "trials", "job-1", "--out", str(text))
    rows = list(csv.DictReader(text.read_text(encoding="utf-8").splitlines()))
    assert [row["trial_id"] for row in rows] == [t.trial_id for t in searched().trials]
    assert json.loads(rows[0]["fold_scores"]) == list(searched().trials[0].fold_scores)
    typed(url, "report", "job-1", "--out", str(page))
    assert page.read_text(encoding="utf-8") == report_html(searched())


def test_terminal_refuses_a_file_of_a_kind_that_it_does_not_write(url: str, tmp_path: Path) -> None:
    done = typed(url, "trials", "job-1", "--out", str(tmp_path / "trials.xlsx"))
    assert done.exit_code != 0
    assert ".parquet or .csv" in done.stderr
