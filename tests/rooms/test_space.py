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


# Conditions

PENALTY = axis(kind="categorical", choices=("ridge", "lasso", "elastic_net"))
SHARE = axis(low=0.1, high=0.9, when={"penalty": ["elastic_net"]})


def linear(search_space: dict | None = None, **fixed: object) -> dict[str, SearchDimension]:
    wanted = ModelSpec(model_key="m", family="linear", task="regression", hyperparams=fixed)
    return space_of(wanted, Hpo(search_space=search_space))


def test_an_axis_with_a_condition_is_drawn_only_where_it_holds() -> None:
    space = linear({"l1_ratio": SHARE, "penalty": PENALTY})
    assert list(space) == ["penalty", "l1_ratio"]
    rng = np.random.default_rng(0)
    drawn = [draw(space, rng) for _ in range(100)]
    assert all(("l1_ratio" in point) == (point["penalty"] == "elastic_net") for point in drawn)
    assert {point["penalty"] for point in drawn} == set(PENALTY.choices or ())
    assert all(holds(space, point) for point in drawn)


def test_a_grid_has_no_two_points_that_differ_only_in_an_axis_that_is_not_there() -> None:
    points = grid(linear({"penalty": PENALTY, "l1_ratio": SHARE}), {})
    assert len(points) == 2 + 5
    assert [sorted(point) for point in points[:2]] == [["penalty"], ["penalty"]]


def test_a_configuration_with_an_axis_that_is_not_there_is_not_of_the_space() -> None:
    space = linear({"penalty": PENALTY, "l1_ratio": SHARE})
    assert not holds(space, {"penalty": "ridge", "l1_ratio": 0.5})
    assert not holds(space, {"penalty": "elastic_net"})
    assert project(space, {"penalty": "ridge", "l1_ratio": 0.5}) == {"penalty": "ridge"}
    assert project(space, {"penalty": "elastic_net", "l1_ratio": 0.5}) == {"penalty": "elastic_net", "l1_ratio": 0.5}


def test_conditions_may_hang_on_conditions() -> None:
    space = {
        "a": axis(kind="int", low=1, high=2),
        "b": axis(kind="int", low=1, high=2, when={"a": [2]}),
        "c": axis(kind="int", low=1, high=2, when={"b": [1]}),
    }
    assert grid(space, {}) == [{"a": 1}, {"a": 2, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 2}, {"a": 2, "b": 2}]


def test_the_familys_own_conditions_are_decided_by_fixed_settings() -> None:
    assert linear()["l1_ratio"].when == {"penalty": ("elastic_net",)}
    assert linear(penalty="elastic_net")["l1_ratio"].when is None
    assert "l1_ratio" not in linear(penalty="ridge")
    assert "gamma" in space_of(spec("svm"), Hpo())
    assert "gamma" not in space_of(spec("svm", kernel="linear"), Hpo())


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"l1_ratio": SHARE}, "penalty is 'ridge' in every configuration"),
        ({"l1_ratio": axis(low=0.1, high=0.9, when={"penalties": ["ridge"]})}, "no such hyperparameter"),
        ({"penalty": PENALTY, "l1_ratio": axis(low=0.1, high=0.9, when={"penalty": ["none"]})}, "its axis never takes"),
        ({"alpha": axis(low=0.1, high=1), "tol": axis(low=0.1, high=1, when={"alpha": [0.5]})}, "axis of fractions"),
        (
            {
                "penalty": axis(kind="categorical", choices=("ridge", "lasso"), when={"max_iter": [5]}),
                "max_iter": axis(kind="int", low=5, high=9, when={"penalty": ["ridge"]}),
            },
            "round in a circle",
        ),
    ],
)
def test_conditions_that_cannot_be_are_refused(asked: dict, complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        linear(asked)


def test_a_condition_without_values_is_refused_by_the_contract() -> None:
    with pytest.raises(ValueError, match=r"when\.penalty is empty"):
        axis(low=0, high=1, when={"penalty": []})
