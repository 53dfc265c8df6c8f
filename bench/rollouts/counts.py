"""What the monitor would have counted of a stream, one epoch of the route table at a time.

The same counts as ``mldl_ray.monitoring.rollouts``, taken from sums made once an epoch instead of row by row: a test
holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.rollouts.streams import Flags, Stream, Whole
from contracts.rollouts import ArmTelemetry, RolloutTelemetry
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.monitoring.firsts import MOST_KEYS

STABLE, CANDIDATE = "1.0.0", "2.0.0"
BINS = len(LATENCY_EDGES_MS) + 1


class Seen:
    """Keys that had their first error and first label of the rollout in an earlier epoch."""

    def __init__(self, keys: int) -> None:
        self.failed, self.labelled = np.zeros(keys, dtype=bool), np.zeros(keys, dtype=bool)
        self.judged = np.zeros((2, keys), dtype=bool)
        self.failures = self.labels = 0


class Epoch:
    """Counts from request ``start`` of the stream on, with a fixed share; ask for them in rising order."""

    def __init__(self, stream: Stream, number: int, share: float, start: int, seen: Seen) -> None:
        self.number, self.share, self.start = number, share, start
        self._stream, self._seen, self._end = stream, seen, len(stream)
        self.key = stream.key[start:]
        self.at_s = stream.at_s[start:]
        self.mine: Flags = stream.point[self.key] < share
        self.failed: Flags = _chosen(stream.failed, start, self.mine)
        self._wrong: Flags = _chosen(stream.wrong, start, self.mine)
        self._labelled = stream.labelled[start:] & ~self.failed  # what failed has no answer to be labelled
        self._bins = _chosen(stream.bins, start, self.mine)
        self._histograms = np.zeros((2, 2, BINS), dtype=np.int64)  # of every request, of the first of each key
        self._counted, self._answered = 0, (-1, -1)
        self._answer: tuple[ArmTelemetry, ArmTelemetry]
        self.by_request, self.by_label = self._of_requests(), self._of_labels()
        self.row = _in_a_row(self.mine, self.failed)

    def _of_requests(self) -> dict[str, Whole]:
        first = _firsts(self.key, self.failed, self._seen.failed)
        every = np.ones(len(self.key), dtype=bool)
        keys = _firsts(self.key, every, np.zeros(len(self._seen.failed), dtype=bool))
        self._asked = keys & (np.cumsum(keys) <= MOST_KEYS)
        flags = {"requests": every, "errors": self.failed, "error_keys": first, "keys": keys}
        return {name: _sums(flag, self.mine) for name, flag in flags.items()}

    def _of_labels(self) -> dict[str, Whole]:
        labelled, wrong = self._labelled, self._wrong
        first = _firsts(self.key, labelled, self._seen.labelled)
        judged = np.zeros(len(self.key), dtype=bool)
        for arm, rows in enumerate((~self.mine, self.mine)):
            judged |= _firsts(self.key, labelled & rows, self._seen.judged[arm])
        flags = {
            "labelled": labelled,
            "correct": labelled & ~wrong,
            "labelled_keys": first,
            "wrong_keys": first & wrong,
        }
        flags |= {"judged_keys": judged, "misjudged_keys": judged & wrong}
        return {name: _sums(flag, self.mine) for name, flag in flags.items()}

    def close(self, end: int) -> None:
        """End before request ``end`` of the stream; labels of this epoch may still come."""
        self._end = end
        count = end - self.start
        key, labelled = self.key[:count], self._labelled[:count]
        self._seen.failed[key[self.failed[:count]]] = True
        self._seen.labelled[key[labelled]] = True
        for arm, rows in enumerate((~self.mine[:count], self.mine[:count])):
            self._seen.judged[arm][key[labelled & rows]] = True
        self._seen.failures += int(self.by_request["error_keys"][count].sum())
        self._seen.labels += int(self.by_label["labelled_keys"][count].sum())

    def labels_at(self, now_s: float) -> int:
        """Give of how many requests the labels, where there are any, have come."""
        come = int(np.searchsorted(self.at_s, now_s - self._stream.label_delay_s, side="right"))
        return min(come, self._end - self.start)

    def wrong_labels_come(self) -> Whole:
        """Give the requests, of either arm, at which a wrong label of the candidate's is there for the first time."""
        known_s = self.at_s[self.mine & self._labelled & self._wrong] + self._stream.label_delay_s
        rows = np.searchsorted(self.at_s, known_s)
        return np.asarray(rows[rows < len(self.at_s)], dtype=np.int64)

    def arms(self, position: int, labels: int) -> tuple[ArmTelemetry, ArmTelemetry]:
        """Count the first ``position`` requests of the epoch, and the labels of the first ``labels``."""
        position = min(position, self._end - self.start)
        if (position, labels) == self._answered:
            return self._answer
        self._answered = position, labels
        if position > self._counted:
            rows = slice(self._counted, position)
            place = self._bins[rows].astype(np.int64) + BINS * self.mine[rows]
            for kind, among in enumerate((place, place[self._asked[rows]])):
                self._histograms[kind] += np.bincount(among, minlength=2 * BINS).reshape(2, BINS)
            self._counted = position
        full = self._full(position, labels)
        self._answer = self._arm(0, position, labels, full), self._arm(1, position, labels, full)
        return self._answer

    def _full(self, position: int, labels: int) -> bool:
        failures = self._seen.failures + int(self.by_request["error_keys"][position].sum())
        return max(failures, self._seen.labels + int(self.by_label["labelled_keys"][labels].sum())) > MOST_KEYS

    def _arm(self, arm: int, position: int, labels: int, full: bool) -> ArmTelemetry:
        counts: dict[str, Any] = {name: int(sums[position, arm]) for name, sums in self.by_request.items()}
        counts |= {name: int(sums[labels, arm]) for name, sums in self.by_label.items()}
        if full:
            by_key = ("error_keys", "labelled_keys", "wrong_keys", "judged_keys", "misjudged_keys")
            counts |= dict.fromkeys(by_key)
        every, first = (tuple(histograms[arm].tolist()) for histograms in self._histograms)
        counts |= {"epoch": self.number, "share": self.share, "latency_counts": every}
        counts["first_latency_counts"] = None if full else first
        version, row = (CANDIDATE, int(self.row[position])) if arm else (STABLE, 0)
        return ArmTelemetry.model_construct(version=version, errors_in_a_row=row, **counts)


