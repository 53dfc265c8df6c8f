"""Datasets: registered once, described, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import Incompatible, NotFound, Refused
from contracts.ports import Once, Write
from contracts.specs import DataRef
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.memory import EmbeddedMemory, likely_task, name_of
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal

ROWS: dict[str, Sequence[object]] = {
    "age": [31.0, None, 52.0, 45.0] * 5,
    "city": ["Bern", "Uri", None, "Bern"] * 5,
    "member": [True, False, True, True] * 5,
    "target": [0, 1, 0, 1] * 5,
}


class House:
    """A memory over a journal and blobs of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock()
        self.journal, self.blobs, self.folder = MemoryJournal(self.clock), MemoryBlobs(), folder
        self.memory = EmbeddedMemory(self.journal, self.blobs, self.clock)

    def ref(
        self, rows: Mapping[str, Sequence[object]] | None = None, name: str = "people.parquet", **roles: object
    ) -> DataRef:
        path = self.folder / name
        pq.write_table(pa.table(rows or ROWS), path)
        return DataRef.model_validate({"uri": str(path), "target": "target"} | roles)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_registered_dataset_gives_back_its_rows_and_says_what_is_in_them(house: House) -> None:
    made = house.memory.register(house.ref(sensitive=("city",)), by="ann", reason="first data")
    assert house.memory.table(made).to_pydict() == ROWS
    assert (made.dataset_id, made.rows, made.columns["age"]) == ("people", 20, "double")
    assert made.statistics["age"] == {
        "kind": "numeric", "count": 15, "missing": 5, "mean": pytest.approx(42.667, abs=1e-3),
        "sd": pytest.approx(8.731, abs=1e-3), "min": 31.0, "max": 52.0,
    }  # fmt: skip
    assert made.statistics["city"] == {
        "kind": "categorical", "count": 15, "missing": 5, "distinct": 2, "top": {"Bern": 10, "Uri": 5}
    }  # fmt: skip
    event = house.journal.events()[0]
    assert (event.type, event.subject, event.actor) == ("MLDL_DATASET_REGISTERED", "people", "ann")


def test_the_same_rows_and_roles_again_are_the_same_dataset_and_write_nothing(house: House) -> None:
    first = house.memory.register(house.ref(), by="ann")
    house.clock.advance(60)
    again = house.memory.register(house.ref(), by="bob")
    assert again == first
    assert house.journal.position() == 1


def test_other_rows_or_other_roles_are_another_version_and_the_last_one_is_the_latest(house: House) -> None:
    first = house.memory.register(house.ref(), by="ann")
    house.clock.advance(60)
    second = house.memory.register(house.ref(sensitive=("city",)), by="ann")
    assert second.digest == first.digest
    assert second.version != first.version
    assert house.memory.dataset("people") == second
    assert house.memory.dataset("people", first.version) == first
    assert house.memory.datasets() == [first, second]


def test_a_repeated_request_gets_the_first_answer_even_when_the_file_has_changed(house: House) -> None:
    once = Once(key="k", digest="d")
    first = house.memory.register(house.ref(), by="ann", once=once)
    changed = house.ref({**ROWS, "age": [20.0] * 20})
    assert house.memory.register(changed, by="ann", once=once) == first


def test_a_dataset_goes_back_into_a_job_with_its_version_and_roles(house: House) -> None:
    made = house.memory.register(house.ref(sensitive=("city",), exclude=("member",)), by="ann")
    ref = house.memory.as_ref(made)
    assert (ref.dataset_id, ref.version, ref.target) == ("people", made.version, "target")
    assert (ref.sensitive, ref.exclude) == (("city",), ("member",))


def test_an_unknown_dataset_or_version_is_told_with_those_there_are(house: House) -> None:
    made = house.memory.register(house.ref(), by="ann")
    with pytest.raises(NotFound, match="there is people"):
        house.memory.dataset("poeple")
    with pytest.raises(NotFound, match=f"it has {made.version}"):
        house.memory.dataset("people", "000000000000")


def test_a_dataset_is_registered_again_after_it_was_withdrawn(house: House) -> None:
    made = house.memory.register(house.ref(), by="ann")
    key = f"people@{made.version}"
    house.journal.append(
        [Write(kind="dataset", key=key, expected_version=1, body=None)], actor="ann", reason="a mistake"
    )
    assert house.memory.register(house.ref(), by="ann").version == made.version
    assert house.memory.dataset("people").digest == made.digest


def test_roles_that_the_columns_cannot_have_are_refused_and_nothing_is_written(house: House) -> None:
    with pytest.raises(Refused, match="nosuch"):
        house.memory.register(house.ref(target="nosuch"), by="ann")
    with pytest.raises(Refused, match="nosuch"):
        house.memory.register(house.ref(sensitive=("nosuch",)), by="ann")
    assert house.journal.position() == 0
    assert list(house.blobs.digests()) == []


def test_a_name_that_is_no_name_and_a_dataset_registered_already_are_refused(house: House) -> None:
    with pytest.raises(Incompatible, match="cannot name a dataset"):
        house.memory.register(house.ref(), dataset_id="../etc", by="ann")
    with pytest.raises(Refused, match="registered already"):
        house.memory.register(DataRef(dataset_id="people"), by="ann")


def test_lineage_leads_from_a_dataset_to_the_versions_that_learned_from_it(house: House) -> None:
    made = house.memory.register(house.ref(), by="ann")
    for version, learned in (("1.0.0", made.version), ("1.1.0", "another")):
        body = {"lineage": {"dataset_id": "people", "version": learned}}
        write = Write(kind="model_version", key=f"churn@{version}", expected_version=0, body=body)
        house.journal.append([write], actor="ann", reason="trained")
    assert house.memory.descendants("people", made.version) == ["churn@1.0.0"]
    assert house.memory.descendants("people") == ["churn@1.0.0", "churn@1.1.0"]


def test_a_files_name_becomes_a_name_and_a_target_shows_its_task() -> None:
    assert [name_of(uri) for uri in ("/a/b.parquet", "….csv", "s3://x/Ä b.CSV.gz")] == ["b", "dataset", "b"]
    assert likely_task(pa.table({"y": [0.0, 1.0, None]}), "y") == "classification"
    assert likely_task(pa.table({"y": list(range(60))}), "y") == "regression"
    assert likely_task(pa.table({"y": ["a", "b"]}), "y") == "classification"
