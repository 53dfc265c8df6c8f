"""Alerts: once per cause, whoever raises them, and a life that ends once."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.ports import Document, Once
from contracts.records import Alert
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.monitoring.alerts import FRESH_S, Alerts

MOVED: dict[str, Any] = {
    "cause": "drift:m:1.0.0",
    "kind": "drift",
    "severity": "warning",
    "model_key": "m",
    "version": "1.0.0",
    "message": "moved",
    "evidence": {"p": 1e-9},
}


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def journal(clock: SettableClock) -> MemoryJournal:
    return MemoryJournal(clock)


@pytest.fixture
def alerts(journal: MemoryJournal, clock: SettableClock) -> Alerts:
    return Alerts(journal, clock)


def test_the_same_cause_is_one_alert_while_it_is_not_resolved(alerts: Alerts, journal: MemoryJournal) -> None:
    first = alerts.raise_alert(**MOVED)
    assert alerts.raise_alert(**MOVED | {"message": "moved more"}) == first
    alerts.acknowledge(first.alert_id, reason="looking", by="bo")
    assert alerts.raise_alert(**MOVED).alert_id == first.alert_id
    assert len(journal.events(types=["MLDL_DRIFT_ALERT"])) == 1


def test_a_resolved_cause_may_come_again_as_a_new_alert(alerts: Alerts, clock: SettableClock) -> None:
    first = alerts.raise_alert(**MOVED)
    alerts.resolve(first.alert_id, reason="retrained", by="bo")
    clock.advance(1)
    second = alerts.raise_alert(**MOVED)
    assert second.alert_id != first.alert_id
    assert [alert.alert_id for alert in alerts.listed()] == [second.alert_id, first.alert_id]


def test_drift_and_other_alerts_say_so_in_their_events(alerts: Alerts, journal: MemoryJournal) -> None:
    alerts.raise_alert(**MOVED)
    other = alerts.raise_alert(**MOVED | {"cause": "slo:errors:m:1.0.0", "kind": "slo"})
    alerts.resolve(other.alert_id, reason="fixed", by="bo")
    events = journal.events()
    assert [event.type for event in events] == ["MLDL_DRIFT_ALERT", "MLDL_VIOLATION", "MLDL_ALERT_RESOLVED"]
    assert {event.subject for event in events} == {"m"}
    assert events[-1].data["alert_id"] == other.alert_id
    assert (events[-1].actor, events[-1].reason) == ("bo", "fixed")


class Overtaken(MemoryJournal):
    """A journal in which another monitor raises the same alert just before the first append."""

    other: Alerts | None = None

    def append(self, *args: Any, **kwargs: Any) -> Any:
        if self.other is not None:
            other, self.other = self.other, None
            other.raise_alert(**MOVED)
        return super().append(*args, **kwargs)


def test_two_monitors_that_see_the_same_cause_make_one_alert(clock: SettableClock) -> None:
    journal = Overtaken(clock)
    mine = Alerts(journal, clock)
    journal.other = Alerts(journal, clock)
    alert = mine.raise_alert(**MOVED)
    assert [found.alert_id for found in mine.listed()] == [alert.alert_id]
    assert len(journal.events()) == 1


def test_a_new_monitor_finds_the_alerts_of_the_one_before(alerts: Alerts, journal: MemoryJournal) -> None:
    first = alerts.raise_alert(**MOVED)
    alerts.resolve(first.alert_id, reason="retrained", by="bo")
    second = alerts.raise_alert(**MOVED)
    assert Alerts(journal, SettableClock()).raise_alert(**MOVED) == second


def test_resolving_twice_conflicts_and_says_who_did_it_first(alerts: Alerts) -> None:
    alert = alerts.raise_alert(**MOVED)
    resolved = alerts.resolve(alert.alert_id, reason="retrained", by="bo")
    assert (resolved.status, resolved.resolved_by, resolved.reason) == ("resolved", "bo", "retrained")
    for change in (alerts.resolve, alerts.acknowledge):
        with pytest.raises(Conflict, match="by bo: retrained"):
            change(alert.alert_id, reason="again", by="ann")


def test_a_repeated_request_gets_the_first_answer(alerts: Alerts, journal: MemoryJournal) -> None:
    alert = alerts.raise_alert(**MOVED)
    once = Once(key="k1", digest="d")
    first = alerts.resolve(alert.alert_id, reason="retrained", by="bo", once=once)
    assert alerts.resolve(alert.alert_id, reason="retrained", by="bo", once=once) == first
    assert journal.position() == 2


def test_an_idempotency_key_of_another_request_conflicts(alerts: Alerts) -> None:
    alert = alerts.raise_alert(**MOVED)
    alerts.acknowledge(alert.alert_id, reason="looking", by="bo", once=Once(key="k1", digest="d"))
    with pytest.raises(Conflict, match="k1"):
        alerts.resolve(alert.alert_id, reason="done", by="bo", once=Once(key="k1", digest="e"))


class Racing(MemoryJournal):
    """A journal in which someone acknowledges between a reader's read and its append."""

    armed = False

    def read(self, kind: str, key: str, *, as_of: int | None = None) -> Document | None:
        found = super().read(kind, key, as_of=as_of)
        if self.armed and kind == "alert":
            self.armed = False
            Alerts(self, SettableClock()).acknowledge(key, reason="looking", by="ann")
        return found


def test_a_change_that_was_overtaken_is_made_on_what_is_there_now(clock: SettableClock) -> None:
    journal = Racing(clock)
    alerts = Alerts(journal, clock)
    alert = alerts.raise_alert(**MOVED)
    journal.armed = True
    assert alerts.resolve(alert.alert_id, reason="done", by="bo").status == "resolved"
    assert [Alert.model_validate(d.body).status for d in journal.history("alert", alert.alert_id)] == [
        "open",
        "acknowledged",
        "resolved",
    ]


def test_an_unknown_alert_is_not_found(alerts: Alerts) -> None:
    for ask in (alerts.alert, lambda name: alerts.resolve(name, reason="r", by="bo")):
        with pytest.raises(NotFound, match="alert-0"):
            ask("alert-0")


def test_a_change_without_a_reason_is_refused(alerts: Alerts) -> None:
    alert = alerts.raise_alert(**MOVED)
    with pytest.raises(Incompatible, match="reason"):
        alerts.resolve(alert.alert_id, reason=" ", by="bo")


def test_a_list_is_filtered_and_cut(alerts: Alerts, clock: SettableClock) -> None:
    for number in range(4):
        clock.advance(1)
        alerts.raise_alert(**MOVED | {"cause": f"c{number}", "model_key": "ab"[number % 2], "message": str(number)})
    last = alerts.listed(model_key="a", limit=1)[0]
    assert last.message == "2"
    alerts.resolve(last.alert_id, reason="done", by="bo")
    assert [alert.message for alert in alerts.listed(status="open")] == ["3", "1", "0"]
    assert alerts.listed(status="resolved", model_key="b") == []


def test_what_others_raised_is_seen_within_seconds(
    alerts: Alerts, journal: MemoryJournal, clock: SettableClock
) -> None:
    assert alerts.unresolved() == ()
    Alerts(journal, clock).raise_alert(**MOVED)
    clock.advance(FRESH_S)
    assert len(alerts.unresolved()) == 1
