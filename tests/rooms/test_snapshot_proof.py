"""A plan proves that what would come back is there, says whom it reaches, and how risky it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actors.loading import Loading
from actors.snapshot_store import SnapshotStore
from contracts.errors import Broken, Conflict, Unavailable
from contracts.ports import Write
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.serving_form import compile_form
from mldl_ray.snapshots.risk import HIGH, MEDIUM, level_of

LIVE = {
    "endpoints": {
        "income": {
            "versions": {"2.0.0": {"qps": 2.0, "labelled": 12}, "1.0.0": {"qps": 0.0, "labelled": 99}},
        }
    }
}


class House:
    """A model that served 1.0.0 when its snapshot was taken, and serves 2.0.0."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock()
        self.journal, self.blobs, self.folder = MemoryJournal(self.clock), MemoryBlobs(), folder
        self.store = SnapshotStore(self.journal, self.blobs, self.clock, live=lambda: LIVE)
        self.manifests: dict[str, str] = {}

    def put(self, kind: str, key: str, body: dict[str, Any] | None) -> None:
        version = len(self.journal.history(kind, key))
        self.journal.append([Write(kind=kind, key=key, expected_version=version, body=body)], actor="o", reason="r")

    def register(self, version: str, schema: dict[str, Any] | None = None, tags: tuple[str, ...] = ()) -> None:
        folder = self.folder / version
        if not folder.exists():
            folder.mkdir()
            (folder / "model.bin").write_text(f"model {version}")
        self.manifests[version] = store_artifact(self.blobs, folder, {"version": version})
        bundle = TrainedBundle(
            model_key="income", version=version, artifact_uri=f"blobs:{self.manifests[version]}",
            validation_hash=self.manifests[version], created_at="2026-01-01T00:00:00Z", input_schema=schema or {},
            tags=tags,
        )  # fmt: skip
        self.put("model_version", f"income@{version}", bundle.model_dump(mode="json"))

    def approve(self, version: str, decision: str = "approved") -> None:
        body = {"approval_id": f"income@{version}-bob", "model_key": "income", "version": version, "by": "bob"}
        self.put("approval", f"income@{version}-bob", body | {"decision": decision})

    def serve(self, version: str | None) -> None:
        epoch = len(self.journal.history("endpoint", "income")) + 1
        body = Endpoint(model_key="income", stable=version, epoch=epoch, salt="s").model_dump(mode="json")
        self.put("endpoint", "income", body)

    def snapshot(self) -> str:
        return self.store.export(reason="before", by="ann").snapshot_id

    def model_file(self, version: str) -> str:
        return next(d for d in self.blobs.digests() if self.blobs.get(d) == f"model {version}".encode())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def changed(house: House) -> tuple[House, str]:
    house.register("1.0.0")
    house.serve("1.0.0")
    name = house.snapshot()
    house.register("2.0.0")
    house.serve("2.0.0")
    return house, name


class Rotten(MemoryBlobs):
    """A store in which one blob's bytes were changed behind its back."""

    def __init__(self, blobs: MemoryBlobs, rotten: str) -> None:
        super().__init__()
        for digest in blobs.digests():
            self.put(blobs.get(digest))
        self._rotten = rotten

    def get(self, digest: str) -> bytes:
        if digest == self._rotten:
            raise Broken(f"blob {digest} is corrupt: its bytes have another digest")
        return super().get(digest)


def test_a_missing_file_is_named_with_its_version(changed: tuple[House, str]) -> None:
    house, name = changed
    gone = house.model_file("1.0.0")
    house.blobs.remove(gone)
    (trouble,) = house.store.plan(name).troubles
    assert (trouble.target, trouble.file, trouble.digest, trouble.problem) == (
        "income@1.0.0",
        "model.bin",
        gone,
        "gone",
    )
    with pytest.raises(Conflict, match=r"model\.bin of income@1\.0\.0 is gone; bring it back") as refused:
        house.store.restore(name, reason="back", by="ann")
    assert refused.value.facts["troubles"][0]["file"] == "model.bin"


def test_a_damaged_file_of_a_version_that_comes_back_is_found_even_where_it_would_not_serve(house: House) -> None:
    house.register("1.0.0")
    name = house.snapshot()
    house.put("model_version", "income@1.0.0", None)
    store = SnapshotStore(house.journal, Rotten(house.blobs, house.model_file("1.0.0")), house.clock)
    (trouble,) = store.plan(name).troubles
    assert (trouble.target, trouble.problem) == ("income@1.0.0", "damaged")
    assert "another digest" in trouble.detail


def test_a_version_of_which_only_the_tags_change_is_not_read_again(house: House) -> None:
    house.register("1.0.0")
    name = house.snapshot()
    house.register("1.0.0", tags=("good",))
    store = SnapshotStore(house.journal, Rotten(house.blobs, house.model_file("1.0.0")), house.clock)
    assert store.plan(name).troubles == ()


def test_what_would_serve_is_loaded_and_what_does_not_load_is_refused(changed: tuple[House, str]) -> None:
    house, name = changed
    store = SnapshotStore(house.journal, house.blobs, house.clock, load=Loading(house.blobs))
    (trouble,) = store.plan(name).troubles
    assert (trouble.target, trouble.file, trouble.problem) == ("income@1.0.0", "model", "does not load")
    assert "serving.json" in trouble.detail
    position = house.journal.position()
    with pytest.raises(Conflict, match=r"model of income@1\.0\.0 does not load"):
        store.restore(name, reason="back", by="ann")
    assert house.journal.position() == position


