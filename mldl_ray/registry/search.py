"""Which versions a search means, and in which order. Pure; not here: the columns, and what only governance knows."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Incompatible
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.registry.columns import Rows
from mldl_ray.registry.index import NUMBER, PLACES, Index, Mask
from mldl_ray.registry.semver import Number

MOST = 500
ORDERS = ("model", "created", "version")
_BOUND = re.compile(r"([A-Za-z0-9_.@]{1,64}?) ?(>=|<=) ?(-?\d{0,15}\.?\d{1,17}(?:[eE][+-]?\d{1,3})?)")
_TEXTS = ("model", "version", "family", "task", "dataset")


class Bound(NamedTuple):
    """What a figure must reach, or must not exceed.

    >>> Bound.of("ece<=0.05")
    Bound(figure='ece', at_least=False, value=0.05)
    """

    figure: str
    at_least: bool
    value: float

    @classmethod
    def of(cls, text: str) -> Bound:
        """Read ``figure>=number`` or ``figure<=number``.

        Raises:
            Incompatible: It is of another form.
        """
        found = _BOUND.fullmatch(text.strip())
        if found is None:
            raise Incompatible(f"bound {text[:100]!r} is not figure>=number or figure<=number, as in ece<=0.05")
        return cls(found[1], found[2] == ">=", float(found[3]))


@dataclass(frozen=True)
class Query:
    """What to look for; everything that is given must hold.

    Args:
        task: Exactly this one.
        family: Exactly this one.
        tags: All of them.
        min_metrics: Metric → a value that the version's figure is at least as good as: at least it, or at most it for
            metrics whose lower values are better (logloss, rmse…).
        text: Words that all occur somewhere in key, version, family, task, tags or data set; case does not matter.
        model_key: Of this model only.
        bounds: Of metrics, and of what ``index.PLACES`` names; a version without the figure is not meant.
        calibration: Calibrated by this method; ``none`` for those that were not.
        serving: Only those that take traffic, or only others.
        sort: ``model`` (by key and number), ``created``, ``version`` or a figure; with ``-`` before it, from the top.

    Raises:
        Incompatible: A figure that no version has.
    """

    task: str | None = None
    family: str | None = None
    tags: Sequence[str] = ()
    min_metrics: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    model_key: str | None = None
    bounds: Sequence[Bound] = ()
    calibration: str | None = None
    serving: bool | None = None
    sort: str = "model"

    def __post_init__(self) -> None:
        asked = {*self.min_metrics, *(bound.figure for bound in self.bounds)}
        if (sort := self.sort.removeprefix("-")) not in ORDERS:
            asked.add(sort)
        if unknown := sorted(asked - METRICS.keys() - PLACES.keys()):
            known = ", ".join(sorted({*METRICS, *PLACES}))
            raise Incompatible(f"no evaluation reports {', '.join(unknown)}; there are: {known}", {"unknown": unknown})

    def every_bound(self) -> Iterator[Bound]:
        """Give the bounds, those of ``min_metrics`` in the direction of their metric too."""
        yield from self.bounds
        for name, value in self.min_metrics.items():
            at_least = METRICS[name].higher_is_better if name in METRICS else True
            yield Bound(name, at_least, value)


def meant(index: Index, query: Query, *, as_of: int | None = None) -> Mask:
    """Mark the rows that a query means, now or after a position."""
    found = index.alive(as_of)
    for name, text in (("model", query.model_key), ("task", query.task), ("family", query.family)):
        found &= _named(index, name, text)
    found &= _named(index, "calibration", query.calibration)
    for tag in dict.fromkeys(query.tags):
        found &= _holding(index, [] if (code := index.names["tag"].find(tag)) is None else [code])
    for bound in query.every_bound():
        figure = index.figure(bound.figure)
        found &= figure >= bound.value if bound.at_least else figure <= bound.value
    if query.serving is not None:
        found &= index.serving(as_of) == query.serving
    for word in (query.text or "").casefold().split():
        found &= _saying(index, word)
    return found


def ordered(index: Index, rows: Rows, sort: str, *, after: str = "", most: int = MOST) -> Iterator[int]:
    """Yield rows in order, from after a version, ``most`` at a time being sorted.

    Args:
        index: The versions.
        rows: Those that are meant.
        sort: See ``Query``.
        after: The last version seen, as ``<model_key>@<version>``, even if it is gone by now.
        most: How many are likely to be taken.

    Raises:
        Incompatible: ``after`` is of another form, or no version that ever was (it may be for ``sort="model"``).
    """
    columns = _columns(index, sort)
    if after:
        rows = rows[_beyond([column[rows] for column in columns], _place(index, sort, columns, after))]
    while len(rows):
        first = rows
        if len(rows) > most:
            lead = columns[0][rows]
            first = rows[lead <= np.partition(lead, most - 1)[most - 1]]
        order = np.lexsort([column[first] for column in reversed(columns)])
        yield from first[order].tolist()
        if len(first) == len(rows):
            return
        rows = rows[columns[0][rows] > columns[0][first].max()]
        most *= 4


def check_limit(limit: int) -> int:
    """Refuse a page of no rows or of too many.

    Raises:
        Incompatible: Not within 1 to 500.
    """
    if not 1 <= limit <= MOST:
        raise Incompatible(f"limit {limit} must be between 1 and {MOST}; ask for more with after")
    return limit


def _named(index: Index, name: str, text: str | None) -> Mask | np.bool_:
    if text is None:
        return np.True_
    code = index.names[name].find(text)
    return np.False_ if code is None else index.code(name) == code


def _holding(index: Index, tags: Sequence[int]) -> Mask:
    found = np.zeros(len(index), dtype=np.bool_)
    found[index.tags.rows(tags)] = True
    return found


def _saying(index: Index, word: str) -> Mask:
    found = _holding(index, index.names["tag"].containing(word))
    for name in _TEXTS:
        if codes := index.names[name].containing(word):
            table = np.zeros(len(index.names[name].texts), dtype=np.bool_)
            table[codes] = True
            found |= table[index.code(name)]
    return found


def _columns(index: Index, sort: str) -> list[NDArray[Any]]:
    """Give what rows are compared by, first things first; a version without the figure comes last either way."""
    name, sign = sort.removeprefix("-"), -1 if sort.startswith("-") else 1
    model: NDArray[Any] = _ranks(index)[index.code("model")]
    number: list[NDArray[Any]] = [index.code(part) for part in NUMBER]
    if name == "model":
        return [sign * model, *(sign * part for part in number)]
    if name == "version":
        return [*(sign * part for part in number), model]
    if name == "created":
        return [sign * index.place("made"), model, *number]
    figure = sign * index.figure(name)
    return [np.where(np.isnan(figure), np.inf, figure), model, *number]


def _ranks(index: Index) -> NDArray[np.int64]:
    """Give each model's place in the order of keys, times two: between two there is a place for one that is gone."""
    texts = index.names["model"].texts
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts)) * 2
    return ranks


def _place(index: Index, sort: str, columns: Sequence[NDArray[Any]], after: str) -> list[Any]:
    model_key, _, version = after.partition("@")
    if not model_key or not version:
        raise Incompatible(f"after {after!r} must be the last version seen, as income@1.0.0")
    number, row = Number.of(version), index.newest(after)
    if row is not None:
        return [column[row] for column in columns]
    if sort.removeprefix("-") != "model":
        raise Incompatible(f"after {after!r} is no version that ever was; begin again without it")
    code = index.names["model"].find(model_key)
    before = 2 * bisect_left(sorted(index.names["model"].texts), model_key) - 1
    rank = before if code is None else int(_ranks(index)[code])
    return [-part if sort.startswith("-") else part for part in (rank, *number)]


def _beyond(columns: Sequence[NDArray[Any]], place: Sequence[Any]) -> Mask:
    beyond, same = np.zeros(len(columns[0]), dtype=np.bool_), np.ones(len(columns[0]), dtype=np.bool_)
    for column, value in zip(columns, place, strict=True):
        beyond |= same & (column > value)
        same &= column == value
    return beyond
