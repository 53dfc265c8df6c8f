"""The promises of ``contracts.ports.Blobs``, kept by every store; and what a folder adds: kills, damage, names."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from contracts.errors import Broken, Incompatible, NotFound, Unavailable
from contracts.ports import Blobs
from mldl_ray.blobs import ArrowBlobs, MemoryBlobs, open_blobs

ABSENT = "sha256:" + "0" * 64
NO_NAMES = (
    "",
    "sha256:",
    ABSENT[7:],
    ABSENT.upper(),
    ABSENT + "0",
    ABSENT + "\n",
    "sha256:../../../etc/passwd",
    "/etc",
)


class BlobsConformance:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        raise NotImplementedError("a subclass gives an empty store")

    @pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)), b"x" * 3_000_000])
    def test_bytes_come_back_by_their_sha256(self, blobs: Blobs, data: bytes) -> None:
        digest = blobs.put(data)
        assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
        assert blobs.get(digest) == data
        assert blobs.has(digest)

    def test_storing_the_same_again_changes_nothing(self, blobs: Blobs) -> None:
        assert blobs.put(b"a") == blobs.put(b"a")
        assert len(list(blobs.digests())) == 1

    def test_everything_stored_is_listed(self, blobs: Blobs) -> None:
        assert list(blobs.digests()) == []
        stored = {blobs.put(str(n).encode()) for n in range(20)}
        assert set(blobs.digests()) == stored

    def test_what_is_not_there_is_not_found(self, blobs: Blobs) -> None:
        assert not blobs.has(ABSENT)
        with pytest.raises(NotFound) as refused:
            blobs.get(ABSENT)
        assert refused.value.facts == {"digest": ABSENT}

    def test_a_removed_blob_is_gone_and_removing_it_again_is_fine(self, blobs: Blobs) -> None:
        digest = blobs.put(b"a")
        blobs.remove(digest)
        blobs.remove(digest)
        assert not blobs.has(digest)
        assert list(blobs.digests()) == []
        assert blobs.put(b"a") == digest
        assert blobs.has(digest)

    def grow_old(self, blobs: Blobs, digest: str) -> None:
        raise NotImplementedError("a subclass makes a blob one that was stored in 1970")

    def test_only_what_is_old_is_discarded_and_its_size_is_told(self, blobs: Blobs) -> None:
        old, young = blobs.put(b"old"), blobs.put(b"young")
        self.grow_old(blobs, old)
        assert blobs.discard(old, before_s=1e9, dry_run=True) == 3
        assert blobs.has(old)
        assert blobs.discard(old, before_s=1e9) == 3
        assert blobs.discard(old, before_s=1e9) is None
        assert blobs.discard(young, before_s=1e9) is None
        assert blobs.discard(ABSENT, before_s=1e11) is None
        assert list(blobs.digests()) == [young]

    def test_what_is_stored_again_is_young_again(self, blobs: Blobs) -> None:
        digest = blobs.put(b"a")
        self.grow_old(blobs, digest)
        blobs.put(b"a")
        assert blobs.discard(digest, before_s=1e9) is None
        assert blobs.get(digest) == b"a"

    @pytest.mark.parametrize("name", NO_NAMES)
    def test_what_is_no_digest_is_refused_everywhere(self, blobs: Blobs, name: str) -> None:
        for ask in (blobs.get, blobs.has, blobs.remove, partial(blobs.discard, before_s=1e9)):
            with pytest.raises(Incompatible, match="64 hexadecimal digits"):
                ask(name)

    def test_many_writers_of_the_same_bytes_do_each_other_no_harm(self, blobs: Blobs) -> None:
        data = os.urandom(200_000)
        with ThreadPoolExecutor(8) as pool:
            digests = set(pool.map(lambda _: blobs.put(data), range(32)))
        assert list(blobs.digests()) == list(digests)
        assert blobs.get(digests.pop()) == data

    def test_changing_a_buffer_that_was_stored_changes_nothing(self, blobs: Blobs) -> None:
        buffer = bytearray(b"abc")
        digest = blobs.put(buffer)  # type: ignore[arg-type]  # a caller who does not check types
        buffer[0] = 0
        assert blobs.get(digest) == b"abc"


class TestMemoryBlobs(BlobsConformance):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return open_blobs("memory:")

    def grow_old(self, blobs: Blobs, digest: str) -> None:
        assert isinstance(blobs, MemoryBlobs)
        blobs._since_s[digest] = 0.0


class TestFolderBlobs(BlobsConformance):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return open_blobs(str(tmp_path / "artifacts"))

    def grow_old(self, blobs: Blobs, digest: str) -> None:
        assert isinstance(blobs, ArrowBlobs)
        os.utime(blobs._path(digest), (0, 0))

    def test_what_a_killed_process_had_moved_out_comes_back(
        self, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digest = blobs.put(b"a")
        self.grow_old(blobs, digest)
        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", _killed)
            with pytest.raises(KeyboardInterrupt):
                blobs.discard(digest, before_s=1e9)
        assert not blobs.has(digest)
        monkeypatch.setattr("mldl_ray.blobs._arrow_fs.LEFT_S", -1.0)
        list(blobs.digests())
        assert blobs.get(digest) == b"a"

    def test_what_is_stored_between_the_look_and_the_move_is_put_back(
        self, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digest = blobs.put(b"a")
        self.grow_old(blobs, digest)
        rename = Path.rename

        def meanwhile(path: Path, target: Path) -> Path:
            blobs.put(b"a")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", meanwhile)
        assert blobs.discard(digest, before_s=1e9) is None
        assert blobs.get(digest) == b"a"


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["plain", "with spaces", "né 日本", "100% #1?", "a/b/c"])
def test_a_folder_of_any_name_holds_blobs_and_nothing_lies_beside_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    digest = ArrowBlobs(str(folder)).put(b"a")
    assert ArrowBlobs(str(folder)).get(digest) == b"a"
    assert ArrowBlobs(folder.as_uri()).get(digest) == b"a"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        folder / digest[7:9] / digest[9:11] / digest.removeprefix("sha256:")
    ]


def test_a_uri_that_is_not_understood_is_refused() -> None:
    with pytest.raises(Incompatible, match="nowhere://"):
        open_blobs("nowhere://bucket/x")


def test_memory_is_a_uri_too() -> None:
    assert isinstance(open_blobs("memory:"), MemoryBlobs)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(Unavailable):
        ArrowBlobs(str(tmp_path / "file" / "deeper"))


def stored_file(folder: Path, digest: str) -> Path:
    return folder / digest[7:9] / digest[9:11] / digest[7:]


@pytest.mark.parametrize("damage", [b"", b"another", b"abcdefghiX"])
def test_bytes_that_changed_on_the_disk_are_never_given(tmp_path: Path, damage: bytes) -> None:
    blobs = ArrowBlobs(str(tmp_path))
    digest = blobs.put(b"abcdefghij")
    stored_file(tmp_path, digest).write_bytes(damage)
    with pytest.raises(Broken, match="corrupt"):
        blobs.get(digest)


def test_a_blob_that_was_cut_short_is_whole_again_when_it_is_stored_again(tmp_path: Path) -> None:
    blobs = ArrowBlobs(str(tmp_path))
    digest = blobs.put(b"abcdefghij")
    stored_file(tmp_path, digest).write_bytes(b"abc")
    blobs.put(b"abcdefghij")
    assert blobs.get(digest) == b"abcdefghij"


def test_files_that_are_no_blobs_are_not_listed(tmp_path: Path) -> None:
    blobs = ArrowBlobs(str(tmp_path))
    digest = blobs.put(b"a")
    for name in ("README", "Z" * 64, f".{digest[7:]}.0123"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert list(blobs.digests()) == [digest]


def test_a_blob_that_cannot_be_stored_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    blobs = ArrowBlobs(str(tmp_path))
    digest = "sha256:" + hashlib.sha256(b"a").hexdigest()
    (tmp_path / digest[7:9]).write_text("in the way", encoding="utf-8")
    with pytest.raises(Unavailable, match="nothing was written"):
        blobs.put(b"a")
    assert list(blobs.digests()) == []


_WRITER = """
import os, sys
from mldl_ray.blobs import ArrowBlobs
blobs = ArrowBlobs(sys.argv[1])
for n in range(10**9):
    data = os.urandom(64) * 20_000
    print(f"{n} put", flush=True)
    print(f"{n} {blobs.put(data)}", flush=True)
"""


def test_a_writer_killed_in_the_middle_leaves_every_stored_blob_whole_and_no_half_one(tmp_path: Path) -> None:
    told: list[str] = []
    for kill in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                number, word = line.split()
                if word.startswith("sha256:"):
                    told.append(word)
                elif number == "3":  # a moment after a put began
                    threading.Timer(kill * 0.0005, writer.send_signal, (signal.SIGKILL,)).start()
        assert writer.returncode == -signal.SIGKILL
    blobs = ArrowBlobs(str(tmp_path))
    stored = set(blobs.digests())
    assert stored >= set(told)
    for digest in stored:
        blobs.get(digest)  # raises when it is not whole
    assert len(told) >= 36
