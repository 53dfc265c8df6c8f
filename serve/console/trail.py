"""How the evidence of a rollout grew while somebody looked. In memory: only acts are stored, by the manager."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

from contracts.rollouts import Decision

MOST_LOOKS, MOST_ROLLOUTS = 600, 200


class Trails:
    """The looks at each rollout, in order of time; the longest ago looked at is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, deque[Decision]] = OrderedDict()
        self._lock = threading.Lock()

    def looked(self, deployment_id: str, decisions: Sequence[Decision]) -> list[Decision]:
        """Add what is said now; give everything that was said while somebody looked."""
        with self._lock:
            trail = self._known.setdefault(deployment_id, deque(maxlen=MOST_LOOKS))
            self._known.move_to_end(deployment_id)
            last_s = trail[-1].at_s if trail else float("-inf")
            trail.extend(decision for decision in decisions if decision.at_s > last_s)
            while len(self._known) > MOST_ROLLOUTS:
                self._known.popitem(last=False)
            return list(trail)
