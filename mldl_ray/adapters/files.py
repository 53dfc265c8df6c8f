"""Files of a model's folder: JSON, and scikit-learn estimators by skops. Nothing here runs what a file says.

The types that a file may build are given by the caller, in code; what the file itself claims is only compared with
them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.errors import Broken

LARGEST_JSON_BYTES = 64 * 2**20
LARGEST_ESTIMATOR_BYTES = 4 * 2**30


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


def write_estimator(path: Path, estimator: Any) -> None:
    """Write a scikit-learn estimator as data."""
    import skops.io  # noqa: PLC0415  # loads scikit-learn

    skops.io.dump(estimator, path)


def read_estimator(path: Path, expected: type, trusted: frozenset[str]) -> Any:
    """Read a scikit-learn estimator of one class, built from trusted types only.

    Args:
        path: What ``write_estimator`` wrote.
        expected: The class that must come out.
        trusted: Full names of every type that the file may name, in any role.

    Raises:
        Broken: Absent, damaged, unreasonably large, naming any other type, or of another class.
    """
    import skops.io  # noqa: PLC0415  # as above

    named = _types_named(path)
    if foreign := sorted(named - trusted):
        raise Broken(f"{path} names types that no {expected.__name__} is made of: {', '.join(foreign[:5])}")
    try:
        unknown = skops.io.get_untrusted_types(file=path)
        if set(unknown) - trusted:
            raise Broken(f"{path} would build untrusted types: {', '.join(sorted(set(unknown) - trusted))}")
        estimator = skops.io.load(path, trusted=sorted(unknown))
    except Broken:
        raise
    except Exception as error:  # a parser of hostile bytes may fail in any way; all mean a damaged file
        raise Broken(f"{path} is not a readable estimator: {type(error).__name__}: {error}") from error
    if type(estimator) is not expected:
        raise Broken(f"{path} holds a {type(estimator).__name__}, not a {expected.__name__}")
    return estimator


def _types_named(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_ESTIMATOR_BYTES:
                raise Broken(f"{path} unpacks to more than {LARGEST_ESTIMATOR_BYTES} bytes")
            return set(_names(json.loads(archive.read("schema.json"))))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError) as error:
        raise Broken(f"{path} is not a readable estimator: {type(error).__name__}: {error}") from error


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "__class__" in node or "__module__" in node:
            yield f"{node.get('__module__')}.{node.get('__class__')}"
        for child in node.values():
            yield from _names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _names(child)
