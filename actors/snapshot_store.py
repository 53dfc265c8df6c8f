"""Snapshots as an actor. What survives a restart: everything; it holds nothing that the journal lacks."""

from __future__ import annotations

from collections.abc import Callable

from actors.outgoing import Outgoing
from contracts.archives import Artifacts
from contracts.errors import Conflict, Unavailable
from contracts.ports import Blobs, Clock, Journal, Once, Write
from contracts.records import RestorePlan, Snapshot
from contracts.specs import Json
from mldl_ray.journal.documents import load
from mldl_ray.settings import Defaults
from mldl_ray.snapshots import RESTORABLE, Sight, capture, plan, restore, snapshot_of, snapshots
from mldl_ray.snapshots.archive import pack
from mldl_ray.snapshots.capture import recorded
from mldl_ray.snapshots.retention import due, surplus
from mldl_ray.snapshots.targets import Load

AUTHOR = "snapshots"
"""Who takes and removes what nobody asked for."""


class SnapshotStore:
    """Take snapshots and go back to them; the rules are in ``mldl_ray.snapshots``.

    ``live`` gives the monitor's figures for a plan; a rollback never waits for them. ``load`` loads a version by its
    manifest as an endpoint would; without it, files are all that is looked at.
    """

    def __init__(
        self,
        journal: Journal,
        blobs: Blobs,
        clock: Clock,
        defaults: Defaults | None = None,
        live: Callable[[], Json] | None = None,
        load: Load | None = None,
    ) -> None:
        self._live, self._load, self._outgoing = live, load, Outgoing()
        self._journal, self._blobs, self._clock = journal, blobs, clock
        self._settings = recorded(defaults or Defaults())
        self._timetable = (defaults or Defaults()).snapshots

    def export(self, *, reason: str, by: str, once: Once | None = None) -> Snapshot:
        """Take a snapshot of now."""
        return capture(self._journal, self._clock, reason=reason, by=by, settings=self._settings, once=once)

    def plan(self, snapshot_id: str) -> RestorePlan:
        """Say what restoring a snapshot would change, whether it could, and whom that touches."""
        live, unknown = self._figures()
        sight = Sight(self._settings, live, self._load)
        found = plan(self._journal, self._blobs, snapshot_id, sight=sight)
        return found.model_copy(update={"notes": (*unknown, *found.notes)})

    def _figures(self) -> tuple[Json | None, tuple[str, ...]]:
        if self._live is None:
            return None, ()
        try:
            return self._live(), ()
        except Unavailable:
            return None, ("how many requests are affected is not known: the monitor does not answer",)

    def restore(
        self, snapshot_id: str, *, reason: str, by: str, force: bool = False, once: Once | None = None
    ) -> RestorePlan:
        """Go back to a snapshot, in one append; what cannot be used is refused unless it is forced."""
        ports = (self._journal, self._blobs, self._clock)
        sight = Sight(self._settings, load=self._load)
        return restore(*ports, snapshot_id, reason=reason, by=by, force=force, sight=sight, once=once)

    def file_begin(self, snapshot_id: str, artifacts: Artifacts) -> str:
        """Begin the file of a snapshot; give the name that its pieces are fetched by."""
        found = snapshot_of(self._journal, snapshot_id)
        return self._outgoing.begin(pack(self._journal, self._blobs, found, artifacts=artifacts))

    def file_next(self, name: str) -> bytes:
        """Give the next piece; nothing at the end."""
        return self._outgoing.next(name)

    def file_end(self, name: str) -> None:
        """Let go of a file."""
        self._outgoing.end(name)

    def snapshots(self) -> list[Snapshot]:
        """List the snapshots, newest first."""
        return snapshots(self._journal)

    def tick(self) -> None:
        """Take a snapshot when one is due and anything changed since the last; remove those that need not be kept."""
        found, now_s = snapshots(self._journal), self._clock.now_s()
        every_s = self._timetable.every_s
        if due(found, now_s, every_s) and self._changed_since(found):
            reason = f"every {every_s:g} s"
            made = capture(
                self._journal, self._clock, reason=reason, by=AUTHOR, kind="scheduled", settings=self._settings
            )
            found = [made, *found]
        for gone in surplus(found, now_s, keep=self._timetable.keep, keep_s=self._timetable.keep_s):
            self._remove(gone)

    def _changed_since(self, found: list[Snapshot]) -> bool:
        last = max((snapshot.position for snapshot in found), default=0)
        return bool(self._journal.changes(tuple(RESTORABLE), after=last, limit=1))

    def _remove(self, gone: Snapshot) -> None:
        _, version = load(self._journal, "snapshot", gone.snapshot_id, Snapshot)
        write = Write(kind="snapshot", key=gone.snapshot_id, expected_version=version, body=None)
        try:
            self._journal.append([write], actor=AUTHOR, reason="kept long enough: mldl.snapshots.keep, keep_s")
        except Conflict:
            return  # somebody wrote it meanwhile; the next tick looks again
