"""Whether a version loads, tried as an endpoint would load it, aside, in this process; nothing of it is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from contracts.ports import Blobs
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.serving_form import ServingModel


class Loading:
    """Fetch a version's files, check them, and load its serving form. Seconds for a large one."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def __call__(self, manifest: str) -> None:
        """Load the version of a manifest, and let it go.

        Raises:
            NotFound: A file of it is not stored.
            Broken: A file is damaged, or together they are no model.
            Incompatible: This machine lacks what its family needs.
            Unavailable: The store or this machine's disk cannot be used just now.
        """
        with tempfile.TemporaryDirectory(prefix="mldl-loading-") as aside:
            folder = Path(aside) / "version"
            fetch_artifact(self._blobs, manifest, folder)
            ServingModel.load(folder)
