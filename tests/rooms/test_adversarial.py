"""Attacks on models whose worst case is known by geometry."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters._linear import LogisticRegressionAdapter
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.evaluation import Calibrator
from mldl_ray.evaluation._reach import Reach
from mldl_ray.evaluation.adversarial import attack, check, linear_weights, masking

ADULT = Path(__file__).parents[2] / "examples" / "data" / "adult.parquet"


class Sloped(LogisticRegressionAdapter):
    """A linear model that only shows its gradient."""

    def linear_margin(self) -> None:
        return None

    def gradient(self, M: Matrix, answers: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        weights = (self.raw_matrix(np.eye(M.shape[1])) - self.raw_matrix(np.zeros((1, M.shape[1])))).T
        if len(weights) == 1:
            return np.asarray((self.predict_proba_matrix(M)[:, 1] - answers)[:, None] * weights)
        return np.asarray((self.predict_proba_matrix(M) - np.eye(len(weights))[answers]) @ weights)


class Opaque(LogisticRegressionAdapter):
    """A linear model that only answers."""

    def linear_margin(self) -> None:
        return None


class Masked(Sloped):
    """A linear model whose gradient says that nothing matters."""

    def gradient(self, M: Matrix, answers: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.zeros(M.shape)


class Misled(Sloped):
    """A linear model whose gradient points the wrong way."""

    def gradient(self, M: Matrix, answers: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return -super().gradient(M, answers)


def cloud(rows: int = 300, classes: int = 2, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Three numbers, a colour, a flag and a flag written as a number."""
    random = np.random.default_rng(seed)
    x = random.normal(5, 3, (rows, 3))
    table = pa.table(
        {
            "a": x[:, 0],
            "b": x[:, 1],
            "c": x[:, 2],
            "colour": random.choice(["red", "blue"], rows),
            "flag": random.random(rows) < 0.5,
            "coded": random.integers(0, 2, rows),
        }
    )
    score = (x[:, 0] - 5) / 3 + 0.7 * (x[:, 1] - 5) / 3 + 0.4 * random.normal(size=rows)
    return table, np.digitize(score, [0.0] if classes == 2 else [-0.6, 0.6])


@pytest.mark.parametrize("classes", [2, 3])
def test_gradient_descent_agrees_with_the_closed_form_exactly_on_a_linear_model(classes: int) -> None:
    table, y = cloud(classes=classes)
    exact = attack(create_adapter("lr").fit(table, y), table, y)
    climbed = attack(Sloped().fit(table, y), table, y, rows=300)
    assert exact is not None
    assert climbed is not None
    assert (exact.method, exact.exact, climbed.method) == ("closed_form", True, "pgd")
    assert climbed.robust == exact.robust
    assert climbed.clean == exact.clean > exact.robust["0.1"] > exact.robust["0.25"] > exact.robust["0.5"]
    assert not climbed.gradient_masking


def test_a_linear_margin_shrinks_by_eps_times_the_sum_of_the_weights_sizes() -> None:
    """Where no range cuts in: the rows judged are the middle of a table whose ends are far away."""
    table, y = cloud(300)
    numeric = table.select(["a", "b", "c"])
    adapter = create_adapter("lr").fit(numeric, y)
    wide = pa.concat_tables([numeric, pa.table({name: [-1e3, 1e3] for name in "abc"})])
    answers = np.concatenate([y, adapter.predict(wide)[-2:]])
    matrix = adapter.encoder.transform(wide)
    weights = linear_weights(adapter, matrix)
    assert weights is not None
    margin = adapter.raw_matrix(matrix)[:, 0] * np.where(answers == 1, 1, -1)
    found = attack(adapter, wide, answers, epsilons=(0.3,), rows=302)
    assert found is not None
    assert found.robust["0.3"] == pytest.approx(float((margin - 0.3 * np.abs(weights).sum() > 0).mean()))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_calibrated_linear_model_is_attacked_where_it_decides(method: Any) -> None:
    """Every corner of the box tried by hand."""
    table, y = cloud(200)
    adapter = create_adapter("lr").fit(table, y)
    skewed = np.where(np.random.default_rng(1).random(200) < 0.3, 1, y)
    adapter.calibrator = Calibrator.fit(adapter.predict_proba(table), skewed, method)
    found = attack(adapter, table, y, epsilons=(0.25,))
    reach = Reach.of(adapter, table, np.arange(200))
    corners = np.stack(np.meshgrid(*[[-0.25, 0.25]] * 3), -1).reshape(-1, 3)
    wrong = np.zeros(200, dtype=bool)
    for corner in corners:
        offset = np.zeros(reach.step.shape)
        offset[:, reach.movable] = corner
        wrong |= adapter.predict_matrix(reach.at(offset)) != y
    assert found is not None
    assert found.exact
    assert found.robust["0.25"] == pytest.approx(1 - wrong.mean())


