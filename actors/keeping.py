"""What the registry's actor does for versions that are not wanted any more. What survives a restart: everything."""

from __future__ import annotations

import threading

from actors.changes import check_reason, settled
from contracts.errors import Conflict
from contracts.life import Collected, CollectRequest, Deletion
from contracts.ports import Blobs, Clock, Journal, Once
from contracts.records import TrainedBundle
from mldl_ray.registry.garbage import Garbage
from mldl_ray.registry.life import Life


class Keeping:
    """Retire, reinstate and delete versions, and free the files that nothing needs."""

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._life, self._garbage = Life(journal, clock), Garbage(journal, blobs, clock)
        self._collecting = threading.Lock()

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

    def collect_garbage(self, asked: CollectRequest, *, by: str, once: Once | None = None) -> Collected:
        """Free, or only count, the stored files that nothing needs; see ``Garbage.collect``.

        Raises:
            Conflict: One is being done already, or a manifest cannot be read.
            Incompatible: No reason, and it is no dry run.
        """
        if not asked.dry_run:
            check_reason(asked.reason)
        if not self._collecting.acquire(blocking=False):
            raise Conflict("files are being collected already; look again when that is done")
        try:
            return self._garbage.collect(
                dry_run=asked.dry_run, grace_s=asked.grace_s, reason=asked.reason, by=by, once=once
            )
        finally:
            self._collecting.release()
