"""Trees, forests and histogram boosting: they answer as scikit-learn does, exactly, explain exactly, and learn well."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from contracts.errors import Broken, Incompatible
from contracts.specs import EarlyStopping, Task
from mldl_ray.adapters import create_adapter, load_adapter
from mldl_ray.adapters.conformance import answers, mixed_table
from mldl_ray.adapters.trees import Trees
from mldl_ray.evaluation.calibration import Calibrator
from mldl_ray.serving_form import compile_form

ADULT = Path(__file__).parents[2] / "examples" / "data" / "adult.parquet"
Array = np.ndarray[Any, Any]

TASKS: tuple[tuple[Task, int], ...] = (("classification", 2), ("classification", 4), ("regression", 2))
CASES = [(family, task, classes) for family in ("tree", "forest", "gbm") for task, classes in TASKS]
SETTINGS: dict[str, dict[str, Any]] = {
    "tree": {"min_samples_leaf": 2},
    "forest": {"n_estimators": 30, "min_samples_leaf": 1, "max_features": 0.5},
    "gbm": {"n_estimators": 25, "min_samples_leaf": 3},
}
THEIRS: dict[tuple[str, Task], Callable[..., Any]] = {
    ("tree", "classification"): DecisionTreeClassifier,
    ("tree", "regression"): DecisionTreeRegressor,
    ("forest", "classification"): RandomForestClassifier,
    ("forest", "regression"): RandomForestRegressor,
    ("gbm", "classification"): HistGradientBoostingClassifier,
    ("gbm", "regression"): HistGradientBoostingRegressor,
}


def fitted(family: str, task: Task, classes: int = 2, **settings: Any) -> tuple[Any, pa.Table, Array]:
    table = mixed_table(400)
    target = answers(table, task, classes)
    model = create_adapter(family, task=task, seed=3, **(SETTINGS[family] | settings)).fit(table, target)
    return model, table, target


def theirs(family: str, task: Task, M: Array, target: Array) -> Any:
    """scikit-learn's own model of the same settings on the same matrix."""
    settings = dict(SETTINGS[family])
    if family == "gbm":
        settings |= {"max_iter": settings.pop("n_estimators"), "early_stopping": False}
    return THEIRS[family, task](**settings, random_state=3).fit(M, target)


def odd_rows(model: Any, M: Array) -> Array:
    """Rows with gaps, extremes, and values at, just below and just above what the trees ask for."""
    rng = np.random.default_rng(0)
    rows = np.repeat(M, 4, axis=0)
    places = model._trees.child > 0
    for column in range(M.shape[1]):
        asked = model._trees.at_most[places & (model._trees.place == column)]
        inner = asked[asked < 1e38]
        near = [asked, np.nextafter(inner, np.float32(-np.inf)), np.nextafter(inner, np.float32(np.inf))]
        values = np.concatenate([*near, [np.nan, 1e30, -1e30, 0.0, -0.0]]).astype(np.float32)
        changed = rng.random(len(rows)) < 0.3
        rows[changed, column] = rng.choice(values, int(changed.sum()))
    return rows


@pytest.mark.parametrize(("family", "task", "classes"), CASES)
def test_answers_are_those_of_scikit_learn_also_at_the_thresholds(family: str, task: Task, classes: int) -> None:
    model, table, target = fitted(family, task, classes)
    M = model.encoder.transform(table)
    reference = theirs(family, task, M, target)
    rows = odd_rows(model, M)
    if task == "regression":
        expected, found = reference.predict(rows), model.predict_matrix(rows)
    else:
        expected, found = reference.predict_proba(rows), model.predict_proba_matrix(rows)
        assert model.classes == reference.classes_.tolist()
    assert np.abs(found - expected).max() <= 1e-9 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(("family", "task", "classes"), CASES)
def test_the_graph_gives_the_very_same_numbers(family: str, task: Task, classes: int, tmp_path: Path) -> None:
    model, table, _ = fitted(family, task, classes)
    model.save(tmp_path)
    form = compile_form(model, tmp_path, table)
    assert (form.kind, form.largest_difference) == ("onnx", 0.0)


@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_a_calibrated_model_has_a_graph_too(family: str, tmp_path: Path) -> None:
    model, table, target = fitted(family, "classification")
    scores, truth = model.predict_proba(table), (target == "low").astype(int)
    model.calibrator = Calibrator.fit(scores, truth, "isotonic")
    model.save(tmp_path)
    form = compile_form(model, tmp_path, table)
    assert (form.kind, form.largest_difference) == ("onnx", 0.0)