def test_a_search_by_answers_alone_comes_close_to_the_exact_worst_case() -> None:
    table, y = cloud()
    exact, searched = attack(create_adapter("lr").fit(table, y), table, y), attack(Opaque().fit(table, y), table, y)
    assert exact is not None
    assert searched is not None
    assert searched.method == "decision_based"
    for eps, figure in exact.robust.items():
        assert figure <= searched.robust[eps] <= figure + 0.02


def test_a_threshold_falls_exactly_where_rows_lie_within_eps_of_it() -> None:
    """A tree of one split: a row breaks when its distance from the split is at most eps deviations."""
    x = np.random.default_rng(0).normal(0, 1, 300)
    table, y = pa.table({"x": x}), (x > 0).astype(int)
    adapter = create_adapter("xgb", n_estimators=1, max_depth=1).fit(table, y)
    found = attack(adapter, table, y)
    assert found is not None
    assert found.clean == 1.0
    for eps in (0.1, 0.25, 0.5):
        assert found.robust[f"{eps:g}"] == pytest.approx(float((np.abs(x) > eps * x.std()).mean()), abs=0.02)


def test_only_numbers_that_vary_and_are_not_sensitive_are_moved() -> None:
    table, y = cloud()
    adapter = create_adapter("lr").fit(table, y)
    reach = Reach.of(adapter, table, np.arange(300), sensitive=("b",))
    assert reach.columns == ("a", "c")
    moved = reach.at(np.ones(reach.step.shape) * 0.5)
    fixed = [i for i in range(moved.shape[1]) if i not in reach.movable]
    assert (moved[:, fixed] == reach.start[:, fixed]).all()
    assert (moved[:, reach.movable] != reach.start[:, reach.movable]).any()


def test_moves_stay_within_the_range_that_was_seen_and_missing_values_stay_missing() -> None:
    table, y = cloud()
    holed = table.set_column(0, "a", pa.array([None, *table["a"].to_pylist()[1:]], pa.float64()))
    for family in ("lr", "xgb"):
        adapter = create_adapter(family).fit(holed, y)
        reach = Reach.of(adapter, holed, np.arange(300))
        far = reach.at(np.full(reach.step.shape, 100.0))
        assert np.array_equal(far[0, 0], reach.start[0, 0], equal_nan=True)
        place = reach.movable
        assert (np.nanmax(far[1:, place], axis=0) == np.nanmax(reach.start[1:, place], axis=0)).all()


def test_a_model_without_movable_columns_or_answers_is_not_attacked() -> None:
    colour = np.random.default_rng(0).choice(["red", "blue"], 200)
    table = pa.table({"colour": colour})
    assert attack(create_adapter("lr").fit(table, colour == "red"), table, colour == "red") is None


@pytest.mark.parametrize(("kind", "says"), [(Masked, "exactly 0 at 100% of the rows"), (Misled, "by answers alone")])
def test_a_gradient_that_misleads_is_flagged_and_the_lower_figure_stands(kind: type[Sloped], says: str) -> None:
    table, y = cloud()
    exact = attack(create_adapter("lr").fit(table, y), table, y)
    found = attack(kind().fit(table, y), table, y, rows=300)
    assert exact is not None
    assert found is not None
    assert found.gradient_masking
    assert says in (found.why or "")
    assert found.robust["0.5"] <= exact.robust["0.5"] + 0.02


def test_an_attack_that_gets_weaker_as_it_grows_is_flagged() -> None:
    assert masking([0.4, 0.6], [0.7, 0.7], (0.1, 0.5), 0.0) == [
        "the gradient reaches 0.400 at eps 0.1 and only 0.600 at 0.5"
    ]


def test_a_figure_under_attack_above_the_clean_one_is_a_bug_and_said() -> None:
    with pytest.raises(Broken, match="better than the clean"):
        check(0.8, {"0.1": 0.81}, higher_is_better=True)
    with pytest.raises(Broken, match="better than the clean"):
        check(2.0, {"0.1": 1.9}, higher_is_better=False)


