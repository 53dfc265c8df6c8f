"""Alerts in the journal: raised once per cause, acknowledged, resolved. What deserves one is decided elsewhere.

An alert's id comes from its cause and how often that cause was raised before, so two writers who see the same cause
make one alert: the second one's append conflicts, and it finds the first one's. An alert that is not resolved is
``open`` (nobody has looked) or ``acknowledged`` (someone has, and it goes on); both keep its cause from a second alert.
It may get worse, never milder. Of an alert under a silence nobody is told until the silence ends.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Literal

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import EventType, Fact
from contracts.ports import Clock, Document, Journal, Once
from contracts.records import Alert
from contracts.slos import AlertGroup
from contracts.specs import Json
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, scan_all, write
from mldl_ray.monitoring.silences import Silences

KIND = "alert"
ACTOR = "monitor"
TRIES = 5
FRESH_S = 5.0
FLAP_S = 3600.0
"""A cause that comes back so soon after it was over flaps."""
GRAVITY = ("info", "warning", "critical")
Status = Literal["acknowledged", "resolved"]


class Alerts:
    """Keep alerts. Holds nothing that the journal lacks.

    Args:
        journal: Where they live.
        clock: Time.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self.silences = Silences(journal, clock)
        self._lock = threading.Lock()
        self._raised: dict[str, int] = {}  # cause → how many of its alerts are surely over
        self._known: tuple[Alert, ...] = ()
        self._known_until_s = float("-inf")

    def raise_alert(
        self,
        *,
        cause: str,
        kind: str,
        severity: str,
        model_key: str,
        version: str | None,
        message: str,
        evidence: Json,
    ) -> Alert:
        """Open an alert; where its cause has one that is not resolved, give that, worse now if this is worse.

        Raises:
            Incompatible: A field does not fit.
            Conflict: Others kept raising and resolving the same cause.
        """
        for _ in range(TRIES):
            number, last = self._last(cause)
            if last is not None and last.status != "resolved":
                return self._worse(last, severity, message, evidence)
            alert = Alert.model_validate(
                {
                    "alert_id": _id(cause, number),
                    "cause": cause,
                    "kind": kind,
                    "severity": severity,
                    "model_key": model_key,
                    "version": version,
                    "message": message,
                    "evidence": evidence,
                    "opened_at_s": self._clock.now_s(),
                    "flaps": self._flaps(cause, number),
                }
            )
            alert = self._silenced(alert)
            try:
                return self._append(alert, 0, by=ACTOR, reason=message)
            except Conflict:
                continue
        raise Conflict(f"the cause {cause!r} is being raised and resolved by others; try again", {"cause": cause})

    def resolve(self, alert_id: str, *, reason: str, by: str, once: Once | None = None) -> Alert:
        """Close an alert: its cause may be raised again from now on.

        Raises:
            NotFound: No such alert.
            Conflict: It is resolved already.
            Incompatible: No reason is given.
        """
        return self._change(alert_id, "resolved", reason, by, once)

    def acknowledge(self, alert_id: str, *, reason: str, by: str, once: Once | None = None) -> Alert:
        """Note that someone knows; the alert stays until it is resolved, and no rollout fails because of it any more.

        Raises:
            NotFound: No such alert.
            Conflict: It is acknowledged or resolved already.
            Incompatible: No reason is given.
        """
        return self._change(alert_id, "acknowledged", reason, by, once)

    def alert(self, alert_id: str) -> Alert:
        """Give an alert.

        Raises:
            NotFound: No such alert.
        """
        return _body(self._document(alert_id))

    def listed(self, *, status: str | None = None, model_key: str | None = None, limit: int = 100) -> list[Alert]:
        """List alerts, the newest first."""
        wanted = [
            alert for alert in self._all() if status in {None, alert.status} and model_key in {None, alert.model_key}
        ]
        return sorted(wanted, key=lambda alert: (-alert.opened_at_s, alert.alert_id))[: max(0, limit)]

    def unresolved(self) -> tuple[Alert, ...]:
        """Give the alerts that are not resolved; what other writers did is seen within ``FRESH_S``."""
        with self._lock:
            if self._clock.now_s() < self._known_until_s:
                return self._known
        found = tuple(alert for alert in self._all() if alert.status != "resolved")
        with self._lock:
            self._known, self._known_until_s = found, self._clock.now_s() + FRESH_S
        return found

    def tell_of_silenced(self) -> list[Alert]:
        """Send the events of alerts that are open still and whose silence is over; give those alerts."""
        told = []
        for alert in self.unresolved():
            if alert.silence_id is not None and self.silences.covering(alert) is None:
                document = self._document(alert.alert_id)
                if _body(document) == alert:
                    loud, reason = (
                        alert.model_copy(update={"silence_id": None}),
                        f"its silence is over: {alert.message}",
                    )
                    told.append(self._append(loud, document.version, by=ACTOR, reason=reason, tell=True))
        return told

    def groups(self) -> list[AlertGroup]:
        """Put the unresolved alerts of each version together: the worst group first, then the oldest."""
        by_version: dict[tuple[str, str], list[Alert]] = {}
        for alert in self.unresolved():
            by_version.setdefault((alert.model_key, alert.version or ""), []).append(alert)
        found = [_group(alerts) for alerts in by_version.values()]
        return sorted(found, key=lambda group: (-GRAVITY.index(group.severity), group.opened_at_s))

    def _silenced(self, alert: Alert) -> Alert:
        silence = self.silences.covering(alert)
        return alert if silence is None else alert.model_copy(update={"silence_id": silence.silence_id})

    def _worse(self, known: Alert, severity: str, message: str, evidence: Json) -> Alert:
        if severity not in GRAVITY or GRAVITY.index(severity) <= GRAVITY.index(known.severity):
            return known
        document = self._document(known.alert_id)
        update = {"severity": severity, "message": message, "evidence": evidence, "status": "open"}
        worse = self._silenced(_body(document).model_copy(update=update))
        return self._append(worse, document.version, by=ACTOR, reason=message)

    def _flaps(self, cause: str, number: int) -> int:
        before = self._journal.read(KIND, _id(cause, number - 1)) if number else None
        if before is None:
            return 0
        alert = _body(before)
        soon = self._clock.now_s() - (alert.resolved_at_s or 0.0) < FLAP_S
        return alert.flaps + 1 if soon and alert.resolved_by == ACTOR else 0

    def _change(self, alert_id: str, status: Status, reason: str, by: str, once: Once | None) -> Alert:
        if not reason.strip():
            raise Incompatible(f"say why alert {alert_id} is {status}: the reason is empty", {"field": "reason"})
        if (known := first_answer(self._journal, once)) is not None:
            return _body(known.documents[0])
        for _ in range(TRIES):
            document = self._document(alert_id)
            alert = _body(document)
            if alert.status in {"resolved", status}:
                raise Conflict(
                    f"alert {alert_id} is {alert.status} already, by {document.actor}: {document.reason}",
                    {"alert_id": alert_id, "status": alert.status},
                )
            changed = _changed(alert, status, reason, by, self._clock.now_s())
            try:
                return self._append(changed, document.version, by=by, reason=reason, once=once)
            except Conflict:
                continue
        raise Conflict(f"alert {alert_id} is being changed by others; read it and try again", {"alert_id": alert_id})

    def _append(
        self, alert: Alert, version: int, *, by: str, reason: str, once: Once | None = None, tell: bool = False
    ) -> Alert:
        quiet = alert.silence_id is not None or (alert.status == "acknowledged" and not tell)
        facts = [] if quiet else [_fact(alert)]
        receipt = self._journal.append(
            [write(KIND, alert.alert_id, version, alert)], facts, actor=by, reason=reason, once=once
        )
        with self._lock:
            self._known_until_s = float("-inf")
        return _body(receipt.documents[0])

    def _last(self, cause: str) -> tuple[int, Alert | None]:
        """Find how many alerts of a cause are over, and the one that is not."""
        number = self._raised.get(cause, 0)
        while (document := self._journal.read(KIND, _id(cause, number))) is not None:
            alert = _body(document)
            if alert.status != "resolved":
                return number, alert
            number += 1
            self._raised[cause] = number
        return number, None

    def _document(self, alert_id: str) -> Document:
        document = self._journal.read(KIND, alert_id)
        if document is None:
            raise NotFound(f"there is no alert {alert_id!r}; list them with GET /alerts", {"alert_id": alert_id})
        return document

    def _all(self) -> list[Alert]:
        return [_body(document) for document in scan_all(self._journal, KIND)]


