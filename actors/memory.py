"""A limit on what this process may allocate from now on, held by the operating system. Linux only; elsewhere none.

Counted is private memory that can be written (``RLIMIT_DATA``): what models, frameworks and the interpreter allocate,
touched or not. Not counted is what processes share, as the folds in Ray's object store are, and the memory of a GPU.
An allocation beyond the limit fails at once, in this process, whatever others do: Python raises ``MemoryError``; a
library that does not check for that brings its own process down, and no other.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def contain(memory_bytes: int | None) -> int | None:
    """Let this process allocate so much more than it has now.

    Returns:
        The limit, bytes in all; None where nothing is limited.
    """
    if memory_bytes is None or sys.platform != "linux":
        return None
    most = allocated_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return most


def allocated_bytes() -> int:
    """Give what counts towards the limit in this process now."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
