"""Names for new things: random, or derived from an idempotency key, so that a repeated request names the same thing."""

from __future__ import annotations

import hashlib
import uuid

from contracts.ports import Once


def new_id(prefix: str, once: Once | None = None) -> str:
    """Make an id such as ``job-1f0c…``: the prefix and 12 hexadecimal digits.

    >>> new_id("job", Once(key="k", digest="d")) == new_id("job", Once(key="k", digest="d"))
    True
    """
    digits = uuid.uuid4().hex if once is None else hashlib.sha256(f"{prefix}\0{once.key}".encode()).hexdigest()
    return f"{prefix}-{digits[:12]}"
