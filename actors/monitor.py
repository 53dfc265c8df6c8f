"""The monitor: live figures, drift, service levels, alerts. What is counted and judged is in ``mldl_ray.monitoring``.

What survives a restart: the alerts and everything else in the journal, and the history written so far. The counts do
not: they begin again at zero, and so does a drift window; labels of answers from before are unknown. A rollout is only
delayed by that, because its judge never promotes on too little evidence.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict

from actors.alerting import Alerting
from actors.levels import ServiceLevels
from contracts.drift import DriftView
from contracts.errors import Broken, NotFound, Unavailable
from contracts.ports import Blobs, Clock, Journal
from contracts.records import Alert
from contracts.replays import RecentRows
from contracts.rollouts import Deployment, RolloutTelemetry
from contracts.slos import SloView
from contracts.specs import Json
from mldl_ray.blobs.tables import read_table
from mldl_ray.bridges.quality_live import LiveQuality
from mldl_ray.deployment.evidence import rate_bounds
from mldl_ray.monitoring import exposition, live, pictures, slo
from mldl_ray.monitoring.alerts import Alerts
from mldl_ray.monitoring.answers import checked_labels
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.concept import ConceptWatch, labels_seen
from mldl_ray.monitoring.counts import Counts, Place
from mldl_ray.monitoring.history import History
from mldl_ray.monitoring.kpis import Kpis
from mldl_ray.monitoring.labels import label_items
from mldl_ray.monitoring.recent import Recents, recent_rows
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.representation import Representations
from mldl_ray.monitoring.selections import MOST_GROUPS
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Profile, Stream, Versions
from mldl_ray.monitoring.watch import DriftWatch, Due
from mldl_ray.registry.catalog import Catalog
from mldl_ray.settings import Settings

log = logging.getLogger(__name__)
QUIET_S = 30.0
"""After a cause was raised it is left alone for so long: while its alert is open, more would only ask the journal."""
MOST_DIGESTS = 4096


class Monitor(Alerting):
    """Take telemetry and labels, keep figures of the traffic, and alert. Safe to call from several threads.

    A plain class: tests build it directly, the roof wraps it as a detached actor.

    Args:
        settings: Where the history lives; window and budget of the drift test; prices.
        journal: Where alerts live, and versions and deployments are read.
        blobs: Where versions' reference rows lie.
        clock: Time.
    """

    def __init__(self, settings: Settings, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        defaults = self._defaults = settings.mldl.monitoring
        self._clock, self._price = clock, settings.mldl.training.cost_per_cpu_second
        self._lock = threading.Lock()
        self._began_s = clock.now_s()
        self._counts = Counts()
        self._blobs, self._bundle, self._recents = blobs, Catalog(journal).bundle, Recents()
        private = (*defaults.masked, *defaults.dropped)
        self._versions = Versions(self._bundle, blobs, private=private)
        self._quality = LiveQuality(journal, self._bundle, clock, private=private)
        self._watch = DriftWatch(
            self._versions.reference,
            window_rows=defaults.window_rows,
            false_alarms_per_month=defaults.false_alarms_per_month,
            represent=Representations(self._bundle, blobs).of,
        )
        self._concept = ConceptWatch(
            self._versions.reference,
            versions=self._watch.versions,
            false_alarms_per_month=defaults.false_alarms_per_month,
        )
        self._alerts, self._kpis = Alerts(journal, clock), Kpis(journal, clock)
        self._history = History(
            settings.home / "history",
            flush_s=defaults.history_flush_s,
            keep_s=defaults.history_keep_s,
            max_bytes=defaults.history_max_bytes,
        )
        self._levels = ServiceLevels(
            settings.home / "slos.json",
            journal,
            self._alerts,
            clock,
            windows=lambda: self._counts.windows,
            profile=self._profile,
            lock=self._lock,
            cost_per_second=self._price,
        )
        self._wanted: OrderedDict[str, Want] = OrderedDict()
        self._quiet_until_s: dict[str, float] = {}
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    # Telemetry and labels in

    def ingest(self, *tables: bytes) -> None:
        """Count tables of telemetry (see ``contracts.telemetry``), each once, all at one moment or none.

        A table that comes again (its sender did not hear that it had come) is known by its bytes. What follows (a drift
        test, alerts) never fails the sender: an alert that cannot be written now is written with a later batch.

        Raises:
            Incompatible: One is not such a table; nothing is counted.
            TooLarge: One has too many bytes, rows or columns.
        """
        parsed, now_s = [Batch.parse(table) for table in tables], self._clock.now_s()
        digests = [hashlib.blake2b(table, digest_size=16).digest() for table in tables]
        profiles = [self._profile(one.stream) if one.facts.deployment_id else Profile() for one in parsed]
        taken, due, missed = list[Batch](), list[Due](), list[Want]()
        with self._lock:
            for batch, digest, profile in zip(parsed, digests, profiles, strict=True):
                if self._is_new(digest):
                    taken.append(batch)
                    self._counts.add(batch, now_s, profile)
                    self._recents.add(batch)
                    due += self._watch.add(batch, now_s)
                    missed += self._missed(batch, now_s)
        for batch in taken:
            self._history.add(batch, now_s)
            self._levels.saw(batch)
        if taken:
            self._follow_up(due, missed, now_s)

    def feedback(self, items: list[Json]) -> dict[str, int]:
        """Count labels that became known.

        Args:
            items: ``{request_id, label}`` each; the id is that of the answer, with ``#<row>`` when it had several rows.
                Or ``{model_key, key, at_s, label}``: for the latest answer to that sticky key until then.

        Returns:
            ``accepted``: labels that met an answer, the first time; ``unknown``: labels of no answer known. Those are
            kept for a while, because a label may overtake the telemetry of its answer.

        Raises:
            Incompatible: An item does not fit; nothing is counted.
        """
        labels = checked_labels(items)
        with self._lock:
            accepted, unknown = self._counts.label(labels)
        return {"accepted": accepted, "unknown": unknown}

    def feedback_file(self, uri: str, *, model_key: str | None = None) -> dict[str, int]:
        """Count the labels of a Parquet or CSV file: all of it is checked before any is counted.

        Raises:
            NotFound: There is no such file.
            Incompatible: It is neither, a column is missing, or a value does not fit.
            TooLarge: It has too many rows.
        """
        return self.feedback(label_items(read_table(uri), model_key=model_key))

    # Figures out

    def rollout(self, deployment: Deployment) -> RolloutTelemetry:
        """Give what the judge of a rollout may look at: both arms and pairs per epoch, and the candidate's alerts.

        An alert that someone acknowledged, or of a move that does no harm, is not held against the candidate. The
        fairness delta and ``ece_sure`` are lower bounds, valid however often one looks: few requests end no rollout.
        """
        with self._lock:
            stable, candidate = self._counts.rollouts.arms(deployment)
            if candidate and not stable and deployment.status == "baking":
                stable = self._counts.before(deployment)
            pairs = self._counts.rollouts.pairs(deployment)
            outcomes = self._counts.rollouts.outcomes(deployment)
            selections = self._counts.rollouts.selections(deployment)
        mine = (deployment.model_key, deployment.version)
        causes = {
            a.kind
            for a in self._alerts.unresolved()
            if a.status == "open" and (a.model_key, a.version) == mine and not _harmless(a)
        }
        alpha = deployment.spec.alpha / MOST_GROUPS
        profile = self._profile(mine) if outcomes.labelled or pairs else Profile()
        return RolloutTelemetry(
            deployment_id=deployment.deployment_id,
            stable=stable,
            candidate=candidate,
            pairs=pairs,
            task=profile.task,
            open_causes=tuple(sorted(causes)),
            fairness_delta=selections.sure_delta(lambda part, whole: rate_bounds(part, whole, alpha)),
            ece=outcomes.ece(profile.classes) if profile.classes else None,
            ece_sure=outcomes.sure_ece(profile.classes, deployment.spec.alpha),
        )

    def recent(self, model_key: str, version: str, limit: int) -> RecentRows:
        """Give distinct rows that a stable version answered lately, the latest first; else its held-out rows.

        Raises:
            NotFound: No such version.
        """
        bundle = self._bundle(model_key, version)
        with self._lock:
            asked = self._recents.latest(model_key, version)
        return recent_rows(asked, bundle, self._blobs, limit)

    def live(self) -> Json:
        """Give the figures of all endpoints and versions, and those of the whole system."""
        kpis, alerts, now_s = self._kpis.now(), self._alerts.unresolved(), self._clock.now_s()
        self._history.flush_if_due(now_s)
        endpoints = self._endpoints()
        with self._lock:
            telemetry = {
                "batches": self._counts.batches,
                "answers_kept": len(self._counts.answers),
                "labels_unknown": self._counts.labels_unknown,
                "history_rows": self._history.written_rows,
                "history_rows_lost": self._history.lost_rows,
            }
        return {
            "at_s": now_s,
            "since_s": self._began_s,
            "endpoints": endpoints,
            "kpis": kpis | {"alerts_unresolved": len(alerts)},
            "telemetry": telemetry,
            "slos": {view.slo.name: _standing(view) for view in self._levels.slos()},
        }

    def drift(self, model_key: str, version: str, *, skip: int = 0, limit: int = 30) -> DriftView:
        """Show a version's live rows beside its held-out ones, the columns first whose move seems to cost most.

        Args:
            model_key: Of the version.
            version: Which.
            skip: So many of the first columns are left out.
            limit: So many are drawn.

        Raises:
            NotFound: No such version, or it has no held-out rows, and no live row came either.
        """
        stream: Stream = (model_key, version)
        reference: Reference | None = None
        why_not: str | None = None
        with self._lock:
            look = self._watch.look(stream)
        try:
            reference = self._versions.reference(stream)
        except (NotFound, Broken, Unavailable) as error:
            if "window_rows" not in look.state:  # nobody ever heard of it
                raise
            why_not = error.message
        return pictures.view(
            stream,
            look,
            reference,
            why_not=why_not,
            window_rows=self._defaults.window_rows,
            false_alarms_per_month=self._defaults.false_alarms_per_month,
            skip=skip,
            limit=limit,
        )

    def prometheus(self) -> str:
        """Give the same in Prometheus' text format, version 0.0.4."""
        kpis, alerts, endpoints = self._kpis.now(), self._alerts.unresolved(), self._endpoints()
        slos = self._levels.slos()
        with self._lock:
            return exposition.text(self._counts.windows, endpoints, kpis, alerts, slos)

    def flush(self) -> None:
        """Write the rows that wait for the history now."""
        self._history.flush(self._clock.now_s())

    def tick(self) -> None:
        """Do what is due though no telemetry comes: write history, follow the SLOs, end alerts that are over."""
        self._follow_up([], [], self._clock.now_s())

    def slos(self, *, model_key: str | None = None) -> list[SloView]:
        """List the objectives and how they stand."""
        self.tick()
        return self._levels.slos(model_key)

    # Inside

    def _is_new(self, digest: bytes) -> bool:
        if digest in self._digests:
            return False
        self._digests[digest] = None
        if len(self._digests) > MOST_DIGESTS:
            self._digests.popitem(last=False)
        return True

    def _missed(self, batch: Batch, now_s: float) -> list[Want]:
        """Look at the service levels of what this batch is about."""
        facts = batch.facts
        served = self._counts.windows.get(Place(facts.model_key, facts.version, "stable"))
        recents = [window.recent(now_s) for window in self._counts.of_model(facts.model_key)] if facts.lost else []
        found = [slo.missed_telemetry(facts.model_key, recents)]
        if served is not None:
            found.append(slo.missed_errors(facts.model_key, facts.version, served.recent(now_s)))
        return [want for want in found if want is not None]

    def _follow_up(self, due: list[Due], missed: list[Want], now_s: float) -> None:
        drifts = [want for one in due if (want := self._watch.judge(one, now_s)) is not None]
        drifts += [want for one in due if (want := self._quality.judge(one.stream, one.full.table)) is not None]
        drifts += self._look_at_labels(now_s)
        burning = self._levels.look(now_s, self._calm)
        with self._lock:
            for want in [*missed, *drifts, *burning]:
                if self._quiet_until_s.get(want.cause, 0.0) <= now_s:
                    self._wanted.setdefault(want.cause, want)
        self._raise_wanted(now_s)
        self._history.flush_if_due(now_s)

    def _look_at_labels(self, now_s: float) -> list[Want]:
        if not self._concept.due(now_s):
            return []
        with self._lock:
            seen = labels_seen({place: window.outcomes for place, window in self._counts.windows.items()})
        return self._concept.look(seen, now_s)

    def _drift(self, stream: Stream) -> Json:
        return self._watch.state(stream) | {"labels": self._concept.state(stream)}

    def _calm(self, alert: Alert) -> bool:
        """Say whether the level that an alert is about is kept now."""
        now_s, model_key = self._clock.now_s(), alert.model_key
        with self._lock:
            if alert.version is None:
                recents = [window.recent(now_s) for window in self._counts.of_model(model_key)]
                return slo.missed_telemetry(model_key, recents) is None
            served = self._counts.windows.get(Place(model_key, alert.version, "stable"))
            recent = served and served.recent(now_s)
        return not recent or recent.errors <= slo.MOST_ERRORS * recent.requests

    def _raise_wanted(self, now_s: float) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    return
                cause, want = self._wanted.popitem(last=False)
                self._quiet_until_s = {c: s for c, s in self._quiet_until_s.items() if s > now_s}
                self._quiet_until_s[cause] = now_s + QUIET_S
            try:
                self._alerts.raise_alert(**want._asdict())
            except Unavailable as error:
                log.warning("alert %s waits: %s", cause, error)
                with self._lock:
                    self._wanted.setdefault(cause, want)
                return

    def _endpoints(self) -> Json:
        with self._lock:
            streams = live.streams_of(self._counts.windows)
        profiles = {stream: self._profile(stream) for stream in streams}
        with self._lock:
            return live.by_endpoint(
                self._counts.windows,
                profiles,
                self._drift,
                now_s=self._clock.now_s(),
                cost_per_second=self._price,
            )

    def _profile(self, stream: Stream) -> Profile:
        """Give how a version's answers are to be read; nothing is known of one that cannot be read now."""
        try:
            return self._versions.profile(stream)
        except (NotFound, Broken, Unavailable) as error:
            log.info("what %s %s answers is not known: %s", *stream, error)
            return Profile()


def _harmless(alert: Alert) -> bool:
    """Say whether an alert is of a move that surely costs nothing: it takes no rollout back."""
    return alert.kind == "drift" and alert.severity == "info"


def _standing(view: SloView) -> Json:
    return view.model_dump(mode="json", include={"attained", "budget_left", "events", "bad", "alert_id"}) | {
        "model_key": view.slo.model_key,
        "kind": view.slo.kind,
        "objective": view.slo.objective,
    }
