"""A circuit breaker: who failed several times in a row is left alone for a while, then tried once. Pure.

Source:
    Nygard, "Release It!" (2007), chapter 5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Count failures in a row; open after some, half open after a rest. Safe to use from any thread.

    Args:
        now_s: A clock that never goes back, seconds.
        open_after: Failures in a row that open it.
        rest_s: Seconds that it stays open before one attempt is let through.

    >>> now = [0.0]
    >>> breaker = Breaker(lambda: now[0], open_after=2, rest_s=10)
    >>> breaker.failed(); breaker.failed(); breaker.admits()
    False
    >>> now[0] = 10.0
    >>> breaker.admits(), breaker.admits()  # one attempt, and no second one beside it
    (True, False)
    >>> breaker.succeeded(); breaker.state
    'closed'
    """

    def __init__(self, now_s: Callable[[], float], *, open_after: int, rest_s: float) -> None:
        self._now_s, self._open_after, self._rest_s = now_s, open_after, rest_s
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_s: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        """Say how it is now."""
        with self._lock:
            if self._opened_s is None:
                return "closed"
            return "half_open" if self._rested() else "open"

    @property
    def rest_left_s(self) -> float:
        """Give the seconds until it lets an attempt through; 0 when it does now."""
        with self._lock:
            if self._opened_s is None:
                return 0.0
            return max(0.0, self._opened_s + self._rest_s - self._now_s())

    def admits(self) -> bool:
        """Say whether an attempt may be made; who is told yes says afterwards how it went."""
        with self._lock:
            if self._opened_s is None:
                return True
            if self._trying or not self._rested():
                return False
            self._trying = True
            return True

    def succeeded(self) -> None:
        """Close: an attempt went well."""
        with self._lock:
            self._in_a_row, self._opened_s, self._trying = 0, None, False

    def failed(self) -> None:
        """Note a failure; open when there were enough, or when it was the one attempt after a rest."""
        with self._lock:
            self._in_a_row += 1
            if self._trying or self._in_a_row >= self._open_after:
                self._opened_s = self._now_s()
            self._trying = False

    def _rested(self) -> bool:
        return self._opened_s is not None and self._now_s() >= self._opened_s + self._rest_s
