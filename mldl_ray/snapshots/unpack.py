"""A snapshot's file read back: checked to its last byte before anything is written, then replayed in an empty journal.

Every append is made again with its own time, author and reason, so the chain comes out the same, hash for hash: what
was provable of the first cluster is provable of the second. An import that was killed is finished by repeating it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from contracts.archives import ArchiveHead, ArchiveIndex, ArchiveMember, Imported
from contracts.errors import Broken, Conflict, Incompatible, NotFound
from contracts.events import Fact
from contracts.ports import Blobs, Journal, Once, Write
from contracts.specs import Json, Words
from mldl_ray.journal import _chain
from mldl_ray.snapshots.archive import BLOBS, BLOCK, END, HEAD, INDEX

LARGEST_WORDS_BYTES = 2**28
"""Of the first and the last member, which are read whole."""
_CHUNK = 2**20
_NAME = re.compile(r"head\.json|index\.json|blobs/[0-9a-f]{64}|journal/[0-9]{12,18}\.jsonl")
W = TypeVar("W", bound=Words)


class RecordedClock:
    """The time of what is replayed."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        """Give the time of the append that is being made."""
        return self.at_s


class Stored(NamedTuple):
    """One append of a file."""

    content: Any
    hash: str
    bodies: list[Json | None]

    def asked(self) -> Asked:
        """Say what is to be appended; raises ``ValueError`` or its like where this is no append."""
        writes = [
            Write(kind=kind, key=key, expected_version=version - 1, body=body)
            for (kind, key, version, _), body in zip(self.content["documents"], self.bodies, strict=True)
        ]
        facts = [Fact(type=e["type"], subject=e["subject"], data=e["data"]) for e in self.content["events"]]
        promised = self.content["once"]
        return Asked(writes, facts, Once.model_validate(promised) if promised is not None else None)


class Asked(NamedTuple):
    """What an append of a file asks a journal for."""

    writes: list[Write]
    facts: list[Fact]
    once: Once | None


class Archive:
    """A file whose every byte was found to be what its index says.

    Raises:
        NotFound: There is no such file.
        Incompatible: It is none of ours, was cut short, or was changed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFound(f"there is no file {path}")
        self._path = path
        self.head: ArchiveHead | None = None
        try:
            self.index, found = self._survey()
        except (tarfile.TarError, EOFError) as error:
            raise self._damaged(str(error)) from error
        self._compare(found)
        self._check_chain()

    def _survey(self) -> tuple[ArchiveIndex, list[ArchiveMember]]:
        """Read every member once, and see that the file ends where its index does."""
        found, index, end = list[ArchiveMember](), None, 0
        for entry, stream in self._entries():
            end = entry.offset_data + entry.size + -entry.size % BLOCK
            if index is not None:
                raise self._damaged(f"{entry.name} comes after the end")
            if entry.name == INDEX:
                index = self._parsed(ArchiveIndex, self._read(entry, stream), INDEX)
            else:
                found.append(self._measured(entry, stream))
        if index is None:
            raise self._damaged("its end is missing")
        if self._path.stat().st_size != end + len(END):
            raise self._damaged("it does not end where its index does")
        return index, found

    @property
    def facts(self) -> ArchiveHead:
        """What the file is of."""
        assert self.head is not None  # no file without it was accepted
        return self.head

    def blobs(self) -> Iterator[bytes]:
        """Give the stored files, one after the other."""
        for entry, stream in self._entries():
            if entry.name.startswith(BLOBS):
                yield stream.read()

    def appends(self) -> Iterator[Stored]:
        """Give the journal, append by append."""
        for entry, stream in self._entries():
            if entry.name.startswith("journal/"):
                for line in stream:
                    yield self._stored(line)

    def _entries(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        with tarfile.open(self._path, "r:") as tar:
            for entry in tar:
                if not entry.isreg() or not _NAME.fullmatch(entry.name):
                    raise self._damaged(f"{entry.name[:100]!r} does not belong in such a file")
                stream = tar.extractfile(entry)
                assert stream is not None  # it is a regular member
                yield entry, stream

    def _measured(self, entry: tarfile.TarInfo, stream: IO[bytes]) -> ArchiveMember:
        if (entry.name == HEAD) != (self.head is None):
            raise self._damaged("its first member must be head.json, once")
        if entry.name == HEAD:
            data = self._read(entry, stream)
            self.head = self._parsed(ArchiveHead, data, entry.name)
            return ArchiveMember(name=HEAD, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        digest, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        if entry.name.startswith(BLOBS) and entry.name != BLOBS + digest.hexdigest():
            raise self._damaged(f"{entry.name} has other bytes than its name says")
        return ArchiveMember(name=entry.name, size_bytes=size, sha256=digest.hexdigest())

    def _compare(self, found: list[ArchiveMember]) -> None:
        for mine, named in zip(found, self.index.members, strict=False):
            if mine != named:
                raise self._damaged(f"{mine.name} is not what the index says of {named.name}")
        if len(found) != len(self.index.members):
            raise self._damaged(f"it has {len(found)} members, its index {len(self.index.members)}")
        if self.facts.position != self.index.position:
            raise self._damaged("its head and its index name different positions")
        carried = {"sha256:" + member.name.removeprefix(BLOBS) for member in found if member.name.startswith(BLOBS)}
        if self.facts.artifacts == "included" and carried != set(self.index.needed):
            raise self._damaged("it does not carry exactly the stored files that its state needs")

    def _check_chain(self) -> None:
        head, position = _chain.GENESIS, 0
        for stored in self.appends():
            position += 1
            content, written = stored.content, [digest for *_, digest in stored.content["documents"]]
            head = _chain.link(head, _chain.canonical(content))
            bodies = [_chain.digest(_chain.canonical(body)) for body in stored.bodies]
            if content["position"] != position or head != stored.hash or bodies != written:
                raise self._damaged(f"append {position} is not the one that the chain names")
        if (position, head) != (self.index.position, self.index.head):
            raise self._damaged(f"its journal ends at {position}, not at {self.index.position}")

    def _stored(self, line: bytes) -> Stored:
        try:
            row = json.loads(line)
            found = Stored(json.loads(row["content"]), str(row["hash"]), list(row["bodies"]))
            found.asked(), found.content["position"], found.content["at_s"]  # it can be replayed
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(f"a line of its journal is none: {error}") from error
        return found

    def _read(self, entry: tarfile.TarInfo, stream: IO[bytes]) -> bytes:
        if entry.size > LARGEST_WORDS_BYTES:
            raise self._damaged(f"{entry.name} has {entry.size} bytes; at most {LARGEST_WORDS_BYTES} are read")
        return stream.read()

    def _parsed(self, model: type[W], data: bytes, name: str) -> W:
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            raise self._damaged(f"{name} cannot be read: {error.errors()[0]['msg']}") from error

    def _damaged(self, why: str) -> Incompatible:
        return Incompatible(
            f"{self._path} is no whole snapshot file: {why}; export it again. Nothing was imported", {"why": why}
        )


def unpack(archive: Archive, journal: Journal, clock: RecordedClock, blobs: Blobs) -> Imported:
    """Make a checked file's state in an empty cluster.

    Args:
        archive: The file.
        journal: Empty, or what an interrupted import of the same file left; it must take its time from ``clock``.
        clock: Set to the time of each append.
        blobs: Where stored files go, or are already where the file only names them.

    Raises:
        Conflict: The journal holds something else, or stored files that the state needs are nowhere.
        Broken: The chain came out another one: a bug, or somebody else writes there.
    """
    there = _continued(archive, journal)
    files = sum(1 for data in archive.blobs() if blobs.put(data))
    if gone := next((digest for digest in archive.index.needed if not blobs.has(digest)), None):
        raise Conflict(
            f"the state needs the stored file {gone}, which the file does not carry and the artifact store does not "
            "hold; copy the artifacts first, or export with artifacts included. The journal was left empty",
            {"missing": gone},
        )
    written, pending = 0, set(archive.index.pending)
    for stored in archive.appends():
        if stored.content["position"] > there:
            _replay(stored, journal, clock)
            written += 1
        ids = [event["id"] for event in stored.content["events"] if event["id"] not in pending]
        if ids:
            journal.delivered(ids)
    sealed = journal.seal()
    if (sealed.position, sealed.head) != (archive.index.position, archive.index.head):
        raise Broken(f"the journal came out with another chain at {sealed.position}; start again with an empty one")
    facts = archive.facts
    return Imported(
        snapshot_id=facts.snapshot_id, position=sealed.position, head=sealed.head, appends=written, files=files
    )


def _continued(archive: Archive, journal: Journal) -> int:
    """Say how far an earlier import of the same file came; 0 in an empty journal."""
    sealed = journal.seal()
    if not sealed.position:
        return 0
    same = next((s.hash for s in archive.appends() if s.content["position"] == sealed.position), None)
    if same != sealed.head:
        raise Conflict(
            f"the journal is not empty: it has {sealed.position} appends that are not this file's; import into a new "
            "home, or an empty database. Nothing was imported",
            {"position": sealed.position},
        )
    return sealed.position


def _replay(stored: Stored, journal: Journal, clock: RecordedClock) -> None:
    content, asked = stored.content, stored.asked()
    clock.at_s = content["at_s"]
    journal.append(asked.writes, asked.facts, actor=content["actor"], reason=content["reason"], once=asked.once)
