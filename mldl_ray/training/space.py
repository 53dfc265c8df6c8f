"""What a search may try: the axes that are left when fixed settings are taken out, and configurations on them.

Not here: in which order configurations are tried, and which of them wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from contracts.errors import Incompatible
from contracts.specs import Hpo, Json, ModelSpec, SearchDimension
from mldl_ray.adapters import adapter_class
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.training.conditions import Space, active, in_order, on_axis, refuse_impossible, settled

GRID_POINTS = 5
"""Values that a grid takes on an axis of numbers for which nobody says which."""


def space_of(spec: ModelSpec, hpo: Hpo) -> Space:
    """Give the axes of a search under the settings' own names: those asked for, else the family's, less what is fixed.

    An axis comes after those that it hangs on. Conditions on settings that no axis moves are decided here.

    Raises:
        Incompatible: An axis that the family does not have, that is fixed as well, with values out of range, or with a
            condition that cannot be.
    """
    family = adapter_class(spec.family)
    known = family(spec.model_key, task=spec.task, **spec.hyperparams).hyperparams
    fixed = {canonical(family, name) for name in spec.hyperparams}
    if hpo.search_space is None:
        return in_order(settled({n: axis for n, axis in family.search_space().items() if n not in fixed}, known))
    space: Space = {}
    for given, axis in hpo.search_space.items():
        name = canonical(family, given)
        if name in fixed:
            raise Incompatible(
                f"{given} is in hpo.search_space and fixed in spec.hyperparams; drop one", {"hyperparam": given}
            )
        if name in space:
            raise Incompatible(f"hpo.search_space has {name} twice, once as {given!r}", {"hyperparam": given})
        space[name] = _with_own_names(family, axis)
        for value in ends(axis):
            family(spec.model_key, task=spec.task, **(spec.hyperparams | {given: value}))
    refuse_impossible(space, known)
    return in_order(settled(space, known))


def _with_own_names(family: type[BaseModelAdapter], axis: SearchDimension) -> SearchDimension:
    if axis.when is None:
        return axis
    return axis.model_copy(update={"when": {canonical(family, name): values for name, values in axis.when.items()}})


def canonical(family: type[BaseModelAdapter], name: str) -> str:
    """Give a setting's own name for one of its aliases; an unknown name stays, to be refused by the family.

    >>> canonical(adapter_class("xgb"), "eta")
    'learning_rate'
    """
    return next((setting.name for setting in family.settings if name in setting.aliases), name)


def ends(axis: SearchDimension) -> tuple[Any, ...]:
    """Give the values that show whether a family takes an axis: its ends, or all of its choices."""
    if axis.kind == "categorical":
        return axis.choices or ()
    low, high = _bounds(axis)
    return (_number(axis, low), _number(axis, high))


def holds(space: Space, config: Mapping[str, Any]) -> bool:
    """Say whether a configuration has exactly the axes that are there for it, with values on them.

    >>> holds({"C": SearchDimension(kind="float", low=0.1, high=10)}, {"C": 20.0})
    False
    """
    there = {name for name, axis in space.items() if active(axis, config)}
    return set(config) == there and all(on_axis(space[name], value) for name, value in config.items())


def project(space: Space, settings: Mapping[str, Any]) -> Json | None:
    """Take from settings what the axes need; None when one is missing or off its axis."""
    config: Json = {}
    for name, axis in space.items():
        if active(axis, config) and name in settings:
            config[name] = settings[name]
    return config if holds(space, config) else None


def draw(space: Space, rng: np.random.Generator) -> Json:
    """Draw a configuration, uniformly on each axis that is there or on its logarithm."""
    config: Json = {}
    for name, axis in space.items():
        if active(axis, config):
            config[name] = _draw(axis, rng)
    return config


def grid(space: Space, values: Mapping[str, Iterable[Any]]) -> list[Json]:
    """List the combinations of the axes' values: those given by the family where they lie on the axis, else a few.

    >>> len(grid({"C": SearchDimension(kind="float", low=1e-3, high=1e3, log=True)}, {}))
    5
    """
    points: list[Json] = [{}]
    for name, axis in space.items():
        own = [value for value in values.get(name, ()) if on_axis(axis, value)] or _few(axis)
        points = [more for point in points for more in _with(point, name, own if active(axis, point) else ())]
    return points


def _with(point: Json, name: str, values: Sequence[Any]) -> list[Json]:
    """Give a configuration with each of the values, or as it is where there are none."""
    return [point | {name: value} for value in values] or [point]


def _draw(axis: SearchDimension, rng: np.random.Generator) -> Any:
    if axis.kind == "categorical":
        choices = axis.choices or ()
        return choices[int(rng.integers(len(choices)))]
    low, high = _bounds(axis)
    if axis.kind == "int" and not axis.log:
        return int(rng.integers(int(low), int(high), endpoint=True))
    at = rng.random()
    return _number(axis, low * (high / low) ** at if axis.log else low + (high - low) * at)


def _few(axis: SearchDimension) -> list[Any]:
    if axis.kind == "categorical":
        return list(axis.choices or ())
    low, high = _bounds(axis)
    if axis.kind == "int" and high - low < GRID_POINTS:
        return list(range(int(low), int(high) + 1))
    points = np.geomspace(low, high, GRID_POINTS) if axis.log else np.linspace(low, high, GRID_POINTS)
    return list(dict.fromkeys(_number(axis, float(point)) for point in points))


def _number(axis: SearchDimension, value: float) -> float | int:
    low, high = _bounds(axis)
    if axis.kind == "int":
        return int(min(max(round(value), math.ceil(low)), math.floor(high)))
    return min(max(float(value), low), high)


def _bounds(axis: SearchDimension) -> tuple[float, float]:
    assert axis.low is not None  # the contract refuses an axis of numbers without ends
    assert axis.high is not None
    return axis.low, axis.high
