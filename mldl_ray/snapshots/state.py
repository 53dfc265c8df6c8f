"""The restorable state: whole at a position, or only what was written since one. Not here: what a snapshot records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from contracts.errors import Broken, NotFound
from contracts.ports import Blobs, Document, Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from contracts.specs import Json
from mldl_ray.blobs.artifact import artifact_files
from mldl_ray.journal.documents import scan_all
from mldl_ray.snapshots.kinds import RESTORABLE

_PAGE = 1000
_SCHEME = "blobs:"

Content = Mapping[str, Mapping[str, Json]]
"""Kind → key → body. An endpoint is what it serves and what it served before; one that serves nothing is left out."""


class State(NamedTuple):
    """Restorable documents after a position, withdrawn ones too (their version is needed to bring them back)."""

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


def state_at(journal: Journal, position: int) -> State:
    """Read the whole restorable state as it was after a position. What it costs grows with the state."""
    found = (document for kind in RESTORABLE for document in scan_all(journal, kind, as_of=position, withdrawn=True))
    return State(position, {(document.kind, document.key): document for document in found})


def since(journal: Journal, position: int) -> tuple[State, State]:
    """Read what was written after a position: as it is now, and as it was then. What is not in it is as it was.

    What it costs grows with what was written since, not with the state.
    """
    now: dict[tuple[str, str], Document] = {}
    then: dict[tuple[str, str], Document] = {}
    after = position
    while page := journal.changes(tuple(RESTORABLE), after=after, limit=_PAGE):
        fresh = {(d.kind, d.key) for d in page if (d.kind, d.key) not in now and d.version > 1}
        then |= {(was.kind, was.key): was for was in _as_they_were(journal, fresh, position)}
        now |= {(document.kind, document.key): document for document in page}
        after = page[-1].position
    return State(after, now), State(position, then)


def _as_they_were(journal: Journal, names: Iterable[tuple[str, str]], position: int) -> Iterator[Document]:
    """Read documents as they were, many with one question: a question to another process costs more than its answer."""
    by_kind: dict[str, list[str]] = {}
    for kind, key in sorted(names):
        by_kind.setdefault(kind, []).append(key)
    for kind, keys in by_kind.items():
        for start in range(0, len(keys), _PAGE):
            yield from journal.pick(kind, keys[start : start + _PAGE], as_of=position)


def endpoint_at(journal: Journal, key: str, position: int) -> Endpoint | None:
    """Give an endpoint's whole document as it was."""
    document = journal.read("endpoint", key, as_of=position)
    return Endpoint.model_validate(document.body) if document is not None else None


def digest_of(content: Content, kinds: Iterable[str] = tuple(RESTORABLE)) -> str:
    """Name a state: sha256 over its canonical JSON. Two states are the same where their names are.

    >>> digest_of({}, ())[:20]
    'sha256:44136fa355b36'
    """
    named = {kind: content[kind] for kind in kinds}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def artifacts(content: Content, blobs: Blobs) -> list[str]:
    """List the digests of every stored file of a state: artifacts of versions, rows of datasets."""
    found = {digest for body in content["model_version"].values() for digest in files_of(body, blobs)}
    return sorted(found | {str(body["digest"]) for body in content["dataset"].values()})


def reachable(journal: Journal, blobs: Blobs, positions: Iterable[int]) -> Iterator[str]:
    """Give the digests of every stored file that the states after some positions need; whoever collects keeps them."""
    for position in sorted(set(positions)):
        yield from artifacts(state_at(journal, position).content, blobs)


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


def _restorable(kind: str, body: Json | None) -> Json | None:
    if body is None or kind != "endpoint":
        return body
    goal = {name: body.get(name) for name in ("stable", "previous")}
    return goal if any(goal.values()) else None
