"""Time, passed in: the system's, and one that tests set."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Give the time as Unix seconds."""
        return time.time()


class SettableClock:
    """A clock that moves when told to.

    >>> clock = SettableClock(10.0)
    >>> clock.advance(2.5)
    >>> clock.now_s()
    12.5
    """

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        """Give the time that was set."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self._now_s += seconds
