"""The key figures: from what each is computed, and that none is made up."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.errors import Incompatible
from contracts.evaluations import Adversarial, Calibration, Evaluation, Fairness, Robustness
from contracts.events import EventType, Fact
from contracts.kpis import Kpi
from contracts.policies import PolicyException
from contracts.ports import Write
from contracts.records import Job, TrainedBundle
from contracts.rollouts import Change, Deployment, Endpoint
from contracts.specs import DeploymentSpec, JobSpec, Json, ModelSpec, Words
from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.monitoring.facts import WEEK_S, gather
from mldl_ray.monitoring.scorecard import scorecard
from mldl_ray.settings import load_settings
from tests.conftest import unused_port
from tests.plain import PlainSystem

NOW = 100 * 86_400.0


class House:
    """A journal, and the monitor's live figures."""

    def __init__(self) -> None:
        self.clock = SettableClock(NOW)
        self.journal = MemoryJournal(self.clock)
        self.live: Json = {"endpoints": {}}

    def put(self, kind: str, key: str, body: Words, *, facts: tuple[Fact, ...] = ()) -> None:
        past = self.journal.history(kind, key)
        write = Write(kind=kind, key=key, expected_version=len(past), body=body.model_dump(mode="json"))
        self.journal.append([write], facts, actor="owner", reason="as it came")

    def happen(self, event: EventType, **data: Any) -> None:
        self.journal.append([], [Fact(type=event, subject="x", data=data)], actor="owner", reason="as it came")

    def serve(self, key: str, *, metrics: dict[str, float], ece: float, live: Json | None = None) -> None:
        attack = Adversarial(method="pgd", metric="accuracy", rows=9, clean=0.9, robust={"0.1": 0.7}, columns=("a",))
        evaluation = Evaluation(
            evaluation_id=f"eval-{key}", model_key=key, rows=100, metrics=metrics,
            calibration=Calibration(ece=ece), fairness=Fairness(delta=ece / 2),
            robustness=Robustness(noise_sensitivity=0.05, accuracy={"0": 0.9}, adversarial=attack),
        )  # fmt: skip
        bundle = TrainedBundle(
            model_key=key, version="1.0.0", artifact_uri="x", validation_hash="x", created_at="", cv_score=0.8,
            evaluation_id=f"eval-{key}",
        )  # fmt: skip
        self.put("evaluation", f"eval-{key}", evaluation)
        self.put("model_version", f"{key}@1.0.0", bundle)
        self.put("endpoint", key, Endpoint(model_key=key, stable="1.0.0", salt="s", replicas=2))
        self.live["endpoints"][key] = {"versions": {"1.0.0": live or {}}}

    def rollout(self, name: str, status: Any, *, took_s: float = 60.0, strategy: Any = "canary") -> None:
        at_s, done = self.clock.now_s(), self.clock.now_s() + took_s
        steps = [Change(at_s=at_s, status="canary", traffic={}, actor="m", reason="r")]
        if status == "succeeded":
            steps.append(Change(at_s=at_s, status="baking", traffic={}, actor="m", reason="r"))
        steps.append(Change(at_s=done, status=status, traffic={}, actor="m", reason="r"))
        found = Deployment(
            deployment_id=name, model_key="m", version="1.0.0", spec=DeploymentSpec(), strategy=strategy, status=status,
            steps=(100.0,), promotion_window_s=1, bake_window_s=1, history=tuple(steps), created_at_s=at_s,
        )  # fmt: skip
        self.put("deployment", name, found)

    def kpis(self, window_s: float = WEEK_S) -> dict[str, Kpi]:
        now_s = self.clock.now_s()
        facts = gather(self.journal, self.live, now_s=now_s, window_s=window_s, cost_per_second=0.001)
        return {kpi.name: kpi for kpi in scorecard(facts)}


@pytest.fixture
def house() -> House:
    return House()


def test_every_figure_of_the_list_is_there_and_none_is_made_up_on_an_empty_system(house: House) -> None:
    found = house.kpis()
    assert {kpi.group for kpi in found.values()} == {"quality", "operational", "risk"}
    measured = {name for name, kpi in found.items() if kpi.value is not None}
    counts = {"training_cost", "rollbacks_per_week", "drift_alerts_per_week", "policy_violations", "violations"}
    assert measured == counts | {"governance_exceptions", "keys_revoked"}
    assert all(found[name].value == 0 for name in measured)
    assert all(kpi.why and kpi.definition and kpi.unit for name, kpi in found.items() if name not in measured)


def test_quality_is_that_of_the_versions_that_serve_the_worst_first(house: House) -> None:
    house.serve("churn", metrics={"f1": 0.9}, ece=0.02)
    house.serve("income", metrics={"f1": 0.7}, ece=0.08)
    found = house.kpis()
    assert found["test_score"].value == pytest.approx(0.8)
    assert found["test_score"].by == {"churn": 0.9, "income": 0.7}
    assert (found["calibration_error"].value, found["fairness_delta"].value) == (0.08, 0.04)
    assert found["noise_sensitivity"].value == 0.05
    assert found["adversarial_loss"].value == pytest.approx(0.2)
    assert found["cross_validation_score"].by == {"churn": 0.8, "income": 0.8}


