"""The latest answers by request id, so that a label that comes later finds what it judges.

A shadow's answer finds stable's to the same row here too, whichever comes first, from whichever replica.

Bounded: the oldest answers go first. A label may also come before its answer's telemetry does (replicas report a few
times a second); such labels wait, bounded too.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.errors import Incompatible, TooLarge
from mldl_ray.monitoring.outcomes import Outcomes, is_number
from mldl_ray.monitoring.pairs import PairCounts, Side
from mldl_ray.monitoring.rollouts import ArmCounts

MOST_ANSWERS = 50_000
MOST_WAITING = 10_000
MOST_ITEMS = 100_000
MOST_PER_ID = 8  # stable's answer and its shadow's; more only when a caller repeats an id
LONGEST_WAIT_S = 30 * 86_400.0
"""A label by key and time judges no answer older than this before its time."""
_NONE: Any = object()


class Where(NamedTuple):
    """Which answer a label is for, without its id: the latest one that a model gave to a key until a time."""

    model_key: str
    key: str
    at_s: float


class Beside(NamedTuple):
    """The role of an answer; of a shadow's also where it is counted beside stable's."""

    role: str = "stable"
    pairs: PairCounts | None = None


class Answer(NamedTuple):
    """One version's answer to one row, and where its label is counted. ``key``: hash of the sticky key."""

    value: Any
    score: float | None
    outcomes: Outcomes
    arms: tuple[ArmCounts, ...] = ()
    key: int = 0
    beside: Beside = Beside()

    def judged(self, label: Any) -> None:
        """Count the label."""
        self.outcomes.add(label, self.value, self.score)
        for arm in self.arms:
            arm.judge(label, self.value, self.score, self.key)


@dataclass
class _Entry:
    answers: list[Answer] = field(default_factory=list)
    label: Any = _NONE
    paired: tuple[Answer, Answer] | None = None
    place: int | None = None

    def pair(self) -> bool:
        """Put stable's answer and the shadow's together, once both are there; say whether that was now."""
        if len(self.answers) < 2 or self.paired is not None:
            return False
        stable = next((one for one in self.answers if one.beside.role == "stable"), None)
        shadow = next((one for one in self.answers if one.beside.pairs is not None), None)
        if stable is None or shadow is None or shadow.beside.pairs is None:
            return False
        if stable.value is None or shadow.value is None:
            return False
        self.paired = stable, shadow
        shadow.beside.pairs.add(_side(stable), _side(shadow), shadow.key)
        return True

    def judge_pair(self) -> None:
        """Count the label of both."""
        if self.paired is not None and self.paired[1].beside.pairs is not None:
            stable, shadow = self.paired
            self.paired[1].beside.pairs.judge(self.label, _side(stable), _side(shadow), shadow.key)


class Answers:
    """Remember the last answers and match labels with them."""

    def __init__(self, most: int = MOST_ANSWERS, most_waiting: int = MOST_WAITING) -> None:
        self._most, self._most_waiting = most, most_waiting
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: OrderedDict[str, Any] = OrderedDict()
        self._by_key: dict[int, list[tuple[float, str]]] = {}

    def remember(self, request_id: str, answer: Answer, model_key: str = "", at_s: float = 0.0) -> None:
        """Keep an answer; where its label is known already, count that."""
        entry = self._entries.get(request_id)
        if entry is None:
            entry = self._entries[request_id] = _Entry(label=self._waiting.pop(request_id, _NONE))
            entry.place = hash((model_key, answer.key))
            self._by_key.setdefault(entry.place, []).append((at_s, request_id))
            if len(self._entries) > self._most:
                self._forget(*self._entries.popitem(last=False))
        if len(entry.answers) >= MOST_PER_ID:
            return
        entry.answers.append(answer)
        paired = entry.pair()
        if entry.label is not _NONE:
            answer.judged(entry.label)
            if paired:
                entry.judge_pair()

    def label(self, request_id: str, label: Any) -> bool | None:
        """Count a label once: True now, False when there was one already, None when no such answer is known (yet)."""
        entry = self._entries.get(request_id)
        if entry is None:
            self._waiting.setdefault(request_id, label)
            if len(self._waiting) > self._most_waiting:
                self._waiting.popitem(last=False)
            return None
        if entry.label is not _NONE:
            return False
        entry.label = label
        for answer in entry.answers:
            answer.judged(label)
        entry.judge_pair()
        return True

    def find(self, where: Where) -> str | None:
        """Give the request id of the latest answer to a key until a time; None when none is known."""
        given = self._by_key.get(hash((where.model_key, hash(where.key))), [])
        first_s = where.at_s - LONGEST_WAIT_S
        return max(((at_s, name) for at_s, name in given if first_s <= at_s <= where.at_s), default=(0.0, None))[1]

    def _forget(self, request_id: str, entry: _Entry) -> None:
        if entry.place is not None:
            left = [one for one in self._by_key.pop(entry.place, ()) if one[1] != request_id]
            if left:
                self._by_key[entry.place] = left

    def __len__(self) -> int:
        return len(self._entries)


def _side(answer: Answer) -> Side:
    return Side(answer.value, answer.score)


def checked_labels(items: Any) -> list[tuple[str | Where, Any]]:
    """Check feedback before any of it is counted.

    Raises:
        Incompatible: An item is not ``{request_id, label}`` or ``{model_key, key, at_s, label}``, or its label is no
            string, finite number or boolean.
        TooLarge: More than ``MOST_ITEMS`` items.

    >>> checked_labels([{"request_id": "r1#0", "label": 1}])
    [('r1#0', 1)]
    """
    if not isinstance(items, list | tuple):
        raise Incompatible("feedback is a list of {request_id, label}")
    if len(items) > MOST_ITEMS:
        raise TooLarge(f"{len(items)} labels at once; at most {MOST_ITEMS}")
    return [_checked(place, item) for place, item in enumerate(items)]


def _checked(place: int, item: Any) -> tuple[str | Where, Any]:
    if not isinstance(item, dict) or "label" not in item or (where := _where(item)) is None:
        raise Incompatible(
            f"feedback item {place} must be {{request_id, label}} or {{model_key, key, at_s, label}}, "
            f"got {str(item)[:100]}"
        )
    label = item["label"]
    if not isinstance(label, str | int | float) or not _finite(label):
        raise Incompatible(
            f"the label of feedback item {place} must be a string, a finite number or a boolean, got {str(label)[:99]}",
            {"item": place},
        )
    return where, label


def _where(item: dict[str, Any]) -> str | Where | None:
    request_id = item.get("request_id")
    if isinstance(request_id, str):
        return request_id if len(request_id) <= 300 else None
    model_key, key = item.get("model_key"), item.get("key")
    at_s: Any = item.get("at_s")
    if not isinstance(model_key, str) or not isinstance(key, str) or not is_number(at_s) or not _finite(at_s):
        return None
    return Where(model_key, key, float(at_s))


def _finite(value: Any) -> bool:
    """Say whether a number is one that a float can hold; JSON's integers have no end."""
    return not isinstance(value, int | float) or abs(value) <= sys.float_info.max  # false for NaN too
