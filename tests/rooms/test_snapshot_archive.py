"""A snapshot as one file: exported, imported into an empty cluster as the same state, refused where it is not whole."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.archives import Artifacts
from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import Fact
from contracts.ports import Journal, Once, Write
from contracts.records import TrainedBundle
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import fetch_artifact, store_artifact
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, SqlJournal
from mldl_ray.snapshots import capture, plan
from mldl_ray.snapshots.archive import pack
from mldl_ray.snapshots.state import digest_of, state_at
from mldl_ray.snapshots.unpack import Archive, RecordedClock, unpack


class Cluster:
    """A journal with a past, and its stored files."""

    def __init__(self, journal: Journal, clock: SettableClock, folder: Path) -> None:
        self.journal, self.clock, self.blobs = journal, clock, MemoryBlobs()
        folder.mkdir()
        (folder / "model.bin").write_bytes(random.Random(1).randbytes(5000))
        self.manifest = store_artifact(self.blobs, folder, {"family": "lr"})
        bundle = TrainedBundle(
            model_key="income", version="1.0.0", artifact_uri=f"blobs:{self.manifest}", validation_hash=self.manifest,
            created_at="", metrics={"f1": 0.9},
        )  # fmt: skip
        self.put("model_version", "income@1.0.0", bundle.model_dump(mode="json"), by="ann")
        rows = self.blobs.put(b"rows")
        self.put("dataset", "d@1", {"digest": rows, "name": "né"}, by="ann")
        self.put("policy", "default", {"approvals_required": 1})
        self.put("policy", "default", {"approvals_required": 2})
        self.put("alias", "income@mine", {"version": "1.0.0"})
        self.put("alias", "income@mine", None)
        self.put("api_key", "key-1", {"sha256": "x"})
        told = Fact(type="MLDL_EVALUATED", subject="m", data={"model_key": "m", "metrics": {"f1": 0.1}})
        self.journal.append([], [told], actor="bob", reason="only told")
        self.name = capture(journal, clock, reason="to move", by="ann")
        self.put("policy", "default", {"approvals_required": 9})

    def put(self, kind: str, key: str, body: dict[str, Any] | None, *, by: str = "owner") -> None:
        version = len(self.journal.history(kind, key))
        once = Once(key=f"{kind} {key} {version}", digest="d") if body else None
        write = Write(kind=kind, key=key, expected_version=version, body=body)
        fact = Fact(type="MLDL_EVALUATED", subject=key, data={"model_key": "m", "metrics": {}})
        self.journal.append([write], [fact], actor=by, reason="as it came", once=once)
        self.clock.advance(1.25)

    def export(self, path: Path, artifacts: Artifacts = "included") -> Path:
        with path.open("wb") as out:
            for piece in pack(self.journal, self.blobs, self.name, artifacts=artifacts):
                out.write(piece)
        return path


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Any, str], Journal]]:
    """Open journals of one kind; the second with the same name is the same, where it is kept."""
    found: list[SqlJournal] = []

    def make(clock: Any, name: str) -> Journal:
        if request.param == "memory":
            return MemoryJournal(clock)
        found.append(SqlJournal(f"sqlite:///{tmp_path / name}.db", clock))
        return found[-1]

    yield make
    for journal in found:
        journal.close()


@pytest.fixture
def cluster(opened: Callable[[Any, str], Journal], tmp_path: Path) -> Cluster:
    clock = SettableClock()
    return Cluster(opened(clock, "old"), clock, tmp_path / "model")


@pytest.fixture
def plainly(tmp_path: Path) -> Cluster:
    clock = SettableClock()
    return Cluster(MemoryJournal(clock), clock, tmp_path / "model")


def documents(journal: Journal, position: int) -> list[Any]:
    kinds = ["model_version", "dataset", "policy", "alias", "api_key", "snapshot"]
    return [found for found in journal.changes(kinds) if found.position <= position]


def test_what_is_imported_is_the_same_state_history_and_chain(
    cluster: Cluster, opened: Callable[[Any, str], Journal], tmp_path: Path
) -> None:
    archive = Archive(cluster.export(tmp_path / "s.tar"))
    clock, blobs = RecordedClock(), MemoryBlobs()
    fresh, position = opened(clock, "new"), cluster.name.position
    done = unpack(archive, fresh, clock, blobs)
    assert (done.position, done.appends, done.files) == (position, position, 3)
    assert documents(fresh, position) == documents(cluster.journal, position)
    assert fresh.events(limit=1000) == [e for e in cluster.journal.events(limit=1000) if e.position <= position]
    assert fresh.seal() == cluster.journal.seal(as_of=position)
    assert digest_of(state_at(fresh, position).content) == digest_of(state_at(cluster.journal, position).content)
    assert fresh.verify().ok
    fetch_artifact(blobs, cluster.manifest, tmp_path / "again")
    assert (tmp_path / "again/model.bin").read_bytes() == (tmp_path / "model/model.bin").read_bytes()


def test_who_did_what_and_when_comes_along(plainly: Cluster, tmp_path: Path) -> None:
    clock = RecordedClock()
    fresh = MemoryJournal(clock)
    unpack(Archive(plainly.export(tmp_path / "s.tar")), fresh, clock, MemoryBlobs())
    (registered,) = fresh.history("model_version", "income@1.0.0")
    assert registered == plainly.journal.history("model_version", "income@1.0.0")[0]
    assert registered.actor == "ann"


def test_a_known_idempotency_key_is_known_in_the_new_cluster_too(plainly: Cluster, tmp_path: Path) -> None:
    clock = RecordedClock()
    fresh = MemoryJournal(clock)
    unpack(Archive(plainly.export(tmp_path / "s.tar")), fresh, clock, MemoryBlobs())
    write = Write(kind="policy", key="default", expected_version=7, body={})
    once = Once(key="policy default 0", digest="d")
    assert fresh.append([write], actor="x", reason="y", once=once).repeated


def test_what_was_delivered_is_not_delivered_again_and_what_waits_still_waits(plainly: Cluster, tmp_path: Path) -> None:
    waiting = plainly.journal.events(pending=True)
    plainly.journal.delivered([event.id for event in waiting[:-3]])
    clock = RecordedClock()
    fresh = MemoryJournal(clock)
    unpack(Archive(plainly.export(tmp_path / "s.tar")), fresh, clock, MemoryBlobs())
    wanted = [event for event in waiting[-3:] if event.position <= plainly.name.position]
    assert [event.id for event in fresh.events(pending=True)] == [event.id for event in wanted]


def test_a_snapshot_taken_after_an_import_can_be_gone_back_to(plainly: Cluster, tmp_path: Path) -> None:
    clock, blobs = RecordedClock(), MemoryBlobs()
    fresh = MemoryJournal(clock)
    unpack(Archive(plainly.export(tmp_path / "s.tar")), fresh, clock, blobs)
    taken = capture(fresh, clock, reason="arrived", by="ann")
    assert plan(fresh, blobs, taken.snapshot_id).impacts == ()


def test_by_reference_the_file_carries_no_stored_file_and_needs_them_where_it_goes(
    plainly: Cluster, tmp_path: Path
) -> None:
    whole = plainly.export(tmp_path / "whole.tar")
    small = plainly.export(tmp_path / "small.tar", "referenced")
    assert small.stat().st_size < whole.stat().st_size - 5000
    clock = RecordedClock()
    fresh = MemoryJournal(clock)
    with pytest.raises(Conflict, match="copy the artifacts first"):
        unpack(Archive(small), fresh, clock, MemoryBlobs())
    assert fresh.position() == 0
    assert unpack(Archive(small), fresh, clock, plainly.blobs).position == plainly.name.position


def test_a_stored_file_that_is_gone_refuses_the_export_by_name(plainly: Cluster, tmp_path: Path) -> None:
    gone = next(d for d in plainly.blobs.digests() if plainly.blobs.get(d) == b"rows")
    plainly.blobs.remove(gone)
    with pytest.raises(Conflict, match=gone):
        plainly.export(tmp_path / "s.tar")
    assert Archive(plainly.export(tmp_path / "s.tar", "referenced")).index.needed


def test_a_journal_that_holds_something_else_is_refused_and_left_alone(plainly: Cluster, tmp_path: Path) -> None:
    archive = Archive(plainly.export(tmp_path / "s.tar"))
    clock, blobs = RecordedClock(), MemoryBlobs()
    other = MemoryJournal(clock)
    other.append([Write(kind="policy", key="default", expected_version=0, body={})], actor="x", reason="y")
    with pytest.raises(Conflict, match="not empty"):
        unpack(archive, other, clock, blobs)
    assert other.position() == 1
    assert list(blobs.digests()) == []


class Killed(BaseException):
    """As by a signal."""


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_an_import_that_was_killed_is_finished_by_repeating_it(plainly: Cluster, tmp_path: Path, after: int) -> None:
    archive = Archive(plainly.export(tmp_path / "s.tar"))
    clock, blobs = RecordedClock(), MemoryBlobs()

    class Mortal(MemoryJournal):
        left = after

        def append(self, *args: Any, **options: Any) -> Any:
            if not self.left:
                raise Killed
            self.left -= 1
            return super().append(*args, **options)

    fresh = Mortal(clock)
    with pytest.raises(Killed):
        unpack(archive, fresh, clock, blobs)
    assert fresh.position() == after
    fresh.left = 1000
    assert unpack(archive, fresh, clock, blobs).appends == plainly.name.position - after
    assert fresh.seal() == plainly.journal.seal(as_of=plainly.name.position)
    assert unpack(archive, fresh, clock, blobs).appends == 0


def test_a_file_cut_anywhere_is_refused(plainly: Cluster, tmp_path: Path) -> None:
    data = plainly.export(tmp_path / "s.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    for size in {0, 1, 511, 512, 1024, len(data) - 1, len(data) - 512, len(data) - 1024, *range(700, len(data), 937)}:
        cut.write_bytes(data[:size])
        with pytest.raises(Incompatible, match="no whole snapshot file"):
            Archive(cut)


def test_a_file_with_any_byte_of_its_content_changed_is_refused(plainly: Cluster, tmp_path: Path) -> None:
    path = plainly.export(tmp_path / "s.tar")
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        spots = [(entry.offset_data, entry.size) for entry in tar]
    chance = random.Random(5)
    for offset, size in spots[:-1]:
        for _ in range(6):
            spoiled = bytearray(data)
            spoiled[offset + chance.randrange(size)] ^= 1 << chance.randrange(8)
            path.write_bytes(spoiled)
            with pytest.raises(Incompatible, match="no whole snapshot file"):
                Archive(path)


def rewritten(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """Write a file anew with other members, as somebody would who knows tar."""
    with tarfile.open(path) as tar:
        members = [(entry, (tar.extractfile(entry) or io.BytesIO()).read()) for entry in tar]
    change(members)
    with path.open("wb") as out:
        for entry, data in members:
            entry.size = len(data)
            out.write(entry.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
        out.write(bytes(1024))
    return path


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "blobs/../../x", "journal/../1.jsonl", "C:x", "blobs/ABC", "x"]
)
def test_a_name_that_leads_elsewhere_is_refused(plainly: Cluster, tmp_path: Path, name: str) -> None:
    path = rewritten(plainly.export(tmp_path / "s.tar"), lambda m: m.insert(1, (tarfile.TarInfo(name), b"evil")))
    with pytest.raises(Incompatible, match="does not belong"):
        Archive(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_refused(plainly: Cluster, tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("blobs/" + "0" * 64)
    link.type, link.linkname = kind, "/etc/passwd"
    path = rewritten(plainly.export(tmp_path / "s.tar"), lambda members: members.insert(1, (link, b"")))
    with pytest.raises(Incompatible, match="does not belong"):
        Archive(path)


def test_an_edited_document_is_found_even_where_the_index_was_made_to_fit(plainly: Cluster, tmp_path: Path) -> None:
    def edit(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        at = next(n for n, (entry, _) in enumerate(members) if entry.name.startswith("journal/"))
        data = members[at][1].replace(b'"approvals_required":2', b'"approvals_required":0')
        members[at] = (members[at][0], data)
        index = json.loads(members[-1][1])
        index["members"][at]["sha256"] = hashlib.sha256(data).hexdigest()
        members[-1] = (members[-1][0], json.dumps(index).encode())

    path = rewritten(plainly.export(tmp_path / "s.tar"), edit)
    with pytest.raises(Incompatible, match="the chain names"):
        Archive(path)


def test_something_else_than_such_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with pytest.raises(NotFound):
        Archive(path)
    path.write_text("hello")
    with pytest.raises(Incompatible):
        Archive(path)


def test_no_piece_is_larger_than_a_page_or_a_stored_file(tmp_path: Path) -> None:
    clock = SettableClock()
    large = Cluster(MemoryJournal(clock), clock, tmp_path / "model")
    for start in range(0, 5000, 500):
        writes = [Write(kind="alias", key=f"a-{start + n}", expected_version=0, body={"n": n}) for n in range(500)]
        large.journal.append(writes, actor="owner", reason="many")
    large.name = capture(large.journal, clock, reason="large", by="ann")
    pieces = [len(piece) for piece in pack(large.journal, large.blobs, large.name, artifacts="included")]
    assert max(pieces) < sum(pieces) / 3
