"""Taking a snapshot: the journal's position, its chain's hash there, and the settings that held. Nothing is copied.

The chain's hash commits to everything up to the position, so a snapshot costs the same however much there is.
"""

from __future__ import annotations

from contracts.errors import NotFound
from contracts.events import Fact
from contracts.ports import Clock, Journal, Once, Seal, Write
from contracts.records import Snapshot, SnapshotKind
from contracts.specs import Json
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import scan_all
from mldl_ray.settings import Defaults
from mldl_ray.snapshots.kinds import RESTORABLE

KIND = "snapshot"


def recorded(defaults: Defaults) -> Json:
    """Give the settings that a snapshot records; addresses of other kernels may carry a password and are left out."""
    return defaults.model_dump(mode="json", exclude={"bridges"})


def describe(
    sealed: Seal,
    snapshot_id: str,
    *,
    reason: str,
    by: str,
    now_s: float,
    kind: SnapshotKind = "named",
    settings: Json | None = None,
) -> Snapshot:
    """Make the record of a snapshot. No file is looked at: it is the restore that checks and refuses."""
    return Snapshot(
        snapshot_id=snapshot_id,
        kind=kind,
        position=sealed.position,
        digest=f"sha256:{sealed.head}",
        chained=True,
        reason=reason,
        created_by=by,
        created_at_s=now_s,
        counts=sealed.counts,
        settings=settings or {},
    )


def capture(
    journal: Journal,
    clock: Clock,
    *,
    reason: str,
    by: str,
    kind: SnapshotKind = "named",
    settings: Json | None = None,
    once: Once | None = None,
) -> Snapshot:
    """Take a snapshot of now.

    Args:
        journal: The truth.
        clock: Stamps it.
        reason: Why, for whoever has to choose one later.
        by: Who takes it.
        kind: Taken by a person, by the timetable, or before a rollback.
        settings: The effective defaults, recorded with it.
        once: Makes a repeated call give the first answer.
    """
    sealed, now_s = journal.seal(tuple(RESTORABLE)), clock.now_s()
    made = describe(sealed, new_id("snap", once), reason=reason, by=by, now_s=now_s, kind=kind, settings=settings)
    receipt = journal.append([write_of(made)], [exported(made)], actor=by, reason=reason, once=once)
    return Snapshot.model_validate(receipt.documents[0].body)


def write_of(snapshot: Snapshot) -> Write:
    """Say how a new snapshot is kept."""
    return Write(kind=KIND, key=snapshot.snapshot_id, expected_version=0, body=snapshot.model_dump(mode="json"))


def exported(snapshot: Snapshot) -> Fact:
    """Say that a snapshot was taken."""
    data = {"position": snapshot.position, "digest": snapshot.digest, "counts": snapshot.counts}
    return Fact(type="MLDL_SNAPSHOT_EXPORTED", subject=snapshot.snapshot_id, data=data)


def snapshots(journal: Journal) -> list[Snapshot]:
    """List the snapshots, newest first."""
    found = [Snapshot.model_validate(document.body) for document in scan_all(journal, KIND)]
    return sorted(found, key=lambda snapshot: (-snapshot.position, snapshot.snapshot_id))


def snapshot_of(journal: Journal, snapshot_id: str) -> Snapshot:
    """Give a snapshot.

    Raises:
        NotFound: No such snapshot; the message names the last ones.
    """
    document = journal.read(KIND, snapshot_id)
    if document is None:
        known = [snapshot.snapshot_id for snapshot in snapshots(journal)]
        there = ", ".join(known[:5]) or "none yet; take one with: mldl snapshot export"
        raise NotFound(f"there is no snapshot {snapshot_id}; there is {there}", {"snapshots": known[:100]})
    return Snapshot.model_validate(document.body)
