"""Versions found by what they are and how good they are, now and at any moment, in an index that follows a journal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Incompatible
from contracts.evaluations import Calibration, Fairness
from contracts.ports import Write
from contracts.records import Cost, Lineage, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.clock import SettableClock
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.journal import MemoryJournal
from mldl_ray.registry import checkpoint
from mldl_ray.registry.finder import Finder
from mldl_ray.registry.index import Index
from mldl_ray.registry.search import Bound, Query, check_limit


class World:
    """A journal of versions, and a finder on it."""

    def __init__(self) -> None:
        self.journal = MemoryJournal(SettableClock(1000.0))
        self.finder = Finder(self.journal)

    def put(self, version: str = "1.0.0", model_key: str = "income", *, by: str = "ana", **changes: Any) -> int:
        facts: dict[str, Any] = {
            "model_key": model_key,
            "version": version,
            "artifact_uri": "blobs:x",
            "validation_hash": "x",
            "created_at": "",
            "family": "xgb",
            "task": "classification",
            "metrics": {"auroc": 0.92, "logloss": 0.28},
            "calibration": Calibration(ece=0.03, method="isotonic"),
            "fairness": Fairness(delta=0.08),
            "cost": Cost(cost_units=2.0),
            "tags": ("demo", "Baseline"),
            "lineage": Lineage(dataset_id="adult"),
        }
        body = TrainedBundle(**(facts | changes)).model_dump(mode="json")
        return self.write("model_version", f"{model_key}@{version}", body, by=by)

    def write(self, kind: str, key: str, body: dict[str, Any] | None, *, by: str = "ana") -> int:
        before = len(self.journal.history(kind, key))
        write = Write(kind=kind, key=key, expected_version=before, body=body)
        return self.journal.append([write], actor=by, reason="test").position

    def serve(self, stable: str | None, model_key: str = "income") -> int:
        body = Endpoint(model_key=model_key, stable=stable, salt="s").model_dump(mode="json")
        return self.write("endpoint", model_key, body)

    def found(self, query: Query | None = None, **options: Any) -> list[str]:
        return [one.key for one in self.finder.find(query or Query(), **options)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), True),
        (Query(task="classification", family="xgb", tags=("demo",)), True),
        (Query(model_key="income"), True),
        (Query(model_key="churn"), False),
        (Query(task="regression"), False),
        (Query(family="lr"), False),
        (Query(tags=("demo", "prod")), False),
        (Query(min_metrics={"auroc": 0.92}), True),
        (Query(min_metrics={"auroc": 0.93}), False),
        (Query(min_metrics={"auroc": 0.9, "f1": 0.0}), False),
        (Query(min_metrics={"logloss": 0.3}), True),
        (Query(min_metrics={"logloss": 0.2}), False),
        (Query(bounds=[Bound.of("ece<=0.03")]), True),
        (Query(bounds=[Bound.of("ece<=0.02")]), False),
        (Query(bounds=[Bound.of("fairness_delta<=0.1"), Bound.of("cost_units <= 2")]), True),
        (Query(bounds=[Bound.of("fairness_delta>=0.1")]), False),
        (Query(bounds=[Bound.of("limit.latency_ms<=1000")]), False),
        (Query(calibration="isotonic"), True),
        (Query(calibration="none"), False),
        (Query(serving=False), True),
        (Query(serving=True), False),
        (Query(text="income baseline ADULT"), True),
        (Query(text="income churn"), False),
        (Query(text="   "), True),
    ],
)
def test_version_is_meant_when_every_filter_holds(world: World, query: Query, found: bool) -> None:
    world.put()
    assert (world.found(query) == ["income@1.0.0"]) is found


@pytest.mark.parametrize(
    "asked", [{"min_metrics": {"auroch": 0.9}}, {"bounds": [Bound("auroch", True, 0)]}, {"sort": "auroch"}]
)
def test_unknown_figure_is_refused_and_the_known_ones_are_named(asked: dict[str, Any]) -> None:
    with pytest.raises(Incompatible, match=r"auroch; there are: .*auroc.*ece"):
        Query(**asked)


@pytest.mark.parametrize("text", ["auroc", "auroc>0.9", "auroc>=", ">=1", "auroc>=nan", "auroc>=1;ece<=2"])
def test_bound_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Incompatible, match="figure>=number"):
        Bound.of(text)


def test_order_is_by_key_and_number_or_by_any_figure_with_those_without_it_last(world: World) -> None:
    for version, auroc in (("1.10.0", 0.8), ("1.9.0", 0.9), ("2.0.0", None)):
        world.put(version, metrics={} if auroc is None else {"auroc": auroc})
    world.put("1.0.0", "churn", metrics={"auroc": 0.85})
    assert world.found() == ["churn@1.0.0", "income@1.9.0", "income@1.10.0", "income@2.0.0"]
    assert world.found(Query(sort="-model"))[0] == "income@2.0.0"
    assert world.found(Query(sort="created")) == ["income@1.10.0", "income@1.9.0", "income@2.0.0", "churn@1.0.0"]
    assert world.found(Query(sort="version"))[0] == "churn@1.0.0"
    assert world.found(Query(sort="-auroc")) == ["income@1.9.0", "churn@1.0.0", "income@1.10.0", "income@2.0.0"]
    assert world.found(Query(sort="auroc"))[::3] == ["income@1.10.0", "income@2.0.0"]


@pytest.mark.parametrize(
    "sort", ["model", "-model", "created", "-created", "version", "-version", "auroc", "-auroc", "ece"]
)
def test_pages_hold_every_version_once_while_others_register(world: World, sort: str) -> None:
    rng = random.Random(1)
    for n in range(60):
        figures = {"auroc": rng.choice([0.7, 0.8, 0.9])} if n % 5 else {}
        world.put(f"1.{n % 12}.{n // 12}", rng.choice(["a", "b", "c"]) + str(n % 7), metrics=figures)
    whole = world.found(Query(sort=sort), limit=500)
    assert sorted(whole) == sorted(world.found(limit=500))
    pages: list[str] = []
    while page := world.found(Query(sort=sort), limit=7, after=pages[-1] if pages else ""):
        pages += page
        world.write("model_version", pages[-1], None)  # withdrawn: the page after it goes on behind its place
    assert pages == whole


def test_page_after_a_version_that_never_was_goes_on_behind_its_place(world: World) -> None:
    for version in ("1.0.0", "1.2.0"):
        world.put(version)
    world.put("1.0.0", "risk")
    assert world.found(after="income@1.1.0") == ["income@1.2.0", "risk@1.0.0"]
    assert world.found(after="jack@1.1.0") == ["risk@1.0.0"]
    with pytest.raises(Incompatible, match="no version that ever was"):
        world.found(Query(sort="auroc"), after="income@1.1.0")


@pytest.mark.parametrize("after", ["income", "@1.0.0", "income@", "income@latest"])
def test_after_of_another_form_is_refused(world: World, after: str) -> None:
    world.put()
    with pytest.raises(Incompatible):
        world.found(after=after)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_page_of_no_rows_or_of_too_many_is_refused(limit: int) -> None:
    with pytest.raises(Incompatible, match="between 1 and 500"):
        check_limit(limit)


def test_index_follows_whoever_writes_and_answers_every_moment_of_the_past(world: World) -> None:
    first = world.put("1.0.0")
    second = world.put("1.1.0", tags=("prod",))
    assert world.found() == ["income@1.0.0", "income@1.1.0"]
    served = world.serve("1.0.0")
    tagged = world.put("1.0.0", tags=("prod",), by="eve")
    gone = world.write("model_version", "income@1.1.0", None)
    back = world.put("1.1.0", by="eve")
    assert world.found(Query(tags=["prod"])) == ["income@1.0.0"]
    assert world.found(Query(serving=True)) == ["income@1.0.0"]
    assert world.found(Query(serving=True), as_of=served - 1) == []
    assert world.found(Query(tags=["prod"]), as_of=second) == ["income@1.1.0"]
    assert world.found(Query(tags=["prod"]), as_of=tagged) == ["income@1.0.0", "income@1.1.0"]
    assert world.found(as_of=gone) == ["income@1.0.0"]
    assert world.found(as_of=first) == ["income@1.0.0"]
    assert world.found(as_of=back) == ["income@1.0.0", "income@1.1.0"]
    assert {one.registered_by for one in world.finder.find(Query())} == {"ana"}


def test_live_rollout_takes_traffic_until_it_has_ended(world: World) -> None:
    world.put("1.0.0")
    world.put("1.1.0")
    began = world.write("deployment", "dep-1", {"model_key": "income", "version": "1.1.0", "status": "canary"})
    assert world.found(Query(serving=True)) == ["income@1.1.0"]
    world.write("deployment", "dep-1", {"model_key": "income", "version": "1.1.0", "status": "rolled_back"})
    assert world.found(Query(serving=True)) == []
    assert world.found(Query(serving=True), as_of=began) == ["income@1.1.0"]


def test_highest_number_is_known_through_withdrawals(world: World) -> None:
    for version in ("1.10.0", "1.9.0"):
        world.put(version)
    assert world.finder.numbers("income")[0] == "1.10.0"
    world.write("model_version", "income@1.10.0", None)
    assert world.finder.numbers("income")[0] == "1.9.0"
    assert world.finder.numbers("income")[1] == {"1.9.0", "1.10.0"}
    world.write("model_version", "income@1.9.0", None)
    assert world.finder.numbers("income")[0] is world.finder.numbers("nothing")[0] is None
    world.put("1.9.1")
    assert world.finder.numbers("income")[0] == "1.9.1"


# The file


def stored(world: World, folder: Path) -> Index:
    for n in range(20):
        world.put(f"1.{n}.0", tags=("demo", f"t{n % 3}"))
    world.serve("1.3.0")
    index = Index()
    index.follow(world.journal)
    checkpoint.save(index, folder)
    return index


def test_index_from_its_file_goes_on_as_the_one_that_was_saved(world: World, tmp_path: Path) -> None:
    position = stored(world, tmp_path).position
    world.put("2.0.0", tags=("t1",))
    world.write("model_version", "income@1.1.0", None)
    assert checkpoint.load(tmp_path, world.journal).position == position
    again = Finder(world.journal, tmp_path)
    for query in (Query(), Query(tags=["t1"]), Query(serving=True), Query(text="income t2"), Query(sort="-auroc")):
        assert again.find(query) == world.finder.find(query)
        assert again.find(query, as_of=9) == world.finder.find(query, as_of=9)
    assert again.numbers("income")[0] == "2.0.0"


@pytest.mark.parametrize("harm", ["absent", "cut", "noise", "other journal", "ahead"])
def test_file_that_does_not_fit_is_passed_over(world: World, tmp_path: Path, harm: str) -> None:
    stored(world, tmp_path)
    file, journal = tmp_path / checkpoint.FILE, world.journal
    if harm == "absent":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:-400])
    elif harm == "noise":
        file.write_bytes(b"noise")
    else:
        other = World()
        other.journal = MemoryJournal(SettableClock(2000.0 if harm == "other journal" else 1000.0))
        for n in range(30 if harm == "other journal" else 3):
            other.put(f"1.{n}.0")
        journal = other.journal
    assert checkpoint.load(tmp_path, journal).position == 0
    assert len(Finder(journal, tmp_path).find(Query())) == len(journal.scan("model_version"))


def test_finder_keeps_its_file_once_enough_has_changed(tmp_path: Path) -> None:
    world = World()
    body = {"model_key": "income", "version": "1.0.0", "artifact_uri": "", "metrics": {"auroc": 0.5}}
    writes = [Write(kind="model_version", key=f"m@1.0.{n}", expected_version=0, body=body) for n in range(2500)]
    world.journal.append(writes, actor="ana", reason="test")
    assert len(Finder(world.journal, tmp_path).find(Query(), limit=500)) == 500
    assert len(checkpoint.load(tmp_path, world.journal)) == 2500


def test_index_means_what_a_reader_of_each_record_would(world: World) -> None:
    rng = random.Random(3)
    records: dict[str, dict[str, Any]] = {}
    for n in range(80):
        facts: dict[str, Any] = {
            "family": rng.choice(["xgb", "lr"]),
            "tags": tuple(rng.sample(["a", "b", "c", "d"], 2)),
            "metrics": {"auroc": rng.random(), "rmse": rng.random()},
        }
        world.put(f"1.0.{n}", **facts)
        records[f"income@1.0.{n}"] = facts
    for _ in range(40):
        family, tag, least = rng.choice(["xgb", "lr"]), rng.choice("abcd"), rng.random()
        metric = rng.choice(["auroc", "rmse"])
        up = METRICS[metric].higher_is_better
        plain = {
            key
            for key, facts in records.items()
            if facts["family"] == family
            and tag in facts["tags"]
            and (facts["metrics"][metric] >= least if up else facts["metrics"][metric] <= least)
        }
        query = Query(family=family, tags=[tag], min_metrics={metric: least})
        assert set(world.found(query, limit=500)) == plain
