"""Bytes by their digest: one port (``contracts.ports.Blobs``), two stores."""

from contracts.ports import Blobs
from mldl_ray.blobs._arrow_fs import ArrowBlobs
from mldl_ray.blobs._memory import MemoryBlobs

__all__ = ["ArrowBlobs", "MemoryBlobs", "open_blobs"]


def open_blobs(uri: str) -> Blobs:
    """Open the store that a URI names: ``memory:``, a folder, or an object store (``s3://…``, ``gs://…``).

    Raises:
        Incompatible: The URI is not understood.
    """
    return MemoryBlobs() if uri == "memory:" else ArrowBlobs(uri)