def _id(cause: str, number: int) -> str:
    return new_id(KIND, Once(key=hashlib.sha256(f"{number}\0{cause}".encode()).hexdigest(), digest=""))


def _body(document: Document) -> Alert:
    return Alert.model_validate(document.body)


def _changed(alert: Alert, status: Status, reason: str, by: str, now_s: float) -> Alert:
    update: Json = {"status": status, "reason": reason}
    if status == "resolved":
        update |= {"resolved_at_s": now_s, "resolved_by": by}
    else:
        update |= {"acknowledged_at_s": now_s, "acknowledged_by": by}
    return alert.model_copy(update=update)


def _group(alerts: list[Alert]) -> AlertGroup:
    ordered = sorted(alerts, key=lambda alert: (-GRAVITY.index(alert.severity), alert.opened_at_s))
    worst = ordered[0]
    return AlertGroup(
        model_key=worst.model_key,
        version=worst.version,
        severity=worst.severity,
        opened_at_s=min(alert.opened_at_s for alert in alerts),
        kinds=tuple(sorted({alert.kind for alert in alerts})),
        alert_ids=tuple(alert.alert_id for alert in ordered),
        message=worst.message,
    )


def _fact(alert: Alert) -> Fact:
    """Say what happened; acknowledging is no event, the document's history has it."""
    kind: EventType = "MLDL_DRIFT_ALERT" if alert.kind == "drift" else "MLDL_VIOLATION"
    if alert.status == "resolved":
        kind = "MLDL_ALERT_RESOLVED"
    named = {"alert_id", "cause", "kind", "severity", "version", "message", "status", "reason"}
    return Fact(type=kind, subject=alert.model_key, data=alert.model_dump(mode="json", include=named))
