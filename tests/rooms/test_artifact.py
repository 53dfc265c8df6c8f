"""A model's folder as blobs and back: whole or not at all, checked before it is read, never outside its folder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Broken, Incompatible, NotFound, Unavailable
from mldl_ray.blobs import ArrowBlobs, MemoryBlobs
from mldl_ray.blobs.artifact import (
    LARGEST_MANIFEST_BYTES,
    MOST_FILES,
    artifact_files,
    fetch_artifact,
    read_manifest,
    store_artifact,
)

FACTS = {"family": "xgb", "libraries": {"xgboost": "3.0"}}


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.ubj").write_bytes(bytes(range(256)))
    (folder / "parts" / "encoder.json").write_text('{"é": 1}', encoding="utf-8")
    (folder / "empty.json").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(blobs: MemoryBlobs, **changes: Any) -> str:
    """Store a hand-made manifest of one file, with changes."""
    data = blobs.put(b"data")
    files = changes.pop("files", {"model.ubj": {"digest": data, "size_bytes": 4}})
    return blobs.put(json.dumps({"format": 1, "facts": {}, "files": files} | changes).encode())


# there and back


def test_a_folder_comes_back_as_it_was_with_its_facts(blobs: MemoryBlobs, folder: Path, tmp_path: Path) -> None:
    digest = store_artifact(blobs, folder, FACTS)
    assert fetch_artifact(blobs, digest, tmp_path / "again") == FACTS
    assert contents(tmp_path / "again") == contents(folder)


def test_the_same_files_and_facts_have_the_same_digest(blobs: MemoryBlobs, folder: Path) -> None:
    assert store_artifact(blobs, folder, FACTS) == store_artifact(MemoryBlobs(), folder, dict(reversed(FACTS.items())))


@pytest.mark.parametrize("change", ["a byte", "a name", "a file", "a fact"])
def test_any_change_gives_another_digest(blobs: MemoryBlobs, folder: Path, change: str) -> None:
    before = store_artifact(blobs, folder, FACTS)
    if change == "a byte":
        (folder / "model.ubj").write_bytes(bytes(range(255)) + b"\0")
    elif change == "a name":
        (folder / "model.ubj").rename(folder / "model2.ubj")
    elif change == "a file":
        (folder / "more.json").write_bytes(b"{}")
    assert store_artifact(blobs, folder, FACTS | ({"seed": 1} if change == "a fact" else {})) != before


def test_every_blob_of_an_artifact_is_listed_its_manifest_first(blobs: MemoryBlobs, folder: Path) -> None:
    digest = store_artifact(blobs, folder, FACTS)
    files = artifact_files(blobs, digest)
    assert files[0] == digest
    assert set(files) == set(blobs.digests())


def test_fetching_again_and_at_the_same_time_is_harmless(folder: Path, tmp_path: Path) -> None:
    blobs = ArrowBlobs(str(tmp_path / "artifacts"))
    digest = store_artifact(blobs, folder, FACTS)
    goal = tmp_path / "cache" / "again"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fetch_artifact(blobs, digest, goal), range(24)))
    assert contents(goal) == contents(folder)
    assert [path.name for path in goal.parent.iterdir()] == ["again"]


def test_a_file_that_was_changed_in_the_folder_is_put_right_by_fetching_again(
    blobs: MemoryBlobs, folder: Path, tmp_path: Path
) -> None:
    digest = store_artifact(blobs, folder, FACTS)
    fetch_artifact(blobs, digest, tmp_path / "again")
    (tmp_path / "again" / "model.ubj").write_bytes(b"changed")
    fetch_artifact(blobs, digest, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


# what is refused when storing


def test_a_folder_without_files_is_refused(blobs: MemoryBlobs, tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "absent"):
        with pytest.raises(Incompatible, match="has 0 files"):
            store_artifact(blobs, empty, {})


def test_too_many_files_are_refused(blobs: MemoryBlobs, tmp_path: Path) -> None:
    for n in range(MOST_FILES + 1):
        (tmp_path / f"f{n}").touch()
    with pytest.raises(Incompatible, match="1001 files"):
        store_artifact(blobs, tmp_path, {})


@pytest.mark.parametrize("target", ["/etc/passwd", "model.ubj", "nowhere", ".."])
def test_links_are_refused(blobs: MemoryBlobs, folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(Incompatible, match=r"link in .* is not a plain file"):
        store_artifact(blobs, folder, {})


@pytest.mark.parametrize("name", [".hidden", "with space", "new\nline", "é", "a:b", "back\\slash", "x" * 129])
def test_a_file_name_that_fetching_would_refuse_is_refused(blobs: MemoryBlobs, folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(Incompatible, match="cannot have a file named"):
        store_artifact(blobs, folder, {})


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": object()}, {"x": "y" * LARGEST_MANIFEST_BYTES}])
def test_facts_that_are_not_json_or_too_long_are_refused(blobs: MemoryBlobs, folder: Path, facts: Any) -> None:
    with pytest.raises(Incompatible, match="facts"):
        store_artifact(blobs, folder, facts)


# what is refused when fetching


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "//evil",
        "./evil",
        "a//b",
        "",
        ".",
        "..",
        ".ssh/authorized_keys",
        "C:\\evil",
        "a\\..\\evil",
        "a\0b",
        "a/",
        "/".join("abcdefghi"),
    ],
)
def test_a_name_never_leads_out_of_the_folder(blobs: MemoryBlobs, tmp_path: Path, name: str) -> None:
    digest = manifest(blobs, files={name: {"digest": blobs.put(b"evil"), "size_bytes": 4}})
    with pytest.raises(Broken, match="is not allowed"):
        fetch_artifact(blobs, digest, tmp_path / "goal" / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_goal_is_replaced_or_refused_but_never_followed(
    blobs: MemoryBlobs, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.ubj").write_bytes(b"mine")
    digest = store_artifact(blobs, folder, FACTS)
    goal = tmp_path / "goal"
    goal.mkdir()
    (goal / "model.ubj").symlink_to(outside / "model.ubj")
    fetch_artifact(blobs, digest, goal)
    assert contents(goal) == contents(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "parts").symlink_to(outside)
    with pytest.raises(Broken, match="leads out"):
        fetch_artifact(blobs, digest, tmp_path / "other")
    assert contents(outside) == {"model.ubj": b"mine"}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"extra": 1},
        {"facts": []},
        {"files": {}},
        {"files": []},
        {"files": {"a": "sha256:0"}},
        {"files": {"a": {"digest": "sha256:0", "size_bytes": 1}}},
        {"files": {"a": {"digest": 5, "size_bytes": 1}}},
        {"files": {"a": {"digest": "sha256:" + "0" * 64, "size_bytes": "1"}}},
        {"files": {"a": {"digest": "sha256:" + "0" * 64, "size_bytes": True}}},
        {"files": {"a": {"digest": "sha256:" + "0" * 64}}},
        {"files": {n: {"digest": "sha256:" + "0" * 64, "size_bytes": 1} for n in ("a", "a/b")}},
    ],
)
def test_what_is_no_manifest_is_broken(blobs: MemoryBlobs, changes: dict[str, Any]) -> None:
    with pytest.raises(Broken, match="is no manifest"):
        read_manifest(blobs, manifest(blobs, **changes))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_bytes_that_are_no_manifest_are_broken(blobs: MemoryBlobs, data: bytes) -> None:
    with pytest.raises(Broken, match="is no manifest"):
        read_manifest(blobs, blobs.put(data))


def test_a_manifest_too_large_to_be_one_is_not_parsed(blobs: MemoryBlobs) -> None:
    with pytest.raises(Broken, match="at most"):
        read_manifest(blobs, blobs.put(b" " * (LARGEST_MANIFEST_BYTES + 1)))


def test_an_artifact_whose_manifest_or_file_is_gone_is_not_found_and_writes_nothing(
    blobs: MemoryBlobs, folder: Path, tmp_path: Path
) -> None:
    digest = store_artifact(blobs, folder, FACTS)
    blobs.remove(artifact_files(blobs, digest)[1])
    with pytest.raises(NotFound, match="is not stored any more"):
        fetch_artifact(blobs, digest, tmp_path / "again")
    blobs.remove(digest)
    with pytest.raises(NotFound):
        fetch_artifact(blobs, digest, tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_with_another_size_than_the_manifest_says_is_broken(blobs: MemoryBlobs, tmp_path: Path) -> None:
    digest = manifest(blobs, files={"a": {"digest": blobs.put(b"data"), "size_bytes": 3}})
    with pytest.raises(Broken, match="changed or cut"):
        fetch_artifact(blobs, digest, tmp_path / "again")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_lies_is_found_out(folder: Path, tmp_path: Path) -> None:
    class Lying(MemoryBlobs):
        def get(self, digest: str) -> bytes:
            return super().get(digest).replace(b"\x01", b"\x02")

    blobs = Lying()
    digest = store_artifact(blobs, folder, FACTS)
    with pytest.raises(Broken):
        fetch_artifact(blobs, digest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_goal_that_cannot_be_written_is_unavailable(blobs: MemoryBlobs, folder: Path, tmp_path: Path) -> None:
    digest = store_artifact(blobs, folder, FACTS)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for goal in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(Unavailable, match="cannot be brought"):
            fetch_artifact(blobs, digest, goal)
