"""The promises of ``contracts.ports.Journal``, kept by every store: in memory, on SQLite, on a real Postgres.

A store of another package runs them too: subclass ``JournalConformance`` and give it a ``journal`` fixture.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from contracts.errors import Conflict, Incompatible, MldlError, Refused
from contracts.events import Event, Fact
from contracts.ports import Journal, Once, Receipt, Write
from contracts.specs import Json
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal, SqlJournal


def doc(key: str, version: int, body: Json | None, kind: str = "thing") -> Write:
    return Write(kind=kind, key=key, expected_version=version, body=body)


def fact(subject: str = "a", type: str = "MLDL_EVALUATED", **data: object) -> Fact:  # noqa: A002  # the field's name
    return Fact.model_validate({"type": type, "subject": subject, "data": data})


def put(journal: Journal, *writes: Write, facts: tuple[Fact, ...] = (), once: Once | None = None) -> Receipt:
    return journal.append(writes, facts, actor="ann", reason="because", once=once)


def keys(journal: Journal, **options: object) -> list[str]:
    return [document.key for document in journal.scan("thing", **options)]  # type: ignore[arg-type]  # a test's options


class JournalConformance:
    @pytest.fixture
    def journal(self) -> Iterator[Journal]:
        raise NotImplementedError("a subclass gives an empty journal, stamped by the clock fixture")

    # documents

    def test_what_was_appended_is_read_back_with_its_place_time_author_and_reason(self, journal: Journal) -> None:
        receipt = put(journal, doc("a", 0, {"n": 1}))
        found = journal.read("thing", "a")
        assert found is not None
        assert (found.version, found.body, found.position, found.at_s) == (1, {"n": 1}, 1, 1_700_000_000.25)
        assert (found.actor, found.reason) == ("ann", "because")
        assert receipt.documents == (found,)
        assert not receipt.repeated

    def test_an_empty_journal_has_nothing(self, journal: Journal) -> None:
        assert journal.read("thing", "a") is None
        assert [*journal.scan("thing"), *journal.history("thing", "a"), *journal.events()] == []
        assert journal.position() == journal.position(at_s=2e9) == 0
        assert journal.verify().ok

    def test_a_write_decided_on_an_old_version_is_refused_and_writes_nothing(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}))
        put(journal, doc("a", 1, {"n": 2}))
        for stale in (0, 1, 3):
            with pytest.raises(Conflict) as refused:
                put(journal, doc("a", stale, {"n": 9}))
            assert refused.value.facts["found_version"] == 2
        assert [d.body for d in journal.history("thing", "a")] == [{"n": 1}, {"n": 2}]
        assert journal.position() == 2

    def test_one_stale_document_keeps_the_whole_append_out(self, journal: Journal) -> None:
        put(journal, doc("b", 0, {}))
        with pytest.raises(Conflict):
            put(journal, doc("a", 0, {}), doc("b", 0, {}), doc("c", 0, {}), facts=(fact(),))
        assert keys(journal) == ["b"]
        assert journal.events() == journal.events(pending=True) == []
        assert journal.position() == 1
        put(journal, doc("a", 0, {}))
        assert journal.verify().ok

    def test_documents_and_events_of_one_append_share_a_position(self, journal: Journal) -> None:
        receipt = put(journal, doc("b", 0, {}), doc("a", 0, {}), facts=(fact("x", n=1), fact("y")))
        assert [d.key for d in receipt.documents] == ["b", "a"]
        assert [e.id for e in receipt.events] == ["1.0", "1.1"]
        assert {e.position for e in receipt.events} | {d.position for d in receipt.documents} == {1}
        assert journal.events() == list(receipt.events)
        assert receipt.events[0].data == {"n": 1}

    def test_an_append_may_be_an_event_alone(self, journal: Journal) -> None:
        assert put(journal, facts=(fact(),)).position == 1

    def test_an_empty_append_and_one_document_twice_are_refused(self, journal: Journal) -> None:
        with pytest.raises(Refused, match="nothing to append"):
            put(journal)
        with pytest.raises(Refused, match="twice"):
            put(journal, doc("a", 0, {}), doc("a", 1, {}))
        assert journal.position() == 0

    def test_a_withdrawn_document_is_gone_for_readers_and_stays_in_history(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}))
        put(journal, doc("a", 1, None))
        assert journal.read("thing", "a") is None
        assert keys(journal) == []
        assert [d.body for d in journal.scan("thing", withdrawn=True)] == [None]
        assert [d.body for d in journal.history("thing", "a")] == [{"n": 1}, None]

    def test_a_withdrawn_document_comes_back_at_its_next_version(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}))
        put(journal, doc("a", 1, None))
        with pytest.raises(Conflict):
            put(journal, doc("a", 0, {"n": 2}))
        assert put(journal, doc("a", 2, {"n": 3})).documents[0].version == 3
        assert journal.verify().ok

    def test_changes_are_every_version_written_since_in_order_withdrawals_too(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}))
        put(journal, doc("b", 0, {"n": 2}), doc("x", 0, {}, kind="other"))
        put(journal, doc("a", 1, {"n": 3}))
        put(journal, doc("b", 1, None))
        since = [(d.position, d.key, d.version, d.body) for d in journal.changes(["thing"], after=1)]
        assert since == [(2, "b", 1, {"n": 2}), (3, "a", 2, {"n": 3}), (4, "b", 2, None)]
        assert {d.kind for d in journal.changes(["thing", "other"])} == {"thing", "other"}
        assert journal.changes(["thing"], after=4) == []

    def test_a_page_of_changes_never_ends_within_an_append(self, journal: Journal) -> None:
        put(journal, *(doc(f"{n}", 0, {}) for n in range(5)))
        put(journal, doc("later", 0, {}))
        assert {d.position for d in journal.changes(["thing"], limit=3)} == {1}
        assert len(journal.changes(["thing"], limit=3)) == 5

    def test_several_documents_are_picked_as_they_are(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}), doc("b", 0, {}), doc("c", 0, {}))
        put(journal, doc("a", 1, {"n": 2}), doc("b", 1, None))
        assert [(d.key, d.body) for d in journal.pick("thing", ["a", "a", "b", "none"])] == [("a", {"n": 2})]

    def test_several_documents_are_picked_as_they_were(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}), doc("b", 0, None), doc("a", 0, {"n": 9}, kind="other"))
        put(journal, doc("a", 1, {"n": 2}), doc("b", 1, {}), doc("c", 0, {}))
        put(journal, doc("a", 2, None))
        asked = ["a", "a", "b", "c", "none"]
        assert [(d.key, d.body, d.version) for d in journal.pick("thing", asked, as_of=1)] == [("a", {"n": 1}, 1)]
        assert sorted(d.key for d in journal.pick("thing", asked, as_of=2)) == ["a", "b", "c"]
        assert sorted(d.key for d in journal.pick("thing", asked, as_of=3)) == ["b", "c"]
        assert journal.pick("thing", asked, as_of=0) == []

    def test_the_same_key_of_another_kind_is_another_document(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}), doc("a", 0, {"n": 2}, kind="other"))
        assert [d.body for d in journal.scan("other")] == [{"n": 2}]

    # idempotency

    def test_a_repeated_request_gets_the_first_answer_and_writes_nothing(self, journal: Journal) -> None:
        once = Once(key="k", digest="d")
        first = put(journal, doc("b", 0, {"n": [1]}), doc("a", 0, {}), facts=(fact(x=(1, 2)),), once=once)
        put(journal, doc("a", 1, {"later": True}))
        again = put(journal, doc("z", 0, {"other": "body"}), once=once)
        assert again == first.model_copy(update={"repeated": True})
        assert journal.position() == 2

    def test_a_key_of_another_request_is_a_conflict(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {}), once=Once(key="k", digest="d"))
        with pytest.raises(Conflict, match="different request"):
            put(journal, doc("b", 0, {}), once=Once(key="k", digest="e"))
        assert keys(journal) == ["a"]

    def test_a_request_that_was_refused_may_be_repeated_with_its_key(self, journal: Journal) -> None:
        once = Once(key="k", digest="d")
        with pytest.raises(Conflict):
            put(journal, doc("a", 5, {}), once=once)
        assert not put(journal, doc("a", 0, {}), once=once).repeated

    # the past

    def test_reading_as_of_a_position_gives_what_held_then(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}))
        put(journal, doc("b", 0, {"n": 2}), doc("a", 1, {"n": 3}))
        put(journal, doc("a", 2, None), doc("c", 0, {}))
        assert journal.read("thing", "a", as_of=0) is None
        assert [getattr(journal.read("thing", "a", as_of=p), "body", None) for p in (1, 2, 3)] == [
            {"n": 1},
            {"n": 3},
            None,
        ]
        assert [keys(journal, as_of=p) for p in (0, 1, 2, 3)] == [[], ["a"], ["a", "b"], ["b", "c"]]
        assert keys(journal, as_of=3, withdrawn=True) == ["a", "b", "c"]
        assert keys(journal, as_of=3, after="b") == ["c"]

    def test_a_moment_names_the_last_position_at_or_before_it(self, journal: Journal, clock: SettableClock) -> None:
        for n in range(3):
            put(journal, doc("a", n, {"n": n}))
            clock.advance(10)
        at = [journal.position(at_s=1_700_000_000.25 + s) for s in (-0.01, 0, 9.99, 10, 1e6)]
        assert at == [0, 1, 1, 2, 3]
        assert journal.position() == 3

    def test_time_never_goes_back_even_when_the_clock_does(self, journal: Journal, clock: SettableClock) -> None:
        times = []
        for n, step in enumerate((0.0, -3600.0, 1800.0, 5000.0)):
            clock.advance(step)
            times.append(put(journal, doc("a", n, {}), facts=(fact(),)).at_s)
        assert times == sorted(times)
        assert times[1] == times[2] == times[0]
        assert journal.position(at_s=times[0]) == 3
        assert journal.verify().ok

    # lists

    def test_scanning_goes_in_key_order_page_by_page(self, journal: Journal) -> None:
        names = ["a", "B", "a-1", "a.1", "é", "z", "日本", "10", "9", "𝔘", "_"]
        put(journal, *(doc(name, 0, {}) for name in names))
        pages, after = [], ""
        while page := keys(journal, after=after, limit=3):
            assert len(page) <= 3
            pages += page
            after = page[-1]
        assert pages == sorted(names) == keys(journal)
        assert keys(journal, limit=0) == []

    def test_a_prefix_is_taken_as_it_is(self, journal: Journal) -> None:
        put(journal, *(doc(name, 0, {}) for name in ("m@1", "m@2", "m%", "mm@1", "M@1", "m_", "é1", "é2")))
        assert keys(journal, prefix="m@") == ["m@1", "m@2"]
        assert keys(journal, prefix="m%") == ["m%"]
        assert keys(journal, prefix="m_") == ["m_"]
        assert keys(journal, prefix="é") == ["é1", "é2"]
        assert keys(journal, prefix="m@", after="m@1") == ["m@2"]
        assert keys(journal, prefix="m@", as_of=1) == ["m@1", "m@2"]

    def test_history_has_every_version_oldest_first(self, journal: Journal) -> None:
        for n in range(12):
            put(journal, doc("a", n, {"n": n}))
        assert [(d.version, d.position, (d.body or {})["n"]) for d in journal.history("thing", "a")] == [
            (n + 1, n + 1, n) for n in range(12)
        ]

    # events

    def test_events_are_listed_in_order_by_type_subject_and_place(self, journal: Journal) -> None:
        put(journal, facts=(fact("a"), fact("b", "MLDL_VIOLATION")))
        put(journal, doc("a", 0, {}))
        put(journal, facts=(fact("b"), fact("a", "MLDL_DRIFT_ALERT")))
        assert ids(journal.events()) == ["1.0", "1.1", "3.0", "3.1"]
        assert ids(journal.events(after=1)) == ["3.0", "3.1"]
        assert ids(journal.events(subject="a")) == ["1.0", "3.1"]
        assert ids(journal.events(types=["MLDL_VIOLATION", "MLDL_DRIFT_ALERT"])) == ["1.1", "3.1"]
        assert ids(journal.events(types=["MLDL_VIOLATION"], subject="a")) == []

    def test_a_page_of_events_never_cuts_an_append(self, journal: Journal) -> None:
        for _ in range(4):
            put(journal, facts=tuple(fact() for _ in range(3)))
        found, after = [], 0
        while page := journal.events(after=after, limit=4):
            found += ids(page)
            after = page[-1].position
        assert found == [f"{p}.{o}" for p in (1, 2, 3, 4) for o in (0, 1, 2)]
        assert ids(journal.events(limit=1)) == ["1.0", "1.1", "1.2"]
        assert journal.events(limit=0) == []

    def test_an_event_stays_in_the_outbox_until_it_is_delivered(self, journal: Journal) -> None:
        put(journal, facts=(fact(), fact()))
        put(journal, facts=(fact("b"),))
        journal.delivered(["1.1"])
        assert ids(journal.events(pending=True)) == ["1.0", "2.0"]
        journal.delivered(["1.1", "2.0"])
        assert ids(journal.events(pending=True)) == ["1.0"]
        assert ids(journal.events()) == ["1.0", "1.1", "2.0"]
        assert journal.verify().ok

    def test_delivering_what_is_unknown_changes_nothing(self, journal: Journal) -> None:
        put(journal, facts=(fact(),))
        journal.delivered(["7.0", "1.9", "nonsense", "", "1", "1.0x", "-1.0"])
        journal.delivered([])
        assert ids(journal.events(pending=True)) == ["1.0"]

    # values

    @pytest.mark.parametrize(
        "body", [{"x": float("nan")}, {"x": [float("inf")]}, {"x": {1, 2}}, {"x": b"bytes"}, {"x": "\ud800"}]
    )
    def test_what_is_not_json_is_refused_in_documents_and_events(self, journal: Journal, body: Json) -> None:
        with pytest.raises(Incompatible):
            put(journal, doc("a", 0, {}), doc("b", 0, body))
        with pytest.raises(Incompatible):
            put(journal, doc("a", 0, {}), facts=(Fact.model_construct(type="MLDL_EVALUATED", subject="a", data=body),))
        assert journal.position() == 0

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"])
    def test_text_that_a_database_cannot_keep_is_refused(self, journal: Journal, text: str) -> None:
        construct = Write.model_construct
        with pytest.raises(Incompatible, match="key"):
            put(journal, construct(kind="thing", key=text, expected_version=0, body={}))
        with pytest.raises(Incompatible, match="reason"):
            journal.append([doc("a", 0, {})], actor="ann", reason=text)
        with pytest.raises(Incompatible, match="key"):
            put(journal, doc("k" * 401, 0, {}))
        assert journal.position() == 0

    def test_asking_for_a_key_that_cannot_exist_is_no_failure_of_ours(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {}))
        for text in ("a\0b", "\ud800", "k" * 1000):
            try:
                assert journal.read("thing", text) is None
                assert journal.events(subject=text) == []
            except MldlError as error:
                assert error.http_status == 422

    def test_values_come_back_as_they_went_in(self, journal: Journal) -> None:
        body: Json = {
            "text": 'né "quoted" \\ \u0000 \u2028 日本 🎉',
            "numbers": [0, -0.0, 0.1 + 0.2, 1e308, 5e-324, 2**53 + 1, -(2**70)],
            "nested": {"": [[], {}, None, True, False]},
        }
        key = "ключ/with spaces/🎉'\";--"
        put(journal, doc(key, 0, body), facts=(fact("né 🎉", **body),))
        found = journal.read("thing", key)
        assert found is not None
        assert json.dumps(found.body, sort_keys=True) == json.dumps(body, sort_keys=True)
        assert journal.events(subject="né 🎉")[0].data == body
        assert journal.verify().ok

    def test_a_body_may_have_a_megabyte(self, journal: Journal) -> None:
        body = {"text": "né" * 500_000}
        put(journal, doc("a", 0, body))
        found = journal.read("thing", "a")
        assert found is not None
        assert found.body == body
        assert journal.verify().ok

    def test_changing_what_was_given_or_read_changes_nothing_stored(self, journal: Journal) -> None:
        body: Json = {"list": [1]}
        receipt = put(journal, doc("a", 0, body), facts=(fact(list=[1]),), once=Once(key="k", digest="d"))
        body["list"].append(2)
        for found in (receipt.documents[0], journal.read("thing", "a"), *journal.scan("thing")):
            assert found is not None
            assert found.body == {"list": [1]}
            found.body["list"].append(3)
        journal.events()[0].data["list"].append(4)
        assert journal.history("thing", "a")[0].body == {"list": [1]}
        assert journal.events()[0].data == {"list": [1]}
        assert put(journal, doc("z", 0, {}), once=Once(key="k", digest="d")).documents[0].body == {"list": [1]}

    # appends

    def test_appends_are_found_by_actor_kind_subject_and_time(self, journal: Journal, clock: SettableClock) -> None:
        journal.append([doc("a", 0, {})], [fact("m")], actor='an"né', reason="r")
        clock.advance(10)
        journal.append([doc("b", 0, {}, "other")], actor="bo", reason="r")
        clock.advance(10)
        journal.append([], [fact("b", "MLDL_KEY_CHANGED")], actor="ann", reason="r")

        def found(**wanted: object) -> list[int]:
            return [append.position for append in journal.appends(**wanted)]  # type: ignore[arg-type]  # a test's options

        assert found() == [1, 2, 3]
        assert found(actor='an"né') == [1]
        assert found(actor="an") == []
        assert [found(kind=kind) for kind in ("thing", "other", "MLDL_KEY_CHANGED", "none")] == [[1], [2], [3], []]
        assert [found(subject=subject) for subject in ("a", "b", "m")] == [[1], [2, 3], [1]]
        begin = 1_700_000_000.25
        assert found(since_s=begin + 10) == [2, 3]
        assert found(since_s=begin + 1, until_s=begin + 10) == [2]
        assert found(after=1, limit=1) == [2]
        assert found(actor="bo", kind="thing") == []
        assert (found(before=3), found(before=10**9, limit=2), found(before=1)) == ([2, 1], [3, 2], [])
        assert (found(before=3, subject="b"), found(before=3, after=1), found(before=3, since_s=begin + 1)) == (
            [2],
        ) * 3

    def test_appends_are_links_of_the_chain(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {"n": 1}), facts=(fact("a"),))
        put(journal, doc("a", 1, None))
        first, second = journal.appends()
        assert second.previous_hash == first.hash
        assert second.hash == journal.verify().head
        content = json.loads(first.content)
        assert (content["actor"], content["reason"], content["events"][0]["subject"]) == ("ann", "because", "a")
        assert [document[:3] for document in content["documents"]] == [["thing", "a", 1]]

    # the chain, and many writers

    def test_the_chain_says_how_long_it_is_and_where_it_ends(self, journal: Journal) -> None:
        put(journal, doc("a", 0, {}))
        first = journal.verify()
        put(journal, doc("a", 1, {}))
        second = journal.verify()
        assert (first.ok, first.positions, second.ok, second.positions) == (True, 1, True, 2)
        assert len(first.head) == len(second.head) == 64
        assert first.head != second.head

    def test_a_seal_is_the_chain_at_a_position_and_counts_what_is_not_withdrawn(self, journal: Journal) -> None:
        for key in ("a", "b"):
            put(journal, doc(key, 0, {"n": 1}))
        sealed = journal.seal(["thing", "none"])
        assert (sealed.position, sealed.head) == (journal.position(), journal.verify().head)
        assert sealed.counts == {"thing": 2, "none": 0}
        put(journal, doc("b", 1, None))
        assert journal.seal(["thing"]).counts == {"thing": 1}
        assert journal.seal(as_of=sealed.position).head == sealed.head != journal.seal().head

    def test_of_many_writers_on_one_version_exactly_one_wins(self, journal: Journal) -> None:
        writers, rounds = 8, 5
        start = threading.Barrier(writers)

        def race(writer: int) -> list[bool]:
            won = []
            for n in range(rounds):
                start.wait()
                try:
                    put(journal, doc("a", n, {"by": writer}), facts=(fact(by=writer),))
                    won.append(True)
                except Conflict:
                    won.append(False)
                start.wait()
            return won

        with ThreadPoolExecutor(writers) as pool:
            results = list(pool.map(race, range(writers)))
        assert [sum(column) for column in zip(*results, strict=True)] == [1] * rounds
        assert [e.data["by"] for e in journal.events()] == [(d.body or {})["by"] for d in journal.history("thing", "a")]
        assert journal.verify().ok

    def test_one_request_sent_by_many_threads_is_written_once(self, journal: Journal) -> None:
        once = Once(key="k", digest="d")
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda _: put(journal, doc("a", 0, {}), once=once), range(8)))
        assert sum(not receipt.repeated for receipt in receipts) == 1
        assert journal.position() == 1

    def test_verifying_while_others_append_finds_no_fault(self, journal: Journal) -> None:
        done = threading.Event()

        def write() -> None:
            for n in range(60):
                put(journal, doc("a", n, {"n": n}), doc(f"b{n}", 0, {}), facts=(fact(),))
            done.set()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not done.is_set() and not writing.done():
                found = journal.verify()
                assert found.ok, found.problem
            writing.result()
        assert journal.verify().positions == 60


class TestMemoryJournal(JournalConformance):
    @pytest.fixture
    def journal(self, clock: SettableClock) -> Journal:
        return MemoryJournal(clock)


class TestSqliteJournal(JournalConformance):
    @pytest.fixture
    def journal(self, sqlite_url: str, clock: SettableClock) -> Iterator[Journal]:
        store = SqlJournal(sqlite_url, clock)
        yield store
        store.close()


class TestPostgresJournal(JournalConformance):
    @pytest.fixture
    def journal(self, postgres_url: str, clock: SettableClock) -> Iterator[Journal]:
        store = SqlJournal(postgres_url, clock)
        yield store
        store.close()


def ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]
