"""Events to webhooks: signed, in order, at least once, and nobody waits for anybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import EventType, Fact
from contracts.ports import Once
from mldl_ray.bridges._webhooks import SIGNATURE, TIMESTAMP, genuine
from mldl_ray.bridges.dead_letters import dead_letters, redeliver
from mldl_ray.bridges.mesh import GIVE_UP_S, Mesh
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from tests.receivers import Receiver

SECRET = "a shared secret"


class House:
    """A mesh over a journal of its own."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.journal = MemoryJournal(self.clock)
        self.mesh = self.begin()

    def begin(self) -> Mesh:
        return Mesh(self.journal, self.clock, httpx.Client(trust_env=False))

    def happen(self, subject: str = "churn", kind: EventType = "MLDL_DRIFT_ALERT", times: int = 1) -> None:
        for number in range(times):
            fact = Fact(type=kind, subject=subject, data={"number": number})
            self.journal.append([], [fact], actor="monitor", reason="it happened")

    def pump(self) -> None:
        for errand in self.mesh.pump():
            errand.result(20)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.mesh.close()


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    made = [Receiver(), Receiver()]
    yield made
    for receiver in made:
        receiver.close()


@pytest.fixture
def receiver(receivers: list[Receiver]) -> Receiver:
    return receivers[0]


def test_an_event_arrives_as_a_signed_cloud_event(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    house.happen()
    house.pump()
    [(headers, body)] = receiver.got
    event = json.loads(body)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "MLDL_DRIFT_ALERT", "churn")
    assert (event["id"], event["data"], event["actor"]) == ("2.0", {"number": 0}, "monitor")
    assert headers["content-type"].startswith("application/cloudevents+json")
    now_s = house.clock.now_s()
    assert genuine(SECRET, headers[TIMESTAMP], body, headers[SIGNATURE], now_s=now_s)
    assert not genuine(SECRET, headers[TIMESTAMP], body + b" ", headers[SIGNATURE], now_s=now_s)
    assert not genuine("another secret", headers[TIMESTAMP], body, headers[SIGNATURE], now_s=now_s)
    assert not genuine(SECRET, headers[TIMESTAMP], body, headers[SIGNATURE], now_s=now_s + 3600)


