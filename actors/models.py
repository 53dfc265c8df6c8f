"""Versions as models in memory: fetched from the blobs, checked, loaded. Not here: how a replica serves one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from contracts.ports import Blobs, Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.adapters import load_adapter
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.evaluation import Stable
from mldl_ray.journal.documents import load
from mldl_ray.registry.catalog import Catalog


def load_model(blobs: Blobs, bundle: TrainedBundle) -> BaseModelAdapter:
    """Load a version's own model, not its serving form.

    Raises:
        NotFound: Its files are not stored any more.
        Broken: They were changed.
        Incompatible: Its family is not available here.
    """
    with tempfile.TemporaryDirectory(prefix="mldl-model-") as name:
        folder = Path(name) / "artifact"
        fetch_artifact(blobs, bundle.validation_hash, folder)
        return load_adapter(folder)


def stable_of(journal: Journal, blobs: Blobs, model_key: str, *, besides: str | None = None) -> Stable | None:
    """Load the version that an endpoint serves; None where nothing is stable yet, or just the version ``besides``.

    Raises:
        NotFound, Broken, Incompatible: As ``load_model``.
    """
    version = stable_version(journal, model_key, besides=besides)
    return None if version is None else Stable(version, load_model(blobs, Catalog(journal).bundle(model_key, version)))


def stable_version(journal: Journal, model_key: str, *, besides: str | None = None) -> str | None:
    """Name the version that an endpoint serves; see ``stable_of``."""
    endpoint, _ = load(journal, "endpoint", model_key, Endpoint)
    return None if endpoint is None or endpoint.stable == besides else endpoint.stable
