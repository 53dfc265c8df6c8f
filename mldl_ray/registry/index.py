"""Every registered version as columns in memory, kept current from the journal by position.

The journal is the truth and this follows it: whoever wrote there (a registration, an approval, a restored snapshot),
the next ``follow`` sees it. A row is one state of one version, alive from the position that wrote it to the one that
changed or withdrew it, so that any moment of the past is answered by the same columns. Not here: what is searched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.aliases import CANDIDATE, LATEST, STABLE
from contracts.ports import Document, Journal
from contracts.rollouts import LIVE_STATES
from contracts.specs import Json
from mldl_ray.registry.catalog import ALIAS
from mldl_ray.registry.columns import Column, Names, Postings
from mldl_ray.registry.semver import Number

RULES = ("policy", "api_key")
"""Kinds that decide which words count, for every version."""
KINDS = ("model_version", "endpoint", "deployment", "approval", ALIAS, *RULES)
NEVER = np.iinfo(np.int64).max
PAGE = 5000
Mask = NDArray[np.bool_]
NAMED = ("model", "task", "family", "dataset", "version", "parent", "calibration", "actor", "tag")
"""What is kept as codes of names."""
NUMBER = ("major", "minor", "patch")
SMALL = ("model", "task", "family", "dataset", "version", "parent", "calibration", "actor", *NUMBER)
PLACES_IN_TIME = {"begin": 0, "end": NEVER, "made": 0, "spoken": NEVER}
"""Positions at which a state began and ended, its version was registered, and somebody first said a word on it."""
_UNKNOWN = -1
Past = list[tuple[int, str | None]]
Moment = tuple[int, int, int]
"""Positions of a version's state, of the last word on it, and of the last change to policies and keys."""


