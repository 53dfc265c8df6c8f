"""Blobs as files on whatever ``pyarrow.fs`` reaches: a folder, S3, GCS.

A blob is written aside and then moved to its name, so that a reader never sees half of one, and two writers of the same
bytes do each other no harm. A writer that is killed may leave its file aside behind; nothing ever reads it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from contracts.errors import Broken, Incompatible, NotFound, Unavailable
from mldl_ray.blobs._digest import digest_of, hex_of, is_digest


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
            if self._size(path) != len(data):  # absent, or cut short by whatever befell the disk
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

    def _path(self, digest: str) -> str:
        name = hex_of(digest)
        return f"{self._root}/{name[:2]}/{name[2:4]}/{name}"

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