def test_a_thousand_trees_still_add_up_exactly(tmp_path: Path) -> None:
    table = mixed_table(60)
    model = create_adapter("forest", n_estimators=1000, min_samples_leaf=1).fit(table, answers(table, "classification"))
    model.save(tmp_path)
    assert compile_form(model, tmp_path, table).largest_difference == 0.0
    reference = RandomForestClassifier(1000, max_features=0.2, random_state=0)
    M = model.encoder.transform(table)
    share = max(np.sqrt(M.shape[1]) / M.shape[1], 0.2)
    reference.set_params(max_features=share).fit(M, answers(table, "classification"))
    assert np.abs(reference.predict_proba(M) - model.predict_proba(table)).max() < 1e-9


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_values_of_any_size_keep_their_precision(family: str, scale: float) -> None:
    table = mixed_table(200)
    target = answers(table, "regression") * scale
    model = create_adapter(family, task="regression", seed=3, **SETTINGS[family]).fit(table, target)
    M = model.encoder.transform(table)
    expected = theirs(family, "regression", M, target).predict(M)
    assert np.abs(model.predict(table) - expected).max() <= 1e-9 * np.abs(target).max()


@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_a_target_without_variation_is_answered(family: str, tmp_path: Path) -> None:
    table = mixed_table(50)
    model = create_adapter(family, task="regression").fit(table, np.zeros(50))
    assert (model.predict(table) == 0).all()
    assert (model.explain(table).values == 0).all()
    model.save(tmp_path)
    assert compile_form(model, tmp_path, table).kind == "onnx"


@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_a_column_that_is_missing_in_every_training_row_of_a_fold_does_no_harm(family: str) -> None:
    table = mixed_table(100)
    model = create_adapter(family, **SETTINGS[family])
    M = model.fit_encoder(table).transform(table)
    M[:, 0] = np.nan
    model.fit_matrix(M, answers(table, "classification"))
    assert np.isfinite(model.predict_proba(table)).all()


@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_numbers_beyond_single_precision_are_learned_from(family: str, tmp_path: Path) -> None:
    table = mixed_table(100)
    lengths = table["length"].to_pylist()
    lengths[:4] = [1e300, -1e300, 1e300, -1e300]
    table = table.set_column(0, "length", pa.array(lengths))
    model = create_adapter(family, **SETTINGS[family]).fit(table, answers(table, "classification"))
    model.save(tmp_path)
    assert compile_form(model, tmp_path, table).largest_difference == 0.0


# Attributions


def shapley(game: Callable[[frozenset[int]], Array], players: int) -> Array:
    """Shapley values by their definition."""
    values = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        total: Any = 0.0
        for size in range(players):
            for chosen in combinations(others, size):
                without = frozenset(chosen)
                gain = game(without | {player}) - game(without)
                total = total + gain / (players * comb(players - 1, size))
        values.append(total)
    return np.array(values)


def known(trees: Trees, row: Array, columns: frozenset[int]) -> Array:
    """The model's score when only some columns are known: elsewhere both ways are taken, weighed by training rows."""

    def below(node: int) -> Array:
        if trees.child[node] == 0:
            return np.asarray(trees.values[trees.place[node]])
        left, column = int(trees.child[node]), int(trees.place[node])
        if column in columns:
            gap = np.isnan(row[column])
            goes_left = trees.missing_left[node] == 1 if gap else row[column] <= trees.at_most[node]
            return below(left if goes_left else left + 1)
        weights = trees.cover[left : left + 2].astype(float)
        return np.asarray((weights[0] * below(left) + weights[1] * below(left + 1)) / weights.sum())

    total = trees.base.copy()
    for root, target in zip(trees.starts.tolist(), trees.targets.tolist(), strict=True):
        total[target : target + trees.columns] += below(root)
    return total / trees.divisor


@pytest.mark.parametrize(("family", "task", "classes"), CASES)
def test_attributions_are_shapley_values_by_their_definition(family: str, task: Task, classes: int) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(150, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    table = pa.table({f"x{i}": X[:, i] for i in range(4)})
    signal = np.nan_to_num(X[:, 0] * X[:, 1] + X[:, 2]) + rng.normal(0, 0.1, 150)
    target = (
        signal if task == "regression" else np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes))
    )
    model: Any = create_adapter(family, task=task, **(SETTINGS[family] | {"min_samples_leaf": 3})).fit(table, target)
    explained = model.explain(table.slice(0, 6))
    for row, found in zip(model.encoder.transform(table.slice(0, 6)), explained.values, strict=True):
        expected = shapley(partial(known, model._trees, row), 4)
        assert np.abs(found[:, -expected.shape[1] :] - expected).max() < 1e-9
    raw = model.raw_matrix(model.encoder.transform(table.slice(0, 6)))
    assert np.abs(explained.base + explained.values.sum(axis=1) - raw).max() < 1e-9


