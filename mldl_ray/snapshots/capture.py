"""Taking a snapshot: what of the journal counts as state, its digest, and every stored file reachable from it.

Not part of the state: jobs, evaluations, alerts, deployments, keys and experience. They are a record of what happened,
or, as keys are, not something that a rollback of models should give back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from contracts.errors import Broken, NotFound
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Document, Journal, Once, Write
from contracts.records import Snapshot, TrainedBundle
from contracts.rollouts import Endpoint
from contracts.specs import Json
from mldl_ray.blobs.artifact import artifact_files
from mldl_ray.ids import new_id

RESTORABLE = ("model_version", "approval_request", "approval", "policy", "dataset", "endpoint")
KIND = "snapshot"
PAGE = 1000
_SCHEME = "blobs:"

Content = Mapping[str, Mapping[str, Json]]
"""Kind → key → body. An endpoint is what it serves and what it served before; one that serves nothing is left out."""


class State(NamedTuple):
    """The restorable documents after a position, withdrawn ones too (their version is needed to bring them back)."""

    position: int
    documents: Mapping[tuple[str, str], Document]

    @property
    def content(self) -> Content:
        """Give what a rollback restores, in a form that two states can be compared by."""
        found: dict[str, dict[str, Json]] = {kind: {} for kind in RESTORABLE}
        for (kind, key), document in self.documents.items():
            if (body := _restorable(kind, document.body)) is not None:
                found[kind][key] = body
        return found

    def version(self, kind: str, key: str) -> int:
        """Give the version that a write must expect."""
        document = self.documents.get((kind, key))
        return document.version if document is not None else 0

    def endpoint(self, key: str) -> Endpoint | None:
        """Give an endpoint's whole document."""
        document = self.documents.get(("endpoint", key))
        return Endpoint.model_validate(document.body) if document is not None and document.body else None


def state_at(journal: Journal, position: int) -> State:
    """Read the restorable state as it was after a position."""
    found = (document for kind in RESTORABLE for document in every(journal, kind, as_of=position, withdrawn=True))
    return State(position, {(document.kind, document.key): document for document in found})


def digest_of(content: Content) -> str:
    """Name a state: sha256 over its canonical JSON.

    >>> digest_of({})[:20]
    'sha256:44136fa355b36'
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def describe(state: State, blobs: Blobs, snapshot_id: str, *, reason: str, by: str, now_s: float) -> Snapshot:
    """Make the record of a snapshot. A file that is gone already does not stop it: it is the restore that refuses."""
    content = state.content
    return Snapshot(
        snapshot_id=snapshot_id,
        position=state.position,
        digest=digest_of(content),
        artifacts=tuple(artifacts(content, blobs)),
        reason=reason,
        created_by=by,
        created_at_s=now_s,
        counts={kind: len(documents) for kind, documents in content.items()},
    )


def capture(
    journal: Journal, blobs: Blobs, clock: Clock, *, reason: str, by: str, once: Once | None = None
) -> Snapshot:
    """Take a snapshot of now.

    Args:
        journal: The truth.
        blobs: Read for the manifests of the versions.
        clock: Stamps it.
        reason: Why, for whoever has to choose one later.
        by: Who takes it.
        once: Makes a repeated call give the first answer.
    """
    state = state_at(journal, journal.position())
    made = describe(state, blobs, new_id("snap", once), reason=reason, by=by, now_s=clock.now_s())
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
    found = [Snapshot.model_validate(document.body) for document in every(journal, KIND)]
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


def artifacts(content: Content, blobs: Blobs) -> list[str]:
    """List the digests of every stored file of a state: artifacts of versions, rows of datasets."""
    found = {digest for body in content["model_version"].values() for digest in files_of(body, blobs)}
    return sorted(found | {str(body["digest"]) for body in content["dataset"].values()})


def files_of(body: Json, blobs: Blobs) -> list[str]:
    """List the files of one version, its manifest first; the manifest alone when that cannot be read.

    A version whose artifact lies elsewhere (no ``blobs:`` URI) has none here.
    """
    uri = TrainedBundle.model_validate(body).artifact_uri
    if not uri.startswith(_SCHEME):
        return []
    manifest = uri.removeprefix(_SCHEME)
    try:
        return artifact_files(blobs, manifest)
    except (NotFound, Broken):
        return [manifest]


def every(journal: Journal, kind: str, *, as_of: int | None = None, withdrawn: bool = False) -> Iterator[Document]:
    """Yield every document of a kind, page by page."""
    after = ""
    while page := journal.scan(kind, after=after, limit=PAGE, as_of=as_of, withdrawn=withdrawn):
        yield from page
        after = page[-1].key


def _restorable(kind: str, body: Json | None) -> Json | None:
    if body is None or kind != "endpoint":
        return body
    goal = {name: body.get(name) for name in ("stable", "previous")}
    return goal if any(goal.values()) else None
