"""Checked before a rollback: that the journal is the one the snapshot saw, that what would come back is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from contracts.consequences import SchemaBreak, Trouble
from contracts.errors import Broken
from contracts.ports import Blobs, Journal
from contracts.records import Snapshot
from contracts.specs import Json
from mldl_ray.snapshots.kinds import FIRST_KINDS
from mldl_ray.snapshots.reach import schema_break
from mldl_ray.snapshots.state import Content, digest_of, state_at
from mldl_ray.snapshots.targets import Load, Targets, manifest_of


class Proof(NamedTuple):
    """What was found of the files, schemas and approvals of what would come back."""

    checked: int
    troubles: tuple[Trouble, ...]
    elsewhere: int
    lost_datasets: tuple[str, ...]
    unapproved: frozenset[str]
    breaks: Mapping[str, SchemaBreak]

    @property
    def missing(self) -> tuple[str, ...]:
        """Digests of what is gone, damaged or does not load."""
        return tuple(sorted({trouble.digest for trouble in self.troubles}))


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


def check_targets(
    journal: Journal, blobs: Blobs, now: Content, then: Content, position: int, load: Load | None = None
) -> Proof:
    """Look for every stored file of what would come back.

    Those of versions that come back or would serve are read byte by byte; what would serve is loaded too.

    Args:
        journal: Read for the versions that did not change themselves.
        blobs: Where the files must be.
        now: What was written since the snapshot, as it is.
        then: The same, as it was.
        position: Of the snapshot.
        load: Loads one as an endpoint would; files are all that is looked at when absent.
    """
    goals = {key: goal for key, goal in then["endpoint"].items() if goal != now["endpoint"].get(key)}
    serving = {f"{key}@{goal[role]}" for key, goal in goals.items() for role in ("stable", "previous") if goal[role]}
    changed = {key for key, body in then["model_version"].items() if body != now["model_version"].get(key)}
    targets, elsewhere = Targets(blobs, load), 0
    troubles: list[Trouble] = []
    for key in sorted(serving | changed):
        body = then["model_version"].get(key) or _body(journal, key, position)
        if body is None:
            continue
        elsewhere += manifest_of(body) is None
        returns = key not in now["model_version"] or manifest_of(now["model_version"][key]) != manifest_of(body)
        troubles += targets.troubles(key, body, whole=returns, serves=key in serving)
    lost = (key for key, body in then["dataset"].items() if not blobs.has(str(body["digest"])))
    stable = (f"{key}@{goal['stable']}" for key, goal in goals.items() if goal["stable"])
    unapproved = frozenset(name for name in stable if not _approved(journal, name, position))
    breaks = {found.model_key: found for key in goals if (found := _breaks(journal, now, then, key, position))}
    return Proof(len(targets.checked), tuple(troubles), elsewhere, tuple(lost), unapproved, breaks)


def _breaks(journal: Journal, now: Content, then: Content, key: str, position: int) -> SchemaBreak | None:
    """Compare what callers of an endpoint send today with what they would have to send."""
    before, after = (content["endpoint"].get(key, {}).get("stable") for content in (now, then))
    if before is None or after is None or before == after:
        return None
    called = journal.read("model_version", f"{key}@{before}")
    wanted = then["model_version"].get(f"{key}@{after}") or _body(journal, f"{key}@{after}", position)
    bodies = {before: called.body if called is not None else None, after: wanted}
    return schema_break(
        key, before, after, {name: (body or {}).get("input_schema") or {} for name, body in bodies.items()}
    )


def _body(journal: Journal, key: str, position: int) -> Json | None:
    document = journal.read("model_version", key, as_of=position)
    return document.body if document is not None else None


def _approved(journal: Journal, name: str, position: int) -> bool:
    given = journal.scan("approval", prefix=f"{name}-", as_of=position)
    return any(document.body is not None and document.body.get("decision") == "approved" for document in given)
