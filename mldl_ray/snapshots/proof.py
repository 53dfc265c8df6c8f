"""What is checked before a rollback: that the journal is the one the snapshot saw, that every target file is there."""

from __future__ import annotations

from typing import NamedTuple

from contracts.errors import Broken, NotFound
from contracts.ports import Blobs, Journal
from contracts.records import Snapshot
from contracts.specs import Json
from mldl_ray.snapshots.kinds import FIRST_KINDS
from mldl_ray.snapshots.state import Content, digest_of, files_of, state_at


class Proof(NamedTuple):
    """What was found of the files and approvals of what would come back."""

    checked: int
    missing: tuple[str, ...]
    lost_datasets: tuple[str, ...]
    unapproved: frozenset[str]


def check_seal(journal: Journal, snapshot: Snapshot) -> None:
    """Check that the journal at the snapshot's position is the one that the snapshot saw.

    Raises:
        Broken: The chain there has another hash, or is shorter.
    """
    sealed = journal.seal(as_of=snapshot.position)
    found = f"sha256:{sealed.head}" if sealed.position == snapshot.position else f"none: it ends at {sealed.position}"
    if not snapshot.chained:
        found = digest_of(state_at(journal, snapshot.position).content, FIRST_KINDS)
    if found != snapshot.digest:
        raise Broken(
            f"the state at position {snapshot.position} is not the one that snapshot {snapshot.snapshot_id} names; "
            "the journal was changed: run mldl audit verify",
            {"snapshot_id": snapshot.snapshot_id, "expected": snapshot.digest, "found": found},
        )


def check_targets(journal: Journal, blobs: Blobs, now: Content, then: Content, position: int) -> Proof:
    """Look for every stored file of what would come back; those of versions that would serve are read byte by byte.

    Args:
        journal: Read for the versions that did not change themselves.
        blobs: Where the files must be.
        now: What was written since the snapshot, as it is.
        then: The same, as it was.
        position: Of the snapshot.
    """
    goals = {key: goal for key, goal in then["endpoint"].items() if goal != now["endpoint"].get(key)}
    serving = {f"{key}@{goal[role]}" for key, goal in goals.items() for role in ("stable", "previous") if goal[role]}
    returning = {key for key, body in then["model_version"].items() if body != now["model_version"].get(key)}
    checked: set[str] = set()
    missing: set[str] = set()
    for key in sorted(serving | returning):
        body = then["model_version"].get(key) or _body(journal, key, position)
        for digest in files_of(body, blobs) if body else ():
            checked.add(digest)
            if not blobs.has(digest) or (key in serving and not _whole(blobs, digest)):
                missing.add(digest)
    lost = (key for key, body in then["dataset"].items() if not blobs.has(str(body["digest"])))
    stable = (f"{key}@{goal['stable']}" for key, goal in goals.items() if goal["stable"])
    unapproved = frozenset(name for name in stable if not _approved(journal, name, position))
    return Proof(len(checked), tuple(sorted(missing)), tuple(lost), unapproved)


def _body(journal: Journal, key: str, position: int) -> Json | None:
    document = journal.read("model_version", key, as_of=position)
    return document.body if document is not None else None


def _approved(journal: Journal, name: str, position: int) -> bool:
    given = journal.scan("approval", prefix=f"{name}-", as_of=position)
    return any(document.body is not None and document.body.get("decision") == "approved" for document in given)


def _whole(blobs: Blobs, digest: str) -> bool:
    try:
        blobs.get(digest)
    except (Broken, NotFound):
        return False
    return True
