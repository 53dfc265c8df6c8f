"""Names of blobs: ``sha256:`` and 64 hexadecimal digits, nothing else, so that a name can never be a path."""

from __future__ import annotations

import hashlib
import re

from contracts.errors import Incompatible

_PATTERN = re.compile(r"sha256:([0-9a-f]{64})")


def digest_of(data: bytes) -> str:
    """Name bytes.

    >>> digest_of(b"")[:18]
    'sha256:e3b0c44298f'
    """
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_of(digest: str) -> str:
    """Give the digits of a name.

    Raises:
        Incompatible: It is not such a name.
    """
    found = _PATTERN.fullmatch(digest)
    if found is None:
        raise Incompatible(f"{digest!r} is not a blob's digest; it must be sha256: and 64 hexadecimal digits")
    return found[1]


def is_digest(name: str) -> bool:
    """Say whether a text is such a name.

    >>> is_digest(digest_of(b"")), is_digest("sha256:../../etc/passwd")
    (True, False)
    """
    return _PATTERN.fullmatch(name) is not None
