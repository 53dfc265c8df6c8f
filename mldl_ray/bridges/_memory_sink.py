"""A sink in this process's memory: for tests, and for programs that watch their own events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.events import Event
from contracts.ports import Published


class MemorySink:
    """Keep events in a list, each id once for each time that everything is sent anew.

    Args:
        trouble: Says why this sink is away now; None: it is not.
        refuses: Says of an event that it is not wanted.
    """

    def __init__(
        self, trouble: Callable[[], str | None] = lambda: None, refuses: Callable[[Event], bool] = lambda _: False
    ) -> None:
        self._trouble, self._refuses = trouble, refuses
        self._known: set[tuple[str, int]] = set()
        self.events: list[Event] = []

    def publish(self, events: Sequence[Event], *, again: int = 0) -> Published:
        """Keep those that are new."""
        if (trouble := self._trouble()) is not None:
            return Published(accepted=0, trouble=trouble)
        for accepted, event in enumerate(events):
            if self._refuses(event):
                return Published(accepted=accepted, trouble="not wanted", refused=True)
            if (event.id, again) not in self._known:
                self._known.add((event.id, again))
                self.events.append(event)
        return Published(accepted=len(events))

    def close(self) -> None:
        """There is nothing to let go of."""
