"""Versions found by number and by alias, now and as they were."""

from __future__ import annotations

import pytest

from contracts.errors import NotFound
from contracts.ports import Write
from contracts.records import TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import Catalog


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SettableClock())


def put(journal: MemoryJournal, version: str, model_key: str = "income", *, withdraw: bool = False) -> int:
    bundle = TrainedBundle(
        model_key=model_key, version=version, artifact_uri="blobs:x", validation_hash="x", created_at=""
    )
    write = Write(
        kind="model_version",
        key=f"{model_key}@{version}",
        expected_version=int(withdraw),
        body=None if withdraw else bundle.model_dump(mode="json"),
    )
    return journal.append([write], actor="ana", reason="test").position


def serve(journal: MemoryJournal, stable: str | None, *, before: int = 0) -> int:
    body = Endpoint(model_key="income", stable=stable, salt="s").model_dump(mode="json")
    write = Write(kind="endpoint", key="income", expected_version=before, body=body)
    return journal.append([write], actor="ana", reason="test").position


def test_versions_are_in_the_order_of_their_numbers(journal: MemoryJournal) -> None:
    for version in ("1.10.0", "1.9.0", "2.0.0", "1.0.0"):
        put(journal, version)
    assert Catalog(journal).versions("income") == ["1.0.0", "1.9.0", "1.10.0", "2.0.0"]


def test_latest_is_the_highest_number_and_not_the_newest_registration(journal: MemoryJournal) -> None:
    put(journal, "1.10.0")
    put(journal, "1.9.1")
    assert Catalog(journal).resolve("income", "latest") == "1.10.0"


def test_stable_is_what_the_endpoint_serves(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    put(journal, "1.1.0")
    serve(journal, "1.0.0")
    assert Catalog(journal).resolve("income", "stable") == "1.0.0"
    assert Catalog(journal).bundle("income", "stable").version == "1.0.0"


@pytest.mark.parametrize("with_endpoint", [True, False])
def test_stable_before_anything_serves_is_not_found_and_says_what_to_deploy(
    journal: MemoryJournal, with_endpoint: bool
) -> None:
    put(journal, "1.0.0")
    if with_endpoint:
        serve(journal, None)
    with pytest.raises(NotFound, match=r"serves yet.*deploy one of: 1\.0\.0"):
        Catalog(journal).resolve("income", "stable")


def test_unknown_version_names_the_known_ones(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    put(journal, "1.1.0")
    with pytest.raises(NotFound, match=r"no version 3\.0\.0; it has: 1\.0\.0, 1\.1\.0") as caught:
        Catalog(journal).bundle("income", "3.0.0")
    assert caught.value.facts["versions"] == ["1.0.0", "1.1.0"]


@pytest.mark.parametrize("version", ["1.0.0", "latest", "stable"])
def test_unknown_model_names_the_known_ones(journal: MemoryJournal, version: str) -> None:
    put(journal, "1.0.0")
    put(journal, "1.0.0", "churn")
    with pytest.raises(NotFound, match=r"no model 'incom'.*churn, income"):
        Catalog(journal).resolve("incom", version)


def test_empty_registry_says_so(journal: MemoryJournal) -> None:
    with pytest.raises(NotFound, match="nothing is registered yet"):
        Catalog(journal).bundle("income", "latest")


def test_model_keys_that_begin_alike_are_kept_apart(journal: MemoryJournal) -> None:
    put(journal, "1.0.0", "income")
    put(journal, "2.0.0", "income.eu")
    put(journal, "3.0.0", "income-2")
    assert Catalog(journal).versions("income") == ["1.0.0"]
    assert [bundle.model_key for bundle in Catalog(journal).bundles("income")] == ["income"]


def test_withdrawn_version_is_gone_but_its_number_stays_taken(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    put(journal, "1.1.0")
    put(journal, "1.1.0", withdraw=True)
    catalog = Catalog(journal)
    assert catalog.versions("income") == ["1.0.0"]
    assert catalog.taken("income") == ["1.0.0", "1.1.0"]
    with pytest.raises(NotFound):
        catalog.bundle("income", "1.1.0")


def test_catalog_as_of_a_position_shows_what_was_known_then(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    then = serve(journal, "1.0.0")
    put(journal, "1.1.0")
    serve(journal, "1.1.0", before=1)
    past, now = Catalog(journal, as_of=then), Catalog(journal)
    assert (past.resolve("income", "latest"), past.resolve("income", "stable")) == ("1.0.0", "1.0.0")
    assert (now.resolve("income", "latest"), now.resolve("income", "stable")) == ("1.1.0", "1.1.0")
    with pytest.raises(NotFound):
        past.bundle("income", "1.1.0")


def test_before_the_first_append_there_was_nothing(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    with pytest.raises(NotFound, match="at that moment"):
        Catalog(journal, as_of=0).bundle("income", "1.0.0")


def test_aliases_lead_to_numbers_or_nowhere(journal: MemoryJournal) -> None:
    put(journal, "1.0.0")
    put(journal, "1.1.0")
    serve(journal, "1.0.0")
    assert Catalog(journal).aliases("income") == {"latest": "1.1.0", "stable": "1.0.0", "candidate": None}
    assert Catalog(journal).aliases("churn") == {"latest": None, "stable": None, "candidate": None}


def test_scan_goes_on_after_a_full_page(journal: MemoryJournal) -> None:
    writes = [Write(kind="k", key=f"{n:05}", expected_version=0, body={"n": n}) for n in range(2500)]
    journal.append(writes, actor="ana", reason="test")
    assert [document.body for document in scan_all(journal, "k")] == [{"n": n} for n in range(2500)]
