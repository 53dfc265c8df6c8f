"""Blobs in this process's memory: for tests and for scripts that keep nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from contracts.errors import NotFound
from contracts.ports import Clock
from mldl_ray.blobs._digest import digest_of, hex_of
from mldl_ray.clock import SystemClock


class MemoryBlobs:
    """Keep bytes in a dictionary.

    Args:
        clock: Says how old a blob is.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._stored: dict[str, bytes] = {}
        self._since_s: dict[str, float] = {}
        self._clock, self._lock = clock or SystemClock(), threading.Lock()

    def put(self, data: bytes) -> str:
        """Store bytes; give their digest."""
        digest = digest_of(data)
        with self._lock:
            self._stored[digest], self._since_s[digest] = bytes(data), self._clock.now_s()
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

    def discard(self, digest: str, *, before_s: float, dry_run: bool = False) -> int | None:
        """Delete a blob that nobody stored since a moment; give its size."""
        hex_of(digest)
        with self._lock:
            if digest not in self._stored or self._since_s[digest] >= before_s:
                return None
            size = len(self._stored[digest])
            if not dry_run:
                del self._stored[digest]
            return size