class Index:
    """Follow the versions of a journal; not safe on several threads at once."""

    def __init__(self) -> None:
        self.position = 0
        self.last: Json | None = None
        self.names = {name: Names() for name in NAMED}
        self.small: dict[str, Column[np.int32]] = {name: Column(np.dtype(np.int32)) for name in SMALL}
        self.places: dict[str, Column[np.int64]] = {
            name: Column(np.dtype(np.int64), fill=fill) for name, fill in PLACES_IN_TIME.items()
        }
        self.figures: dict[str, Column[np.float64]] = {}
        self.tags = Postings()
        self.served: dict[str, Past] = {}
        self.rollouts: dict[str, Past] = {}
        self.named: dict[str, Past] = {}
        self.words: dict[str, int] = {}
        self.said: dict[str, int] = {}
        self.ruled = 0
        self._newest: dict[int, int] = {}
        self._latest: dict[int, int] = {}
        self._own: dict[str, dict[str, Past]] = {}
        self._goals: dict[str, list[Past]] = {}

    def __len__(self) -> int:
        return len(self.places["begin"])

    @property
    def size_bytes(self) -> int:
        """Say what the columns hold in memory; the names' texts and two dictionaries are beside that."""
        whole = sum(column.size_bytes for column in self.small.values())
        whole += sum(column.size_bytes for column in self.places.values())
        return whole + sum(column.size_bytes for column in self.figures.values()) + self.tags.size_bytes

    def settle(self) -> None:
        """Find the newest state of each version and the highest number of each model anew, from the columns."""
        self._newest = dict(zip(self.identities().tolist(), range(len(self)), strict=True))
        rows = np.flatnonzero(self.alive(None))
        model = self.code("model")[rows]
        order = np.lexsort((*(self.code(name)[rows] for name in reversed(NUMBER)), model))
        self._latest = dict(zip(model[order].tolist(), rows[order].tolist(), strict=True))  # the last one stays
        self._own, self._goals = {}, {}
        for key, past in self.named.items():
            self._file_alias(key, past)
        for past in self.rollouts.values():
            if goal := next((goal for _, goal in past if goal), None):
                self._goals.setdefault(goal.partition("@")[0], []).append(past)

    def follow(self, journal: Journal) -> int:
        """Take in what was written since; give how many documents that was."""
        until, taken = journal.position(), 0
        while self.position < until and (page := journal.changes(KINDS, after=self.position, limit=PAGE)):
            for document in page:
                self.take(document)
            last = page[-1]
            self.last = {"position": last.position, "kind": last.kind, "key": last.key, "at_s": last.at_s}
            self.position, taken = last.position, taken + len(page)
        self.position = max(self.position, until)
        return taken

    def code(self, name: str) -> NDArray[np.int32]:
        """Give a column of codes, or a part of the number."""
        return self.small[name].values

    def place(self, name: str) -> NDArray[np.int64]:
        """Give a column of positions."""
        return self.places[name].values

    def identities(self) -> NDArray[np.int64]:
        """Give one number a version, whatever its states."""
        return (self.code("model").astype(np.int64) << 32) | self.code("version")

    def figure(self, name: str) -> NDArray[np.float64]:
        """Give a column of figures; NaN where a version has none."""
        column = self.figures.get(name)
        if column is None:
            return np.full(len(self), np.nan)
        column.reach(len(self))
        return column.values

    def alive(self, as_of: int | None) -> Mask:
        """Say which rows hold now, or held after a position."""
        if as_of is None:
            now: Mask = self.place("end") == NEVER
            return now
        begun: Mask = self.place("begin") <= as_of
        return begun & (self.place("end") > as_of)

    def key(self, row: int) -> str:
        """Give the key of a row's version."""
        return f"{self.model_key(row)}@{self.version(row)}"

    def model_key(self, row: int) -> str:
        """Give the model of a row."""
        return self.names["model"].texts[int(self.code("model")[row])]

    def version(self, row: int) -> str:
        """Give the number of a row."""
        return self.names["version"].texts[int(self.code("version")[row])]

    def registrar(self, row: int) -> str:
        """Give who registered a row's version."""
        return self.names["actor"].texts[int(self.code("actor")[row])]

    def newest(self, key: str) -> int | None:
        """Give the row of the newest state of a version, a withdrawn one too."""
        model_key, _, version = key.partition("@")
        model, number = self.names["model"].find(model_key), self.names["version"].find(version)
        return None if model is None or number is None else self._newest.get((model << 32) | number)

    def latest(self, model_key: str) -> str | None:
        """Give the highest number of a model now."""
        model = self.names["model"].find(model_key)
        row = None if model is None else self._latest.get(model)
        if row == _UNKNOWN:
            rows = np.flatnonzero((self.code("model") == model) & self.alive(None)).tolist()
            row = max(rows, key=self.number, default=None)
            self._remember(model or 0, row)
        return None if row is None else self.version(row)

    def taken(self, model_key: str) -> set[str]:
        """Give the numbers that a model's versions ever had."""
        code = self.names["model"].find(model_key)
        rows = () if code is None else np.flatnonzero(self.code("model") == code)
        return {self.version(int(row)) for row in rows}

    def number(self, row: int) -> Number:
        """Give the number of a row, to compare."""
        return Number(*(int(self.code(name)[row]) for name in ("major", "minor", "patch")))

    def stable(self, model_key: str, as_of: int | None = None) -> str | None:
        """Give the version that an endpoint is to serve."""
        return _at(self.served.get(model_key, ()), as_of)

    def candidate(self, model_key: str) -> str | None:
        """Give the version that goes through the newest live rollout and is not stable yet."""
        stable = self.stable(model_key)
        goals = (_at(past, None) for past in reversed(self._goals.get(model_key, [])))
        versions = (goal.partition("@")[2] for goal in goals if goal is not None)
        return next((version for version in versions if version != stable), None)

    def aliases(self, model_key: str) -> dict[str, str | None]:
        """Say where each alias of a model leads now."""
        derived = {LATEST: self.latest(model_key), STABLE: self.stable(model_key), CANDIDATE: self.candidate(model_key)}
        own = sorted(self._own.get(model_key, {}).items())
        return derived | {alias: _at(past, None) for alias, past in own}

    def serving(self, as_of: int | None) -> Mask:
        """Mark the versions that take traffic: stable ones, and those of live rollouts."""
        stable = (f"{model}@{goal}" for model, past in self.served.items() if (goal := _at(past, as_of)))
        keys = {*stable, *filter(None, (_at(past, as_of) for past in self.rollouts.values()))}
        rows = [row for row in map(self.newest, keys) if row is not None]
        if as_of is not None:
            identities = self.identities()
            return np.isin(identities, identities[rows])
        marks = np.zeros(len(self), dtype=np.bool_)
        marks[rows] = True
        return marks

    def spoken_of(self, as_of: int | None) -> Mask:
        """Mark the versions on which anybody had said a word."""
        return self.place("spoken") <= (NEVER - 1 if as_of is None else as_of)

    def moment(self, row: int) -> Moment:
        """Say since when what counts for a version can have been as it is."""
        return int(self.place("begin")[row]), self.said.get(self.key(row), 0), self.ruled

    def take(self, document: Document) -> None:
        """Take in one version of one document; they come in the order of their positions."""
        body, position = document.body, document.position
        if document.kind == "model_version":
            self._version(document)
        elif document.kind == "endpoint":
            _note(self.served.setdefault(document.key, []), position, (body or {}).get("stable"))
        elif document.kind == "deployment":
            live = body is not None and body["status"] in LIVE_STATES
            goes = f"{body['model_key']}@{body['version']}" if body is not None and live else None
            if document.key not in self.rollouts and body is not None:
                self._goals.setdefault(body["model_key"], []).append(self.rollouts.setdefault(document.key, []))
            _note(self.rollouts.setdefault(document.key, []), position, goes)
        elif document.kind == ALIAS:
            past = self.named.setdefault(document.key, [])
            self._file_alias(document.key, past)
            _note(past, position, (body or {}).get("version"))
        elif document.kind in RULES:
            self.ruled = position
        elif body is not None:
            self._word(f"{body['model_key']}@{body['version']}", position)
        else:
            self._word(_spoken_of(document.key), position)

    def _file_alias(self, key: str, past: Past) -> None:
        model_key, _, alias = key.partition("@")
        self._own.setdefault(model_key, {})[alias] = past

    def _word(self, key: str, position: int) -> None:
        self.said[key] = position
        row = self.newest(key)
        if row is None:
            self.words.setdefault(key, position)  # one append may hold a version and words on it, in any order
        elif self.place("spoken")[row] == NEVER:
            self.places["spoken"].put(row, position)

    def _version(self, document: Document) -> None:
        before = self.newest(document.key)
        if before is not None and self.place("end")[before] == NEVER:
            self.places["end"].put(before, document.position)
        if document.body is not None:
            self._state(document, document.body, before)
        elif before is not None:
            self._latest[int(self.code("model")[before])] = _UNKNOWN

    def _state(self, document: Document, body: Json, before: int | None) -> None:
        row, (model_key, _, version) = len(self), document.key.partition("@")
        number = Number.of(version)
        actor = document.actor if before is None else self.registrar(before)
        for name, text in _texts(body, model_key, version, actor):
            self.small[name].put(row, self.names[name].code(text))
        for name, count in zip(NUMBER, number, strict=True):
            self.small[name].put(row, count)
        for name, position in self._places(document, before):
            self.places[name].put(row, position)
        for name, figure in figures_of(body):
            self.figures.setdefault(name, Column(np.dtype(np.float64), fill=np.nan)).put(row, figure)
        for tag in dict.fromkeys(body.get("tags", ())):
            self.tags.add(row, self.names["tag"].code(tag))
        model = int(self.code("model")[row])
        self._newest[(model << 32) | int(self.code("version")[row])] = row
        known = self._latest.get(model)
        if known is None or (known != _UNKNOWN and self.number(known) <= number):
            self._latest[model] = row

    def _places(self, document: Document, before: int | None) -> Iterator[tuple[str, int]]:
        yield from (("begin", document.position), ("end", NEVER))
        yield "made", document.position if before is None else int(self.place("made")[before])
        yield "spoken", self.words.pop(document.key, NEVER) if before is None else int(self.place("spoken")[before])

    def _remember(self, model: int, row: int | None) -> None:
        if row is None:
            del self._latest[model]
        else:
            self._latest[model] = row


