"""The promises of ``contracts.ports.EventSink``, kept by every sink: a webhook, a real NATS JetStream, memory.

A sink of another package runs them too: subclass ``SinkConformance`` and give it a ``far`` fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from contracts.events import Event, Fact
from contracts.ports import EventSink
from mldl_ray.bridges._memory_sink import MemorySink
from mldl_ray.bridges._nats import NatsSink
from mldl_ray.bridges._webhooks import WebhookSink
from mldl_ray.bridges.courier import PAGE
from mldl_ray.bridges.dead_letters import dead_letters, redeliver
from mldl_ray.bridges.mesh import Mesh
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from tests.brokers import NatsServer
from tests.receivers import Receiver

SECRET = "a shared secret"


class Far(Protocol):
    """The sink and what arrived at its other end."""

    sink: EventSink

    def got(self) -> list[tuple[str, str]]:
        """Id and subject of what is there, in order."""

    def away(self) -> None: ...

    def back(self) -> None: ...

    def refuses(self, event: Event) -> Event:
        """Make an event one that is refused; give it."""

    def close(self) -> None: ...


def event(number: int, subject: str = "churn", **data: object) -> Event:
    return Event(
        type="MLDL_EVALUATED",
        subject=subject,
        data=data,
        id=f"{number}.0",
        position=number,
        at_s=1.5,
        actor="ann",
        reason="é – ✓",
    )


def ids(far: Far) -> list[str]:
    return [found for found, _ in far.got()]


class SinkConformance:
    @pytest.fixture
    def far(self) -> Iterator[Far]:
        raise NotImplementedError("a subclass gives a sink with its other end")

    def test_events_arrive_in_order_with_id_and_subject(self, far: Far) -> None:
        outcome = far.sink.publish([event(n, subject) for n, subject in enumerate(["a.b *", "b", "a.b *", ""], 1)])
        assert (outcome.accepted, outcome.trouble) == (4, None)
        assert far.got() == [("1.0", "a.b *"), ("2.0", "b"), ("3.0", "a.b *"), ("4.0", "")]

    def test_a_receiver_that_is_away_is_said_and_gets_everything_when_it_is_back(self, far: Far) -> None:
        assert far.sink.publish([event(1)]).accepted == 1
        far.away()
        outcome = far.sink.publish([event(2), event(3)])
        assert (outcome.accepted, outcome.refused) == (0, False)
        assert outcome.trouble
        far.back()
        assert far.sink.publish([event(2), event(3)]).accepted == 2
        assert ids(far) == ["1.0", "2.0", "3.0"]

    def test_what_was_sent_twice_has_the_same_id(self, far: Far) -> None:
        far.sink.publish([event(1), event(2)])
        assert far.sink.publish([event(1), event(2), event(3)]).accepted == 3
        assert list(dict.fromkeys(ids(far))) == ["1.0", "2.0", "3.0"]

    def test_an_event_that_is_refused_is_named_and_those_before_it_are_safe(self, far: Far) -> None:
        bad = far.refuses(event(2))
        outcome = far.sink.publish([event(1), bad, event(3)])
        if outcome.accepted == 1 and not outcome.refused:  # what came before was handed over first
            outcome = far.sink.publish([bad, event(3)])
            assert outcome.accepted == 0
        else:
            assert outcome.accepted == 1
        assert outcome.refused
        assert ids(far)[:1] == ["1.0"]
        assert "3.0" not in ids(far)
        assert far.sink.publish([event(3)]).accepted == 1

    def test_sent_anew_by_a_person_everything_arrives_again(self, far: Far) -> None:
        far.sink.publish([event(1), event(2)])
        assert far.sink.publish([event(1), event(2)], again=1).accepted == 2
        assert ids(far) == ["1.0", "2.0", "1.0", "2.0"]

    def test_nothing_to_send_is_no_trouble(self, far: Far) -> None:
        assert far.sink.publish([]).accepted == 0
        assert far.got() == []

    # behind the mesh

    @pytest.fixture
    def house(self, far: Far) -> Iterator[House]:
        made = House(far)
        yield made
        made.mesh.close()

    def test_a_mesh_delivers_all_through_an_absence_in_order(self, house: House, far: Far) -> None:
        house.happen(PAGE + 50)
        house.pump()
        far.away()
        house.happen(30)
        house.pump()
        [shown] = house.mesh.consumers()
        assert shown["error"]
        assert shown["waiting"] == 30
        far.back()
        house.clock.advance(61)
        house.pump()
        assert [subject for _, subject in far.got()] == [f"m{n % 3}" for n in range(PAGE + 80)]
        assert len(set(ids(far))) == PAGE + 80
        assert house.mesh.consumers()[0]["error"] is None

    def test_a_mesh_goes_on_where_the_last_one_stopped(self, house: House, far: Far) -> None:
        house.happen(5)
        house.pump()
        house.begin_again()
        house.happen(5)
        house.pump()
        assert len(far.got()) == 10
        assert len(set(ids(far))) == 10

    def test_a_mesh_replays_from_an_offset(self, house: House, far: Far) -> None:
        house.happen(6)
        house.pump()
        house.mesh.replay("far", 4, by="ann", reason="it lost some")
        house.pump()
        assert ids(far)[6:] == ["5.0", "6.0"]

    def test_what_is_refused_becomes_a_dead_letter_until_it_is_taken(self, house: House, far: Far) -> None:
        fact = far.refuses(event(1))
        house.journal.append(
            [], [Fact(**fact.model_dump(include={"type", "subject", "data"}))], actor="ann", reason="r"
        )
        house.happen(2)
        for _ in range(4):
            house.pump()
            house.clock.advance(61)
        assert [letter["event"]["id"] for letter in dead_letters(house.journal)] == ["1.0"]
        assert len(set(ids(far)) - {"1.0"}) == 2
        again = redeliver(house.journal, house.mesh, "far", by="ann", reason="try")
        assert (again["delivered"], again["left"]) == ([], 1)
        assert again["error"]


class House:
    """A mesh whose only broker is the sink."""

    def __init__(self, far: Far) -> None:
        self.clock, self.far, self.number = SettableClock(), far, 0
        self.journal = MemoryJournal(self.clock)
        self.begin_again()

    def begin_again(self) -> None:
        self.mesh = Mesh(self.journal, self.clock, brokers={"far": self.far.sink})

    def happen(self, times: int) -> None:
        for _ in range(times):
            fact = Fact(type="MLDL_EVALUATED", subject=f"m{self.number % 3}")
            self.journal.append([], [fact], actor="ann", reason="it happened")
            self.number += 1

    def pump(self) -> None:
        for errand in self.mesh.pump():
            errand.result(60)


class _Memory:
    def __init__(self) -> None:
        self.trouble: str | None = None
        self.bad: set[str] = set()
        self.sink = MemorySink(lambda: self.trouble, lambda event: event.id in self.bad)

    def got(self) -> list[tuple[str, str]]:
        return [(event.id, event.subject) for event in self.sink.events]

    def away(self) -> None:
        self.trouble = "away"

    def back(self) -> None:
        self.trouble = None

    def refuses(self, event: Event) -> Event:
        self.bad.add(event.id)
        return event

    def close(self) -> None: ...


class TestMemorySink(SinkConformance):
    @pytest.fixture
    def far(self) -> Iterator[Far]:
        yield _Memory()


class _Webhook:
    def __init__(self) -> None:
        self.receiver = Receiver()
        self.client = httpx.Client(trust_env=False)
        self.sink = WebhookSink(self.client, self.receiver.url, SECRET, SettableClock())

    def got(self) -> list[tuple[str, str]]:
        return [(body["id"], body["subject"]) for body in self.receiver.taken]

    def away(self) -> None:
        self.receiver.always = 503

    def back(self) -> None:
        self.receiver.always = 204

    def refuses(self, event: Event) -> Event:
        self.receiver.refused.add(event.id)
        return event

    def close(self) -> None:
        self.client.close()
        self.receiver.close()


class TestWebhookSink(SinkConformance):
    @pytest.fixture
    def far(self) -> Iterator[Far]:
        made = _Webhook()
        yield made
        made.close()


class _Nats:
    def __init__(self, folder: Path) -> None:
        self.server = NatsServer(folder)
        self.server.start()
        self.sink = NatsSink(self.server.url, stream="mldl", prefix="mldl.events")

    def got(self) -> list[tuple[str, str]]:
        return [(message["id"], message["subject"]) for _, message in self.server.messages("mldl")]

    def away(self) -> None:
        self.server.kill()

    def back(self) -> None:
        self.server.start()

    def refuses(self, event: Event) -> Event:
        return event.model_copy(update={"data": {"long": "x" * 2**20}})

    def close(self) -> None:
        self.sink.close()
        self.server.kill()


class TestNatsSink(SinkConformance):
    @pytest.fixture
    def far(self, tmp_path: Path) -> Iterator[Far]:
        made = _Nats(tmp_path)
        yield made
        made.close()

    def test_subject_of_a_message_names_type_and_key(self, far: _Nats) -> None:
        far.sink.publish([event(1, "a.b *")])
        [(subject, message)] = far.server.messages("mldl")
        assert subject == "mldl.events.MLDL_EVALUATED.a%2Eb%20%2A"
        assert (message["specversion"], message["reason"]) == ("1.0", "é – ✓")

    def test_what_was_sent_twice_is_kept_once(self, far: _Nats) -> None:
        far.sink.publish([event(1), event(2)])
        far.server.kill()
        far.server.start()
        again = [event(1), event(2), event(3)]
        outcomes = [far.sink.publish(again).accepted for _ in range(2)]  # the first finds the connection gone
        assert outcomes[-1] == 3
        assert ids(far) == ["1.0", "2.0", "3.0"]

    def test_a_stream_of_another_journal_is_not_written_to(self, far: _Nats) -> None:
        one = NatsSink(far.server.url, stream="mldl", prefix="mldl.events", journal=lambda: "a" * 64)
        other = NatsSink(far.server.url, stream="mldl", prefix="mldl.events", journal=lambda: "b" * 64)
        assert one.publish([event(1)]).accepted == 1
        refused = other.publish([event(1)])
        assert refused.accepted == 0
        assert "another journal" in str(refused.trouble)
        for sink in (one, other):
            sink.close()

    def test_trouble_does_not_tell_the_password(self) -> None:
        sink = NatsSink("nats://ann:word@127.0.0.1:1", stream="mldl", prefix="mldl")
        trouble = sink.publish([event(1)]).trouble
        sink.close()
        assert trouble
        assert "word" not in trouble
