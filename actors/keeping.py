"""What the registry's actor does for versions that are not wanted any more. What survives a restart: everything."""

from __future__ import annotations

from actors.changes import check_reason, settled
from contracts.life import Deletion
from contracts.ports import Clock, Journal, Once
from contracts.records import TrainedBundle
from mldl_ray.registry.life import Life


class Keeping:
    """Retire, reinstate and delete versions."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._life = Life(journal, clock)

    def retire(self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None) -> TrainedBundle:
        """Have a version be deployed no more; see ``Life.retire``."""
        check_reason(reason)
        return settled(lambda: self._life.retire(model_key, version, reason=reason, by=by, once=once))

    def reinstate(
        self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None
    ) -> TrainedBundle:
        """Let a retired version be deployed again; see ``Life.reinstate``."""
        check_reason(reason)
        return settled(lambda: self._life.reinstate(model_key, version, reason=reason, by=by, once=once))

    def delete_version(
        self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None
    ) -> Deletion:
        """Take a version away for good; see ``Life.delete``."""
        check_reason(reason)
        return settled(lambda: self._life.delete(model_key, version, reason=reason, by=by, once=once))
