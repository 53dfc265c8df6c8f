"""Long answers that a caller fetches piece by piece. What survives a restart: nothing; the caller begins again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from contracts.errors import NotFound

MOST = 4
"""At once; beginning one more lets go of the one that began first, whose caller is likely gone."""
PIECE_BYTES = 2**20
"""What a piece has at least, unless it is the last; and no piece has more than the largest part that it is made of."""


class Outgoing:
    """Iterators of bytes by a name that only their caller knows."""

    def __init__(self) -> None:
        self._open: dict[str, Iterator[bytes]] = {}

    def begin(self, pieces: Iterator[bytes]) -> str:
        """Keep one until it is fetched; give its name."""
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        name = uuid.uuid4().hex
        self._open[name] = pieces
        return name

    def next(self, name: str) -> bytes:
        """Give its next piece; nothing at its end.

        Raises:
            NotFound: It was let go of.
        """
        if name not in self._open:
            raise NotFound("this transfer is over, or was let go of for others; begin again")
        found, size = [], 0
        for part in self._open[name]:
            found.append(part)
            size += len(part)
            if size >= PIECE_BYTES:
                break
        return b"".join(found)

    def end(self, name: str) -> None:
        """Let go of one; absent already is fine."""
        self._open.pop(name, None)
