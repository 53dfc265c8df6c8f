"""Figures about the whole system, from the journal: how often rollouts pass, are taken back, how often inputs drift.

Events are read once each; deployments again only after an event about one.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from statistics import median

from contracts.events import Event, EventType
from contracts.ports import Clock, Journal
from contracts.rollouts import Deployment
from contracts.specs import Json
from mldl_ray.journal.documents import scan_all

WEEK_S = 7 * 86_400.0
MOST_KEPT = 10_000
_PAGE = 500
_OF_DEPLOYMENTS: frozenset[EventType] = frozenset(
    {
        "MLDL_DEPLOYMENT_REQUESTED",
        "MLDL_DEPLOYMENT_PROMOTED",
        "MLDL_DEPLOYMENT_STEPPED",
        "MLDL_DEPLOYMENT_ROLLED_BACK",
        "ROLLBACK_REQUESTED",
    }
)
_WATCHED: tuple[EventType, ...] = (
    "MLDL_DRIFT_ALERT",
    "MLDL_VIOLATION",
    "MLDL_SNAPSHOT_RESTORED",
    *sorted(_OF_DEPLOYMENTS),
)
_TRIED = frozenset({"canary", "shadow", "blue_green"})


class Kpis:
    """Follow the journal and add up."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._lock = threading.Lock()
        self._position = 0
        self._counts: Counter[str] = Counter()
        self._recent: deque[tuple[float, EventType, str]] = deque(maxlen=MOST_KEPT)
        self._rollouts: Json = _of_deployments([])

    def now(self) -> Json:
        """Give the figures now; a rate without cases is None."""
        with self._lock:
            self._catch_up()
            since_s = self._clock.now_s() - WEEK_S
            week = [(kind, severity) for at_s, kind, severity in self._recent if at_s >= since_s]
            drifts = Counter(severity for kind, severity in week if kind == "MLDL_DRIFT_ALERT")
            return self._rollouts | {
                "rollbacks": self._rollouts["rollouts_rolled_back"] + self._counts["MLDL_SNAPSHOT_RESTORED"],
                "rollbacks_7d": sum(
                    kind in {"MLDL_DEPLOYMENT_ROLLED_BACK", "MLDL_SNAPSHOT_RESTORED"} for kind, _ in week
                ),
                "drift_alerts": self._counts["MLDL_DRIFT_ALERT"],
                "drift_alerts_7d": drifts.total(),
                "drift_alerts_7d_by_severity": dict(drifts),
                "violations": self._counts["MLDL_VIOLATION"],
                "violations_7d": sum(kind == "MLDL_VIOLATION" for kind, _ in week),
            }

    def _catch_up(self) -> None:
        moved = False
        while page := self._journal.events(after=self._position, limit=_PAGE, types=_WATCHED):
            for event in page:
                self._see(event)
                moved = moved or event.type in _OF_DEPLOYMENTS
            self._position = page[-1].position
        if moved:
            self._rollouts = _of_deployments(self._deployments())

    def _see(self, event: Event) -> None:
        self._counts[event.type] += 1
        self._recent.append((event.at_s, event.type, str(event.data.get("severity", "unknown"))))

    def _deployments(self) -> list[Deployment]:
        return [Deployment.model_validate(document.body) for document in scan_all(self._journal, "deployment")]


def _of_deployments(deployments: list[Deployment]) -> Json:
    tried = Counter(one.status for one in deployments if one.strategy in _TRIED)
    ended = tried["succeeded"] + tried["rolled_back"] + tried["failed"]
    took_s = [
        one.history[-1].at_s - one.created_at_s for one in deployments if one.status == "succeeded" and one.history
    ]
    return {
        "canary_pass_rate": tried["succeeded"] / ended if ended else None,
        "rollouts_ended": ended,
        "rollouts_rolled_back": sum(one.status == "rolled_back" for one in deployments),
        "deployment_time_s": round(median(took_s), 3) if took_s else None,
    }
