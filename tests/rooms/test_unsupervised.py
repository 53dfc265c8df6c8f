"""Clusters and reductions: what they find, what they say about new rows, what they refuse, and how they are judged."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from contracts.errors import Broken, Incompatible
from contracts.evaluations import Evaluation
from contracts.records import Policy
from mldl_ray.adapters import create_adapter, load_adapter
from mldl_ray.adapters._components import PCAAdapter
from mldl_ray.adapters._nearest import DBSCANAdapter
from mldl_ray.adapters.conformance import grouped_table
from mldl_ray.adapters.spaces import SpaceAdapter
from mldl_ray.evaluation import gate
from mldl_ray.evaluation.metrics import score
from mldl_ray.evaluation.unsupervised import evaluate_unsupervised, figure
from mldl_ray.serving_form import compile_form

CLUSTERINGS: dict[str, dict[str, Any]] = {"kmeans": {"n_clusters": 3}, "agglo": {"n_clusters": 3}, "dbscan": {}}


@pytest.fixture(scope="module")
def digits() -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    pixels, digit = load_digits(return_X_y=True)
    return pd.DataFrame(pixels, columns=[f"p{i}" for i in range(64)]), digit


def clustering(family: str, **hyperparams: Any) -> SpaceAdapter:
    adapter = create_adapter(family, task="clustering", **hyperparams)
    assert isinstance(adapter, SpaceAdapter)
    return adapter


def reduction(**hyperparams: Any) -> PCAAdapter:
    adapter = create_adapter("pca", task="dimension_reduction", **hyperparams)
    assert isinstance(adapter, PCAAdapter)
    return adapter


def judged(adapter: SpaceAdapter, table: Any, **rest: Any) -> Evaluation:
    given = {"model_key": "m", "metrics": (), "created_at": "2026-01-01T00:00:00Z", "evaluation_id": "e"} | rest
    return evaluate_unsupervised(adapter, table, **given)


def moons(rows: int = 400) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    points, half = make_moons(rows, noise=0.05, random_state=0)
    return pd.DataFrame(points, columns=["x", "y"]), half


# What they find


def test_kmeans_finds_the_digits(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, digit = digits
    found = clustering("kmeans", n_clusters=10).fit(pixels).predict(pixels)
    assert adjusted_rand_score(digit, found) >= 0.65


def test_a_hierarchy_finds_the_digits(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, digit = digits
    found = clustering("agglo", n_clusters=10).fit(pixels).predict(pixels)
    assert adjusted_rand_score(digit, found) >= 0.75


def test_dense_regions_are_found_whatever_their_shape_without_being_told_how_near_is_near() -> None:
    points, half = moons()
    found = clustering("dbscan", noise_share=0.02).fit(points).predict(points)
    assert adjusted_rand_score(half, found) > 0.95


def test_clusters_are_numbered_from_the_largest() -> None:
    table, _ = grouped_table(300)
    uneven = pa.concat_tables(
        [table, table.filter(pa.array([name == "kind 1" for name in table["colour"].to_pylist()]))]
    )
    for family, settings in CLUSTERINGS.items():
        adapter = clustering(family, **settings).fit(uneven)
        said = adapter.predict(uneven)
        sizes = [int((said == cluster).sum()) for cluster in adapter.classes if cluster >= 0]
        assert sizes == sorted(sizes, reverse=True)
        assert adapter.classes[: len(sizes)] == list(range(len(sizes)))


def test_units_do_not_matter_unless_it_is_asked_for() -> None:
    table, _ = grouped_table()
    metres = table.set_column(0, "length", pa.array(table["length"].to_numpy() / 1000))
    for family, settings in CLUSTERINGS.items():
        found = clustering(family, **settings).fit(metres).predict(metres)
        assert adjusted_rand_score(clustering(family, **settings).fit(table).predict(table), found) == 1.0
    two = pd.DataFrame({"big": np.tile([0.0, 1000.0], 50), "small": np.repeat([0.0, 1.0], 50)})
    own = clustering("kmeans", n_clusters=2, scale="none").fit(two).predict(two)
    assert adjusted_rand_score(two["big"], own) == 1.0


def test_a_column_that_never_varied_has_no_say() -> None:
    points, _ = moons(100)
    adapter = clustering("kmeans", n_clusters=2).fit(points.assign(flat=7.0))
    far = points.assign(flat=1e6)
    assert np.array_equal(adapter.predict(far), adapter.predict(points.assign(flat=7.0)))


# What they say about rows


def test_training_rows_keep_the_cluster_that_the_hierarchy_gave_them() -> None:
    points, _ = moons()
    adapter = clustering("agglo", n_clusters=5, linkage="single").fit(points)
    fitted = AgglomerativeClustering(5, linkage="single").fit(adapter.points(adapter.encoder.transform(points)))
    assert adjusted_rand_score(fitted.labels_, adapter.predict(points)) == 1.0


def test_training_rows_keep_what_dbscan_gave_them_but_at_edges_of_two_regions() -> None:
    points, _ = moons()
    adapter = clustering("dbscan", noise_share=0.3).fit(points)
    assert isinstance(adapter, DBSCANAdapter)
    model = DBSCAN(eps=adapter.eps, min_samples=5).fit(adapter.points(adapter.encoder.transform(points)))
    said, core = adapter.predict(points), model.core_sample_indices_
    assert np.array_equal(said == -1, model.labels_ == -1)
    assert adjusted_rand_score(model.labels_[core], said[core]) == 1.0
    assert adjusted_rand_score(model.labels_, said) > 0.95


def test_the_share_of_rows_that_are_no_cores_is_the_one_asked_for() -> None:
    points, _ = moons()
    adapter = clustering("dbscan", noise_share=0.2).fit(points)
    assert isinstance(adapter, DBSCANAdapter)
    model = DBSCAN(eps=adapter.eps, min_samples=5).fit(adapter.points(adapter.encoder.transform(points)))
    assert 1 - len(model.core_sample_indices_) / len(points) == pytest.approx(0.2, abs=0.01)


def test_a_row_far_from_every_dense_region_is_noise() -> None:
    points, _ = moons()
    adapter = clustering("dbscan").fit(points)
    far = pd.DataFrame({"x": [50.0, 1e300], "y": [-50.0, 0.0]})
    assert adapter.predict(far).tolist() == [-1, -1]
    assert adapter.classes[-1] == -1


def test_a_new_row_joins_the_cluster_of_the_nearest_row() -> None:
    points, _ = moons()
    adapter = clustering("agglo", n_clusters=4).fit(points)
    rng = np.random.default_rng(1)
    new = pd.DataFrame(rng.normal(0, 1, (50, 2)), columns=["x", "y"])
    seen = adapter.points(adapter.encoder.transform(points))
    gaps = np.linalg.norm(adapter.points(adapter.encoder.transform(new))[:, None] - seen, axis=2)
    assert np.array_equal(adapter.predict(new), adapter.predict(points)[gaps.argmin(axis=1)])


def test_the_largest_raw_score_is_the_nearest_centre() -> None:
    points, _ = moons()
    adapter = clustering("kmeans", n_clusters=6).fit(points)
    places = adapter.points(adapter.encoder.transform(points))
    raw = adapter.raw_matrix(adapter.encoder.transform(points))
    distance = (places**2).sum(axis=1, keepdims=True) - raw
    said = adapter.predict(points)
    centres = np.stack([places[said == cluster].mean(axis=0) for cluster in adapter.classes])
    assert distance == pytest.approx(((places[:, None] - centres) ** 2).sum(axis=2), abs=1e-3)
    assert np.array_equal(said, distance.argmin(axis=1))


def test_heavier_rows_draw_a_centre_to_them() -> None:
    line = pd.DataFrame({"x": [0.0, 1.0, 10.0, 11.0]})
    adapter = clustering("kmeans", n_clusters=2, scale="none").fit(line, sample_weight=[1, 9, 1, 1])
    borders = adapter.predict(pd.DataFrame({"x": np.linspace(0, 11, 1101)}))
    assert 11 * np.flatnonzero(np.diff(borders))[0] / 1100 == pytest.approx((0.9 + 10.5) / 2, abs=0.02)


def test_every_family_has_an_exact_graph(tmp_path: Path) -> None:
    table, _ = grouped_table()
    adapters = [clustering(family, **settings) for family, settings in CLUSTERINGS.items()]
    for adapter in (*adapters, reduction(n_components=3, whiten=True)):
        adapter.fit(table).save(tmp_path / adapter.family)
        form = compile_form(adapter, tmp_path / adapter.family, table)
        assert form.why_native is None
        assert form.largest_difference is not None
        assert form.largest_difference < 1e-12


# What they refuse


def test_fewer_rows_than_clusters_are_refused() -> None:
    few = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    for family in ("kmeans", "agglo"):
        with pytest.raises(Incompatible, match="n_clusters=5 in 3 rows"):
            clustering(family, n_clusters=5).fit(few)
    with pytest.raises(Incompatible, match="min_samples=5 rows near each other and there are 3"):
        clustering("dbscan").fit(few)


def test_no_dense_region_at_all_is_refused_with_what_was_near() -> None:
    points, _ = moons()
    with pytest.raises(Incompatible, match="no row has min_samples=5 rows within eps=1e-06"):
        clustering("dbscan", eps=1e-6).fit(points)


def test_nearness_that_rounding_would_hide_is_refused() -> None:
    repeated = pd.DataFrame({"x": np.repeat([0.0, 1e9], 20)})
    with pytest.raises(Incompatible, match="too small to be seen"):
        clustering("dbscan", eps=1.0, scale="none").fit(repeated)
    assert clustering("dbscan", eps=1000.0, scale="none").fit(repeated).classes == [0, 1, -1]


def test_rows_that_repeat_make_as_many_clusters_as_there_are_different_ones(caplog: pytest.LogCaptureFixture) -> None:
    twice = pd.DataFrame({"x": np.repeat([0.0, 1.0], 20)})
    with caplog.at_level(logging.WARNING):
        adapter = clustering("kmeans", n_clusters=4).fit(twice)
    assert "distinct" in caplog.text
    assert adapter.classes == [0, 1]
    assert clustering("dbscan").fit(twice).classes == [0, 1, -1]


def test_more_rows_than_pairs_can_be_held_of_are_drawn_with_the_seed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    points, half = moons()
    with caplog.at_level(logging.WARNING):
        adapter = clustering("agglo", n_clusters=2, linkage="single", max_rows=200).fit(points)
    assert "learns from 200 of 400 rows" in caplog.text
    assert adjusted_rand_score(half, adapter.predict(points)) > 0.9
    again = clustering("agglo", n_clusters=2, linkage="single", max_rows=200).fit(points)
    assert np.array_equal(again.predict(points), adapter.predict(points))


def test_more_components_than_there_are_columns_are_refused() -> None:
    points, _ = moons()
    with pytest.raises(Incompatible, match="at most 2 exist"):
        reduction(n_components=3).fit(points)
    with pytest.raises(Incompatible, match="no column varies"):
        reduction(n_components=1).fit(pd.DataFrame({"x": [1.0, 1.0, 1.0]}))


@pytest.mark.parametrize("family", ["kmeans", "agglo", "dbscan", "pca"])
def test_a_damaged_file_of_arrays_is_refused(family: str, tmp_path: Path) -> None:
    table, _ = grouped_table()
    task = "dimension_reduction" if family == "pca" else "clustering"
    create_adapter(family, task=task, **CLUSTERINGS.get(family, {})).fit(table).save(tmp_path)  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as stored:
        arrays = dict(stored)
    name, array = next((name, array) for name, array in arrays.items() if array.ndim == 2)
    for damage in (array * np.nan, array[:, :-1], array.astype(np.float32), np.array([[object()]])):
        np.savez(file, **(arrays | {name: damage}))
        with pytest.raises(Broken):
            load_adapter(tmp_path)
    np.savez(file, **{other: value for other, value in arrays.items() if other != name})
    with pytest.raises(Broken, match="expected"):
        load_adapter(tmp_path)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (2**50, 4)})
    with zipfile.ZipFile(file, "w") as archive:
        for other in arrays:
            archive.writestr(f"{other}.npy", huge.getvalue())
    with pytest.raises(Broken):
        load_adapter(tmp_path)
    file.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(Broken):
        load_adapter(tmp_path)


# Reductions


def test_components_are_those_of_scikit_learn(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, _ = digits
    adapter = reduction(n_components=5, scale="none").fit(pixels)
    expected = PCA(5, svd_solver="full").fit(pixels.to_numpy())
    assert adapter.predict(pixels) == pytest.approx(expected.transform(pixels.to_numpy()), abs=1e-6)
    assert adapter.variance_shares == pytest.approx(expected.explained_variance_ratio_)


def test_as_many_components_are_kept_as_hold_the_wanted_share() -> None:
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(0, 1, (500, 4)) * [10, 3, 1, 0.1], columns=list("abcd"))
    adapter = reduction(n_components=0, variance_share=0.95, scale="none").fit(made)
    assert adapter.outputs == 2
    assert reduction(n_components=0, variance_share=1.0, scale="none").fit(made).outputs == 4


def test_whitened_coordinates_have_unit_deviation(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, _ = digits
    places = reduction(n_components=4, whiten=True).fit(pixels).predict(pixels)
    assert places.std(axis=0, ddof=1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("whiten", [False, True])
def test_all_components_lead_back_to_the_row(whiten: bool, tmp_path: Path) -> None:
    table, _ = grouped_table()
    adapter = reduction(n_components=0, variance_share=1.0, whiten=whiten).fit(table)
    adapter.save(tmp_path)
    matrix = adapter.encoder.transform(table)
    again = PCAAdapter.load(tmp_path)
    assert again.inverse(again.raw_matrix(matrix)) == pytest.approx(matrix, abs=1e-9)
    with pytest.raises(Incompatible, match="coordinates of shape"):
        adapter.inverse(np.zeros((1, 99)))


# How they are judged


def test_figures_are_those_of_scikit_learn(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, digit = digits
    adapter = clustering("kmeans", n_clusters=10).fit(pixels[:1000])
    held, truth = pixels[1000:], digit[1000:]
    found = judged(adapter, held, labels=truth)
    points, said = adapter.points(adapter.encoder.transform(held)), adapter.predict(held)
    assert found.metrics["silhouette"] == pytest.approx(silhouette_score(points, said))
    assert found.metrics["davies_bouldin"] == pytest.approx(davies_bouldin_score(points, said))
    assert found.metrics["ari"] == pytest.approx(adjusted_rand_score(truth, said))
    assert found.rows == len(held)


def test_every_figure_has_an_interval_around_it(digits: tuple[pd.DataFrame, npt.NDArray[np.int64]]) -> None:
    pixels, digit = digits
    for adapter in (clustering("kmeans", n_clusters=10), reduction(n_components=8)):
        adapter.fit(pixels[:800])
        found = judged(adapter, pixels[800:1200], labels=digit[800:1200])
        assert set(found.intervals) == set(found.metrics)
        assert not found.left_out
        for name, interval in found.intervals.items():
            assert interval.low < found.metrics[name] < interval.high


def test_intervals_hold_the_figure_of_more_rows_about_as_often_as_they_say() -> None:
    points, half = moons(20_000)
    adapter = clustering("kmeans", n_clusters=2).fit(points[:500])
    truth = judged(adapter, points, labels=half).metrics
    held = dict.fromkeys(truth, 0)
    parts = [slice(i, i + 250) for i in range(500, 15_500, 250)]
    for part in parts:
        for name, interval in judged(adapter, points[part], labels=half[part]).intervals.items():
            held[name] += interval.low <= truth[name] <= interval.high
    assert all(count / len(parts) > 0.85 for count in held.values()), held


def test_without_labels_clusters_are_not_compared_with_any() -> None:
    points, _ = moons()
    found = judged(clustering("kmeans", n_clusters=2).fit(points), points)
    assert set(found.metrics) == {"silhouette", "davies_bouldin"}
    assert "no labels" in found.left_out["ari"]


def test_labels_that_are_values_are_no_groups() -> None:
    points, _ = moons()
    found = judged(clustering("kmeans", n_clusters=2).fit(points), points, labels=points["x"])
    assert "no groups" in found.left_out["ari"]


def test_noise_is_in_no_cluster_and_its_rows_are_counted() -> None:
    points, half = moons()
    adapter = clustering("dbscan", noise_share=0.3).fit(points)
    said = adapter.predict(points)
    found = judged(adapter, points, labels=half)
    places = adapter.points(adapter.encoder.transform(points))[said >= 0]
    assert found.metrics["silhouette"] == pytest.approx(silhouette_score(places, said[said >= 0]))
    assert found.left_out["noise"].startswith(f"{(said == -1).sum()} of 400 rows are noise")
    assert found.metrics["ari"] == pytest.approx(adjusted_rand_score(half, said))


def test_one_cluster_leaves_silhouettes_undefined() -> None:
    points, _ = moons()
    adapter = clustering("dbscan", eps=10.0).fit(points)
    found = judged(adapter, points)
    assert "1 clusters of 400 rows" in found.left_out["silhouette"]
    with pytest.raises(Incompatible, match="silhouette is undefined: 1 clusters"):
        figure(adapter, adapter.encoder.transform(points), None, "silhouette")


def test_a_silhouette_of_many_rows_is_that_of_a_sample_of_every_cluster() -> None:
    points, _ = moons(6000)
    adapter = clustering("kmeans", n_clusters=5).fit(points)
    matrix = adapter.encoder.transform(points)
    whole = silhouette_score(adapter.points(matrix), adapter.predict(points))
    assert figure(adapter, matrix, None, "silhouette") == pytest.approx(whole, abs=0.02)
    assert figure(adapter, matrix, None, "silhouette") == figure(adapter, matrix, None, "silhouette")


def test_a_search_sees_the_figure_that_an_evaluation_reports() -> None:
    points, half = moons()
    adapter = clustering("agglo", n_clusters=3).fit(points)
    found = judged(adapter, points, labels=half).metrics
    matrix = adapter.encoder.transform(points)
    assert {name: figure(adapter, matrix, half, name) for name in found} == found


def test_variance_kept_is_that_of_training_on_training_rows() -> None:
    table, _ = grouped_table()
    adapter = reduction(n_components=2).fit(table)
    found = judged(adapter, table).metrics
    assert found["explained_variance"] == pytest.approx(adapter.variance_shares.sum())
    points = adapter.points(adapter.encoder.transform(table))
    lost = (1 - adapter.variance_shares.sum()) * points.var(axis=0).sum() / points.shape[1]
    assert found["reconstruction_error"] == pytest.approx(lost)


def test_a_metric_of_another_task_is_refused() -> None:
    points, _ = moons()
    with pytest.raises(Incompatible, match="'rmse' is not for clustering"):
        judged(clustering("kmeans").fit(points), points, metrics=("rmse",))
    with pytest.raises(Incompatible, match="needs points"):
        score("silhouette", [0, 1, 1], [0, 1, 1])
    with pytest.raises(Incompatible, match="one label per row"):
        score("ari", [[0.0], [1.0]], [0, 1])


def test_chance_agreement_is_about_zero_and_one_group_undefined() -> None:
    rng = np.random.default_rng(0)
    assert abs(score("ari", rng.integers(0, 3, 3000), rng.integers(0, 3, 3000))) < 0.01
    assert score("ari", ["a", "a", "b", "b"], [5, 5, 1, 1]) == 1.0
    with pytest.raises(Incompatible, match="one label"):
        score("ari", [1, 1, 1], [0, 1, 1])


def test_a_gate_reads_them_on_the_worse_end() -> None:
    table, group = grouped_table()
    found = judged(clustering("kmeans", n_clusters=3).fit(table), table, labels=group)
    assert gate(found, Policy(metric_bounds={"silhouette": 0.2, "davies_bouldin": 1.5})) == []
    (reason,) = gate(found, Policy(metric_bounds={"davies_bouldin": 0.01}))
    assert "at most 0.01" in reason
