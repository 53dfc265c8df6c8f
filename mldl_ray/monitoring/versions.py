"""What the monitor must know of a registered version, read once from its artifact: task, classes, reference rows."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from contracts.errors import Broken
from contracts.ports import Blobs
from contracts.records import TrainedBundle
from contracts.telemetry import FEATURE
from mldl_ray.blobs.artifact import read_manifest
from mldl_ray.monitoring.reference import Reference

MOST = 64
ADAPTER_FILE = "adapter.json"
T = TypeVar("T")
Stream = tuple[str, str]
"""A model_key and a version."""


class Profile(NamedTuple):
    """How answers of a version are to be read.

    ``classes``: how many; None when it has none or that is unknown. ``sensitive``: the columns whose groups its
    evaluation compared; a row is selected when its prediction is ``last_class``.
    """

    task: str | None = None
    classes: int | None = None
    last_class: Any = None
    sensitive: tuple[str, ...] = ()


class Versions:
    """Look versions up and remember the last ``MOST``.

    Args:
        bundle: Gives a registered version; raises NotFound.
        blobs: Where its artifact lies.
        private: Input columns that do not come from replicas as they are; there is nothing to compare them with.
    """

    def __init__(self, bundle: Callable[[str, str], TrainedBundle], blobs: Blobs, private: Iterable[str] = ()) -> None:
        self._bundle, self._blobs = bundle, blobs
        self._private = frozenset(FEATURE + name for name in private)
        self._lock = threading.Lock()
        self._references: OrderedDict[Stream, Reference] = OrderedDict()
        self._profiles: OrderedDict[Stream, Profile] = OrderedDict()

    def reference(self, stream: Stream) -> Reference:
        """Give the held-out rows of a version.

        Raises:
            NotFound: No such version, or it has none.
            Broken: They cannot be read.
            Unavailable: The journal or the blobs cannot be reached now.
        """
        with self._lock:
            if stream in self._references:
                return self._references[stream]
        whole = Reference.load(self._blobs, self._bundle(*stream))
        columns = {name: column for name, column in whole.columns.items() if name not in self._private}
        found = replace(whole, columns=columns)
        _keep(self._lock, self._references, stream, found)
        return found

    def profile(self, stream: Stream) -> Profile:
        """Give how its answers are to be read.

        Raises:
            NotFound: No such version, or its artifact is gone.
            Broken: Its artifact is damaged.
            Unavailable: The journal or the blobs cannot be reached now.
        """
        with self._lock:
            if stream in self._profiles:
                return self._profiles[stream]
        found = _profile(self._blobs, self._bundle(*stream))
        _keep(self._lock, self._profiles, stream, found)
        return found


def _keep(lock: threading.Lock, kept: OrderedDict[Stream, T], stream: Stream, found: T) -> None:
    with lock:
        kept[stream] = found
        while len(kept) > MOST:
            kept.popitem(last=False)


def _profile(blobs: Blobs, bundle: TrainedBundle) -> Profile:
    if bundle.task != "classification":
        return Profile(bundle.task)
    entry = read_manifest(blobs, bundle.validation_hash)["files"].get(ADAPTER_FILE)
    if entry is None:
        return Profile(bundle.task)
    try:
        classes = json.loads(blobs.get(entry["digest"])).get("classes")
    except (ValueError, AttributeError) as error:
        raise Broken(f"{ADAPTER_FILE} of {bundle.model_key} {bundle.version} is damaged: {error}") from error
    if not isinstance(classes, list) or not classes:
        return Profile(bundle.task)
    return Profile(bundle.task, len(classes), classes[-1], bundle.fairness.groups)
