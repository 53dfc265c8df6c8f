"""The classic families on real data: what each must reach, in small, and what each does that others do not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_diabetes, load_digits

from contracts.errors import Incompatible
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.bayes_terms import bin_edges
from mldl_ray.adapters.neighbour_search import nearest
from mldl_ray.adapters.shapley import sampled_shapley
from mldl_ray.evaluation import score

ADULT = Path(__file__).parents[2] / "examples/data/adult.parquet"


class Rows(NamedTuple):
    """Rows to learn from, and rows to judge by."""

    train: Any
    y_train: Any
    test: Any
    y_test: Any


@cache
def adult() -> Rows:
    table = pq.read_table(ADULT)
    parts = [table.filter(pc.equal(table["split"], name)).slice(0, 6000) for name in ("train", "test")]
    bare = [part.drop_columns(["split", "fnlwgt", "income"]) for part in parts]
    targets = [part["income"].to_numpy() for part in parts]
    return Rows(bare[0], targets[0], bare[1], targets[1])


def divided(data: Any, seed: int) -> Rows:
    X, y = data
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: len(X) * 3 // 4], order[len(X) * 3 // 4 :]
    return Rows(X[train], y[train], X[test], y[test])


def median_accuracy(family: str, **hyperparams: Any) -> float:
    found = []
    for seed in range(3):
        rows = divided(load_digits(return_X_y=True), seed)
        model = create_adapter(family, seed=seed, **hyperparams).fit(rows.train, rows.y_train)
        found.append(float((model.predict(rows.test) == rows.y_test).mean()))
    return float(np.median(found))


# What each must reach


@pytest.mark.parametrize(("family", "floor"), [("lr", 0.895), ("naive_bayes", 0.84)])
def test_on_a_part_of_adult_the_floor_is_reached(family: str, floor: float) -> None:
    model = create_adapter(family).fit(adult().train, adult().y_train)
    assert score("auroc", adult().y_test, model.predict_proba(adult().test)) >= floor


@pytest.mark.parametrize(("family", "hyperparams"), [("svm", {}), ("knn", {"n_neighbors": 4})])
def test_on_digits_two_in_a_hundred_are_wrong_at_most(family: str, hyperparams: dict[str, Any]) -> None:
    assert median_accuracy(family, **hyperparams) >= 0.98


@pytest.mark.parametrize("family", ["linear", "svr"])
def test_on_diabetes_it_is_as_good_as_scikit_learns_best(family: str) -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ratios = []
    for seed in range(3):
        rows = divided(load_diabetes(return_X_y=True), seed)
        peer = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 20))).fit(rows.train, rows.y_train)
        model = create_adapter(family, task="regression", seed=seed).fit(rows.train, rows.y_train)
        ours, best = (score("rmse", rows.y_test, found.predict(rows.test)) for found in (model, peer))
        ratios.append(ours / best)
    assert np.median(ratios) <= 1.03


# Linear regression


def test_one_alpha_means_the_same_for_more_rows_and_for_another_unit() -> None:
    X, y = load_diabetes(return_X_y=True)
    for penalty in ("ridge", "lasso", "elastic_net"):
        small = create_adapter("linear", task="regression", penalty=penalty, alpha=0.1).fit(X, y)
        large = create_adapter("linear", task="regression", penalty=penalty, alpha=0.1)
        large.fit(np.tile(X, (3, 1)), np.tile(y * 1000, 3))
        assert np.allclose(large.predict(X), small.predict(X) * 1000, rtol=1e-4)


def test_a_lasso_leaves_columns_out_and_no_penalty_is_least_squares() -> None:
    X, y = load_diabetes(return_X_y=True)
    lasso = create_adapter("linear", task="regression", penalty="lasso", alpha=0.1).fit(X, y)
    moved = np.abs(lasso.explain(X).values).max(axis=(0, 2))
    assert 0 < (moved == 0).sum() < X.shape[1]
    free = create_adapter("linear", task="regression", penalty="none").fit(X, y)
    with_one = np.column_stack([X, np.ones(len(X))])
    assert np.allclose(free.predict(X), with_one @ np.linalg.lstsq(with_one, y)[0])


# Support vector machines


def test_a_machine_learns_from_no_more_rows_than_it_may_but_from_every_class(caplog: Any) -> None:
    X = np.arange(300.0)[:, None] % 100
    y = np.where(np.arange(300) == 299, "rare", np.where(X[:, 0] < 50, "low", "high"))
    model = create_adapter("svm", max_rows=40, C=100.0).fit(X, y)
    assert "learns from 40 of 300 rows" in caplog.text
    assert model.classes == ["high", "low", "rare"]
    assert (model.predict(X[:290]) == y[:290]).mean() > 0.95


def test_a_class_without_weight_cannot_be_learned_by_a_machine() -> None:
    with pytest.raises(Incompatible, match="each class a row with weight"):
        create_adapter("svm").fit(np.arange(4.0)[:, None], ["a", "a", "b", "b"], sample_weight=[1, 1, 0, 0])


def test_far_from_every_support_vector_only_the_intercept_is_left() -> None:
    X, y = load_diabetes(return_X_y=True)
    model = create_adapter("svr", task="regression").fit(X, y)
    assert model.predict(np.full((1, 10), 1e30)) == model.predict(np.full((1, 10), -1e37))


# Neighbours


def test_the_nearest_are_found_exactly_and_of_equal_ones_the_first() -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 3, (500, 4)).astype(float)  # 81 different points: ties everywhere
    points = random.integers(0, 3, (50, 4)).astype(float)
    squares, rows = nearest(stored, (stored**2).sum(axis=1), points, 7)
    every = ((points[:, None] - stored) ** 2).sum(axis=2)
    wanted = np.argsort(every, axis=1, kind="stable")[:, :7]
    assert np.array_equal(rows, wanted)
    assert np.array_equal(squares, np.take_along_axis(every, wanted, axis=1))


def test_points_very_far_away_have_the_same_neighbours_alone_and_together() -> None:
    random = np.random.default_rng(0)
    stored, points = random.normal(size=(3000, 5)), random.normal(size=(40, 5)) * 1e40
    lengths = (stored**2).sum(axis=1)
    together = nearest(stored, lengths, points, 5)[1]
    alone = [nearest(stored, lengths, point[None], 5)[1][0] for point in points]
    assert np.array_equal(alone, together)


def test_a_known_row_is_answered_with_its_own_value_by_distance_and_with_a_mean_otherwise() -> None:
    X, y = np.array([[0.0], [1.0], [10.0]]), np.array([0.0, 3.0, 9.0])
    by_distance = create_adapter("knn", task="regression", k=2).fit(X, y)
    assert by_distance.predict(X).tolist() == [0.0, 3.0, 9.0]
    alike = create_adapter("knn", task="regression", k=2, weights="uniform").fit(X, y)
    assert alike.predict(X).tolist() == [1.5, 1.5, 6.0]
    heavy = create_adapter("knn", task="regression", k=2, weights="uniform").fit(X, y, sample_weight=[3, 1, 0])
    assert heavy.predict(np.array([[10.0]])).tolist() == [0.75]


# Naive Bayes


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    edges = bin_edges(values, 10)
    assert edges[0] == 1.0
    assert len(bin_edges(np.repeat([1.0, 2.0, 3.0], 50), 10)) == 2


def test_the_numbers_of_a_class_follow_from_counts() -> None:
    table = pa.table({"colour": ["red", "red", "red", "blue", "blue", "blue"]})
    model = create_adapter("naive_bayes", alpha=1.0).fit(table, ["a", "a", "b", "b", "b", "b"])
    rose = model.predict_proba(pa.table({"colour": ["red"]}))[0]
    prior, red = np.array([3 / 8, 5 / 8]), np.array([3 / 4, 2 / 6])
    assert np.allclose(rose, prior * red / (prior * red).sum())
    assert np.allclose(model.predict_proba(pa.table({"colour": ["mauve"]}))[0], prior)


def test_missing_says_something_only_where_it_was_missing_before() -> None:
    y = np.array(["a", "b"] * 20)
    whole, holed = np.arange(40.0), np.where(y == "a", np.nan, np.arange(40.0))
    gone = np.array([[np.nan]])
    for numbers in ("binned", "gaussian"):
        model = create_adapter("naive_bayes", numbers=numbers).fit(whole[:, None], y)
        assert np.allclose(model.predict_proba(gone), 0.5)
    assert create_adapter("naive_bayes").fit(holed[:, None], y).predict_proba(gone)[0, 0] > 0.8


# Attributions by sampling


def test_sampled_attributions_are_exact_where_columns_do_not_act_together() -> None:
    M, centre = np.random.default_rng(0).normal(size=(6, 3)), np.array([0.5, -1.0, 2.0])
    values, base = sampled_shapley(lambda m: (m**2).sum(axis=1)[:, None], M, centre, np.arange(3), orders=1)
    assert np.allclose(values[:, :, 0], M**2 - centre**2)
    assert np.allclose(base, (centre**2).sum())


def test_the_columns_of_one_category_go_in_together_and_the_same_seed_says_the_same() -> None:
    M, centre = np.random.default_rng(0).normal(size=(5, 4)), np.zeros(4)
    owners = np.array([0, 1, 1, 2])

    def raw(m: Any) -> Any:
        return (m[:, :1] * m[:, 1:2] + m[:, 2:3] * m[:, 3:]) * np.array([[1.0, -2.0]])

    values, base = sampled_shapley(raw, M, centre, owners, seed=3)
    assert np.allclose(base + values.sum(axis=1), raw(M))
    assert not values[:, 2].any()
    assert np.array_equal(values, sampled_shapley(raw, M, centre, owners, seed=3)[0])


def test_very_many_columns_are_attributed_in_fewer_turns() -> None:
    calls = []

    def raw(m: Any) -> Any:
        calls.append(len(m))
        return m.sum(axis=1)[:, None]

    sampled_shapley(raw, np.ones((1, 1000)), np.zeros(1000), np.arange(1000))
    assert len(calls) <= 2048
