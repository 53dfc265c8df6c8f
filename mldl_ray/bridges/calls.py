"""Counting calls: how many, how many in vain, how long they took, and what the last failure said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contracts.bridges import CallCounts
from contracts.errors import MldlError, Refused


class Calls:
    """Counts of one implementation of a bridge. Safe to use from any thread.

    Args:
        now_s: A clock that never goes back, seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._lock = now_s, threading.Lock()
        self._counts = CallCounts()
        self.error: str | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the call inside. A caller's mistake is an answer, and no failure."""
        began_s, error = self._now_s(), None
        try:
            yield
        except Refused:
            raise
        except MldlError as failure:
            error = failure.message
            raise
        finally:
            self._add(self._now_s() - began_s, error)

    def recovered(self) -> None:
        """Forget the last failure: who failed was found well since."""
        with self._lock:
            self.error = None

    @property
    def counts(self) -> CallCounts:
        """The counts so far."""
        with self._lock:
            return self._counts

    def _add(self, took_s: float, error: str | None) -> None:
        with self._lock:
            before = self._counts
            self._counts = CallCounts(
                calls=before.calls + 1,
                failures=before.failures + (error is not None),
                seconds=before.seconds + took_s,
                last_s=took_s,
            )
            self.error = error
