"""The settings of a family: their names, types, ranges, defaults, and which of them a search may move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from contracts.errors import Incompatible
from contracts.specs import SearchDimension

LONGEST_TEXT = 200
"""Characters of a text setting at most: it names something, and is no document."""


@dataclass(frozen=True)
class Hyperparam:
    """One setting. ``aliases`` are other names in common use; ``search`` and ``grid`` say how a search moves it.

    A ``text`` may be absent (None) only where that is its default.
    """

    name: str
    kind: Literal["float", "int", "bool", "choice", "text"]
    default: Any
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # low itself is excluded
    choices: tuple[Any, ...] = ()
    aliases: tuple[str, ...] = ()
    search: SearchDimension | None = None
    grid: tuple[Any, ...] = ()

    def read(self, family: str, value: Any) -> Any:
        """Give the value in its own type.

        Raises:
            Incompatible: Another type, not finite, or out of range.

        >>> Hyperparam("max_depth", "int", 6, low=0).read("xgb", 4.0)
        4
        """
        if self.kind == "choice":
            if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in self.choices):
                raise self._wrong(family, value, f"one of {', '.join(map(repr, self.choices))}")
            return value
        if self.kind == "bool":
            if not isinstance(value, bool):
                raise self._wrong(family, value, "true or false")
            return value
        return self._text(family, value) if self.kind == "text" else self._number(family, value)

    def _text(self, family: str, value: Any) -> str | None:
        if value is None and self.default is None:
            return None
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.strip()) <= LONGEST_TEXT:
            raise self._wrong(family, value, f"a printable text of 1 to {LONGEST_TEXT} characters")
        return value.strip()

    def _number(self, family: str, value: Any) -> float | int:
        whole = self.kind == "int"
        wanted = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(family, value, wanted)
        if not math.isfinite(value) or (whole and value != int(value)):
            raise self._wrong(family, value, f"{wanted}, finite")
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise self._wrong(family, value, f"{wanted} {'above' if self.above else 'from'} {self.low} to {self.high}")
        return int(value) if whole else float(value)

    def _wrong(self, family: str, value: Any, wanted: str) -> Incompatible:
        return Incompatible(
            f"hyperparameter {self.name} of {family} is {value!r} ({type(value).__name__}); expected {wanted}",
            {"hyperparam": self.name, "family": family},
        )


def read_all(family: str, known: Sequence[Hyperparam], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give every setting of a family its value: what was given, else its default.

    Raises:
        Incompatible: An unknown name (those known are listed), a name twice through an alias, or a wrong value.

    >>> read_all("xgb", [Hyperparam("learning_rate", "float", 0.3, aliases=("eta",))], {"eta": 0.1})
    {'learning_rate': 0.1}
    """
    by_name = {name: setting for setting in known for name in (setting.name, *setting.aliases)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        setting = by_name.get(name)
        if setting is None:
            names = ", ".join(setting.name for setting in known)
            raise Incompatible(
                f"{family} has no hyperparameter {name!r}; it has: {names}", {"hyperparam": name, "family": family}
            )
        if setting.name in values:
            raise Incompatible(f"hyperparameter {setting.name} of {family} is given twice, once as {name!r}")
        values[setting.name] = setting.read(family, value)
    return {setting.name: values.get(setting.name, setting.default) for setting in known}
