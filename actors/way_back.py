"""The snapshot that goes with every rollback of a rollout, in its own append; it never keeps one from happening.

It costs one look at the chain's end: no document is read or counted. When that look fails, the rollback goes on
without, and the append's reason says so.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from contracts.errors import MldlError
from contracts.events import Fact
from contracts.ports import Clock, Journal, Write
from contracts.specs import Json
from mldl_ray.deployment.moves import Move
from mldl_ray.ids import new_id
from mldl_ray.snapshots.capture import describe, exported, write_of

log = logging.getLogger(__name__)


class WayBack(NamedTuple):
    """What is appended beside a move, and the reason that the append gives."""

    writes: tuple[Write, ...]
    facts: tuple[Fact, ...]
    reason: str


def way_back(journal: Journal, clock: Clock, settings: Json, move: Move) -> WayBack:
    """Take a snapshot of the moment before a move gives traffic back; nothing for any other move."""
    if all(fact.type != "ROLLBACK_REQUESTED" for fact in move.facts):
        return WayBack((), (), move.reason)
    gone_back = move.deployment
    try:
        sealed = journal.seal()
    except MldlError as error:
        log.warning("no snapshot before the rollback of %s: %s", gone_back.deployment_id, error)
        return WayBack((), (), f"{move.reason} (no snapshot of the moment before could be taken: {error.message})")
    why = f"before the rollback of {gone_back.deployment_id}, {gone_back.model_key} {gone_back.version}"
    name = new_id("snap", None)
    now_s, by = clock.now_s(), move.actor
    taken = describe(sealed, name, reason=why, by=by, now_s=now_s, kind="before_rollback", settings=settings)
    return WayBack((write_of(taken),), (exported(taken),), move.reason)
