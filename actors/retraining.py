"""Has what serves trained again when it drifts and the policy says so: looks, records what it is about to do, does it.

What survives a restart: everything. What is about to be submitted is in the journal first, with the spec and the name
that the job will have; a job that was submitted a moment before a crash is found by its idempotency key. So an alert
never makes two jobs, and two of these that exist for a moment make one: both write the model's one record. Here nothing
registers or deploys what such a job makes.
"""

from __future__ import annotations

import logging
from typing import Protocol

from contracts.errors import Conflict, MldlError, NotFound, Unavailable
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Journal, Once, Write
from contracts.records import Alert, Job
from contracts.retraining import Outcome, Retrained, Retraining, RetrainingRecord
from contracts.rollouts import Endpoint
from contracts.specs import JobSpec
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.bridges.memory import EmbeddedMemory
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import load, scan_all, write
from mldl_ray.monitoring.alerts import ACTOR, Alerts
from mldl_ray.monitoring.alerts import KIND as ALERT
from mldl_ray.monitoring.retraining import again, concerns, rested
from mldl_ray.registry.catalog import Catalog

log = logging.getLogger(__name__)
KIND = "retraining"
TRIES = 5


class Submit(Protocol):
    """Takes a job; the same ``once`` again gives the same job."""

    def __call__(self, spec: JobSpec, *, by: str, reason: str, once: Once, alert_id: str) -> Job:
        """Take it, or say why not."""
        ...