def test_scores_of_different_metrics_are_not_averaged(house: House) -> None:
    house.serve("churn", metrics={"f1": 0.9}, ece=0.02)
    house.serve("price", metrics={"rmse": 12.0, "r2": 0.6}, ece=0.0)
    found = house.kpis()
    assert (found["test_score"].value, found["test_score"].why) == (None, "the models have different metrics; see each")
    assert found["unexplained_variance"].value == pytest.approx(0.4)


def test_live_figures_of_what_serves_are_put_together(house: House) -> None:
    fast = {"p95_ms": 2.0, "qps": 100.0, "cost_per_prediction": 1e-5, "accuracy": 0.85, "ece": 0.03, "labelled": 50}
    house.serve("churn", metrics={"f1": 0.9}, ece=0.02, live=fast)
    house.serve("income", metrics={"f1": 0.9}, ece=0.02, live=fast | {"p95_ms": 9.0, "qps": 10.0, "accuracy": 0.95})
    found = house.kpis()
    assert (found["latency_p95_ms"].value, found["throughput_qps"].value) == (9.0, 110.0)
    assert found["utilization"].by["churn"] == pytest.approx(100 * 0.01 / 2)
    assert (found["live_accuracy"].value, found["live_accuracy"].cases) == (0.85, 100)
    assert found["model_degradation"].value == pytest.approx(0.05)
    assert found["cost_per_prediction"].value == 1e-5


def test_rollouts_count_when_they_ended_in_the_window(house: House) -> None:
    house.rollout("old", "rolled_back")
    house.clock.advance(8 * 86_400)
    house.rollout("dep-1", "succeeded", took_s=100)
    house.rollout("dep-2", "succeeded", took_s=300)
    house.rollout("dep-3", "rolled_back")
    house.rollout("dep-4", "succeeded", took_s=1, strategy="direct")
    house.rollout("dep-5", "canary")
    found = house.kpis()
    assert found["canary_pass_rate"].value == pytest.approx(2 / 3)
    assert found["canary_pass_rate"].cases == 3
    assert found["canary_pass_rate"].by == {"succeeded": 2.0, "rolled_back": 1.0}
    assert (found["promotion_success"].value, found["promotion_success"].cases) == (1.0, 2)
    assert found["deployment_time_s"].value == 100
    assert house.kpis(window_s=30 * 86_400)["canary_pass_rate"].value == 0.5


def test_risks_are_counted_by_severity_act_and_kind(house: House) -> None:
    house.happen("MLDL_DRIFT_ALERT", severity="critical")
    house.clock.advance(8 * 86_400)
    house.happen("MLDL_DRIFT_ALERT", severity="warning")
    house.happen("MLDL_VIOLATION", rule="policy", act="deploy")
    house.happen("MLDL_VIOLATION", kind="slo")
    house.happen("MLDL_KEY_CHANGED", change="revoked")
    house.happen("MLDL_KEY_CHANGED", change="created")
    exception = PolicyException(
        exception_id="e", model_key="m", version="1.0.0", rule="max_ece", reason="r", granted_by="ann", at_s=NOW,
        expires_at_s=NOW + 90 * 86_400, validation_hash="x",
    )  # fmt: skip
    house.put("policy_exception", "e", exception)
    found = house.kpis()
    assert (found["drift_alerts_per_week"].value, found["drift_alerts_per_week"].by) == (1.0, {"warning": 1.0})
    assert (found["policy_violations"].by, found["violations"].by) == ({"deploy": 1.0}, {"slo": 1.0})
    assert (found["keys_revoked"].value, found["governance_exceptions"].by) == (1.0, {"max_ece": 1.0})
    assert house.kpis(window_s=14 * 86_400)["drift_alerts_per_week"].value == 1.0  # two in two weeks


def test_training_cost_is_that_of_jobs_that_ended_in_the_window(house: House) -> None:
    for name, ended_s in (("job-1", NOW - 1), ("job-2", NOW - 30 * 86_400), ("job-3", None)):
        spec = JobSpec(spec=ModelSpec(model_key="churn", family="lr"))
        house.put("job", name, Job(job_id=name, status="succeeded", job=spec, cost_units=2.0, ended_at_s=ended_s))
    found = house.kpis()["training_cost"]
    assert (found.value, found.by, found.cases) == (2.0, {"churn": 2.0}, 1)


def test_kpis_over_http_in_python_and_as_typed(tmp_path: Path) -> None:
    system = PlainSystem(load_settings({}, home=tmp_path, port=unused_port()))
    system.serve()
    client = MLDLClient(system.settings.url, acting_as="ann")
    risk = client.kpis(group="risk", window_s=3600)
    assert {kpi.group for kpi in risk} == {"risk"}
    assert {kpi.window_s for kpi in risk} == {3600.0, None}
    line = f"kpis --group quality --url {system.settings.url}"
    typed = CliRunner().invoke(app, [*shlex.split(line), "--json"])
    assert {kpi["group"] for kpi in json.loads(typed.stdout)} == {"quality"}
    assert "calibration_error" in CliRunner().invoke(app, shlex.split(line)).stdout
    with pytest.raises(Incompatible, match="window_s"):
        client.kpis(window_s=1)
    client.close()
    system.close()
