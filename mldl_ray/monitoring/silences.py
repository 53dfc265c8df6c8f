"""Silences in the journal: alerts that nobody is told of until a given time. Rollouts are guarded all the same."""

from __future__ import annotations

import threading

from contracts.errors import Conflict, NotFound
from contracts.events import Fact
from contracts.ports import Clock, Journal, Once
from contracts.records import Alert
from contracts.slos import Silence, SilenceRequest
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, scan_all, write

KIND = "silence"
FRESH_S = 5.0


class Silences:
    """Keep silences. Holds nothing that the journal lacks.

    Args:
        journal: Where they live.
        clock: Time.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._lock = threading.Lock()
        self._known: tuple[Silence, ...] = ()
        self._known_until_s = float("-inf")

    def begin(self, asked: SilenceRequest, *, by: str, once: Once | None = None) -> Silence:
        """Tell nobody of matching alerts from now on, for as long as was asked."""
        now_s = self._clock.now_s()
        facts = asked.model_dump(exclude={"lasts_s"})
        silence = Silence(
            silence_id=new_id(KIND, once), starts_at_s=now_s, ends_at_s=now_s + asked.lasts_s, by=by, **facts
        )
        return self._append(silence, 0, by, asked.reason, once)

    def end(self, silence_id: str, *, reason: str, by: str, once: Once | None = None) -> Silence:
        """End a silence now.

        Raises:
            NotFound: No such silence.
            Conflict: It is over already.
        """
        if (known := first_answer(self._journal, once)) is not None:
            return Silence.model_validate(known.documents[0].body)
        silence, version = load(self._journal, KIND, silence_id, Silence)
        if silence is None:
            raise NotFound(f"there is no silence {silence_id!r}; list them with GET /alerts/silences")
        now_s = self._clock.now_s()
        if silence.ends_at_s <= now_s:
            raise Conflict(f"silence {silence_id} is over already", {"ends_at_s": silence.ends_at_s})
        return self._append(silence.model_copy(update={"ends_at_s": now_s}), version, by, reason, once)

    def listed(self, *, active: bool | None = None) -> list[Silence]:
        """List silences, those that end last first: all, those that last still, or those that are over."""
        now_s = self._clock.now_s()
        found = [one for one in self._all() if active in {None, one.ends_at_s > now_s}]
        return sorted(found, key=lambda one: (-one.ends_at_s, one.silence_id))

    def covering(self, alert: Alert) -> Silence | None:
        """Give a silence that an alert falls under now; what other writers did is seen within ``FRESH_S``."""
        now_s = self._clock.now_s()
        return next((one for one in self._fresh(now_s) if one.ends_at_s > now_s and _matches(one, alert)), None)

    def _fresh(self, now_s: float) -> tuple[Silence, ...]:
        with self._lock:
            if now_s < self._known_until_s:
                return self._known
        found = tuple(one for one in self._all() if one.ends_at_s > now_s)
        with self._lock:
            self._known, self._known_until_s = found, now_s + FRESH_S
        return found

    def _append(self, silence: Silence, version: int, by: str, reason: str, once: Once | None) -> Silence:
        fact = Fact(type="MLDL_SILENCE_CHANGED", subject=silence.silence_id, data=silence.model_dump(mode="json"))
        receipt = self._journal.append(
            [write(KIND, silence.silence_id, version, silence)], [fact], actor=by, reason=reason, once=once
        )
        with self._lock:
            self._known_until_s = float("-inf")
        return Silence.model_validate(receipt.documents[0].body)

    def _all(self) -> list[Silence]:
        return [Silence.model_validate(document.body) for document in scan_all(self._journal, KIND)]


def _matches(silence: Silence, alert: Alert) -> bool:
    asked = (silence.model_key, silence.version, silence.kind)
    return all(
        want in {None, has} for want, has in zip(asked, (alert.model_key, alert.version, alert.kind), strict=True)
    )
