"""Live figures of one stream (one version in one role): totals since the monitor began, and the last minute.

A stream has a fixed size, whatever its traffic: histograms and a dozen slots of five seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.monitoring.estimate import Confidences
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.quality import Quality

Counts = npt.NDArray[np.int64]
EDGES_MS = np.array(LATENCY_EDGES_MS)
BINS = len(LATENCY_EDGES_MS) + 1
RECENT_S = 60.0
SLOT_S = 5.0


def histogram(latencies_ms: npt.NDArray[np.float64]) -> Counts:
    """Count latencies per bin of ``LATENCY_EDGES_MS``; the last bin is above every edge.

    >>> int(histogram(np.array([0.01, 1e6]))[-1])
    1
    """
    return np.bincount(np.searchsorted(EDGES_MS, latencies_ms), minlength=BINS).astype(np.int64)


def quantile_ms(counts: Counts, quantile: float) -> float | None:
    """Read a latency quantile off a histogram: the upper edge of the bin that holds it; None when it is empty.

    >>> quantile_ms(histogram(np.full(100, 9.9)), 0.95) < 9.9 * 1.05
    True
    >>> quantile_ms(histogram(np.array([])), 0.5) is None
    True
    """
    below = np.cumsum(counts)
    if below[-1] == 0:
        return None
    place = int(np.searchsorted(below, quantile * below[-1]))
    return round(LATENCY_EDGES_MS[min(place, BINS - 2)], 4)


class Recent(NamedTuple):
    """What the last minute saw. ``span_s``: seconds that it covers, fewer when the stream is younger."""

    requests: int
    errors: int
    lost: int
    latency: Counts
    span_s: float

    @property
    def qps(self) -> float:
        """Requests per second."""
        return self.requests / self.span_s


@dataclass
class _Slot:
    start_s: float
    requests: int = 0
    errors: int = 0
    lost: int = 0
    latency: Counts = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))


class Judged(Outcomes):
    """The labelled answers of a stream; besides the sums of every rollout, what its own quality is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.quality = Quality()

    def add(self, label: Any, value: Any, score: float | None) -> None:
        """Count one labelled answer in both."""
        super().add(label, value, score)
        self.quality.add(label, value, score)


class Window:
    """Count one stream."""

    def __init__(self, now_s: float) -> None:
        self.began_s = self.last_s = now_s
        self.requests = self.errors = self.lost = 0
        self.latency_ms_sum = 0.0
        self.latency: Counts = np.zeros(BINS, dtype=np.int64)
        self.outcomes, self.confidences = Judged(), Confidences()
        self._slots: deque[_Slot] = deque(maxlen=int(RECENT_S / SLOT_S) + 1)

    def add(self, now_s: float, latencies_ms: npt.NDArray[np.float64], errors: int, lost: int = 0) -> None:
        """Count rows that came now."""
        counts = histogram(latencies_ms)
        slot = self._slot(now_s)
        for place in (self, slot):
            place.requests += len(latencies_ms)
            place.errors += errors
            place.lost += lost
            place.latency += counts
        self.latency_ms_sum += float(latencies_ms.sum())
        self.last_s = max(self.last_s, now_s)

    def recent(self, now_s: float) -> Recent:
        """Add up the last minute."""
        slots = [slot for slot in self._slots if slot.start_s > now_s - RECENT_S]
        oldest_s = max(self.began_s, slots[0].start_s) if slots else now_s - RECENT_S
        return Recent(
            requests=sum(slot.requests for slot in slots),
            errors=sum(slot.errors for slot in slots),
            lost=sum(slot.lost for slot in slots),
            latency=sum((slot.latency for slot in slots), np.zeros(BINS, dtype=np.int64)),
            span_s=min(RECENT_S, max(1.0, now_s - oldest_s)) if self.began_s > now_s - RECENT_S else RECENT_S,
        )

    def _slot(self, now_s: float) -> _Slot:
        start_s = now_s - now_s % SLOT_S
        if not self._slots or start_s > self._slots[-1].start_s:
            self._slots.append(_Slot(start_s))
        return self._slots[-1]