def telemetry(epochs: Sequence[Epoch], position: int, now_s: float) -> RolloutTelemetry:
    """Give what the judge would see after ``position`` requests of the last epoch."""
    found = [
        epoch.arms(position if epoch is epochs[-1] else len(epoch.key), epoch.labels_at(now_s)) for epoch in epochs
    ]
    stable = tuple(pair[0] for pair, epoch in zip(found, epochs, strict=True) if epoch.share < 1)
    candidate = tuple(pair[1] for pair in found)
    return RolloutTelemetry.model_construct(
        deployment_id="dep", stable=stable, candidate=candidate, task="classification"
    )


def _chosen(pair: tuple[Any, Any], start: int, mine: Flags) -> Any:
    return np.where(mine, pair[1][start:], pair[0][start:])


def _sums(flags: Flags, mine: Flags) -> Whole:
    """Sum up for every prefix, ``[stable, candidate]``."""
    sums = np.zeros((len(flags) + 1, 2), dtype=np.int64)
    np.cumsum(flags & ~mine, out=sums[1:, 0])
    np.cumsum(flags & mine, out=sums[1:, 1])
    return sums


def _firsts(key: Whole, among: Flags, seen: Flags) -> Flags:
    """Mark, of the rows among which to look, the first of each key that was not seen before.

    >>> _firsts(np.array([3, 1, 3, 1]), np.array([False, True, True, True]), np.zeros(4, dtype=bool)).tolist()
    [False, True, True, False]
    """
    rows = np.flatnonzero(among & ~seen[key])
    _, at = np.unique(key[rows], return_index=True)
    found = np.zeros(len(key), dtype=bool)
    found[rows[at]] = True
    return found


def _in_a_row(mine: Flags, failed: Flags) -> Whole:
    """Give, after every prefix, how many of the candidate's latest requests failed one after the other.

    >>> _in_a_row(np.array([True, False, True, True]), np.array([True, False, True, False])).tolist()
    [0, 1, 1, 2, 0]
    """
    order = np.cumsum(mine)
    fine = np.maximum.accumulate(np.where(mine & ~failed, order, 0)) if len(order) else order
    return np.concatenate([[0], order - fine])
