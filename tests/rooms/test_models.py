"""Models listed: the newest version, where aliases lead, what waits; what follows a version, without reading all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.finding import MOST_ASKED
from actors.registry import Registry
from contracts.errors import Incompatible
from contracts.policies import Policy
from contracts.ports import Document
from contracts.records import Lineage, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.cli import app
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write
from mldl_ray.settings import load_settings
from tests.rooms.test_api import World


class Counting(MemoryJournal):
    """Counts the documents that were read as changes."""

    read_changes = 0

    def changes(self, kinds: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Document]:
        found = super().changes(kinds, after=after, limit=limit)
        self.read_changes += len(found)
        return found


class Shelf:
    """A registry with versions of several models."""

    def __init__(self) -> None:
        clock = SettableClock(1000.0)
        self.journal = Counting(clock)
        self.registry = Registry(self.journal, MemoryBlobs(), EmbeddedGovernance(self.journal, clock), clock)

    def put(self, model_key: str, version: str, parent: str | None = None) -> None:
        digest = f"sha256:{abs(hash((model_key, version))):064x}"
        bundle = TrainedBundle(
            model_key=model_key, version=version, artifact_uri=f"blobs:{digest}", validation_hash=digest,
            created_at="now", lineage=Lineage(parent=parent),
        )  # fmt: skip
        self.journal.append([write("model_version", f"{model_key}@{version}", 0, bundle)], actor="tom", reason="t")


@pytest.fixture
def shelf() -> Shelf:
    found = Shelf()
    for model_key, version in (("b", "1.9.0"), ("b", "1.10.0"), ("a", "1.0.0"), ("B-side", "1.0.0")):
        found.put(model_key, version)
    return found


def test_a_model_is_listed_with_its_highest_number_and_what_serves(shelf: Shelf) -> None:
    stable = Endpoint(model_key="b", stable="1.9.0", salt="s")
    shelf.journal.append([write("endpoint", "b", 0, stable)], actor="t", reason="t")
    (found,) = shelf.registry.models(model_key="b")
    assert (found.newest.bundle.version, found.versions, found.waiting) == ("1.10.0", 2, 2)
    assert found.aliases == {"latest": "1.10.0", "stable": "1.9.0", "candidate": None}


def test_models_are_listed_by_key_page_by_page_and_found_by_what_their_keys_hold(shelf: Shelf) -> None:
    assert [one.model_key for one in shelf.registry.models()] == ["B-side", "a", "b"]
    assert [one.model_key for one in shelf.registry.models(after="B-side", limit=1)] == ["a"]
    assert [one.model_key for one in shelf.registry.models(text="b")] == ["B-side", "b"]
    assert shelf.registry.models(model_key="none") == []
    with pytest.raises(Incompatible):
        shelf.registry.models(limit=0)


def test_a_version_on_which_somebody_said_a_word_waits_no_more_and_none_does_where_no_approval_is_asked(
    shelf: Shelf,
) -> None:
    shelf.registry.approve("b", "1.9.0", reason="good", by="ann", role="approver")
    assert [one.waiting for one in shelf.registry.models()] == [1, 1, 1]
    shelf.registry.set_policy(Policy(approvals_required=0), reason="t", by="root")
    assert [one.waiting for one in shelf.registry.models()] == [0, 0, 0]


def test_a_model_whose_versions_are_gone_is_listed_no_more(shelf: Shelf) -> None:
    gone = write("model_version", "a@1.0.0", 1, Policy()).model_copy(update={"body": None})
    shelf.journal.append([gone], actor="t", reason="t")
    assert [one.model_key for one in shelf.registry.models()] == ["B-side", "b"]


def test_lineage_reads_what_follows_a_version_and_no_other_version(shelf: Shelf) -> None:
    shelf.put("b", "1.11.0", parent="1.10.0")
    shelf.put("b", "1.12.0", parent="1.11.0")
    shelf.put("b", "2.0.0", parent="1.10.0")
    shelf.put("a", "1.11.0", parent="1.10.0")
    graph = shelf.registry.lineage("b", "1.10.0")
    assert {node.name for node in graph.nodes} == {"b@1.10.0", "b@1.11.0", "b@2.0.0"}


def test_a_view_names_the_aliases_that_lead_to_the_version(shelf: Shelf) -> None:
    assert shelf.registry.view("b", "1.10.0").aliases == ("latest",)
    assert shelf.registry.view("b", "1.9.0").aliases == ()


def test_models_are_listed_over_http_by_the_client_and_by_the_command(tmp_path: Path, free_port: int) -> None:
    with World(load_settings({}, home=tmp_path, port=free_port)) as world:
        world.registered("1.0.0")
        world.registered("1.1.0")
        (found,) = world.client().models(text="INC")
        assert (found.model_key, found.newest.bundle.version, found.waiting) == ("income", "1.1.0", 2)
        said = CliRunner().invoke(app, ["registry", "models", "--url", world.settings.url])
        assert (said.exit_code, "1.1.0" in said.output) == (0, True), said.output


def test_what_waits_is_found_piece_by_piece_and_each_look_gets_further(shelf: Shelf) -> None:
    versions = [f"3.{minor}.0" for minor in range(MOST_ASKED + 9)]
    for version in versions:
        shelf.put("big", version)
        shelf.registry.approve("big", version, reason="good", by="ann", role="approver")
    shelf.registry.approve("big", "3.0.0", decision="rejected", reason="bad", by="ann", role="approver")
    first = shelf.registry.waiting(model_key="big")
    assert ([view.bundle.version for view in first.views], first.whole) == ([], False)
    second = shelf.registry.waiting(model_key="big")
    assert ([view.bundle.version for view in second.views], second.whole) == (["3.0.0"], True)


def test_what_waits_comes_newest_first_and_page_by_page(shelf: Shelf) -> None:
    found = shelf.registry.waiting(limit=2)
    assert [view.bundle.model_key for view in found.views] == ["B-side", "a"]
    rest = shelf.registry.waiting(after="a@1.0.0")
    assert ([view.bundle.version for view in rest.views], rest.whole) == (["1.10.0", "1.9.0"], True)


def test_an_index_that_caught_up_leaves_nothing_to_read_to_who_asks(shelf: Shelf) -> None:
    shelf.registry.catch_up()
    read = shelf.journal.read_changes
    assert read > 0
    assert len(shelf.registry.models()) == 3
    assert shelf.journal.read_changes == read
