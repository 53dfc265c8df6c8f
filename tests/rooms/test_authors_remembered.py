"""Who began a version is read from its long history once, and only when nothing of it is missing."""

from __future__ import annotations

import pytest

from contracts.ports import Document, Write
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from tests.rooms.test_governance import BUNDLE


class Counting(MemoryJournal):
    """Counts the histories that were read."""

    histories = 0

    def history(self, kind: str, key: str) -> list[Document]:
        self.histories += 1
        return super().history(kind, key)


@pytest.fixture
def journal() -> Counting:
    return Counting(SettableClock(1000.0))


def put(journal: MemoryJournal, kind: str, key: str, by: str) -> None:
    write = Write(kind=kind, key=key, expected_version=0, body=BUNDLE.model_dump(mode="json"))
    journal.append([write], actor=by, reason="t")


def test_authors_of_a_registered_version_are_read_once(journal: Counting) -> None:
    put(journal, "job", "job-1", "tom")
    put(journal, "model_version", "income@1.0.0", "ana")
    governance = EmbeddedGovernance(journal, SettableClock(1000.0))
    assert [governance.authors(BUNDLE) for _ in range(3)] == [{"tom", "ana"}] * 3
    assert journal.histories == 2


def test_who_registers_it_later_is_an_author_too(journal: Counting) -> None:
    put(journal, "job", "job-1", "tom")
    governance = EmbeddedGovernance(journal, SettableClock(1000.0))
    assert governance.authors(BUNDLE) == {"tom"}
    put(journal, "model_version", "income@1.0.0", "ana")
    assert governance.authors(BUNDLE) == {"tom", "ana"}
