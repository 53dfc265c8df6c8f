"""Blobs in this process's memory: for tests and for scripts that keep nothing."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.errors import NotFound
from mldl_ray.blobs._digest import digest_of, hex_of


class MemoryBlobs:
    """Keep bytes in a dictionary."""

    def __init__(self) -> None:
        self._stored: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Store bytes; give their digest."""
        digest = digest_of(data)
        self._stored[digest] = bytes(data)
        return digest

    def get(self, digest: str) -> bytes:
        """Give the bytes."""
        hex_of(digest)
        if digest not in self._stored:
            raise NotFound(f"there is no blob {digest}", {"digest": digest})
        return self._stored[digest]

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        hex_of(digest)
        return digest in self._stored

    def digests(self) -> Iterable[str]:
        """List what is stored."""
        return list(self._stored)

    def remove(self, digest: str) -> None:
        """Delete a blob."""
        hex_of(digest)
        self._stored.pop(digest, None)
