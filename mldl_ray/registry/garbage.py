"""Garbage collection: which stored files nothing needs any more, and freeing them while others store and append.

Writers store first and append later, so a file that nothing names yet may be named in a moment. Three things keep it:
a file stored (again) within the grace is never freed, whoever stores what is there already makes it young again, and
the journal is read once more, from where it was, right before files go. How a store frees: ``Blobs.discard``.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from contracts.errors import Broken, Conflict, NotFound
from contracts.events import Fact
from contracts.life import Collected
from contracts.ports import Blobs, Clock, Document, Journal, Once
from contracts.specs import Json
from mldl_ray.blobs.artifact import artifact_files
from mldl_ray.journal.documents import first_answer, scan_all
from mldl_ray.registry.catalog import version_key
from mldl_ray.registry.life import DELETION
from mldl_ray.snapshots.capture import snapshots
from mldl_ray.snapshots.kinds import RESTORABLE

KINDS = tuple(kind for kind in RESTORABLE if kind not in {"approval", "approval_request"})
"""What names files, now or at a snapshot; a word on a version does not keep its files."""
PAGE = 1000
AT_ONCE = 200
"""Files that go between two looks at the journal."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SCHEME = "blobs:"


class Needs(NamedTuple):
    """What some documents name: plain files, and manifests, which name files themselves."""

    files: frozenset[str]
    manifests: frozenset[str]


NOTHING = Needs(frozenset(), frozenset())


