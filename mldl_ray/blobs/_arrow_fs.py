"""Blobs as files on whatever ``pyarrow.fs`` reaches: a folder, S3, GCS.

A blob is written aside and then moved to its name, so that a reader never sees half of one, and two writers of the same
bytes do each other no harm. A writer that is killed may leave its file aside behind; nothing ever reads it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from contracts.errors import Broken, Incompatible, NotFound, Unavailable
from mldl_ray.blobs._digest import digest_of, hex_of, is_digest

RENEW_S = 600.0
"""An object older than this is written again by whoever stores it: object stores have no way to touch one."""
LEFT_S = 60.0
"""A file that was moved out and lies there for so long was left by a process that was killed."""
_LEAVING = ".leaving"


class ArrowBlobs:
    """Keep each blob in one file, two folders deep by its first digits.

    Args:
        uri: Folder, ``file://…``, ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

    Raises:
        Incompatible: The URI is not understood.
        Unavailable: The store cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        try:
            location = uri if "://" in uri else Path(uri).absolute().as_uri()
            self._fs, self._root = fs.FileSystem.from_uri(location)
            self._local = isinstance(self._fs, fs.LocalFileSystem)
            self._fs.create_dir(self._root, recursive=True)
        except (pa.ArrowInvalid, ValueError) as error:
            raise Incompatible(f"artifact URI {uri!r} is not understood: {error}") from error
        except OSError as error:
            raise Unavailable(f"the artifact store {uri} cannot be reached: {error}") from error

    def put(self, data: bytes) -> str:
        """Store bytes, once, whole or not at all; give their digest."""
        digest = digest_of(data)
        path = self._path(digest)
        try:
            if not self._renewed(path, len(data)):  # absent, or cut short by whatever befell the disk
                self._write(path, data)
        except OSError as error:
            raise Unavailable(f"{len(data)} bytes could not be stored: {error}; nothing was written") from error
        return digest

    def get(self, digest: str) -> bytes:
        """Give the bytes, checked against their digest."""
        path = self._path(digest)
        try:
            with self._fs.open_input_file(path) as stream:
                data: bytes = stream.read()
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {digest}", {"digest": digest}) from error
        except OSError as error:
            raise Unavailable(f"blob {digest} cannot be read: {error}") from error
        if digest_of(data) != digest:
            raise Broken(f"blob {digest} is corrupt: its bytes have another digest", {"digest": digest})
        return data

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        path = self._path(digest)
        try:
            return self._size(path) is not None
        except OSError as error:
            raise Unavailable(f"the artifact store cannot be reached: {error}") from error

    def digests(self) -> Iterable[str]:
        """List what is stored."""
        try:
            found = self._fs.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
        except OSError as error:
            raise Unavailable(f"the artifact store cannot be listed: {error}") from error
        if self._local:
            self._put_back(found)
        files = (f"sha256:{info.base_name}" for info in found if info.type == fs.FileType.File)
        return [name for name in files if is_digest(name)]

    def remove(self, digest: str) -> None:
        """Delete a blob; absent already is fine."""
        path = self._path(digest)
        try:
            self._fs.delete_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(f"blob {digest} cannot be removed: {error}") from error

    def discard(self, digest: str, *, before_s: float, dry_run: bool = False) -> int | None:
        """Delete a blob that nobody stored since a moment; give its size.

        In a folder this is exact. An object store cannot do it in one step: whoever stores there what is old and
        unneeded, within the milliseconds between the look and the deletion, finds it gone.
        """
        path = self._path(digest)
        try:
            info = self._fs.get_file_info(path)
            if info.type != fs.FileType.File or info.mtime_ns / 1e9 >= before_s:
                return None
            if not dry_run and not (self._moved_out(Path(path), before_s) if self._local else self._deleted(path)):
                return None
        except OSError as error:
            raise Unavailable(f"blob {digest} cannot be discarded: {error}") from error
        return int(info.size)

    def _renewed(self, path: str, size: int) -> bool:
        """Make a blob that is there whole young again; say whether it was."""
        info = self._fs.get_file_info(path)
        if info.type != fs.FileType.File or info.size != size:
            return False
        if not self._local:
            return bool(time.time() - info.mtime_ns / 1e9 < RENEW_S)  # an older object is written anew
        try:
            os.utime(path)
        except FileNotFoundError:
            return False  # it was discarded in this moment
        return True

    def _moved_out(self, path: Path, before_s: float) -> bool:
        """Delete a file that is still old once nobody can reach it by its name any more; else put it back."""
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_LEAVING}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime >= before_s:
            aside.replace(path)  # somebody stored it again between the look and the move
            return False
        aside.unlink()
        return True

    def _deleted(self, path: str) -> bool:
        self._fs.delete_file(path)
        return True

    def _path(self, digest: str) -> str:
        name = hex_of(digest)
        return f"{self._root}/{name[:2]}/{name[2:4]}/{name}"

    def _put_back(self, found: Iterable[fs.FileInfo]) -> None:
        """Give back what a killed process had moved out and not deleted; a collection will judge it again."""
        left = [Path(info.path) for info in found if info.base_name.endswith(_LEAVING)]
        for aside in left:
            with suppress(FileNotFoundError):  # whoever moved it out has deleted it meanwhile
                if time.time() - aside.stat().st_ctime > LEFT_S:
                    aside.replace(aside.with_name(aside.name[1:65]))

    def _size(self, path: str) -> int | None:
        info = self._fs.get_file_info(path)
        return int(info.size) if info.type == fs.FileType.File else None

    def _write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        self._fs.create_dir(folder, recursive=True)
        if not self._local:
            with self._fs.open_output_stream(path) as stream:  # an object store shows an object when it is whole
                stream.write(data)
            return
        aside = Path(folder) / f".{name}.{uuid.uuid4().hex}"
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            for place in (aside.parent, aside.parent.parent, aside.parent.parent.parent):
                _sync_folder(place)  # else a power cut could take back the new name, which the journal may hold
        finally:
            aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
