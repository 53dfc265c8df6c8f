"""What people's words come to is remembered between searches, and never longer than it is true."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from actors.registry import Registry
from contracts.ports import Document, Write
from contracts.records import Policy, TrainedBundle
from mldl_ray.access import ApiKeys
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import write


class Counted(MemoryJournal):
    """Counts what it is asked."""

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock)
        self.asked: Counter[str] = Counter()

    def scan(self, kind: str, **options: Any) -> list[Document]:
        self.asked[kind] += 1
        return super().scan(kind, **options)

    def history(self, kind: str, key: str) -> list[Document]:
        self.asked[kind] += 1
        return super().history(kind, key)


class World:
    """Ten versions that tom registered."""

    def __init__(self) -> None:
        self.clock = SettableClock(1000.0)
        self.journal = Counted(self.clock)
        governance = EmbeddedGovernance(self.journal, self.clock)
        self.registry = Registry(self.journal, MemoryBlobs(), governance, self.clock)
        for n in range(10):
            self.put(f"1.0.{n}", "x")

    def put(self, version: str, digest: str) -> None:
        bundle = TrainedBundle(
            model_key="income", version=version, artifact_uri="", validation_hash=digest, created_at=""
        )
        at = len(self.journal.history("model_version", f"income@{version}"))
        self.journal.append([write("model_version", f"income@{version}", at, bundle)], actor="tom", reason="t")

    def word(self, version: str, by: str, decision: Any = "approved") -> None:
        self.registry.approve("income", version, decision=decision, reason="r", by=by, role="approver")

    def agrees(self) -> None:
        """Have every search say what a view, which remembers nothing, says."""
        views = {f"1.0.{n}": self.registry.view("income", f"1.0.{n}") for n in range(10)}
        found = {str(view.bundle.version): view for view in self.registry.search()}
        assert found == views
        for approved in (True, False):
            kept = {str(view.bundle.version) for view in self.registry.search(approved=approved)}
            assert kept == {version for version, view in views.items() if view.approved is approved}


@pytest.fixture
def world() -> World:
    return World()


def test_second_search_asks_nobody_what_words_count(world: World) -> None:
    for n in range(10):
        world.word(f"1.0.{n}", "bo")
    first = world.registry.search()
    world.journal.asked.clear()
    assert world.registry.search() == first
    assert world.journal.asked["approval"] == world.journal.asked["policy"] == world.journal.asked["api_key"] == 0
    world.word("1.0.3", "cy")
    world.journal.asked.clear()
    world.registry.search()
    assert world.journal.asked["approval"] == 1  # of the version that was spoken of, and of no other


def test_approval_that_ends_counts_no_longer_although_nothing_was_written(world: World) -> None:
    world.registry.set_policy(Policy(approval_ttl_s=60), reason="r", by="root")
    world.word("1.0.0", "bo")
    assert [view.approved for view in world.registry.search(limit=1)] == [True]
    world.clock.advance(61)
    assert [view.approved for view in world.registry.search(limit=1)] == [False]
    assert world.registry.search(approved=True) == []


def test_key_that_an_author_makes_for_an_approver_voids_the_word(world: World) -> None:
    world.word("1.0.0", "bo")
    assert len(world.registry.search(approved=True)) == 1
    ApiKeys(world.journal, world.clock).create("bo", "approver", by="tom")
    assert world.registry.search(approved=True) == []
    world.agrees()


def test_searches_say_what_views_say_after_every_kind_of_change(world: World) -> None:
    rng = random.Random(7)
    acts: list[Any] = [
        lambda: world.word(f"1.0.{rng.randrange(10)}", rng.choice(["bo", "cy", "di"])),
        lambda: world.word(f"1.0.{rng.randrange(10)}", rng.choice(["bo", "cy"]), "rejected"),
        lambda: world.registry.set_policy(
            Policy(approvals_required=rng.randrange(3), approval_ttl_s=rng.choice([None, 50.0, 500.0])),
            reason="r",
            by=rng.choice(["root", "tom"]),
        ),
        lambda: world.clock.advance(rng.choice([1, 30, 200])),
        lambda: world.put(f"1.0.{rng.randrange(10)}", rng.choice(["x", "y"])),
        lambda: _withdraw_a_word(world, rng),
    ]
    for _ in range(60):
        rng.choice(acts)()
        world.agrees()


def _withdraw_a_word(world: World, rng: random.Random) -> None:
    words = world.journal.scan("approval")
    if words:
        gone = rng.choice(words)
        one = Write(kind="approval", key=gone.key, expected_version=gone.version, body=None)
        world.journal.append([one], actor="root", reason="back to a snapshot")
