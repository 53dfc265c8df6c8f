"""XGBoost's binned matrices, kept while the arrays that they were made from live.

A search fits many configurations on the same few folds. Binning a fold costs as much as several trees, so it is done
once per fold and process. An entry is found by the identity of its array, and goes with it.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

MOST_KEPT = 16

_kept: OrderedDict[tuple[Any, ...], tuple[weakref.ref[Any], Any]] = OrderedDict()
_lock = threading.Lock()


def kept(array: npt.NDArray[Any], facts: tuple[Any, ...], build: Callable[[], Any]) -> Any:
    """Give what ``build`` made for this very array and these facts, building it if need be.

    >>> import numpy as np
    >>> a = np.zeros(3)
    >>> kept(a, ("x",), list) is kept(a, ("x",), list)
    True
    >>> kept(a, ("x",), list) is kept(a.copy(), ("x",), list)
    False
    """
    key = (id(array), *facts)
    with _lock:
        for dead in [old for old, (reference, _) in _kept.items() if reference() is None]:
            del _kept[dead]
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key][1]
    built = build()
    with _lock:
        _kept[key] = (weakref.ref(array), built)
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return built


def digest(vector: npt.NDArray[Any] | None) -> bytes:
    """Name a vector by its bytes, so that equal labels share a matrix.

    >>> import numpy as np
    >>> digest(np.zeros(3)) == digest(np.zeros(3)), digest(None)
    (True, b'')
    """
    return b"" if vector is None else hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
