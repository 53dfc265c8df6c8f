"""The check of a blue/green version: what stable was asked lately is asked again, a look at a time.

Nothing here survives a restart: a check that was going on begins again, with what is recent then.
"""

from __future__ import annotations

import logging
from typing import Protocol

from contracts.errors import Unavailable
from contracts.ports import AppState, ServingBackend
from contracts.replays import RecentRows, ReplayReport
from contracts.rollouts import Deployment
from mldl_ray.deployment.replay import MOST_ROWS, judge

log = logging.getLogger(__name__)


class Recall(Protocol):
    """Who remembers what was asked."""

    def recent(self, model_key: str, version: str, limit: int) -> RecentRows:
        """Give distinct rows that a version answered lately, with its answers."""
        ...


class Replays:
    """Have versions in the state ``checking`` asked, and judge their answers. One thread at a time may look."""

    def __init__(self, backend: ServingBackend, monitor: Recall) -> None:
        self._backend, self._monitor = backend, monitor
        self._asked: dict[str, RecentRows] = {}

    def look(self, deployment: Deployment, state: AppState) -> ReplayReport | None:
        """Begin the check of a deployment, or go on with it; give its report once all answers are there."""
        name, app = deployment.deployment_id, deployment.candidate_app
        if deployment.status != "checking" or app is None:
            self._asked.pop(name, None)
            return None
        if state != "running":
            return None
        try:
            asked = self._recent(deployment)
        except Unavailable as error:
            log.warning("no recent requests for the check of %s: %s; waiting", name, error)
            return None
        answers = self._backend.replay(app, [row.record for row in asked.rows]) if asked.rows else ()
        return None if answers is None else judge(asked, answers, deployment.spec.guardrails)

    def _recent(self, deployment: Deployment) -> RecentRows:
        name = deployment.deployment_id
        if name not in self._asked:
            self._asked[name] = self._monitor.recent(deployment.model_key, str(deployment.stable), MOST_ROWS)
        return self._asked[name]
