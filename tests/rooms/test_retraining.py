"""Drift has what serves trained again, once per alert, no oftener than the policy allows, through any crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.jobs import Jobs
from actors.retraining import KIND, Retrainer
from contracts.errors import Incompatible, Unavailable
from contracts.policies import Policy
from contracts.ports import Receipt
from contracts.records import Alert, Job, Lineage, TrainedBundle
from contracts.retraining import RetrainingRecord
from contracts.rollouts import Endpoint
from contracts.slos import SilenceRequest
from contracts.specs import DataRef, JobSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.journal.documents import load, write
from mldl_ray.monitoring.alerts import Alerts
from mldl_ray.settings import load_settings

KEY, DAY_S = "income", 86_400.0


class Killed(BaseException):
    """The process ends here."""


class Mortal(MemoryJournal):
    """A journal at whose n-th next append the writing process is killed: before it, or when it is written."""

    before: int | None = None

    def append(self, *args: Any, **kwargs: Any) -> Receipt:
        if self.before is not None:
            self.before -= 1
            if self.before < 0:
                self.before = None
                raise Killed
        return super().append(*args, **kwargs)


class WaitingJobs(Jobs):
    """The real ones, whose processes nobody starts; and that can refuse, be away, or die when the job is taken."""

    trouble: BaseException | None = None
    dies = False
    asked = 0

    def submit(self, *args: Any, **kwargs: Any) -> Job:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        job = super().submit(*args, **kwargs)
        if self.dies:
            raise Killed
        return job

    def _start_more(self) -> None:
        """Start none."""


class Scene:
    """Version 1.0.0 of a model serves; a job on a registered dataset made it."""

    def __init__(self, home: Path, **rule: Any) -> None:
        self.clock = SettableClock(1000.0)
        self.journal, self.blobs = Mortal(self.clock), MemoryBlobs()
        self.settings = load_settings({}, home=home, ray_address="elsewhere")
        self.jobs = WaitingJobs(self.settings, self.journal, self.blobs, self.clock)
        self.alerts, self.home = Alerts(self.journal, self.clock), home
        self.set_policy(Policy.model_validate({"retrain_on": rule}))
        self.first = self.jobs.submit(self._spec(0), by="ann")
        self.serve("1.0.0", self.first.job_id)
        self.restart()

    def _spec(self, more: float) -> JobSpec:
        rows = [float(i % 10) + more for i in range(200)]
        path = self.home / "people.parquet"
        pq.write_table(pa.table({"age": rows, "rich": [int(row - more > 4) for row in rows]}), path)
        spec = {"model_key": KEY, "family": "lr"}
        return JobSpec.model_validate(
            {"spec": spec, "data": {"uri": str(path), "target": "rich"}, "budget": {"max_seconds": 60}}
        )

    def new_rows(self) -> None:
        given = DataRef(uri=str(self._spec(1.0).data.uri), target="rich")  # type: ignore[union-attr]  # it has data
        self.jobs._judge._memory.register(given, by="bo", reason="a month later")

    def set_policy(self, policy: Policy) -> None:
        _, version = load(self.journal, "policy", "default", Policy)
        self.journal.append([write("policy", "default", version, policy)], actor="ada", reason="r")

    def serve(self, version: str, job_id: str | None) -> None:
        bundle = TrainedBundle(
            model_key=KEY,
            version=version,
            artifact_uri="a",
            validation_hash="h",
            created_at="now",
            lineage=Lineage(job_id=job_id),
        )
        _, number = load(self.journal, "endpoint", KEY, Endpoint)
        self.journal.append(
            [
                write("model_version", f"{KEY}@{version}", 0, bundle),
                write("endpoint", KEY, number, Endpoint(model_key=KEY, stable=version, salt="s")),
            ],
            actor="ann",
            reason="r",
        )

    def restart(self) -> None:
        self.retrainer = Retrainer(self.journal, self.blobs, self.clock, self.jobs.submit)

    def drift(self, cause: str = "drift:income", **fields: Any) -> Alert:
        facts: dict[str, Any] = {"kind": "drift", "severity": "critical", "version": "1.0.0", "message": "age moved"}
        return self.alerts.raise_alert(cause=cause, model_key=KEY, evidence={"p": 1e-9}, **facts | fields)

    def look(self, later_s: float = 6.0) -> list[Job]:
        """Look again a little later; give the jobs that drift made."""
        self.clock.advance(later_s)
        self.retrainer.look()
        return [job for job in self.jobs.jobs() if job.alert_id is not None]

    def told(self) -> list[dict[str, Any]]:
        return [event.data for event in self.journal.events(types=["MLDL_RETRAINING_DECIDED"])]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_nothing_is_trained_where_the_policy_does_not_say_so(scene: Scene) -> None:
    scene.set_policy(Policy())
    scene.drift()
    assert scene.look() == []
    assert scene.told() == []


def test_drift_of_what_serves_makes_one_job_and_both_name_each_other(scene: Scene) -> None:
    alert = scene.drift()
    (job,) = scene.look()
    assert (job.alert_id, job.status, job.requested_by) == (alert.alert_id, "queued", "monitor")
    noted = scene.alerts.alert(alert.alert_id)
    assert noted.retraining is not None
    assert (noted.retraining.outcome, noted.retraining.job_id) == ("submitted", job.job_id)
    assert noted.evidence == alert.evidence
    (event,) = scene.told()
    assert (event["outcome"], event["job_id"], event["alert_id"]) == ("submitted", job.job_id, alert.alert_id)
    first = scene.journal.history("job", job.job_id)[0]
    assert first.actor == "monitor"
    assert alert.alert_id in first.reason
    assert "age moved" in first.reason
    assert scene.look(later_s=100 * DAY_S) == [job]  # once per alert, however long it stays open


def test_the_job_asks_for_what_the_versions_own_did_on_the_newest_rows_within_both_budgets(tmp_path: Path) -> None:
    scene = Scene(tmp_path, budget={"cost_units": 5, "max_seconds": 600})
    own = scene.first.job
    assert own.data is not None
    scene.new_rows()
    scene.drift()
    (job,) = scene.look()
    assert job.job.data is not None
    assert job.job.data.dataset_id == own.data.dataset_id
    assert job.job.data.version not in {None, own.data.version}
    assert (job.job.spec, job.job.cv, job.job.hpo) == (own.spec, own.cv, own.hpo)
    assert (job.job.budget.cost_units, job.job.budget.max_seconds) == (5, 60)


def test_its_result_is_deployed_by_nobody(scene: Scene) -> None:
    scene.drift()
    scene.look()
    endpoint, version = load(scene.journal, "endpoint", KEY, Endpoint)
    assert endpoint is not None
    assert (endpoint.stable, endpoint.deployment_ids, version) == ("1.0.0", (), 1)
    assert scene.journal.scan("deployment") == []


@pytest.mark.parametrize(
    "fields", [{"severity": "warning"}, {"kind": "data_quality"}, {"kind": "slo"}, {"version": "1.1.0"}]
)
def test_milder_alerts_other_kinds_and_candidates_are_no_reason(scene: Scene, fields: dict[str, Any]) -> None:
    scene.drift(**fields)
    assert scene.look() == []


def test_an_alert_that_becomes_grave_enough_is_a_reason_then(scene: Scene) -> None:
    scene.drift(severity="warning")
    assert scene.look() == []
    scene.drift(severity="critical")
    assert len(scene.look()) == 1


def test_only_the_models_that_the_rule_names(tmp_path: Path) -> None:
    scene = Scene(tmp_path, models=["other"])
    scene.drift()
    assert scene.look() == []


def test_whoever_took_the_alert_in_hand_first_keeps_it(scene: Scene) -> None:
    scene.alerts.acknowledge(scene.drift().alert_id, reason="looking", by="bo")
    assert scene.look() == []


def test_a_silenced_alert_is_a_reason_once_its_silence_is_over(scene: Scene) -> None:
    scene.alerts.silences.begin(SilenceRequest(lasts_s=3600, reason="migration"), by="ann")
    scene.drift()
    assert scene.look() == []
    assert len(scene.look(later_s=3600)) == 1


def test_a_flapping_alert_is_trained_for_once_per_cooldown(scene: Scene) -> None:
    made = set()
    for _ in range(20):
        alert = scene.drift()
        made |= {job.job_id for job in scene.look(later_s=600)}
        scene.alerts.resolve(alert.alert_id, reason="calm", by="monitor")
    assert len(made) == 1
    last = scene.drift()
    jobs = scene.look(later_s=DAY_S)
    assert len(jobs) == 2
    assert jobs[0].alert_id == last.alert_id


def test_the_cooldown_goes_on_over_a_restart(scene: Scene) -> None:
    scene.alerts.resolve(scene.drift().alert_id, reason="r", by="bo")
    scene.drift("first")
    scene.look()
    scene.drift("second")
    scene.restart()
    assert len(scene.look(later_s=DAY_S / 2)) == 1
    scene.restart()
    assert len(scene.look(later_s=DAY_S)) == 2


def test_a_job_that_fails_is_not_tried_again_for_the_same_alert(scene: Scene) -> None:
    scene.drift()
    (job,) = scene.look()
    failed = job.model_copy(update={"status": "failed", "error": {"code": "broken"}})
    scene.journal.append([write("job", job.job_id, 1, failed)], actor="jobs", reason="r")
    assert [job.status for job in scene.look(later_s=10 * DAY_S)] == ["failed"]


def test_a_version_that_no_job_made_is_told_to_be_untrainable_once(scene: Scene) -> None:
    scene.serve("2.0.0", None)
    alert = scene.drift(version="2.0.0")
    for _ in range(3):
        assert scene.look(later_s=2 * DAY_S) == []
    noted = scene.alerts.alert(alert.alert_id).retraining
    assert noted is not None
    assert (noted.outcome, noted.job_id) == ("refused", None)
    assert "no job" in noted.why
    assert len(scene.told()) == 1


def test_a_job_that_is_refused_says_so_on_the_alert_and_is_not_asked_for_again(scene: Scene) -> None:
    scene.jobs.trouble = Incompatible("column 'rich' is gone")
    alert = scene.drift()
    for _ in range(3):
        assert scene.look() == []
    noted = scene.alerts.alert(alert.alert_id).retraining
    assert noted is not None
    assert (noted.outcome, noted.job_id) == ("refused", None)
    assert "column 'rich' is gone" in noted.why
    assert scene.jobs.asked == 2  # the version's own job, and this one


def test_while_the_jobs_are_away_it_waits_and_is_submitted_when_they_are_back(scene: Scene) -> None:
    scene.jobs.trouble = Unavailable("restarting")
    alert = scene.drift()
    assert scene.look() == []
    noted = scene.alerts.alert(alert.alert_id).retraining
    assert noted is not None
    assert noted.outcome == "begun"
    scene.jobs.trouble = None
    (job,) = scene.look()
    assert job.job_id == noted.job_id


def test_what_was_begun_is_submitted_though_its_alert_was_over_before_the_jobs_came_back(scene: Scene) -> None:
    scene.jobs.trouble = Unavailable("restarting")
    alert = scene.drift()
    scene.look()
    scene.alerts.resolve(alert.alert_id, reason="calm", by="monitor")
    assert scene.look() == []
    scene.jobs.trouble = None
    assert len(scene.look()) == 1


@pytest.mark.parametrize("resolved", [False, True])
@pytest.mark.parametrize("appends", range(4))
def test_a_monitor_killed_at_any_append_makes_one_job(scene: Scene, appends: int, resolved: bool) -> None:
    alert = scene.drift()
    scene.journal.before = appends
    try:
        scene.look()
    except Killed:
        begun = scene.alerts.alert(alert.alert_id).retraining is not None
        if resolved and begun:
            scene.alerts.resolve(alert.alert_id, reason="r", by="bo")
        scene.restart()
    scene.journal.before = None
    (job,) = scene.look()
    scene.restart()
    assert scene.look(later_s=DAY_S * 2) == [job]
    noted = scene.alerts.alert(alert.alert_id).retraining
    assert noted is not None
    assert (noted.outcome, noted.job_id) == ("submitted", job.job_id)
    assert len(scene.told()) == 1


def test_a_monitor_killed_when_the_job_was_taken_finds_it_though_newer_rows_came_since(scene: Scene) -> None:
    scene.drift()
    scene.jobs.dies = True
    with pytest.raises(Killed):
        scene.look()
    scene.jobs.dies = False
    scene.new_rows()
    scene.restart()
    (job,) = scene.look()
    assert job.job.data == scene.first.job.data
    assert len(scene.told()) == 1


def test_what_was_begun_is_done_though_the_policy_changed_since_and_nothing_after(scene: Scene) -> None:
    scene.jobs.trouble = Unavailable("restarting")
    scene.drift()
    scene.look()
    scene.set_policy(Policy())
    scene.jobs.trouble = None
    assert len(scene.look()) == 1
    scene.drift("another")
    assert len(scene.look(later_s=2 * DAY_S)) == 1


def test_of_two_monitors_at_once_only_one_begins(scene: Scene) -> None:
    other = Retrainer(scene.journal, scene.blobs, scene.clock, scene.jobs.submit)
    scene.drift("one")
    scene.drift("two")
    scene.look()
    other.look()
    assert len(scene.look()) == 1
    record, _ = load(scene.journal, KIND, KEY, RetrainingRecord)
    assert record is not None
    assert record.outcome == "submitted"


def test_with_new_rows_only_it_waits_for_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path, new_rows_only=True)
    scene.drift()
    assert scene.look() == []
    assert scene.told() == []
    scene.new_rows()
    assert len(scene.look()) == 1


@pytest.mark.parametrize(
    "rule", [{"cooldown_s": 1}, {"drift": "info"}, {"budget": {"max_seconds": 0}}, {"on": "drift"}]
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="retrain_on"):
        Policy.model_validate({"retrain_on": rule})
