"""Garbage collection: what is needed stays, what nothing needs goes, and writers that write meanwhile lose nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.keeping import Keeping
from actors.snapshot_store import SnapshotStore
from contracts.errors import Conflict, Forbidden, Incompatible
from contracts.life import Collected, CollectRequest
from contracts.ports import Once, Write
from contracts.records import Dataset, Lineage, TrainedBundle
from contracts.specs import Json
from mldl_ray.blobs import ArrowBlobs, MemoryBlobs
from mldl_ray.blobs.artifact import artifact_files, store_artifact
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock, SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.registry.garbage import Garbage, needs
from mldl_ray.settings import load_settings
from mldl_ray.snapshots import reachable, snapshots
from tests.rooms.test_api import KEY, problem
from tests.rooms.test_api import World as Service

DAY = 86_400.0


class World:
    """A store with everything that keeps a file, each a day old."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SettableClock()
        self.journal, self.blobs = MemoryJournal(self.clock), MemoryBlobs(self.clock)
        self.keeping = Keeping(self.journal, self.blobs, self.clock)
        self.snapshots = SnapshotStore(self.journal, self.blobs, self.clock)

    def artifact(self, name: str) -> str:
        folder = self.folder / name
        folder.mkdir()
        (folder / "model.json").write_text(name)
        (folder / "shared.json").write_text("the same in every version")
        return store_artifact(self.blobs, folder, {"name": name})

    def write(self, kind: str, key: str, body: Json | None) -> None:
        expected = len(self.journal.history(kind, key))
        one = Write(kind=kind, key=key, expected_version=expected, body=body)
        self.journal.append([one], actor="t", reason="t")

    def bundle(self, version: str | None, manifest: str, **lineage: Any) -> Json:
        made = TrainedBundle(
            model_key=KEY,
            version=version,
            artifact_uri=f"blobs:{manifest}",
            validation_hash=manifest,
            created_at="",
            lineage=Lineage(**lineage),
        )
        return made.model_dump(mode="json")

    def version(self, version: str, **lineage: Any) -> str:
        manifest = self.artifact(version)
        self.write("model_version", f"{KEY}@{version}", self.bundle(version, manifest, **lineage))
        return manifest

    def dataset(self, name: str) -> str:
        digest = self.blobs.put(name.encode())
        facts = {"dataset_id": name, "version": "1", "digest": digest, "rows": 1, "columns": {}, "source": "s"}
        self.write("dataset", f"{name}@1", Dataset(**facts, created_at_s=0).model_dump(mode="json"))
        return digest

    def collect(self, *, dry_run: bool = False, **more: Any) -> Collected:
        asked = CollectRequest(dry_run=dry_run, reason="full disk", **more)
        return self.keeping.collect_garbage(asked, by="adam")

    def all_there(self, manifest: str) -> bool:
        return all(map(self.blobs.has, artifact_files(self.blobs, manifest)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_nothing_names_goes_and_what_is_named_stays(world: World) -> None:
    version, rows, lost = world.version("1.0.0"), world.dataset("adult"), world.blobs.put(b"lost")
    world.clock.advance(2 * DAY)
    found = world.collect()
    assert not world.blobs.has(lost)
    assert world.all_there(version)
    assert world.blobs.has(rows)
    assert (found.stored, found.needed, found.freed, found.freed_bytes, found.spared) == (5, 4, 1, 4, 0)
    assert world.collect().freed == 0


def test_dry_run_says_the_same_and_frees_nothing(world: World) -> None:
    lost = world.blobs.put(b"lost")
    world.clock.advance(2 * DAY)
    at = world.journal.position()
    found = world.collect(dry_run=True)
    assert (found.dry_run, found.freed, found.freed_bytes) == (True, 1, 4)
    assert world.blobs.has(lost)
    assert world.journal.position() == at


def test_file_that_is_not_named_yet_is_spared_within_the_grace(world: World) -> None:
    just_put = world.blobs.put(b"somebody is about to name this")
    world.clock.advance(DAY - 1)
    assert world.collect().spared == 1
    assert world.blobs.has(just_put)
    world.clock.advance(2)
    assert world.collect().freed == 1


def test_old_file_that_is_stored_again_is_spared(world: World) -> None:
    world.blobs.put(b"rows that were thrown away")
    world.clock.advance(2 * DAY)
    again = world.blobs.put(b"rows that were thrown away")
    assert world.collect().spared == 1
    assert world.blobs.has(again)


def test_deleted_version_frees_what_only_it_needed(world: World) -> None:
    gone, kept = world.version("1.0.0", job_id="job-1"), world.version("1.1.0")
    bundle = world.bundle(None, gone)
    world.write("job", "job-1", {"job_id": "job-1", "bundle": bundle, "registered_version": "1.0.0"})
    world.clock.advance(2 * DAY)
    assert world.collect().freed == 0
    world.keeping.delete_version(KEY, "1.0.0", reason="names in it", by="adam")
    assert world.collect().freed == 2  # its manifest and its model; the third file is in the other version too
    assert world.all_there(kept)
    assert not world.blobs.has(gone)


def test_model_of_a_job_that_may_be_registered_stays(world: World) -> None:
    waiting = world.artifact("waiting")
    world.write("job", "job-1", {"job_id": "job-1", "bundle": world.bundle(None, waiting), "registered_version": None})
    world.clock.advance(2 * DAY)
    world.collect()
    assert world.all_there(waiting)


def test_what_a_snapshot_needs_stays_until_the_snapshot_goes(world: World) -> None:
    version, rows = world.version("1.0.0"), world.dataset("adult")
    kept = world.snapshots.export(reason="before", by="ana")
    world.write("model_version", f"{KEY}@1.0.0", None)
    world.write("dataset", "adult@1", None)
    world.clock.advance(2 * DAY)
    world.collect()
    assert world.all_there(version)
    assert world.blobs.has(rows)
    world.write("snapshot", kept.snapshot_id, None)
    world.collect()
    assert list(world.blobs.digests()) == []


def test_version_between_two_snapshots_that_neither_holds_goes(world: World) -> None:
    world.snapshots.export(reason="before", by="ana")
    between = world.version("1.0.0")
    world.write("model_version", f"{KEY}@1.0.0", None)
    world.snapshots.export(reason="after", by="ana")
    world.clock.advance(2 * DAY)
    world.collect()
    assert not world.blobs.has(between)


def test_rows_that_a_version_learned_from_stay_with_it(world: World) -> None:
    rows = world.dataset("adult")
    world.version("1.0.0", dataset_id="adult", dataset_digest=rows)
    world.write("dataset", "adult@1", None)
    world.clock.advance(2 * DAY)
    world.collect()
    assert world.blobs.has(rows)


def test_everything_that_snapshots_call_reachable_is_needed(world: World) -> None:
    for n in range(6):
        world.version(f"1.{n}.0")
        world.dataset(f"data{n}")
        if n % 2:
            world.snapshots.export(reason="x", by="ana")
            world.write("model_version", f"{KEY}@1.{n - 1}.0", None)
    positions = [one.position for one in snapshots(world.journal)] + [world.journal.position()]
    wanted = set(reachable(world.journal, world.blobs, positions))
    keep, unreadable = Garbage(world.journal, world.blobs, world.clock)._expanded(
        needs(world.journal, world.journal.position())
    )
    assert unreadable == []
    assert keep == wanted


def test_nothing_is_freed_while_a_manifest_cannot_be_read(world: World) -> None:
    world.blobs.remove(world.version("1.0.0"))
    lost = world.blobs.put(b"lost")
    world.clock.advance(2 * DAY)
    assert len(world.collect(dry_run=True).unreadable) == 1
    with pytest.raises(Conflict, match="1 manifests cannot be read"):
        world.collect()
    assert world.blobs.has(lost)


def test_collection_is_on_record_and_the_same_request_again_frees_nothing_more(world: World) -> None:
    world.blobs.put(b"lost")
    world.clock.advance(2 * DAY)
    once, asked = Once(key="k", digest="d"), CollectRequest(dry_run=False, reason="full disk")
    first = world.keeping.collect_garbage(asked, by="adam", once=once)
    later = world.blobs.put(b"lost too")
    world.clock.advance(2 * DAY)
    assert world.keeping.collect_garbage(asked, by="adam", once=once) == first
    assert world.blobs.has(later)
    (event,) = world.journal.events(limit=9)
    assert (event.type, event.actor, event.reason, event.data["freed"]) == (
        "MLDL_FILES_COLLECTED",
        "adam",
        "full disk",
        1,
    )


def test_what_is_named_while_files_are_freed_is_seen_in_time(world: World) -> None:
    rows = world.blobs.put(b"old rows")
    facts = {"dataset_id": "d", "version": "1", "digest": rows, "rows": 1, "columns": {}, "source": "s"}

    class Late(MemoryBlobs):
        """A store whose listing is followed at once by somebody's append."""

        def digests(self) -> Any:
            found = list(world.blobs.digests())
            position = world.journal.position
            world.journal.position = lambda **given: _after(position(**given))  # type: ignore[method-assign]
            return found

    def _after(position: int) -> int:
        if world.journal.read("dataset", "d@1") is None:
            world.write("dataset", "d@1", Dataset(**facts, created_at_s=0).model_dump(mode="json"))
        return position

    late = Late(world.clock)
    late._stored, late._since_s = world.blobs._stored, world.blobs._since_s
    world.clock.advance(2 * DAY)
    Garbage(world.journal, late, world.clock).collect(dry_run=False, grace_s=DAY, reason="x", by="adam")
    assert world.blobs.has(rows)


def test_writers_that_store_and_append_meanwhile_lose_nothing(tmp_path: Path) -> None:
    clock = SystemClock()
    journal, blobs = MemoryJournal(clock), ArrowBlobs(str(tmp_path))
    payloads = [f"row {n}".encode() for n in range(240)]
    for data in payloads:
        os.utime(blobs._path(blobs.put(data)), (0, 0))  # thrown away long ago
    wanted, done = payloads[::2], threading.Event()

    def writes(mine: list[bytes]) -> None:
        for n, data in enumerate(mine):
            digest = blobs.put(data)
            facts = {"dataset_id": digest[7:], "version": str(n), "digest": digest, "rows": 1, "columns": {}}
            body = Dataset(**facts, source="s", created_at_s=0).model_dump(mode="json")
            one = Write(kind="dataset", key=f"{digest[7:]}@{n}", expected_version=0, body=body)
            journal.append([one], actor="t", reason="t")

    def collects() -> int:
        garbage, freed = Garbage(journal, blobs, clock), 0
        while True:
            last = done.is_set()
            freed += garbage.collect(dry_run=False, grace_s=3600, reason="x", by="adam").freed
            if last:
                return freed

    with ThreadPoolExecutor(6) as pool:
        collectors = [pool.submit(collects) for _ in range(2)]
        writers = [pool.submit(writes, wanted[start::4]) for start in range(4)]
        for writer in writers:
            writer.result()
        done.set()
        freed = sum(collector.result() for collector in collectors)
    assert [blobs.get(f"sha256:{document.key[:64]}") for document in journal.scan("dataset")]
    assert len(journal.scan("dataset")) == len(wanted)
    assert freed >= len(payloads) - len(wanted)
    assert len(list(blobs.digests())) == len(wanted)


# Over HTTP


@pytest.fixture
def service(tmp_path: Path, free_port: int) -> Iterator[Service]:
    with Service(load_settings({}, home=tmp_path, port=free_port)) as found:
        yield found


def test_client_counts_first_and_frees_when_told_with_a_reason(service: Service) -> None:
    client = service.client()
    assert client.collect_garbage().dry_run
    assert not client.collect_garbage(dry_run=False, reason="full disk").dry_run
    with pytest.raises(Incompatible, match="reason"):
        client.collect_garbage(dry_run=False)
    problem(service.raw("POST", "/gc", json={"grace_s": 5}), 422, "incompatible")
    trainer = service.client(key=client.create_key("tom", "trainer").secret)
    with pytest.raises(Forbidden):
        trainer.collect_garbage()


def test_command_counts_unless_told_to_apply(service: Service) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["gc", *arguments, "--url", service.settings.url])

    assert "would be freed" in run().stdout
    assert "were freed" in run("--apply", "--reason", "full disk").stdout
    assert run("--apply").exit_code == 2
    service.registered()  # its manifest was never stored
    assert "cannot be read" in run().stdout
    assert run("--apply", "--reason", "x").exit_code == 5
