"""Models loaded for what they make of rows: the representation that embeddings are compared in. Off the request path.

Only families that have a representation are ever loaded, only when a test of whole rows is due (twenty a month at one
false alarm a month), and at most ``MOST`` models are held. Whatever goes wrong leaves the test with the columns alone.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.errors import MldlError
from contracts.ports import Blobs
from contracts.records import TrainedBundle
from contracts.telemetry import FEATURE
from mldl_ray.adapters import BaseModelAdapter, adapter_class, load_adapter
from mldl_ray.blobs.artifact import fetch_artifact
from mldl_ray.monitoring.joint import Represent
from mldl_ray.monitoring.versions import Stream

log = logging.getLogger(__name__)
MOST = 2


class Representations:
    """Give versions' own view of rows.

    Args:
        bundle: Gives a registered version; raises NotFound.
        blobs: Where its artifact lies.
    """

    def __init__(self, bundle: Callable[[str, str], TrainedBundle], blobs: Blobs) -> None:
        self._bundle, self._blobs = bundle, blobs
        self._lock = threading.Lock()
        self._kept: OrderedDict[Stream, BaseModelAdapter | None] = OrderedDict()

    def of(self, stream: Stream) -> Represent | None:
        """Give the function that represents rows; None where the version has no representation of its own."""
        try:
            adapter = self._adapter(stream)
        except MldlError as error:  # the test goes on without it, and says that it did
            log.info("what %s %s makes of rows is not known: %s", *stream, error)
            return None
        return None if adapter is None else lambda then, now: represented(adapter, then, now)

    def _adapter(self, stream: Stream) -> BaseModelAdapter | None:
        with self._lock:
            if stream in self._kept:
                self._kept.move_to_end(stream)
                return self._kept[stream]
        found = self._load(self._bundle(*stream))
        with self._lock:
            self._kept[stream] = found
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return found

    def _load(self, bundle: TrainedBundle) -> BaseModelAdapter | None:
        if bundle.family is None or not represents(bundle.family):
            return None
        with tempfile.TemporaryDirectory(prefix="mldl-representation-") as name:
            folder = Path(name) / "artifact"
            fetch_artifact(self._blobs, bundle.validation_hash, folder)
            return load_adapter(folder)


def represents(family: str) -> bool:
    """Say whether a family may have a representation of its own.

    >>> represents("mlp"), represents("lr")
    (True, False)
    """
    return adapter_class(family).representation is not BaseModelAdapter.representation


def represented(adapter: BaseModelAdapter, then: pa.Table, now: pa.Table) -> Any:
    """Represent held-out and live rows in the telemetry's columns, one below the other; None where it cannot be.

    A version behind a feature view takes other columns than callers send, and masked columns do not come at all.
    """
    plain = list(adapter.schema.names)
    names = [FEATURE + name for name in plain]
    if any(name not in table.column_names for name in names for table in (then, now)):
        return None
    try:
        parts = [adapter.representation(table.select(names).rename_columns(plain)) for table in (then, now)]
    except MldlError as error:  # what callers sent does not fit; the columns' own test says so
        log.info("%s cannot represent these rows: %s", adapter.model_key, error)
        return None
    inner = [part for part in parts if part is not None]
    return np.concatenate(inner) if len(inner) == 2 else None
