"""What a search may try, and the configurations it begins with."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.errors import Incompatible
from contracts.specs import Hpo, ModelSpec, SearchDimension
from mldl_ray.training.space import draw, grid, holds, project, space_of


def spec(family: str = "xgb", **fixed: object) -> ModelSpec:
    return ModelSpec(model_key="m", family=family, hyperparams=fixed)


def axis(**parts: object) -> SearchDimension:
    return SearchDimension.model_validate({"kind": "float"} | parts)


def test_fixed_settings_are_no_axes_by_any_of_their_names() -> None:
    assert "learning_rate" in space_of(spec(), Hpo())
    assert "learning_rate" not in space_of(spec(eta=0.1), Hpo())
    assert "n_estimators" not in space_of(spec(num_boost_round=50), Hpo())


def test_axes_that_were_asked_for_replace_the_familys_own() -> None:
    found = space_of(spec(), Hpo(search_space={"eta": axis(low=0.1, high=0.2)}))
    assert list(found) == ["learning_rate"]


@pytest.mark.parametrize(
    ("fixed", "asked", "complaint"),
    [
        ({"eta": 0.1}, {"learning_rate": axis(low=0.1, high=0.2)}, "fixed in spec.hyperparams"),
        ({}, {"depth": axis(low=1, high=2)}, "no hyperparameter 'depth'"),
        ({}, {"learning_rate": axis(low=0.1, high=2)}, "learning_rate of xgb is 2.0"),
        ({}, {"eta": axis(low=0.1, high=0.2), "learning_rate": axis(low=0.1, high=0.2)}, "twice"),
        ({}, {"grow_policy": axis(kind="categorical", choices=("depthwise", "sideways"))}, "'sideways'"),
    ],
)
def test_axes_that_cannot_be_are_refused(fixed: dict, asked: dict, complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        space_of(spec(**fixed), Hpo(search_space=asked))


def test_drawn_configurations_lie_on_their_axes() -> None:
    space = space_of(spec(), Hpo()) | {"kind": axis(kind="categorical", choices=("a", None))}
    rng = np.random.default_rng(0)
    assert all(holds(space, draw(space, rng)) for _ in range(200))


def test_draws_on_a_logarithmic_axis_are_even_in_the_exponent() -> None:
    space = {"C": axis(low=1e-4, high=1e4, log=True)}
    rng = np.random.default_rng(0)
    values = [draw(space, rng)["C"] for _ in range(2000)]
    assert 0.45 < np.mean([value < 1 for value in values]) < 0.55


def test_a_grid_takes_given_values_that_lie_on_the_axis_and_spreads_a_few_elsewhere() -> None:
    space = {"C": axis(low=0.01, high=1, log=True), "n": axis(kind="int", low=1, high=3)}
    assert len(grid(space, {"C": (0.1, 10.0)})) == 3
    assert [point["n"] for point in grid({"n": space["n"]}, {})] == [1, 2, 3]
    assert [round(point["C"], 4) for point in grid({"C": space["C"]}, {})] == [0.01, 0.0316, 0.1, 0.3162, 1.0]


def test_settings_from_elsewhere_are_used_only_where_they_fit() -> None:
    space = {"C": axis(low=0.1, high=1)}
    assert project(space, {"C": 0.5, "tol": 1.0}) == {"C": 0.5}
    assert project(space, {"C": 5.0}) is None
    assert project(space, {"tol": 1.0}) is None
