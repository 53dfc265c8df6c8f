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
from mldl_ray.features.serving import ServedView
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


def load_view(blobs: Blobs, bundle: TrainedBundle) -> ServedView | None:
    """Load the feature view that a version carries; None where it takes requests as they come.

    Raises:
        NotFound, Broken: As ``load_model``.
    """
    if bundle.lineage.feature_view is None:
        return None
    with tempfile.TemporaryDirectory(prefix="mldl-view-") as name:
        folder = Path(name) / "artifact"
        fetch_artifact(blobs, bundle.validation_hash, folder)
        return ServedView.read(folder)


def stable_of(
    journal: Journal,
    blobs: Blobs,
    model_key: str,
    *,
    besides: str | None = None,
    feature_view: str | None = None,
) -> Stable | None:
    """Load the version that an endpoint serves; None where nothing is stable yet, or just the version ``besides``.

    None, too, where it learned by another feature view: the rows at hand are made by ``feature_view``, and columns of
    one name may mean something else to it.

    Raises:
        NotFound, Broken, Incompatible: As ``load_model``.
    """
    version = stable_version(journal, model_key, besides=besides)
    if version is None:
        return None
    bundle = Catalog(journal).bundle(model_key, version)
    return Stable(version, load_model(blobs, bundle)) if bundle.lineage.feature_view == feature_view else None


def stable_version(journal: Journal, model_key: str, *, besides: str | None = None) -> str | None:
    """Name the version that an endpoint serves; see ``stable_of``."""
    endpoint, _ = load(journal, "endpoint", model_key, Endpoint)
    return None if endpoint is None or endpoint.stable == besides else endpoint.stable
