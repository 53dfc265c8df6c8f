"""Axes that are there only for some values of others: which they are in a configuration, and whether that makes sense.

Not here: the values that a configuration takes on its axes (``space``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import Incompatible
from contracts.specs import Json, SearchDimension

Space = dict[str, SearchDimension]


def active(axis: SearchDimension, config: Mapping[str, Any]) -> bool:
    """Say whether an axis is there: every axis that it hangs on is, with one of the values that it asks for.

    >>> axis = SearchDimension(kind="float", low=0, high=1, when={"penalty": ("elastic_net",)})
    >>> active(axis, {"penalty": "elastic_net"}), active(axis, {"penalty": "ridge"}), active(axis, {})
    (True, False, False)
    """
    return all(name in config and among(config[name], values) for name, values in (axis.when or {}).items())


def among(value: Any, values: tuple[Any, ...]) -> bool:
    """Say whether a value is one of several; ``1``, ``1.0`` and ``True`` are three.

    >>> among(True, (1, 2)), among(1, (1, 2))
    (False, True)
    """
    return any(type(value) is type(other) and value == other for other in values)


def settled(space: Mapping[str, SearchDimension], known: Json) -> Space:
    """Decide the conditions on settings that are no axes: an axis that they rule out goes, with what hangs on it.

    Args:
        space: Axes, with conditions on each other and on settings.
        known: The settings that a configuration has when no axis says otherwise.

    >>> axis = SearchDimension(kind="float", low=0, high=1, when={"kernel": ("rbf",)})
    >>> list(settled({"gamma": axis}, {"kernel": "linear"})), settled({"gamma": axis}, {"kernel": "rbf"})["gamma"].when
    ([], None)
    """
    left = dict(space)
    while gone := [name for name, axis in left.items() if _ruled_out(axis, left, known)]:
        left = {name: axis for name, axis in left.items() if name not in gone}
    return {name: _without(axis, left) for name, axis in left.items()}


def _ruled_out(axis: SearchDimension, space: Space, known: Json) -> bool:
    conditions = (axis.when or {}).items()
    return any(not among(known.get(name), values) for name, values in conditions if name not in space)


def _without(axis: SearchDimension, space: Space) -> SearchDimension:
    """Drop the conditions that are decided."""
    open_ = {name: values for name, values in (axis.when or {}).items() if name in space}
    return axis if open_ == (axis.when or {}) else axis.model_copy(update={"when": open_ or None})


def in_order(space: Space) -> Space:
    """Put every axis after those that it hangs on, and otherwise leave the order as it is.

    Raises:
        Incompatible: Axes hang on each other in a circle.
    """
    placed: Space = {}
    while len(placed) < len(space):
        ready = [name for name in space if name not in placed and set(space[name].when or {}) <= set(placed)]
        if not ready:
            circle = sorted(set(space) - set(placed))
            raise Incompatible(
                f"the conditions of {', '.join(circle)} go round in a circle; each waits for another", {"axes": circle}
            )
        placed[ready[0]] = space[ready[0]]
    return placed


def refuse_impossible(space: Space, known: Json) -> None:
    """Refuse conditions that can never hold, or on what nobody knows.

    Raises:
        Incompatible: A condition on an unknown setting, on a fraction, or on a value that is never taken.
    """
    for name, axis in space.items():
        for other, values in (axis.when or {}).items():
            if other in space:
                _refuse_off_axis(name, other, space[other], values)
            elif other not in known:
                raise Incompatible(f"{name} is there only for some {other!r}, and there is no such hyperparameter")
            elif not among(known[other], values):
                raise Incompatible(
                    f"{name} is there only when {other} is one of {list(values)}, but {other} is {known[other]!r} in "
                    f"every configuration; make {other} an axis, fix it to such a value, or drop {name}",
                    {"axis": name, "condition": other},
                )


def _refuse_off_axis(name: str, other: str, axis: SearchDimension, values: tuple[Any, ...]) -> None:
    if axis.kind == "float":
        raise Incompatible(
            f"{name} is there only for some values of {other}, an axis of fractions, which meets a value by chance; "
            "a condition is on a categorical or int axis",
            {"axis": name, "condition": other},
        )
    for value in values:
        if not on_axis(axis, value):
            raise Incompatible(
                f"{name} is there when {other} is {value!r}, which its axis never takes", {"axis": name, "value": value}
            )


def on_axis(axis: SearchDimension, value: Any) -> bool:
    """Say whether an axis takes a value.

    >>> on_axis(SearchDimension(kind="int", low=1, high=3), 2.0)
    True
    """
    if axis.kind == "categorical":
        return among(value, axis.choices or ())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    assert axis.low is not None  # the contract refuses an axis of numbers without ends
    assert axis.high is not None
    return axis.low <= value <= axis.high and (axis.kind == "float" or value == int(value))
