"""Whether what would come back is really there: every file of a version present, whole, and one that loads.

Not here: which versions those are (``proof``), and how one is loaded, which is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from contracts.consequences import Trouble
from contracts.errors import Broken, Incompatible, NotFound
from contracts.ports import Blobs
from contracts.records import TrainedBundle
from contracts.specs import Json
from mldl_ray.blobs.artifact import read_manifest

SCHEME = "blobs:"
Load = Callable[[str], object]
"""Load a version by its manifest's digest as an endpoint would; raises what keeps it from serving."""


class Targets:
    """The files of versions, each looked at once however many versions share it."""

    def __init__(self, blobs: Blobs, load: Load | None = None) -> None:
        self._blobs, self._load = blobs, load
        self._whole: dict[str, str | None] = {}
        self.checked: set[str] = set()

    def troubles(self, name: str, body: Json, *, whole: bool, serves: bool) -> Iterator[Trouble]:
        """Give what is wrong with a version; nothing of one whose artifact lies elsewhere.

        Args:
            name: ``<model_key>@<version>``.
            body: Its record.
            whole: Read every byte and compare digests, not only look whether the files are there.
            serves: It would serve, so it has to load too.

        Raises:
            Unavailable: The store cannot be asked, so nothing can be said.
        """
        digest = manifest_of(body)
        if digest is None:
            return
        self.checked.add(digest)
        try:
            manifest = read_manifest(self._blobs, digest)
        except NotFound:
            yield Trouble(target=name, file="manifest", digest=digest, problem="gone")
            return
        except Broken as error:
            yield Trouble(target=name, file="manifest", digest=digest, problem="damaged", detail=error.message)
            return
        found = list(self._files(name, manifest, whole=whole or serves))
        yield from found
        if serves and not found and (said := self._said_by_loading(digest)) is not None:
            yield Trouble(target=name, file="model", digest=digest, problem="does not load", detail=said)

    def _files(self, name: str, manifest: dict[str, Any], *, whole: bool) -> Iterator[Trouble]:
        for file, entry in manifest["files"].items():
            digest = entry["digest"]
            self.checked.add(digest)
            if not self._blobs.has(digest):
                yield Trouble(target=name, file=file, digest=digest, problem="gone")
            elif whole and (said := self._said_by_reading(digest, entry["size_bytes"])) is not None:
                yield Trouble(target=name, file=file, digest=digest, problem="damaged", detail=said)

    def _said_by_reading(self, digest: str, size_bytes: int) -> str | None:
        if digest not in self._whole:
            try:
                found = len(self._blobs.get(digest))  # the port compares the digest
                self._whole[digest] = None if found == size_bytes else f"{found} bytes, not {size_bytes}"
            except (Broken, NotFound) as error:
                self._whole[digest] = error.message
        return self._whole[digest]

    def _said_by_loading(self, digest: str) -> str | None:
        if self._load is None:
            return None
        try:
            self._load(digest)
        except (Broken, NotFound, Incompatible) as error:
            return error.message
        return None


def manifest_of(body: Json) -> str | None:
    """Give the digest of a version's manifest; None when its artifact lies elsewhere.

    >>> manifest_of({"artifact_uri": "blobs:sha256:00"}), manifest_of({"artifact_uri": "file:elsewhere"})
    ('sha256:00', None)
    """
    uri = str(body.get("artifact_uri") or TrainedBundle.model_validate(body).artifact_uri)
    return uri.removeprefix(SCHEME) if uri.startswith(SCHEME) else None
