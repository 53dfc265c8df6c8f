"""Advice on deployments: what the specialists say of each, kept beside it. It comes a little later and stops nothing.

Deployments are found by their events, so that none waits for its advice, and each gets it once, whatever restarts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from contracts.errors import Broken, Refused
from contracts.ports import Clock, Journal, Write
from contracts.rollouts import Deployment
from contracts.specs import Json
from mldl_ray.bridges.exchange import ACTOR, KIND, Standing
from mldl_ray.bridges.intelligence import ADVICE
from mldl_ray.journal.documents import load, write

log = logging.getLogger(__name__)
PAGE = 50
OLD_S = 3600.0
"""Deployments asked for longer ago get no advice any more: a journal from before this is not gone through."""
KEY = "advice"


class Advising:
    """Gives every new deployment its advice.

    Args:
        journal: Where deployments are, and advice goes.
        clock: Tells which deployments are old.
        recommend: What is said of a version, by model_key and version.
    """

    def __init__(self, journal: Journal, clock: Clock, recommend: Callable[[str, str], Json]) -> None:
        self._journal, self._clock, self._recommend = journal, clock, recommend

    def turn(self) -> int:
        """Advise on the deployments that were asked for since the last turn; give how many got advice."""
        now, revision = load(self._journal, KIND, KEY, Standing)
        after, advised = (now or Standing()).sent, 0
        while page := self._journal.events(after=after, limit=PAGE, types=["MLDL_DEPLOYMENT_REQUESTED"]):
            writes = [found for event in page if (found := self._advice(event.subject)) is not None]
            after = page[-1].position
            cursor = write(KIND, KEY, revision, Standing(sent=after))
            self._journal.append([*writes, cursor], actor=ACTOR, reason="what the specialists say")
            revision, advised = revision + 1, advised + len(writes)
        return advised

    def _advice(self, deployment_id: str) -> Write | None:
        document = self._journal.read("deployment", deployment_id)
        if document is None or self._journal.read(ADVICE, deployment_id) is not None:
            return None
        found = Deployment.model_validate(document.body)
        now_s = self._clock.now_s()
        if now_s - found.created_at_s > OLD_S:
            return None
        try:
            said = self._recommend(found.model_key, found.version)
        except (Refused, Broken) as error:  # the version went meanwhile, or cannot be read: the others get theirs
            log.warning("no advice on %s: %s", deployment_id, error.message)
            return None
        body = {"deployment_id": deployment_id, "at_s": now_s} | said
        return Write(kind=ADVICE, key=deployment_id, expected_version=0, body=body)
