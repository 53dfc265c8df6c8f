"""Versions held in this process: brought from the artifact store, loaded, warmed, and let go when no table names them.

A request keeps the version that it started with alive by holding a reference; letting go here never takes it away.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pyarrow.parquet as pq

from contracts.ports import Blobs
from contracts.telemetry import FEATURE
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.serving_form import ServingModel
from mldl_ray.serving_form.prove import sample_rows

log = logging.getLogger(__name__)
WARM_UP_ROWS = 8


class ModelSlots:
    """Loaded models by the digest of their manifest. Safe to use from any thread; each is loaded once."""

    def __init__(self, blobs: Blobs, cache: Path) -> None:
        self._blobs, self._cache = blobs, cache
        self._lock = threading.Lock()
        self._loaded: dict[str, ServingModel] = {}

    def load(self, manifest: str) -> ServingModel:
        """Give a version, loading it if need be; seconds, not for an event loop.

        Raises:
            NotFound: The artifact is not stored.
            Broken: Its digest differs or it cannot be loaded.
        """
        with self._lock:
            if manifest not in self._loaded:
                self._loaded[manifest] = load_version(self._blobs, self._cache, manifest)
            return self._loaded[manifest]

    def get(self, manifest: str) -> ServingModel:
        """Give a version that was loaded before."""
        return self._loaded[manifest]

    def keep(self, manifests: set[str]) -> None:
        """Let go of every version but these."""
        with self._lock:
            self._loaded = {name: model for name, model in self._loaded.items() if name in manifests}


def load_version(blobs: Blobs, cache: Path, manifest: str) -> ServingModel:
    """Fetch, check, load and warm one version."""
    folder = cache / manifest.removeprefix("sha256:")
    fetch_artifact(blobs, manifest, folder)
    model = ServingModel.load(folder)
    _warm_up(model, folder)
    return model


def _warm_up(model: ServingModel, folder: Path) -> None:
    """Answer a few reference rows, so that no caller pays for what the first call allocates, and measure the pace."""
    path = folder / "reference.parquet"
    if not path.exists():
        return
    table = pq.read_table(path).slice(0, WARM_UP_ROWS)
    names = [name for name in table.column_names if name.startswith(FEATURE)]
    features = table.select(names).rename_columns([name.removeprefix(FEATURE) for name in names])
    model.warm_up(sample_rows(model.schema, features))
