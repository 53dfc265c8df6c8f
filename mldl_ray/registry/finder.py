"""Finding versions: the index of a journal, opened once, followed before every answer. Safe on several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from heapq import nsmallest
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contracts.errors import Broken
from contracts.ports import Journal
from mldl_ray.registry import checkpoint
from mldl_ray.registry.index import Index, Moment
from mldl_ray.registry.search import Query, meant, ordered

_LEAST_CHANGES = 2000
_SHARE_OF_ROWS = 0.05


class Found(NamedTuple):
    """A version that was found: its key, who registered it, whether anybody said a word on it, and since when."""

    key: str
    registered_by: str
    spoken_of: bool
    aliases: tuple[str, ...] = ()
    moment: Moment = (0, 0, 0)


class Model(NamedTuple):
    """A model that was found: its highest number, how many versions it has, on how many nobody said a word."""

    newest: Found
    versions: int
    silent: int
    aliases: dict[str, str | None]


class Finder:
    """Answer from an index of the versions.

    Args:
        journal: The truth.
        folder: Where the index is kept between restarts; nowhere when None.
    """

    def __init__(self, journal: Journal, folder: Path | None = None) -> None:
        self._journal, self._folder = journal, folder
        self._lock = threading.RLock()
        self._index: Index | None = None
        self._unsaved = 0

    def find(
        self,
        query: Query,
        *,
        after: str = "",
        limit: int = 50,
        as_of: int | None = None,
        spoken_of: bool | None = None,
        keep: Callable[[Found], bool] = lambda _: True,
        enough: Callable[[], bool] = lambda: False,
    ) -> list[Found]:
        """List versions in the order that the query asks for.

        Args:
            query: What is meant.
            after: The last version seen, as ``<model_key>@<version>``.
            limit: Most.
            as_of: After which position of the journal; now when None.
            spoken_of: Only versions on which somebody said a word, or only others.
            keep: Leaves out more; asked in order, no more often than needed.
            enough: Ends it before; asked between two versions.
        """
        with self.current() as index:
            marks = meant(index, query, as_of=as_of)
            spoken = index.spoken_of(as_of)
            if spoken_of is not None:
                marks &= spoken == spoken_of
            rows = ordered(index, np.flatnonzero(marks), query.sort, after=after, most=limit)
            aliases = cache(index.aliases)
            found = (_found(index, row, bool(spoken[row]), aliases) for row in takewhile(lambda _: not enough(), rows))
            return list(islice(filter(keep, found), limit))

    def numbers(self, model_key: str) -> tuple[str | None, set[str]]:
        """Give the highest number of a model, and those that its versions ever had."""
        with self.current() as index:
            return index.latest(model_key), index.taken(model_key)

    def aliases(self, model_key: str) -> dict[str, str | None]:
        """Say where each alias of a model leads now; None where it leads nowhere."""
        with self.current() as index:
            return index.aliases(model_key)

    def models(
        self, *, model_key: str | None = None, text: str | None = None, after: str = "", limit: int = 50
    ) -> list[Model]:
        """List the models that have a version now, by key.

        Args:
            model_key: This one only.
            text: What their keys hold, whatever its case.
            after: The last key seen.
            limit: Most.
        """
        with self.current() as index:
            alive = index.alive(None)
            codes, counts = np.unique(index.code("model")[alive], return_counts=True)
            silent = np.bincount(
                index.code("model")[alive & ~index.spoken_of(None)], minlength=len(index.names["model"].texts)
            )
            keys = {index.names["model"].texts[code]: place for place, code in enumerate(codes.tolist())}
            wanted = (key for key in keys if key > after and model_key in {None, key})
            meant = (key for key in wanted if text is None or text.casefold() in key.casefold())
            return [
                Model(_newest(index, key), int(counts[keys[key]]), int(silent[codes[keys[key]]]), index.aliases(key))
                for key in nsmallest(limit, meant)
            ]

    @contextmanager
    def current(self) -> Iterator[Index]:
        """Give the index as the journal is now; nobody else changes it meanwhile."""
        with self._lock:
            if self._index is None:
                self._index = Index() if self._folder is None else checkpoint.load(self._folder, self._journal)
            self._unsaved += self._index.follow(self._journal)
            self._save(self._index)
            yield self._index

    def _save(self, index: Index) -> None:
        if self._folder is not None and self._unsaved > max(_LEAST_CHANGES, _SHARE_OF_ROWS * len(index)):
            checkpoint.save(index, self._folder)
            self._unsaved = 0


def _newest(index: Index, model_key: str) -> Found:
    row = index.newest(f"{model_key}@{index.latest(model_key)}")
    if row is None:
        raise Broken(f"the index of versions knows {model_key} and none of its versions; restart the registry")
    return _found(index, row, bool(index.spoken_of(None)[row]), index.aliases)


def _found(index: Index, row: int, spoken_of: bool, aliases_of: Callable[[str], dict[str, str | None]]) -> Found:
    model_key, version = index.model_key(row), index.version(row)
    aliases = tuple(alias for alias, leads_to in aliases_of(model_key).items() if leads_to == version)
    key = f"{model_key}@{version}"
    return Found(key, index.registrar(row), spoken_of, aliases, index.moment(row))