def _texts(body: Json, model_key: str, version: str, actor: str) -> Iterator[tuple[str, str]]:
    yield from (("model", model_key), ("version", version), ("actor", actor))
    yield "task", body.get("task") or ""
    yield "family", body.get("family") or ""
    lineage = body.get("lineage") or {}
    yield from (("dataset", lineage.get("dataset_id") or ""), ("parent", lineage.get("parent") or ""))
    yield "calibration", (body.get("calibration") or {}).get("method") or "none"


def figures_of(body: Json) -> Iterator[tuple[str, float]]:
    """List the figures of a version: its metrics, and what of calibration, fairness, cost and limits is a number.

    >>> dict(figures_of({"metrics": {"auroc": 0.9}, "calibration": {"ece": 0.02}, "cost": {"cost_units": 1.5}}))
    {'auroc': 0.9, 'ece': 0.02, 'cost_units': 1.5}
    """
    yield from (body.get("metrics") or {}).items()
    for name, path in PLACES.items():
        found: Any = body
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            yield name, float(found)


PLACES = {
    "ece": ("calibration", "ece"),
    "ece_debiased": ("calibration", "ece_debiased"),
    "fairness_delta": ("fairness", "delta"),
    "equalized_odds": ("fairness", "equalized_odds"),
    "noise_sensitivity": ("robustness", "noise_sensitivity"),
    "cost_units": ("cost", "cost_units"),
    "cv_score": ("cv_score",),
    "limit.latency_ms": ("spec", "constraints", "latency_ms"),
    "limit.cost_units": ("spec", "constraints", "cost_units"),
}
"""Figures beside the metrics → where they stand in a version's record."""


def _spoken_of(approval_id: str) -> str:
    """Give the version that a word was on, whose body is gone.

    >>> _spoken_of("a-b@1.0.0-0123456789ab")
    'a-b@1.0.0'
    """
    model_key, _, rest = approval_id.partition("@")
    return f"{model_key}@{rest.partition('-')[0]}"


def _note(past: Past, position: int, value: str | None) -> None:
    if not past or past[-1][1] != value:
        past.append((position, value))


def _at(past: Sequence[tuple[int, str | None]], as_of: int | None) -> str | None:
    if not past:
        return None
    place = len(past) if as_of is None else bisect_right(past, as_of, key=lambda change: change[0])
    found: str | None = past[place - 1][1] if place else None
    return found
