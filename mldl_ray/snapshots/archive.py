"""A snapshot as one file: the journal up to its position and, if wanted, every stored file that the state needs.

A tar that any tool lists: ``head.json``, ``blobs/<sha256>``, ``journal/<first position>.jsonl``, ``index.json``. It is
made piece by piece and never held whole: at most a page of the journal or one stored file is in memory. Reading it back
is in ``unpack``. It holds what the journal holds, hashes of API keys and secrets of webhooks too: keep it as safe.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence

from contracts.archives import ArchiveHead, ArchiveIndex, ArchiveMember, Artifacts
from contracts.errors import Broken, Conflict
from contracts.ports import Append, Blobs, Document, Journal
from contracts.records import Snapshot
from contracts.specs import Json
from mldl_ray.journal.documents import scan_all
from mldl_ray.snapshots.proof import check_seal
from mldl_ray.snapshots.state import files_of

HEAD, INDEX, BLOBS, JOURNAL = "head.json", "index.json", "blobs/", "journal/"
BLOCK = 512
END = bytes(2 * BLOCK)
_APPENDS, _DOCUMENTS = 200, 1000
"""At once: most appends, and documents after which no further append joins a page."""


def pack(journal: Journal, blobs: Blobs, snapshot: Snapshot, *, artifacts: Artifacts) -> Iterator[bytes]:
    """Give the file of a snapshot in pieces, everything checked before the first.

    Raises:
        Broken: The journal is not the one that the snapshot saw.
        Conflict: A stored file that the state needs is not there, and files were to be included.
    """
    check_seal(journal, snapshot)
    needed = needs(journal, blobs, snapshot.position)
    if artifacts == "included" and (gone := next((name for name in needed if not blobs.has(name)), None)):
        raise Conflict(
            f"snapshot {snapshot.snapshot_id} needs the stored file {gone}, which is gone; bring it back, or export "
            "with artifacts referenced",
            {"missing": gone},
        )
    return _pieces(journal, blobs, snapshot, artifacts, needed)


def needs(journal: Journal, blobs: Blobs, position: int) -> list[str]:
    """List the digests of stored files that the state at a position needs: versions, datasets, unregistered models."""
    found: set[str] = set()
    for document in scan_all(journal, "model_version", as_of=position):
        found.update(files_of(document.body or {}, blobs))
    for document in scan_all(journal, "job", as_of=position):
        if bundle := (document.body or {}).get("bundle"):
            found.update(files_of(bundle, blobs))
    found.update(str((document.body or {})["digest"]) for document in scan_all(journal, "dataset", as_of=position))
    return sorted(found)


def line_of(append: Append, bodies: Sequence[Json | None]) -> bytes:
    """Write an append with the bodies of its documents, in the order of its content."""
    row = {"content": append.content, "hash": append.hash, "bodies": list(bodies)}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _pieces(
    journal: Journal, blobs: Blobs, snapshot: Snapshot, artifacts: Artifacts, needed: Sequence[str]
) -> Iterator[bytes]:
    position, members = snapshot.position, list[ArchiveMember]()
    head = ArchiveHead(snapshot_id=snapshot.snapshot_id, reason=snapshot.reason, position=position, artifacts=artifacts)
    for name, data in _members(journal, blobs, head, needed):
        members.append(ArchiveMember(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
        yield from _member(name, data)
    sealed = journal.seal(as_of=position)
    index = ArchiveIndex(
        members=tuple(members),
        position=position,
        head=sealed.head,
        needed=tuple(needed),
        pending=tuple(_pending(journal, position)),
    )
    yield from _member(INDEX, index.model_dump_json().encode())
    yield END


def _members(journal: Journal, blobs: Blobs, head: ArchiveHead, needed: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    yield HEAD, head.model_dump_json().encode()
    for digest in needed if head.artifacts == "included" else ():
        yield BLOBS + digest.removeprefix("sha256:"), blobs.get(digest)
    after = 0
    while after < head.position:
        page = _page(journal, after, head.position)
        bodies = _bodies(journal, page, after)
        lines = [line_of(append, [bodies[name] for name in _names(append)]) for append in page]
        yield f"{JOURNAL}{page[0].position:012d}.jsonl", b"".join(lines)
        after = page[-1].position


def _page(journal: Journal, after: int, until: int) -> list[Append]:
    page, documents = list[Append](), 0
    for append in journal.appends(after=after, limit=_APPENDS):
        if append.position > until or documents > _DOCUMENTS:
            break
        page.append(append)
        documents += len(_names(append))
    if not page:
        raise Broken(f"the journal has nothing after position {after}; run mldl audit verify")
    return page


def _bodies(journal: Journal, page: Sequence[Append], after: int) -> dict[tuple[str, str, int], Json | None]:
    kinds = sorted({kind for append in page for kind, _, _ in _names(append)})
    found: dict[tuple[str, str, int], Json | None] = {}
    while kinds and after < page[-1].position:
        documents: list[Document] = journal.changes(kinds, after=after, limit=_DOCUMENTS)
        if not documents:
            break
        found |= {(document.kind, document.key, document.version): document.body for document in documents}
        after = documents[-1].position
    return found


def _names(append: Append) -> list[tuple[str, str, int]]:
    return [(kind, key, version) for kind, key, version, _ in json.loads(append.content)["documents"]]


def _pending(journal: Journal, position: int) -> Iterator[str]:
    after = 0
    while page := journal.events(after=after, limit=_DOCUMENTS, pending=True):
        yield from (event.id for event in page if event.position <= position)
        after = page[-1].position


def _member(name: str, data: bytes) -> Iterator[bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    yield entry.tobuf(tarfile.USTAR_FORMAT)
    yield data
    yield bytes(-len(data) % BLOCK)
