"""When an alert is over by itself: its cause was calm for long enough, the longer the oftener it came back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from contracts.records import Alert

HOLD_S = 60.0
"""So long a cause must be calm; twice as long for each time that it came back within an hour."""
MOST_DOUBLINGS = 6


def hold_s(flaps: int) -> float:
    """Give how long a cause must be calm.

    >>> hold_s(0), hold_s(2), hold_s(100)
    (60.0, 240.0, 3840.0)
    """
    return HOLD_S * float(2 ** min(flaps, MOST_DOUBLINGS))


class Recovery:
    """Follow unresolved alerts. Not thread-safe."""

    def __init__(self) -> None:
        self._calm_since_s: dict[str, float] = {}

    def over(self, alerts: Iterable[Alert], calm: Callable[[Alert], bool], now_s: float) -> list[Alert]:
        """Give the alerts whose cause has been calm for long enough."""
        found = [alert for alert in alerts if calm(alert)]
        self._calm_since_s = {one.alert_id: self._calm_since_s.get(one.alert_id, now_s) for one in found}
        return [one for one in found if now_s - self._calm_since_s[one.alert_id] >= hold_s(one.flaps)]
