"""What the monitor's actor does for SLOs and silences. What an SLO counts is in ``mldl_ray.monitoring.levels``.

What survives a restart: SLOs and silences, which the journal has; and the ledgers of the budgets, which are written to
a file every ten seconds, so that a killed process loses no more than those.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import Conflict, MldlError, NotFound, Unavailable
from contracts.events import Fact
from contracts.ports import Clock, Journal, Once
from contracts.records import Alert
from contracts.rollouts import Endpoint
from contracts.slos import AlertGroup, Silence, SilenceRequest, Slo, SloView
from contracts.specs import Json
from mldl_ray.deployment.evidence import rate_bounds
from mldl_ray.journal.documents import first_answer, load, scan_all, write
from mldl_ray.monitoring.alerts import ACTOR, Alerts
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.budget import Ledger
from mldl_ray.monitoring.levels import Levels, Windows, burning
from mldl_ray.monitoring.recovery import Recovery
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Profile
from mldl_ray.registry.catalog import Catalog

log = logging.getLogger(__name__)
KIND = "slo"
LOOK_S = 1.0
SAVE_S = 10.0
STABLE_S = 30.0
ALPHA = 1e-4
"""Of each bound of a group's selection rate: a difference counts when it is sure."""


class ServiceLevels:
    """Keep SLOs, follow their budgets, and say which alerts should be open and which are over.

    Args:
        file: Where the ledgers are kept.
        journal: Where SLOs live, and endpoints are read.
        alerts: The alerts.
        clock: Time.
        windows: Gives the counters; called under ``lock``.
        profile: Gives how a version's answers are to be read.
        lock: Held by whoever counts.
        cost_per_second: Price of a second of latency.
    """

    def __init__(
        self,
        file: Path,
        journal: Journal,
        alerts: Alerts,
        clock: Clock,
        *,
        windows: Callable[[], Windows],
        profile: Callable[[tuple[str, str]], Profile],
        lock: threading.Lock,
        cost_per_second: float,
    ) -> None:
        self._file, self._journal, self._alerts, self._clock = file, journal, alerts, clock
        self._windows, self._profile, self._lock = windows, profile, lock
        self._catalog = Catalog(journal)
        self._recovery, self._ages = Recovery(), dict[str, float | None]()
        self._levels = Levels(
            cost_per_second,
            self._ages.get,
            lambda part, whole: rate_bounds(part, whole, ALPHA),
        )
        self._made: dict[str, tuple[float, float | None]] = {}
        self._known, self._looking = False, threading.Lock()
        self._looked_s = self._saved_s = float("-inf")

    # SLOs

    def slos(self, model_key: str | None = None) -> list[SloView]:
        """List the objectives and how they stand."""
        self._know()
        open_alerts = {alert.cause: alert.alert_id for alert in self._alerts.unresolved()}
        with self._lock:
            views = self._levels.views(self._clock.now_s())
        return [
            view.model_copy(update={"alert_id": open_alerts.get(f"slo:{view.slo.name}")})
            for view in views
            if model_key in {None, view.slo.model_key}
        ]

    def set(self, slo: Slo, *, reason: str, by: str, once: Once | None = None) -> SloView:
        """Put an objective in force; the budget goes on where only the objective changed, else it begins anew.

        Raises:
            NotFound: No version of its model was ever registered.
        """
        self._know()
        if first_answer(self._journal, once) is None:
            if not self._catalog.versions(slo.model_key):
                raise NotFound(f"no version of {slo.model_key!r} is registered, so nothing can have an SLO")
            before, version = load(self._journal, KIND, slo.name, Slo)
            data = slo.model_dump(mode="json") | {"before": before and before.model_dump(mode="json")}
            fact = Fact(type="MLDL_SLO_CHANGED", subject=slo.model_key, data=data)
            self._journal.append([write(KIND, slo.name, version, slo)], [fact], actor=by, reason=reason, once=once)
            with self._lock:
                self._levels.watch(slo, self._windows())
        return self._view(slo.name)

    def remove(self, name: str, *, reason: str, by: str, once: Once | None = None) -> Slo:
        """Take an objective out of force; its alert is over then.

        Raises:
            NotFound: No such SLO.
        """
        if (known := first_answer(self._journal, once)) is not None:
            return Slo.model_validate(known.events[0].data["removed"])
        document = self._journal.read(KIND, name)
        if document is None:
            raise NotFound(f"there is no SLO {name!r}; list them with GET /slos", {"name": name})
        slo = Slo.model_validate(document.body)
        data: Json = {"name": name, "removed": slo.model_dump(mode="json")}
        gone = write(KIND, name, document.version, slo).model_copy(update={"body": None})
        fact = Fact(type="MLDL_SLO_CHANGED", subject=slo.model_key, data=data)
        self._journal.append([gone], [fact], actor=by, reason=reason, once=once)
        with self._lock:
            self._levels.forget(name)
        return slo

    # Silences and groups

    def silence(self, asked: SilenceRequest, *, by: str, once: Once | None = None) -> Silence:
        """Tell nobody of matching alerts for a while."""
        return self._alerts.silences.begin(asked, by=by, once=once)

    def end_silence(self, silence_id: str, *, reason: str, by: str, once: Once | None = None) -> Silence:
        """End a silence before its time.

        Raises:
            NotFound: No such silence.
            Conflict: It is over.
        """
        return self._alerts.silences.end(silence_id, reason=reason, by=by, once=once)

    def silences(self, *, active: bool | None = None) -> list[Silence]:
        """List silences."""
        return self._alerts.silences.listed(active=active)

    def groups(self) -> list[AlertGroup]:
        """Put unresolved alerts together by version."""
        return self._alerts.groups()

    # Following

    def saw(self, batch: Batch) -> None:
        """Show a batch to the fairness SLOs of its model; not under the lock."""
        with self._lock:
            wanted = self._levels.of_kind("fairness")
        if batch.facts.model_key in wanted:
            profile = self._profile((batch.facts.model_key, batch.facts.version))
            with self._lock:
                self._levels.saw(batch, profile)

    def look(self, now_s: float, calm: Callable[[Alert], bool]) -> list[Want]:
        """Follow the budgets, end alerts that are over, tell of those whose silence is; at most once a second.

        Args:
            now_s: Time.
            calm: Says of an alert of no SLO whether its cause is calm.

        Returns:
            Alerts that should be open.
        """
        if now_s - self._looked_s < LOOK_S or not self._looking.acquire(blocking=False):
            return []
        self._looked_s = now_s
        try:
            self._know()
            wanted = self._burning(now_s)
            self._end(now_s, calm)
            self._alerts.tell_of_silenced()
        except (Unavailable, Conflict) as error:
            log.warning("service levels wait: %s", error)
            return []
        finally:
            self._looking.release()
        if now_s - self._saved_s >= SAVE_S:
            self.save(now_s)
        return wanted

    def save(self, now_s: float) -> None:
        """Write the ledgers now."""
        with self._lock:
            state = self._levels.to_json() if self._known else {}
        self._saved_s = now_s
        if not state and not self._file.exists():
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_name(f".{self._file.name}.aside")
            aside.write_text(json.dumps(state), encoding="utf-8")
            aside.replace(self._file)
        except OSError as error:
            log.warning("the error budgets could not be written to %s: %s", self._file, error)

    def _burning(self, now_s: float) -> list[Want]:
        with self._lock:
            windows, fresh = dict(self._windows()), self._levels.of_kind("freshness")
        self._ages.update({key: self._age_s(key) for key in fresh})
        classes = {key: self._classes(key, windows) for key in {place.model_key for place in windows}}
        with self._lock:
            found = self._levels.look(self._windows(), classes.get, now_s)
        return [burning(slo, burn) for slo, burn in found if burn is not None]

    def _end(self, now_s: float, calm: Callable[[Alert], bool]) -> None:
        mine = [alert for alert in self._alerts.unresolved() if alert.kind == "slo"]
        for alert in self._recovery.over(mine, lambda alert: self._calm(alert, now_s, calm), now_s):
            self._alerts.resolve(alert.alert_id, reason=f"recovered: {_calm_words(alert)}", by=ACTOR)

    def _calm(self, alert: Alert, now_s: float, calm: Callable[[Alert], bool]) -> bool:
        name = alert.cause.removeprefix("slo:")
        if ":" in name:
            return calm(alert)
        with self._lock:
            return self._levels.calm(name, alert.severity, now_s)

    def _view(self, name: str) -> SloView:
        found = [view for view in self.slos() if view.slo.name == name]
        if not found:
            raise NotFound(f"there is no SLO {name!r} any more; it was removed since", {"name": name})
        return found[0]

    def _know(self) -> None:
        """Read the SLOs and their ledgers, once."""
        if self._known:
            return
        documents = list(scan_all(self._journal, KIND))
        ledgers = _ledgers(self._file) if documents else {}
        with self._lock:
            for document in documents:
                self._levels.watch(Slo.model_validate(document.body), None, ledgers.get(document.key))
            self._known = True

    def _classes(self, model_key: str, windows: Windows) -> int | None:
        served = [place for place in windows if place.model_key == model_key and place.role == "stable"]
        if not served:
            return None
        latest = max(served, key=lambda place: windows[place].last_s)
        return self._profile((latest.model_key, latest.version)).classes

    def _age_s(self, model_key: str) -> float | None:
        """Give how long ago the version that serves a model was made; looked up twice a minute."""
        now_s = self._clock.now_s()
        read_s, made_s = self._made.get(model_key, (float("-inf"), None))
        if now_s - read_s >= STABLE_S:
            made_s = self._made_s(model_key)
            self._made[model_key] = (now_s, made_s)
        return None if made_s is None else max(0.0, now_s - made_s)

    def _made_s(self, model_key: str) -> float | None:
        try:
            endpoint, _ = load(self._journal, "endpoint", model_key, Endpoint)
            if endpoint is None or endpoint.stable is None:
                return None
            made = datetime.fromisoformat(self._catalog.bundle(model_key, endpoint.stable).created_at)
        except (MldlError, ValueError) as error:
            log.info("how old the version that serves %s is, is not known: %s", model_key, error)
            return None
        return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def _calm_words(alert: Alert) -> str:
    if ":" in alert.cause.removeprefix("slo:"):
        return "its level is kept again"
    return "its error budget is spent no faster than it may, or the SLO was removed"


def _ledgers(file: Path) -> dict[str, Ledger]:
    """Read the ledgers; a file that is absent or damaged begins all budgets anew, and is said so."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        return {name: Ledger.of(one) for name, one in state.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("the error budgets in %s cannot be read and begin anew: %s", file, error)
        return {}
