"""Snapshots as an actor. What survives a restart: everything; it holds nothing that the journal lacks."""

from __future__ import annotations

from contracts.ports import Blobs, Clock, Journal, Once
from contracts.records import RestorePlan, Snapshot
from mldl_ray.settings import Defaults
from mldl_ray.snapshots import capture, plan, restore, snapshots


class SnapshotStore:
    """Take snapshots and go back to them; the rules are in ``mldl_ray.snapshots``."""

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock, defaults: Defaults | None = None) -> None:
        self._journal, self._blobs, self._clock = journal, blobs, clock
        # Addresses of other kernels may carry a password; a record must not.
        self._settings = (defaults or Defaults()).model_dump(mode="json", exclude={"bridges"})

    def export(self, *, reason: str, by: str, once: Once | None = None) -> Snapshot:
        """Take a snapshot of now."""
        return capture(self._journal, self._clock, reason=reason, by=by, settings=self._settings, once=once)

    def plan(self, snapshot_id: str) -> RestorePlan:
        """Say what restoring a snapshot would change."""
        return plan(self._journal, self._blobs, snapshot_id, settings=self._settings)

    def restore(self, snapshot_id: str, *, reason: str, by: str, once: Once | None = None) -> RestorePlan:
        """Go back to a snapshot, in one append."""
        ports = (self._journal, self._blobs, self._clock)
        return restore(*ports, snapshot_id, reason=reason, by=by, settings=self._settings, once=once)

    def snapshots(self) -> list[Snapshot]:
        """List the snapshots, newest first."""
        return snapshots(self._journal)
