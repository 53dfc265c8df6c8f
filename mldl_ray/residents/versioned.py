"""What every resident says of itself."""

from __future__ import annotations

import os

from mldl_ray.compose import CODE_VERSION


class Versioned:
    """Which release a process runs, and which process it is."""

    def code_version(self) -> str:
        """Say which release this actor runs."""
        return CODE_VERSION

    def pid(self) -> int:
        """Give the process that runs this actor now."""
        return os.getpid()