def test_a_regression_tree_is_driven_across_its_split() -> None:
    """Values 0 and 10 on two sides of 0: a row within eps of the split can be made wrong by 10, no other at all."""
    x = np.random.default_rng(0).normal(0, 1, 300)
    table, y = pa.table({"x": x}), np.where(x > 0, 10.0, 0.0)
    settings: dict[str, Any] = {"n_estimators": 1, "max_depth": 1, "learning_rate": 1.0, "reg_lambda": 0.0}
    found = attack(create_adapter("xgb", task="regression", **settings).fit(table, y), table, y)
    assert found is not None
    assert (found.metric, found.method) == ("mae", "decision_based")
    assert found.robust["0.25"] == pytest.approx(10 * float((np.abs(x) <= 0.25 * x.std()).mean()), abs=0.2)
    assert found.clean <= found.robust["0.1"] <= found.robust["0.25"] <= found.robust["0.5"]


def test_the_same_seed_finds_the_same_and_no_more_rows_are_judged_than_said() -> None:
    table, y = cloud(800)
    adapter = create_adapter("xgb", n_estimators=20).fit(table, y)
    first, again = (attack(adapter, table, y, seed=3, now=lambda: 0.0) for _ in range(2))
    assert first == again
    assert first is not None
    assert first.rows == 300


def test_an_attack_whose_time_is_up_says_so() -> None:
    table, y = cloud()
    adapter = create_adapter("xgb", n_estimators=5).fit(table, y)
    ticks = count()
    found = attack(adapter, table, y, now=lambda: float(next(ticks)), seconds=5)
    assert found is not None
    assert "its time was up" in (found.stopped or "")


def test_weights_count() -> None:
    table, y = cloud()
    adapter = create_adapter("lr").fit(table, y)
    right = adapter.predict(table) == y
    found = attack(adapter, table, y, weights=np.where(right, 2.0, 1.0))
    assert found is not None
    assert found.clean == pytest.approx(2 * right.sum() / (2 * right.sum() + (~right).sum()))


def test_labels_that_the_model_does_not_know_are_refused() -> None:
    table, y = cloud()
    with pytest.raises(Incompatible, match="does not know"):
        attack(create_adapter("lr").fit(table, y), table, y + 5)


def test_census_is_attacked_within_a_few_seconds() -> None:
    table = pq.read_table(ADULT).slice(0, 6000)
    features, y = table.drop_columns(["income", "split", "fnlwgt"]), table["income"]
    adapter = create_adapter("xgb", n_estimators=60).fit(features.slice(0, 3000), y.slice(0, 3000))
    found = attack(adapter, features.slice(3000), y.slice(3000).to_numpy(), sensitive=("sex", "race", "age"))
    assert found is not None
    assert "age" not in found.columns
    assert found.stopped is None
    assert found.clean > found.robust["0.5"]


def test_a_network_is_attacked_along_its_gradient() -> None:
    pytest.importorskip("torch")
    table, y = cloud(300, classes=3)
    found = attack(create_adapter("mlp", epochs=8).fit(table, y), table, y)
    assert found is not None
    assert found.method == "pgd"
    assert found.clean > found.robust["0.1"] > found.robust["0.5"]
    assert not found.gradient_masking


def waves(rows: int = 120) -> tuple[pa.Table, np.ndarray]:
    """Series of 3 to 6 steps whose mean decides; one step is missing, one number stands beside."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, 7, rows)
    level = random.normal(0, 1, rows)
    series = [(level[i] + 0.3 * random.normal(size=n)).tolist() for i, n in enumerate(lengths)]
    series[0][1] = None
    return pa.table({"s": series, "beside": random.normal(size=rows)}), (level > 0).astype(int)


def test_steps_of_a_series_move_and_neither_padding_nor_what_stands_beside() -> None:
    pytest.importorskip("torch")
    table, y = waves()
    adapter = create_adapter("rnn", epochs=4).fit(table, y)
    reach = Reach.of(adapter, table, np.arange(120))
    moved = reach.at(np.ones(reach.step.shape) * 0.2)
    changed = np.nan_to_num(moved - reach.start) != 0
    assert reach.columns == ("s",)
    assert np.array_equal(np.isnan(moved), np.isnan(reach.start))
    assert not changed[:, 1::2].any()
    assert not changed[0, 2]
    assert changed[1:, 0].mean() > 0.9
    found = attack(adapter, table, y)
    assert found is not None
    assert found.method == "pgd"
    assert found.robust["0.5"] < found.clean
