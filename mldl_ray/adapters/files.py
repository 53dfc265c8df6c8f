"""Files of a model's folder that hold JSON. Arrays are in ``arrays``, networks in ``torch_weights``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts.errors import Broken

LARGEST_JSON_BYTES = 64 * 2**20


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document; NaN and infinities are refused, as JSON has none."""
    path.write_text(json.dumps(document, allow_nan=False, sort_keys=True), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a document.

    Raises:
        Broken: Absent, too large, or not a JSON object.
    """
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise Broken(f"{path} is larger than {LARGEST_JSON_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Broken(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Broken(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Broken(f"{path} is not a JSON object")
    return document