def test_events_arrive_in_order_once_and_leave_the_outbox(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    house.happen(times=250)
    house.pump()
    house.pump()
    assert receiver.ids == [f"{position}.0" for position in range(2, 252)]
    while house.journal.events(pending=True):
        house.pump()
    assert len(receiver.got) == 250


def test_only_what_was_asked_for_and_only_from_the_subscription_on(house: House, receiver: Receiver) -> None:
    house.happen()
    house.mesh.subscribe(receiver.url, types=["MLDL_MODEL_REGISTERED"], secret=SECRET, by="ann")
    house.happen()
    house.happen(kind="MLDL_MODEL_REGISTERED")
    house.pump()
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["MLDL_MODEL_REGISTERED"]


def test_a_receiver_that_is_down_gets_everything_in_order_when_it_is_back(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    receiver.answers = [204, 503, 503]
    house.happen(times=3)
    house.pump()
    assert receiver.ids == ["2.0", "3.0"]
    house.pump()  # pausing: no attempt
    assert receiver.ids == ["2.0", "3.0"]
    [shown] = house.mesh.subscriptions()
    assert (shown["error"], shown["position"]) == ("answered 503", 2)
    house.clock.advance(1)
    house.pump()
    house.clock.advance(2)
    house.pump()
    assert receiver.ids == ["2.0", "3.0", "3.0", "3.0", "4.0"]
    assert house.mesh.subscriptions()[0]["error"] is None


def test_an_address_where_nobody_listens_holds_up_nobody_else(house: House, receivers: list[Receiver]) -> None:
    gone, there = receivers
    house.mesh.subscribe(gone.url, secret=SECRET, by="ann")
    house.mesh.subscribe(there.url, secret=SECRET, by="ann")
    gone.close()
    house.happen(times=3)
    house.pump()
    assert there.ids == ["3.0", "4.0", "5.0"]
    assert house.journal.events(pending=True) == []
    [failing] = [s for s in house.mesh.subscriptions() if s["url"] == gone.url]
    assert "ConnectError" in failing["error"]


def test_a_receiver_that_hangs_holds_up_nobody_else(house: House, receivers: list[Receiver]) -> None:
    hanging, there = receivers
    hanging.gate.clear()
    house.mesh.subscribe(hanging.url, secret=SECRET, by="ann")
    name = house.mesh.subscribe(there.url, secret=SECRET, by="ann")["subscription_id"]
    house.happen()
    first = house.mesh.pump()
    next(
        errand for errand, s in zip(first, house.mesh.subscriptions(), strict=True) if s["subscription_id"] == name
    ).result(20)
    house.happen()
    for errand in house.mesh.pump():  # the hanging one is still under way and is not sent out twice
        errand.result(20)
    assert there.ids == ["3.0", "5.0"]  # 4 is how far this subscription is
    hanging.gate.set()
    for errand in first:
        errand.result(20)
    assert hanging.ids[0] == "3.0"


def test_what_a_receiver_refuses_becomes_a_dead_letter_and_the_rest_goes_on(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    receiver.answers = [400, 400, 400]
    house.happen(times=2)
    for _ in range(3):
        house.pump()
        house.clock.advance(60)
    assert receiver.ids == ["2.0", "2.0", "2.0", "3.0"]
    [letter] = dead_letters(house.journal)
    assert (letter["event"]["id"], letter["tries"], letter["error"]) == ("2.0", 3, "answered 400")


def test_after_a_day_without_an_answer_events_are_kept_as_dead_letters(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    receiver.always = 503
    house.happen(times=2)
    house.pump()
    house.clock.advance(GIVE_UP_S)
    house.pump()
    assert [letter["event"]["id"] for letter in dead_letters(house.journal)] == ["3.0", "2.0"]


def test_another_process_goes_on_where_the_last_one_stopped(house: House, receiver: Receiver) -> None:
    house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    house.happen(times=2)
    house.pump()
    house.mesh.close()
    house.mesh = house.begin()
    house.happen()
    house.pump()
    assert receiver.ids == ["2.0", "3.0", "5.0"]


def test_events_are_posted_again_from_any_position(house: House, receiver: Receiver) -> None:
    house.happen(times=2)
    name = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")["subscription_id"]
    house.pump()
    assert receiver.ids == []
    house.mesh.replay(name, 0, by="ann", reason="a new receiver")
    house.pump()
    assert receiver.ids == ["1.0", "2.0"]


def test_a_removed_subscription_gets_nothing_more(house: House, receiver: Receiver) -> None:
    name = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")["subscription_id"]
    house.mesh.unsubscribe(name, by="ann", reason="moved")
    house.happen()
    house.pump()
    assert (receiver.got, house.mesh.subscriptions()) == ([], [])
    with pytest.raises(NotFound, match="there is none"):
        house.mesh.unsubscribe(name, by="ann", reason="again")


def test_the_secret_is_never_shown_and_a_repeated_request_is_one_subscription(house: House, receiver: Receiver) -> None:
    once = Once(key="k", digest="d")
    first = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann", once=once)
    again = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann", once=once)
    assert first == again
    assert SECRET not in json.dumps([first, *house.mesh.subscriptions()])
    assert len(house.mesh.subscriptions()) == 1


@pytest.mark.parametrize(
    ("url", "types", "secret", "said"),
    [
        ("ftp://x/y", (), SECRET, "cannot receive events"),
        ("http://", (), SECRET, "cannot receive events"),
        ("http://user:word@x/", (), SECRET, "a user or a password"),
        ("http://[x", (), SECRET, "is no URL"),
        ("http://x/", ("MLDL_NOPE",), SECRET, "there is no event 'MLDL_NOPE'"),
        ("http://x/", (), "short", "at least 8"),
    ],
)
def test_a_subscription_that_cannot_work_is_refused(
    house: House, url: str, types: tuple[str, ...], secret: str, said: str
) -> None:
    with pytest.raises(Incompatible, match=said):
        house.mesh.subscribe(url, types=types, secret=secret, by="ann")
    assert house.journal.position() == 0


def test_there_is_a_limit_to_subscriptions(house: House, receiver: Receiver) -> None:
    for _ in range(32):
        house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")
    with pytest.raises(Conflict, match="32 subscriptions already"):
        house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")


def test_dead_letters_are_delivered_again_in_order_and_are_dead_no_more(house: House, receiver: Receiver) -> None:
    name = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")["subscription_id"]
    receiver.refused = {"2.0", "3.0"}
    house.happen(times=3)
    for _ in range(6):
        house.pump()
        house.clock.advance(60)
    assert [letter["event"]["id"] for letter in dead_letters(house.journal, name)] == ["3.0", "2.0"]
    receiver.refused = {"3.0"}
    found = redeliver(house.journal, house.mesh, name, by="ann", reason="it was mended")
    assert (found["delivered"], found["left"], found["error"]) == (["2.0"], 1, "answered 400")
    receiver.refused = set()
    assert redeliver(house.journal, house.mesh, name, "3.0", by="ann", reason="again")["delivered"] == ["3.0"]
    assert dead_letters(house.journal) == []
    assert [event["id"] for event in receiver.taken] == ["4.0", "2.0", "3.0"]
    assert receiver.taken[1]["data"] == {"number": 0}


def test_redelivering_what_is_not_there_is_refused(house: House, receiver: Receiver) -> None:
    with pytest.raises(NotFound, match="there is none"):
        redeliver(house.journal, house.mesh, "sub-nobody", by="ann", reason="why not")
    name = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")["subscription_id"]
    with pytest.raises(NotFound, match="no dead letter of event"):
        redeliver(house.journal, house.mesh, name, "9.0", by="ann", reason="why not")


def test_a_replay_from_a_position_that_is_not_there_is_refused(house: House, receiver: Receiver) -> None:
    name = house.mesh.subscribe(receiver.url, secret=SECRET, by="ann")["subscription_id"]
    for after in (-1, 2):
        with pytest.raises(Incompatible, match="give 0 to 1"):
            house.mesh.replay(name, after, by="ann", reason="why not")
