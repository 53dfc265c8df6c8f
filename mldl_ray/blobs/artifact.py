"""A model's folder as blobs, and back: one manifest that names every file by its digest.

The manifest's own digest is the version's ``validation_hash``: whoever holds it can tell whether any byte changed.
Files are checked against it before anything parses them, and a name never leads out of the folder.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from contracts.errors import Broken, Incompatible, NotFound, Unavailable
from contracts.ports import Blobs
from contracts.specs import Json
from mldl_ray.blobs._digest import digest_of, is_digest

FORMAT = 1
LARGEST_MANIFEST_BYTES = 2**20
MOST_FILES = 1000
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")


def store_artifact(blobs: Blobs, folder: Path, facts: Json) -> str:
    """Store every file of a folder, then the manifest that names them.

    Args:
        blobs: Where to.
        folder: Plain files, in folders or not; no links.
        facts: What else the digest should vouch for: family, schema, library versions… JSON values.

    Returns:
        The manifest's digest.

    Raises:
        Incompatible: No files, too many, a link, a name that ``fetch_artifact`` would refuse, or facts not JSON.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Incompatible(f"{name} in {folder} is not a plain file; an artifact has no links")
        if path.is_file():
            if not _safe(name):
                raise Incompatible(f"an artifact cannot have a file named {name!r}; use letters, digits, _ - and .")
            data = path.read_bytes()
            files[name] = {"digest": blobs.put(data), "size_bytes": len(data)}
    if not 0 < len(files) <= MOST_FILES:
        raise Incompatible(f"{folder} has {len(files)} files; an artifact has 1 to {MOST_FILES}")
    try:
        manifest = json.dumps({"format": FORMAT, "facts": facts, "files": files}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Incompatible(f"the artifact's facts are not JSON: {error}") from error
    if len(manifest.encode()) > LARGEST_MANIFEST_BYTES:
        raise Incompatible(f"the artifact's manifest would exceed {LARGEST_MANIFEST_BYTES} bytes; shorten its facts")
    return blobs.put(manifest.encode())


def fetch_artifact(blobs: Blobs, digest: str, folder: Path) -> Json:
    """Bring an artifact into a folder: aside first, checked, then in one move. Repeating it is harmless.

    Returns:
        The manifest's facts.

    Raises:
        NotFound: The manifest or a file of it is not stored.
        Broken: A digest or a size differs, or the manifest is none. Nothing is written then.
        Unavailable: The folder cannot be written, or its disk is full.
    """
    manifest = read_manifest(blobs, digest)
    try:
        _bring(blobs, manifest, folder)
    except OSError as error:
        raise Unavailable(f"the artifact {digest} cannot be brought to {folder}: {error}") from error
    facts: Json = manifest["facts"]
    return facts


def _bring(blobs: Blobs, manifest: dict[str, Any], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, entry in manifest["files"].items():
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_checked(blobs, name, entry))
        aside.chmod(0o755)
        _move(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def artifact_files(blobs: Blobs, digest: str) -> list[str]:
    """List the digests of all blobs of an artifact, its manifest first.

    Raises:
        NotFound: The manifest is not stored.
        Broken: It is damaged.
    """
    return [digest, *(entry["digest"] for entry in read_manifest(blobs, digest)["files"].values())]


def read_manifest(blobs: Blobs, digest: str) -> dict[str, Any]:
    """Read and check a manifest.

    Raises:
        NotFound: Not stored.
        Broken: Its digest differs, it is too large, or it is no manifest; unsafe file names are no manifest.
    """
    data = blobs.get(digest)
    if digest_of(data) != digest:
        raise Broken(f"the manifest stored as {digest} has another digest; it was changed after it was written")
    if len(data) > LARGEST_MANIFEST_BYTES:
        raise Broken(f"the manifest {digest} has {len(data)} bytes; at most {LARGEST_MANIFEST_BYTES} are read")
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Broken(f"the blob {digest} is no manifest: {error}") from error
    if objection := _objection(manifest):
        raise Broken(f"the blob {digest} is no manifest: {objection}")
    checked: dict[str, Any] = manifest
    return checked


def _objection(manifest: Any) -> str | None:
    if not isinstance(manifest, dict) or set(manifest) != {"format", "facts", "files"}:
        return "it does not have exactly format, facts and files"
    if manifest["format"] != FORMAT:
        return f"format {manifest['format']!r} is unknown; this release reads {FORMAT}"
    files = manifest["files"]
    if not isinstance(files, dict) or not isinstance(manifest["facts"], dict) or not 0 < len(files) <= MOST_FILES:
        return f"it needs facts and 1 to {MOST_FILES} files"
    if inside := next((name for name in files for parent in _parents(name) if parent in files), None):
        return f"{inside} lies in what is itself a file"
    return next(filter(None, (_objection_to(name, entry) for name, entry in files.items())), None)


def _objection_to(name: str, entry: Any) -> str | None:
    if not _safe(name):
        return f"the file name {name!r} is not allowed"
    if not isinstance(entry, dict) or set(entry) != {"digest", "size_bytes"}:
        return f"the entry of {name} does not have exactly digest and size_bytes"
    if not isinstance(entry["digest"], str) or not is_digest(entry["digest"]):
        return f"the digest of {name} is none"
    return None if type(entry["size_bytes"]) is int else f"the size of {name} is none"


def _safe(name: str) -> bool:
    """Say whether a name stays in its folder: no root, no drive, no step up, nothing hidden.

    >>> [_safe(name) for name in ("model.ubj", "a/b.json", "../x", "/etc/passwd", "a/../../x", "C:x", ".ssh/x", "a//b")]
    [True, True, False, False, False, False, False, False]
    """
    parts = name.split("/")
    return len(parts) <= 8 and all(_PART.fullmatch(part) for part in parts)


def _parents(name: str) -> list[str]:
    """List the folders that a name lies in.

    >>> _parents("a/b/c")
    ['a', 'a/b']
    """
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _checked(blobs: Blobs, name: str, entry: dict[str, Any]) -> bytes:
    try:
        data = blobs.get(entry["digest"])
    except NotFound as error:
        raise NotFound(f"the artifact's file {name} ({entry['digest']}) is not stored any more") from error
    if len(data) != entry["size_bytes"] or digest_of(data) != entry["digest"]:
        raise Broken(f"the artifact's file {name} is not the one that its manifest names; it was changed or cut")
    return data


def _move(aside: Path, folder: Path) -> None:
    """Put a complete folder in place; where one is already (an earlier or a concurrent fetch), file by file."""
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir() or folder.is_symlink():
            raise
        for path in sorted(path for path in aside.rglob("*") if path.is_file()):
            goal = folder / path.relative_to(aside)
            goal.parent.mkdir(parents=True, exist_ok=True)
            if not goal.parent.resolve().is_relative_to(folder.resolve()):
                raise Broken(f"{goal.parent} leads out of {folder}; remove it") from None
            path.replace(goal)