def test_a_model_that_learned_again_is_explained_anew() -> None:
    model, table, target = fitted("tree", "classification")
    before = model.explain(table).values
    model.fit(table, target[::-1])
    raw = model.raw_matrix(model.encoder.transform(table))
    after = model.explain(table)
    assert not np.array_equal(before, after.values)
    assert np.abs(after.base + after.values.sum(axis=1) - raw).max() < 1e-9


# Training


def test_boosting_stops_on_the_rows_it_is_given_and_keeps_its_best_round() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = np.where(rng.random(600) < 0.25, rng.random(600) < 0.5, X[:, 0] > 0).astype(int)
    table = pa.table({f"x{i}": X[:, i] for i in range(3)})
    model: Any = create_adapter("gbm", n_estimators=400, min_samples_leaf=2)
    M = model.fit_encoder(table).transform(table)
    model.fit_matrix(M[:400], y[:400], M_valid=M[400:], y_valid=y[400:], early_stopping=EarlyStopping(patience=5))
    kept = len(model._trees.starts)
    losses = []
    for rounds in range(1, kept + 6):
        other = create_adapter("gbm", n_estimators=rounds, min_samples_leaf=2)
        other.use_encoder(model.encoder)
        right = other.fit_matrix(M[:400], y[:400]).predict_proba_matrix(M[400:])[np.arange(200), y[400:]]
        losses.append(-np.log(right).mean())
    assert kept < 400
    assert int(np.argmin(losses)) + 1 == kept


@pytest.mark.parametrize("family", ["tree", "forest", "gbm"])
def test_a_setting_for_classes_is_refused_in_regression(family: str) -> None:
    table = mixed_table(60)
    model = create_adapter(family, task="regression", class_weight="balanced")
    with pytest.raises(Incompatible, match="class_weight"):
        model.fit(table, answers(table, "regression"))


# Files


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model, _, _ = fitted("tree", "classification")
    model.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("child", lambda a: np.where(np.arange(len(a)) == 0, 0 * a + 10**6, a)),  # beyond the end
        ("child", lambda a: np.where(a > 0, 1, a)),  # a loop
        ("child", lambda a: np.where(np.arange(len(a)) == 0, -5, a)),
        ("child", lambda a: a[:-1]),
        ("place", lambda a: a + 10**6),
        ("place", lambda a: -a - 1),
        ("starts", lambda a: a + 1),
        ("targets", lambda a: a + 1),
        ("leaves", lambda a: a + 2**60),
        ("scales", lambda a: a * 0),
        ("cover", lambda a: a * 0),
        ("base", lambda a: a + np.nan),
    ],
)
def test_arrays_that_are_no_trees_are_refused(name: str, change: Callable[[Array], Array], saved: Path) -> None:
    with np.load(saved / "trees.npz") as stored:
        arrays = dict(stored)
    arrays[name] = change(arrays[name]).astype(arrays[name].dtype)
    np.savez(saved / "trees.npz", **arrays)
    with pytest.raises(Broken, match=r"trees\.npz"):
        load_adapter(saved)


# Real data


@pytest.fixture(scope="module")
def census() -> tuple[pa.Table, Array, pa.Table, Array]:
    table = pq.read_table(ADULT).replace_schema_metadata(None)
    parts = [table.filter(pc.equal(table["split"], split)) for split in ("train", "test")]
    train, test = parts[0].slice(0, 8000), parts[1]
    out = ["income", "split", "fnlwgt"]
    return train.drop_columns(out), train["income"].to_numpy(), test.drop_columns(out), test["income"].to_numpy()


@pytest.mark.parametrize(
    ("family", "settings", "least"),
    [
        ("tree", {"min_samples_leaf": 30}, 0.88),
        ("forest", {"n_estimators": 40, "min_samples_leaf": 3}, 0.905),
        ("gbm", {"n_estimators": 80}, 0.915),
    ],
)
def test_a_quarter_of_the_census_is_enough_to_rank_incomes(
    family: str, settings: dict[str, Any], least: float, census: tuple[pa.Table, Array, pa.Table, Array]
) -> None:
    X, y, X_test, y_test = census
    model = create_adapter(family, **settings).fit(X, y)
    assert roc_auc_score(y_test, model.predict_proba(X_test)[:, 1]) >= least
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        assert compile_form(model, folder, X_test).largest_difference == 0.0
        assert sum(path.stat().st_size for path in Path(folder).iterdir()) < 5_000_000
