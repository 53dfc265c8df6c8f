"""When it is time to look at Ray Serve again. Pure: it sees states and times, never Serve."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.ports import AppState

CALM_S = 2.0
"""Between two looks where every app runs and nothing was asked of Serve: a look costs its controller and whoever looks
some 15 ms of cpu per deployment, several times a second if every turn of the deployment manager looked."""


class Looks:
    """What the latest look at Serve showed, and whether it still holds.

    >>> looks = Looks()
    >>> looks.due(0.0)
    True
    >>> looks.showed({"e-churn": "running"}, 0.0)
    >>> looks.due(1.0), looks.due(2.0)
    (False, True)
    >>> looks.asked()
    >>> looks.due(1.0)
    True
    """

    def __init__(self) -> None:
        self.states: dict[str, AppState] = {}
        self._holds_until_s = 0.0

    def due(self, now_s: float) -> bool:
        """Say whether to look: at once where something is on its way, otherwise every ``CALM_S``."""
        return now_s >= self._holds_until_s

    def showed(self, states: Mapping[str, AppState], now_s: float) -> None:
        """Take what a look showed that began at ``now_s``."""
        self.states = dict(states)
        calm = all(state == "running" for state in states.values())
        self._holds_until_s = now_s + CALM_S if calm else now_s

    def asked(self) -> None:
        """Note that Serve was asked for something: the latest look no longer holds."""
        self._holds_until_s = 0.0
