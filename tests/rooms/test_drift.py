"""The drift test against exact answers, against the null many times over, and against drifts of every kind."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import ecdf, hypergeom, ks_2samp

from contracts.errors import Broken, NotFound
from contracts.records import TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.monitoring.drift import MONTH_S, MOST_ALPHA, alpha_of, compare, exact_p, ks_distance
from mldl_ray.monitoring.reference import Reference, as_words, counted

CENSUS = Path(__file__).parents[2] / "examples" / "data" / "adult.parquet"


def mixed(random: np.random.Generator, rows: int) -> pa.Table:
    """Draw rows of every kind: smooth, tied, many categories, few, missing."""
    gaps = random.random(rows) < 0.1
    return pa.table(
        {
            "f.smooth": random.normal(size=rows),
            "f.tied": random.poisson(1.0, rows),
            "f.gappy": pa.array(random.random(rows), mask=gaps),
            "f.city": [f"c{int(z)}" for z in random.zipf(1.7, rows)],
            "f.flag": random.random(rows) < 0.03,
            "score": random.beta(2, 5, rows),
        }
    )


def shifts(reference: pa.Table, window: pa.Table, alpha: float = 1e-6) -> list[Any]:
    return list(compare(Reference.of(reference), window, alpha).surprising)


# The figures


def test_the_distance_is_that_of_scipy_with_and_without_ties() -> None:
    random = np.random.default_rng(0)
    for draw in (random.normal, lambda size: random.poisson(2.0, size)):
        a, b = np.sort(draw(size=300)), np.sort(draw(size=70))
        assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic)
        everywhere = np.concatenate([a, b])
        gap = np.abs(ecdf(a).cdf.evaluate(everywhere) - ecdf(b).cdf.evaluate(everywhere)).max()
        assert ks_distance(a, b) == pytest.approx(gap)


def test_the_p_value_of_a_distance_is_never_below_the_exact_one() -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        a, b = random.normal(size=400), random.normal(0.3, 1.2, size=90)
        (mine,) = compare(Reference.of(pa.table({"f.x": a})), pa.table({"f.x": b}), 0.01).shifts
        assert mine.p >= ks_2samp(a, b, method="exact").pvalue * 0.999


@pytest.mark.parametrize(("now", "n", "then", "m"), [(20, 500, 35, 5000), (0, 100, 90, 900), (3, 50, 40, 700)])
def test_the_chance_of_a_count_is_the_hypergeometric_one(now: int, n: int, then: int, m: int) -> None:
    exact = hypergeom(n + m, now + then, n)
    assert exact_p(now, n, then, m) == pytest.approx(min(1.0, 2 * min(exact.sf(now - 1), exact.cdf(now))), rel=1e-6)


# False alarms


def test_windows_without_drift_alarm_no_more_often_than_alpha() -> None:
    random = np.random.default_rng(2)
    windows, alarms = 0, 0
    for _ in range(120):
        reference = Reference.of(mixed(random, 1500))
        for _ in range(10):
            alarms += compare(reference, mixed(random, 150), MOST_ALPHA).drifted
            windows += 1
    assert alarms <= MOST_ALPHA * windows
    assert alarms > 0  # or the test could never fail, and would find no drift either


def test_the_p_values_of_each_column_are_no_smaller_than_chance() -> None:
    random = np.random.default_rng(3)
    smallest: dict[str, list[float]] = {}
    for _ in range(40):
        reference = Reference.of(mixed(random, 1000))
        for _ in range(10):
            for shift in compare(reference, mixed(random, 100), 0.05).shifts:
                smallest.setdefault(shift.column, []).append(shift.p)
    for column, found in smallest.items():
        for level in (0.02, 0.1, 0.3):
            slack = 3 * np.sqrt(level * (1 - level) / len(found))
            assert np.mean(np.array(found) <= level) <= level + slack, column


def test_a_category_per_row_is_no_drift_although_every_value_is_new() -> None:
    reference = pa.table({"f.id": [f"a{i}" for i in range(3000)]})
    assert shifts(reference, pa.table({"f.id": [f"b{i}" for i in range(500)]})) == []


def test_a_month_of_windows_spends_the_budget_at_most_whatever_the_rate() -> None:
    random = np.random.default_rng(4)
    for versions in (1, 3):
        for count in (1, 30, 3000):
            spans = random.dirichlet(np.full(count, 0.3)) * MONTH_S
            spent = sum(alpha_of(s, 100, false_alarms_per_month=2.0, versions=versions) for s in spans)
            assert versions * spent <= 2.0 + versions * count * 100 / 100_000 / MONTH_S * 2.0 + 1e-9


def test_a_window_that_took_months_spends_no_more_than_the_cap() -> None:
    assert alpha_of(10 * MONTH_S, 100, false_alarms_per_month=1.0, versions=1) == MOST_ALPHA


def test_official_test_rows_of_the_census_are_no_drift_from_its_training_rows() -> None:
    table = pq.read_table(CENSUS).replace_schema_metadata(None)
    table = pa.table(
        {f"f.{name}": plain(table[name]) for name in table.column_names if name not in {"income", "fnlwgt"}}
    )
    train, test = (
        table.filter(pc.equal(table["f.split"], part)).drop_columns(["f.split"]) for part in ("train", "test")
    )
    random = np.random.default_rng(5)
    reference = Reference.of(train.take(random.permutation(train.num_rows)[:5000]))
    alpha = alpha_of(2.5, 500, false_alarms_per_month=1.0, versions=2)  # 500 rows at 200 a second
    for start in range(0, 8000, 500):
        assert compare(reference, test.slice(start, 500), alpha).words == ""
    older = test.slice(0, 500)
    older = older.set_column(0, "f.age", pc.min_element_wise(pc.add(pc.cast(older["f.age"], pa.int64()), 20), 90))
    verdict = compare(reference, older, alpha)
    assert [shift.column for shift in verdict.surprising] == ["age"]
    assert verdict.words.startswith("mean of age 38")


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


# Drifts


def test_each_kind_of_drift_is_found_and_named_in_words() -> None:
    random = np.random.default_rng(6)
    reference, window = mixed(random, 3000), mixed(random, 500)
    city = pa.array(["c1"] * 250 + ["atlantis"] * 250)
    changes = {
        "f.smooth": (random.normal(1, 1, 500), "mean of smooth"),
        "f.tied": (random.poisson(3.0, 500), "mean of tied"),
        "f.gappy": (pa.nulls(500, pa.float64()), "missing gappy"),
        "f.city": (city, "city atlantis (never seen before) 0.00% → 50%"),
        "f.flag": (random.random(500) < 0.5, "flag "),
        "score": (random.beta(5, 2, 500), "mean of score 0.28"),
    }
    for name, (values, words) in changes.items():
        place = window.column_names.index(name)
        (found,) = shifts(reference, window.set_column(place, name, pa.array(values)))
        assert found.column == name.removeprefix("f.")
        assert found.moved.startswith(words)


def test_a_spread_that_grows_around_the_same_mean_is_found() -> None:
    random = np.random.default_rng(7)
    (found,) = shifts(pa.table({"f.x": random.normal(size=3000)}), pa.table({"f.x": random.normal(0, 4, 500)}))
    assert found.moved.startswith("spread of x 0.99")


def test_a_column_that_callers_stop_sending_is_found() -> None:
    reference = pa.table({"f.x": np.arange(1000.0), "f.y": ["a", "b"] * 500})
    found = {shift.column: shift.moved for shift in shifts(reference, pa.table({"f.x": np.arange(1000.0)}))}
    assert found == {"y": "missing y 0.00% → 100%"}


def test_numbers_that_come_as_text_are_numbers_and_whole_floats_are_categories() -> None:
    reference = pa.table({"f.n": [float(i % 7) for i in range(700)], "f.c": [str(i % 3) for i in range(700)]})
    window = pa.table({"f.n": [str(i % 7) for i in range(140)], "f.c": [float(i % 3) for i in range(140)]})
    assert shifts(reference, window) == []


def test_points_in_time_are_not_watched() -> None:
    assert Reference.of(pa.table({"f.when": [datetime(2026, 1, 1)] * 50})).columns == {}


def test_infinite_values_leave_the_words_readable() -> None:
    random = np.random.default_rng(8)
    values = random.normal(5, 1, 500)
    values[:3] = np.inf
    (found,) = shifts(pa.table({"f.x": random.normal(size=1000)}), pa.table({"f.x": values}))
    assert "inf" not in found.moved


def test_evidence_names_the_worst_columns_and_is_bounded() -> None:
    reference = pa.table({f"f.x{i}": np.arange(1000.0) for i in range(30)})
    window = pa.table({f"f.x{i}": np.arange(200.0) + 100 * i for i in range(30)})
    evidence = compare(Reference.of(reference), window, 1e-6).evidence()
    assert len(evidence["columns"]) == 5
    assert evidence["columns_tested"] == 30
    p = [column["p"] for column in evidence["columns"]]
    assert p == sorted(p)
    assert all(column["p"] <= column["threshold"] for column in evidence["columns"])


# The reference


def stored(blobs: MemoryBlobs, folder: Path, files: dict[str, bytes]) -> TrainedBundle:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digest = store_artifact(blobs, folder, {})
    facts = {"model_key": "m", "version": "1.0.0", "artifact_uri": f"blobs:{digest}", "created_at": ""}
    return TrainedBundle.model_validate(facts | {"validation_hash": digest})


def test_an_artifact_without_reference_rows_is_not_found(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with pytest.raises(NotFound, match="cannot be watched"):
        Reference.load(blobs, stored(blobs, tmp_path, {"other": b"1"}))


def test_a_damaged_reference_is_broken(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with pytest.raises(Broken, match="cannot be read"):
        Reference.load(blobs, stored(blobs, tmp_path, {"reference.parquet": b"no parquet"}))


def test_counting_a_column_is_counting_its_words_whatever_its_type() -> None:
    columns = [
        pa.array(["a", None, "a", "b"]),
        pa.array(["a", None, "a", "b"]).dictionary_encode(),
        pa.array([True, None, True, False]),
        pa.array([1.0, float("nan"), 1.0, 2.5]),
        pa.nulls(4),
        pa.array([[1], None, [1], [2]]),
    ]
    for column in (pa.chunked_array([array]) for array in columns):
        words = [word for word in as_words(column) if word is not None]
        assert counted(column) == Counter(words)