class Garbage:
    """Collect what nothing needs. What manifests name is remembered: they never change.

    Args:
        journal: Says what is needed.
        blobs: Where the files are.
        clock: Says what is young; the store's own clock may differ by less than the grace.
    """

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._journal, self._blobs, self._clock = journal, blobs, clock
        self._named: dict[str, tuple[str, ...]] = {}

    def collect(
        self, *, dry_run: bool = True, grace_s: float, reason: str, by: str, once: Once | None = None
    ) -> Collected:
        """Find, and unless it is a dry run free, the files that neither the state nor a snapshot nor a job needs.

        Args:
            dry_run: Only say what would be freed.
            grace_s: Files stored within so many seconds are spared.
            reason: Why, for the record.
            by: Who collects.
            once: The same request again gives the same answer and frees nothing more.

        Raises:
            Conflict: A manifest cannot be read, so what its version needs is not known; nothing was freed.
            Unavailable: The store or the journal cannot be reached.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return Collected.model_validate(earlier.events[0].data)
        before_s = self._clock.now_s() - grace_s
        stored = list(self._blobs.digests())  # first: what comes later is no candidate
        position = self._journal.position()
        keep, unreadable = self._expanded(needs(self._journal, position))
        if unreadable and not dry_run:
            raise _unreadable(unreadable)
        candidates = [digest for digest in stored if digest not in keep]
        sizes = list(self._freed(candidates, position, before_s, dry_run))
        found = Collected(
            dry_run=dry_run,
            position=position,
            stored=len(stored),
            needed=len(stored) - len(candidates),
            spared=len(candidates) - len(sizes),
            freed=len(sizes),
            freed_bytes=sum(sizes),
            unreadable=tuple(unreadable[:100]),
        )
        if not dry_run:
            fact = Fact(type="MLDL_FILES_COLLECTED", subject="blobs", data=found.model_dump(mode="json"))
            self._journal.append([], [fact], actor=by, reason=reason, once=once)
        return found

    def _freed(self, candidates: Sequence[str], position: int, before_s: float, dry_run: bool) -> Iterator[int]:
        """Yield the size of each file that goes, a few at a time, each time after a look at what was appended."""
        for start in range(0, len(candidates), AT_ONCE):
            wanted, unreadable = self._expanded(_since(self._journal, position))
            if unreadable and not dry_run:
                raise _unreadable(unreadable)
            for digest in candidates[start : start + AT_ONCE]:
                size = None if digest in wanted else self._blobs.discard(digest, before_s=before_s, dry_run=dry_run)
                if size is not None:
                    yield size

    def _expanded(self, found: Needs) -> tuple[set[str], list[str]]:
        """Give all files of some needs, and the manifests that cannot be read."""
        keep, unreadable = {*found.files, *found.manifests}, []
        for manifest in sorted(found.manifests):
            if manifest not in self._named:
                try:
                    self._named[manifest] = tuple(artifact_files(self._blobs, manifest))
                except (NotFound, Broken):
                    unreadable.append(manifest)
                    continue
            keep.update(self._named[manifest])
        return keep, unreadable


def needs(journal: Journal, position: int) -> Needs:
    """Say what the state after a position, every snapshot's state, and unregistered jobs need.

    One pass over what was ever written of the kinds that name files, however many snapshots there are.
    """
    moments = sorted({snapshot.position for snapshot in snapshots(journal)} | {position})
    last: dict[tuple[str, str], Document] = {}
    found: set[tuple[str, bool]] = set()
    for document in _written(journal, 0, position):
        name = (document.kind, document.key)
        before = last.get(name)
        if before is not None and _stood(before.position, document.position, moments):
            found.update(_named(before))
        last[name] = document
    for document in last.values():
        if _stood(document.position, position + 1, moments):
            found.update(_named(document))
    found.update(_of_jobs(journal))
    return _needs(found)


def _since(journal: Journal, position: int) -> Needs:
    """Say what was named after a position."""
    found = {need for document in _written(journal, position, None) for need in _named(document)}
    return _needs(found | set(_of_jobs(journal, after=position)))


def _written(journal: Journal, after: int, until: int | None) -> Iterator[Document]:
    while page := journal.changes(KINDS, after=after, limit=PAGE):
        for document in page:
            if until is not None and document.position > until:
                return
            yield document
        after = page[-1].position


def _stood(begin: int, end: int, moments: Sequence[int]) -> bool:
    """Say whether what was written at a position still stood at one of some moments.

    >>> _stood(3, 7, [1, 5]), _stood(3, 5, [5])
    (True, False)
    """
    place = bisect_left(moments, begin)
    return place < len(moments) and moments[place] < end


def _named(document: Document) -> Iterator[tuple[str, bool]]:
    """Give what a document names, and of each whether it is a manifest."""
    body = document.body
    if body is None:
        return
    if document.kind == "model_version":
        yield from _of_bundle(body)
    else:
        yield from ((digest, False) for digest in _DIGEST.findall(json.dumps(body)))


def _of_bundle(body: Json) -> Iterator[tuple[str, bool]]:
    uri, rows = str(body.get("artifact_uri") or ""), (body.get("lineage") or {}).get("dataset_digest")
    if _DIGEST.fullmatch(uri.removeprefix(_SCHEME)):
        yield uri.removeprefix(_SCHEME), True
    if rows is not None and _DIGEST.fullmatch(rows):
        yield rows, False


def _of_jobs(journal: Journal, after: int = 0) -> Iterator[tuple[str, bool]]:
    """Give what jobs need: all but those whose version was deleted may be registered (again)."""
    for document in _jobs(journal, after):
        body = document.body or {}
        bundle, number = body.get("bundle"), body.get("registered_version")
        if bundle is None:
            continue
        gone = number is not None and journal.read(DELETION, version_key(bundle["model_key"], number)) is not None
        if not gone:
            yield from _of_bundle(bundle)


def _jobs(journal: Journal, after: int) -> Iterator[Document]:
    if after == 0:
        yield from scan_all(journal, "job")
        return
    while page := journal.changes(("job",), after=after, limit=PAGE):
        yield from page
        after = page[-1].position


def _needs(found: Iterable[tuple[str, bool]]) -> Needs:
    pairs = set(found)
    files = frozenset(digest for digest, manifest in pairs if not manifest)
    return Needs(files, frozenset(digest for digest, manifest in pairs if manifest))


def _unreadable(manifests: Sequence[str]) -> Conflict:
    return Conflict(
        f"{len(manifests)} manifests cannot be read, the first is {manifests[0]}: which files their versions need is "
        "not known, so nothing more is freed; bring them back, or delete those versions",
        {"unreadable": list(manifests[:100])},
    )