class Retrainer:
    """Look at the open alerts, and submit what the policy wants. Not thread-safe; holds nothing the journal lacks.

    Args:
        journal: Where alerts, the policy, versions and their jobs are.
        blobs: Where registered rows lie.
        clock: Time.
        submit: Takes the jobs.
    """

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock, submit: Submit) -> None:
        self._journal, self._clock, self._submit = journal, clock, submit
        self._alerts, self._governance = Alerts(journal, clock), EmbeddedGovernance(journal, clock)
        self._memory, self._bundle = EmbeddedMemory(journal, blobs, clock), Catalog(journal).bundle
        self._resumed = False

    def look(self) -> None:
        """Finish what was begun, and begin what is due; each alert by itself.

        Raises:
            Unavailable: The journal cannot be reached; nothing is lost by looking again.
        """
        if not self._resumed:
            begun = [d.key for d in scan_all(self._journal, KIND) if (d.body or {}).get("outcome") == "begun"]
            self._resumed = True
            for model_key in begun:
                self._finish(model_key)
        rule = self._governance.policy().retrain_on
        for alert in self._alerts.unresolved():
            if alert.kind != "drift" or alert.version is None:
                continue
            if rule is not None and alert.retraining is None:
                self._consider(alert.alert_id, rule)
            elif alert.retraining is not None and alert.retraining.outcome == "begun":
                self._finish(alert.model_key)

    def _consider(self, alert_id: str, rule: Retraining) -> None:
        alert, version = load(self._journal, ALERT, alert_id, Alert)
        if alert is None or not concerns(alert, rule, self._stable(alert)) or self._alerts.silences.covering(alert):
            return
        last, number = load(self._journal, KIND, alert.model_key, RetrainingRecord)
        if last is not None and last.outcome == "begun":
            self._finish(alert.model_key)
        elif rested(last, rule, self._clock.now_s()):
            self._decide(alert, version, number, rule)

    def _decide(self, alert: Alert, version: int, number: int, rule: Retraining) -> None:
        try:
            own = self._own_job(alert)
            if rule.new_rows_only and not self._newer_rows(own):
                return  # it waits for them, as long as its alert is open
        except NotFound as error:
            self._refuse(alert, version, str(error))
            return
        self._begin(alert, version, number, again(own, rule))
        self._finish(alert.model_key)

    def _begin(self, alert: Alert, version: int, number: int, spec: JobSpec) -> None:
        why = f"the policy trains {alert.model_key} again after alert {alert.alert_id}: {alert.message}"
        job_id = new_id("job", _once(alert.alert_id))
        told = Retrained(outcome="begun", job_id=job_id, at_s=self._clock.now_s(), why=why)
        record = RetrainingRecord(
            **told.model_dump(),
            model_key=alert.model_key,
            version=str(alert.version),
            alert_id=alert.alert_id,
            spec=spec,
        )
        self._noted(alert, version, told, write(KIND, alert.model_key, number, record))

    def _finish(self, model_key: str) -> None:
        """Submit what is recorded as begun, unless it was, and record that."""
        record, _ = load(self._journal, KIND, model_key, RetrainingRecord)
        if record is None or record.outcome != "begun":
            return
        once, alert_id = _once(record.alert_id), record.alert_id
        try:
            job = self._submit(record.spec, by=ACTOR, reason=record.why, once=once, alert_id=alert_id)
        except Unavailable as error:
            self._resumed = False  # its alert may be over by the next look
            log.warning("training %s again waits: %s", model_key, error)
        except MldlError as error:
            self._end(model_key, "refused", None, f"the job was refused: {error}")
        else:
            self._end(model_key, "submitted", job.job_id, record.why)

    def _end(self, model_key: str, outcome: Outcome, job_id: str | None, why: str) -> None:
        for _ in range(TRIES):
            record, number = load(self._journal, KIND, model_key, RetrainingRecord)
            if record is None or record.outcome != "begun":
                return
            alert, version = load(self._journal, ALERT, record.alert_id, Alert)
            if alert is None:
                return
            update = {"outcome": outcome, "job_id": job_id, "why": why}
            told = Retrained(at_s=record.at_s, **update)
            ended = write(KIND, model_key, number, record.model_copy(update=update))
            if self._noted(alert, version, told, ended):
                return

    def _refuse(self, alert: Alert, version: int, why: str) -> None:
        self._noted(alert, version, Retrained(outcome="refused", at_s=self._clock.now_s(), why=why))

    def _noted(self, alert: Alert, version: int, told: Retrained, *more: Write) -> bool:
        """Write on an alert what is done about it; False, and nothing is written, where something changed meanwhile."""
        noted = write(ALERT, alert.alert_id, version, alert.model_copy(update={"retraining": told}))
        facts = [] if told.outcome == "begun" else [_fact(alert, told)]
        try:
            self._journal.append([noted, *more], facts, actor=ACTOR, reason=told.why)
        except Conflict:
            log.info("alert %s changed meanwhile; looked at again", alert.alert_id)
            return False
        return True

    def _stable(self, alert: Alert) -> str | None:
        endpoint, _ = load(self._journal, "endpoint", alert.model_key, Endpoint)
        return endpoint.stable if endpoint is not None else None

    def _own_job(self, alert: Alert) -> JobSpec:
        """Give what the version that drifted was trained by.

        Raises:
            NotFound: It was made by no job here.
        """
        job_id = self._bundle(alert.model_key, str(alert.version)).lineage.job_id
        job, _ = load(self._journal, "job", job_id, Job) if job_id else (None, 0)
        if job is None:
            raise NotFound(
                f"{alert.model_key} {alert.version} was trained by no job that is on record here, so nothing says how "
                "to train it again; submit a job"
            )
        return job.job

    def _newer_rows(self, own: JobSpec) -> bool:
        data = own.data
        return data is None or not data.dataset_id or self._memory.dataset(data.dataset_id).version != data.version


def _once(alert_id: str) -> Once:
    return Once(key=f"retrain:{alert_id}", digest=alert_id)


def _fact(alert: Alert, told: Retrained) -> Fact:
    data = told.model_dump(mode="json", include={"outcome", "job_id", "why"})
    data |= {"model_key": alert.model_key, "version": alert.version, "alert_id": alert.alert_id}
    return Fact(type="MLDL_RETRAINING_DECIDED", subject=alert.model_key, data=data)