def test_a_real_model_that_would_serve_loads(house: House) -> None:
    rng = np.random.default_rng(3)
    rows = pa.table({"age": rng.normal(size=60), "hours": rng.normal(size=60)})
    adapter = create_adapter("lr", task="classification", model_key="income")
    adapter.fit(rows, (rng.random(60) > 0.5).astype(int))
    folder = house.folder / "1.0.0"
    folder.mkdir()
    adapter.save(folder)
    compile_form(adapter, folder, rows)
    house.register("1.0.0")
    house.serve("1.0.0")
    name = house.snapshot()
    house.serve(None)
    store = SnapshotStore(house.journal, house.blobs, house.clock, load=Loading(house.blobs))
    plan = store.plan(name)
    assert plan.troubles == ()
    assert plan.checked_artifacts >= 3
    assert store.restore(name, reason="back", by="ann").forced is False


def test_a_forced_rollback_goes_on_and_the_record_says_what_was_not_there(changed: tuple[House, str]) -> None:
    house, name = changed
    house.blobs.remove(house.model_file("1.0.0"))
    done = house.store.restore(name, reason="1.0.0 is loaded everywhere still", by="ann", force=True)
    assert (done.applied, done.forced, done.troubles[0].problem) == (True, True, "gone")
    told = house.journal.events()[-1]
    assert (told.data["plan"]["forced"], told.reason) == (True, "1.0.0 is loaded everywhere still")


def test_force_where_all_is_there_is_not_recorded_as_forced(changed: tuple[House, str]) -> None:
    house, name = changed
    assert house.store.restore(name, reason="back", by="ann", force=True).forced is False


def test_a_store_that_cannot_be_asked_is_not_taken_for_a_missing_file(changed: tuple[House, str]) -> None:
    house, name = changed

    class Away(MemoryBlobs):
        def has(self, digest: str) -> bool:
            raise Unavailable("no route")

        def get(self, digest: str) -> bytes:
            raise Unavailable("no route")

    store = SnapshotStore(house.journal, Away(), house.clock)
    with pytest.raises(Unavailable):
        store.plan(name)


def test_artifacts_that_lie_elsewhere_are_said_to_be_unseen(house: House) -> None:
    house.put("model_version", "m@1.0.0", {"model_key": "m", "version": "1.0.0", "artifact_uri": "s3://b/x"})
    name = house.snapshot()
    house.put("model_version", "m@1.0.0", None)
    assert "1 versions lie elsewhere" in " ".join(house.store.plan(name).notes)


def test_a_plan_says_how_many_requests_a_minute_get_another_version(changed: tuple[House, str]) -> None:
    house, name = changed
    (reached,) = house.store.plan(name).affected
    assert (reached.model_key, reached.before, reached.after) == ("income", "2.0.0", "1.0.0")
    assert reached.requests_per_minute == 120.0


def test_columns_that_break_are_told_one_by_one(house: House) -> None:
    old = InputSchema.of(pa.table({"age": [1.0], "sex": ["f"]})).to_json()
    new = InputSchema.of(pa.table({"age": [1.0], "city": ["x"]})).to_json()
    house.register("1.0.0", old)
    house.serve("1.0.0")
    name = house.snapshot()
    house.register("2.0.0", new)
    house.serve("2.0.0")
    plan = house.store.plan(name)
    (broken,) = plan.schema_breaks
    assert broken.columns == ("column 'sex' is new and required", "column 'city' is no longer accepted")
    assert any("column 'sex' is new and required" in reason for reason in plan.risk_reasons)


def test_the_same_columns_break_nobody_whatever_the_numbers_say(house: House) -> None:
    schema = InputSchema.of(pa.table({"age": [1.0]})).to_json()
    house.register("1.0.0", schema)
    house.serve("1.0.0")
    name = house.snapshot()
    house.register("2.0.0", schema)
    house.serve("2.0.0")
    assert house.store.plan(name).schema_breaks == ()


def test_approvals_that_would_no_longer_count_are_listed_and_rejections_are_not(changed: tuple[House, str]) -> None:
    house, name = changed
    house.approve("2.0.0")
    house.put("approval", "income@2.0.0-eve", {"decision": "rejected", "by": "eve"})
    assert house.store.plan(name).approvals_voided == ("income@2.0.0-bob",)


def test_labels_of_a_version_that_goes_are_counted_once(changed: tuple[House, str]) -> None:
    house, name = changed
    lost = house.store.plan(name).feedback_lost
    assert [(one.version, one.labels) for one in lost] == [("2.0.0", 12)]


def test_the_risk_is_a_score_that_its_level_follows_and_more_requests_raise(changed: tuple[House, str]) -> None:
    house, name = changed
    busy = house.store.plan(name)
    calm = SnapshotStore(house.journal, house.blobs, house.clock).plan(name)
    assert 0 < calm.risk_score < busy.risk_score <= 100
    assert busy.risk == level_of(busy.risk_score)
    assert any("120 requests a minute" in reason for reason in busy.risk_reasons)


def test_a_file_that_is_gone_alone_makes_a_plan_high(house: House) -> None:
    house.register("1.0.0")
    name = house.snapshot()
    house.put("model_version", "income@1.0.0", None)
    safe = house.store.plan(name)
    house.blobs.remove(house.model_file("1.0.0"))
    assert safe.risk_score < MEDIUM
    assert house.store.plan(name).risk_score >= HIGH
