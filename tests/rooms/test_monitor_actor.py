"""The monitor as a whole, built directly on stores in memory and a clock that tests set."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.monitor import Monitor
from contracts.errors import Incompatible, TooLarge, Unavailable
from contracts.evaluations import Fairness
from contracts.ports import Receipt, Write
from contracts.records import TrainedBundle
from contracts.rollouts import Deployment
from contracts.specs import DeploymentSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.clock import SettableClock
from mldl_ray.deployment.decide import decide
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import Settings, load_defaults, load_settings

KEY, STABLE, CANDIDATE, DEPLOYMENT = "churn", "1.0.0", "1.1.0", "dep-1"
CONFIGURATION = "mldl: {monitoring: {window_rows: 100}, training: {cost_per_cpu_second: 2.0}}"


class Restless(MemoryJournal):
    """A journal that can be out of reach for writers."""

    away = False

    def append(self, *args: Any, **kwargs: Any) -> Receipt:
        if self.away:
            raise Unavailable("the journal is restarting")
        return super().append(*args, **kwargs)


class Scene:
    """A monitor with two registered versions whose held-out ages lie around 40."""

    def __init__(self, home: Path, configuration: str = CONFIGURATION) -> None:
        self.clock = SettableClock()
        self.journal, self.blobs = Restless(self.clock), MemoryBlobs()
        self.settings: Settings = load_settings({}, home=home, mldl=load_defaults(configuration))
        self.random = np.random.default_rng(7)
        self._sent = 0
        for version in (STABLE, CANDIDATE):
            self._register(version, home / "artifacts" / version)
        self.monitor = self.restarted()

    def restarted(self) -> Monitor:
        self.monitor = Monitor(self.settings, self.journal, self.blobs, self.clock)
        return self.monitor

    def _register(self, version: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "adapter.json").write_text(json.dumps({"task": "classification", "classes": [0, 1]}))
        pq.write_table(pa.table(self.held_out()), folder / "reference.parquet")
        digest = store_artifact(self.blobs, folder, {"family": "lr"})
        bundle = TrainedBundle(
            model_key=KEY,
            version=version,
            artifact_uri=f"blobs:{digest}",
            validation_hash=digest,
            created_at="2026-01-01",
            task="classification",
            fairness=Fairness(groups=("sex", "age")),
        )
        write = Write(
            kind="model_version", key=f"{KEY}@{version}", expected_version=0, body=bundle.model_dump(mode="json")
        )
        self.journal.append([write], actor="ann", reason="registered")

    def held_out(self) -> dict[str, Any]:
        """Draw the rows that live ones are compared with."""
        return {"f.age": self.random.normal(40, 10, 2000), "score": self.random.random(2000)}

    def batch(self, count: int, *, version: str = STABLE, role: str = "stable", **facts: Any) -> bytes:
        """Make a batch of ordinary rows; each fact overrides a column (one value or one per row) or the metadata."""
        first, self._sent = self._sent, self._sent + count
        times = self.clock.now_s() + np.arange(count) / 100
        self.clock.advance(count / 100)
        columns: dict[str, Any] = {
            "request_id": [f"r{first + i}" for i in range(count)],
            "key": [f"k{first + i}" for i in range(count)],
            "at_s": times,
            "latency_ms": [5.0] * count,
            "status": [200] * count,
            "role": [role] * count,
            "prediction": ["1"] * count,
            "score": self.random.random(count),
            "f.age": self.random.normal(40, 10, count),
        }
        metadata = {"model_key": KEY, "version": version, "epoch": 3, "share": 0.05, "deployment_id": "", "lost": 0}
        for name, value in facts.items():
            if name in metadata:
                metadata[name] = value
            else:
                column = f"f.{name}" if name in {"age", "sex"} else name
                columns[column] = value if isinstance(value, list | np.ndarray) else [value] * count
        types = {"status": pa.int16(), "prediction": pa.string(), "score": pa.float64()}
        table = pa.table({name: pa.array(list(values), types.get(name)) for name, values in columns.items()})
        return stream(table.replace_schema_metadata({name: str(value) for name, value in metadata.items()}))

    def send(self, count: int, **facts: Any) -> None:
        self.monitor.ingest(self.batch(count, **facts))

    def figures(self, version: str = STABLE) -> dict[str, Any]:
        found: dict[str, Any] = self.monitor.live()["endpoints"][KEY]["versions"][version]
        return found

    def causes(self) -> set[str]:
        return {alert.cause for alert in self.monitor.alerts(status="open")}


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def rollout(**fields: Any) -> Deployment:
    facts: dict[str, Any] = {
        "deployment_id": DEPLOYMENT,
        "model_key": KEY,
        "version": CANDIDATE,
        "spec": DeploymentSpec(),
        "strategy": "canary",
        "status": "canary",
        "stable": STABLE,
        "steps": (5, 100),
        "first_epoch": 3,
        "promotion_window_s": 60,
        "bake_window_s": 1,
    }
    return Deployment.model_validate(facts | fields)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# Batches


def test_a_batch_is_counted_with_its_rates_latencies_errors_and_cost(scene: Scene) -> None:
    scene.send(100)
    scene.send(20, latency_ms=50.0, status=[500] * 2 + [422] * 3 + [200] * 15)
    found = scene.figures()
    assert (found["requests"], found["errors"]) == (120, 2)  # 4xx of the stable version are the caller's
    assert found["error_rate"] == pytest.approx(2 / 120)
    assert found["qps"] == pytest.approx(120 / 1.2, rel=0.3)
    assert found["p50_ms"] == pytest.approx(5, rel=0.051)
    assert found["p99_ms"] == pytest.approx(50, rel=0.051)
    assert found["cost_per_prediction"] == pytest.approx(2.0 * (100 * 5 + 20 * 50) / 1000 / 120)


def test_rates_and_latencies_are_of_the_last_minute_and_counts_of_all_time(scene: Scene) -> None:
    scene.send(100, latency_ms=50.0)
    scene.clock.advance(120)
    scene.send(60)
    found = scene.figures()
    assert found["requests"] == 160
    assert found["qps"] == pytest.approx(1.0)
    assert found["p99_ms"] == pytest.approx(5, rel=0.051)
    scene.clock.advance(120)
    assert scene.figures()["qps"] == 0
    assert scene.figures()["p95_ms"] is None


def test_a_batch_that_comes_twice_is_counted_once(scene: Scene) -> None:
    batch = scene.batch(10)
    scene.monitor.ingest(batch)
    scene.monitor.ingest(batch)
    assert scene.figures()["requests"] == 10


def damaged(scene: Scene) -> Iterable[bytes]:
    good = scene.batch(5)
    yield b""
    yield b"not arrow at all"
    yield good[: len(good) // 2]
    for facts in (
        {"epoch": -1},
        {"epoch": "x"},
        {"share": 1.5},
        {"share": "nan"},
        {"lost": -1},
        {"model_key": "../../etc"},
        {"version": "a/b"},
        {"role": "king"},
        {"status": 7},
        {"latency_ms": float("nan")},
        {"latency_ms": -1.0},
        {"at_s": float("inf")},
        {"key": None},
        {"prediction": "{"},
        {"latency_ms": "slow"},
    ):
        yield scene.batch(5, **facts)
    table = pa.ipc.open_stream(good).read_all()
    yield stream(table.drop_columns(["latency_ms"]))
    yield stream(table.replace_schema_metadata({}))
    yield stream(table.append_column("status", table["status"]))


def test_a_garbled_batch_is_refused_and_nothing_of_it_is_counted(scene: Scene) -> None:
    for batch in damaged(scene):
        with pytest.raises(Incompatible):
            scene.monitor.ingest(batch)
    assert scene.monitor.live()["endpoints"] == {}
    assert scene.monitor.live()["telemetry"]["batches"] == 0


def test_bytes_flipped_anywhere_are_refused_or_read_but_never_half_counted(scene: Scene) -> None:
    good = scene.batch(5)
    for place in range(0, len(good), 7):
        flipped = bytearray(good)
        flipped[place] ^= 0xFF
        before = scene.monitor.live()["telemetry"]["batches"]
        try:
            scene.monitor.ingest(bytes(flipped))
        except (Incompatible, TooLarge):
            assert scene.monitor.live()["telemetry"]["batches"] == before


def test_an_infinite_score_is_no_score_and_no_reason_to_refuse(scene: Scene) -> None:
    scene.send(5, score=float("inf"))
    assert scene.figures()["requests"] == 5


def test_lost_rows_are_shown_and_more_than_one_percent_is_an_alert_about_no_version(scene: Scene) -> None:
    scene.send(100, lost=150)
    assert scene.monitor.live()["endpoints"][KEY]["lost"] == 150
    (alert,) = scene.monitor.alerts(status="open")
    assert (alert.kind, alert.severity, alert.version) == ("slo", "info", None)
    assert scene.monitor.rollout(rollout(version=STABLE)).open_causes == ()


# Labels


def test_labels_give_accuracy_by_value_and_each_counts_once(scene: Scene) -> None:
    scene.send(4)
    items = [{"request_id": f"r{i}", "label": label} for i, label in enumerate((1, 1.0, True, "1"))]
    assert scene.monitor.feedback(items) == {"accepted": 4, "unknown": 0}
    assert scene.monitor.feedback(items) == {"accepted": 0, "unknown": 0}
    found = scene.figures()
    assert (found["labelled"], found["accuracy"]) == (4, 0.5)


def test_a_label_of_an_unknown_answer_is_counted_as_unknown(scene: Scene) -> None:
    assert scene.monitor.feedback([{"request_id": "nobody", "label": 1}]) == {"accepted": 0, "unknown": 1}


def test_a_label_that_overtakes_its_answer_is_counted_when_that_comes(scene: Scene) -> None:
    scene.monitor.feedback([{"request_id": "r0", "label": 1}])
    scene.send(1)
    assert scene.figures()["accuracy"] == 1.0


@pytest.mark.parametrize("label", [None, [1], {"a": 1}, float("nan"), float("inf")])
def test_a_label_that_is_no_scalar_is_refused_and_nothing_is_counted(scene: Scene, label: Any) -> None:
    scene.send(2)
    with pytest.raises(Incompatible, match="item 1"):
        scene.monitor.feedback([{"request_id": "r0", "label": 1}, {"request_id": "r1", "label": label}])
    assert scene.figures()["labelled"] == 0


def test_a_failed_answer_takes_no_label(scene: Scene) -> None:
    scene.send(1, status=500, prediction=None, score=None)
    assert scene.monitor.feedback([{"request_id": "r0", "label": 1}])["unknown"] == 1


def test_the_calibration_error_of_overconfident_answers_is_their_gap(scene: Scene) -> None:
    scene.send(1000, score=0.9)
    assert scene.figures()["ece"] is None
    scene.monitor.feedback([{"request_id": f"r{i}", "label": int(i % 10 < 6)} for i in range(1000)])
    assert scene.figures()["ece"] == pytest.approx(0.3, abs=0.01)


# Rollouts


def test_both_arms_are_counted_per_epoch_from_the_first_canary_request_on(scene: Scene) -> None:
    scene.send(40, deployment_id=DEPLOYMENT, epoch=2)
    for epoch, share in ((3, 0.05), (4, 0.25)):
        scene.send(90, deployment_id=DEPLOYMENT, epoch=epoch, share=share)
        status = [200] * 6 + [422] + [500] * 3
        scene.send(
            10, version=CANDIDATE, role="candidate", deployment_id=DEPLOYMENT, epoch=epoch, share=share, status=status
        )
    found = scene.monitor.rollout(rollout())
    assert [(arm.epoch, arm.share, arm.requests, arm.errors) for arm in found.stable] == [
        (3, 0.05, 90, 0),
        (4, 0.25, 90, 0),
    ]
    assert [(arm.version, arm.requests, arm.errors, arm.errors_in_a_row, arm.keys) for arm in found.candidate] == [
        (CANDIDATE, 10, 4, 4, 10)
    ] * 2
    assert sum(found.candidate[0].latency_counts) == 10


def test_a_success_ends_a_row_of_errors_and_a_row_goes_on_over_batches(scene: Scene) -> None:
    candidate = {"version": CANDIDATE, "role": "candidate", "deployment_id": DEPLOYMENT}
    scene.send(3, status=500, **candidate)
    scene.send(2, status=500, **candidate)
    assert scene.monitor.rollout(rollout()).candidate[-1].errors_in_a_row == 5
    scene.send(3, status=[500, 200, 500], **candidate)
    assert scene.monitor.rollout(rollout()).candidate[-1].errors_in_a_row == 1


def test_shadow_rows_are_the_candidates_and_one_label_judges_both_answers(scene: Scene) -> None:
    ids = [f"same{i}" for i in range(10)]
    scene.send(10, deployment_id=DEPLOYMENT, request_id=ids, key=ids)
    scene.monitor.feedback([{"request_id": name, "label": 1} for name in ids[:5]])
    scene.send(10, version=CANDIDATE, role="shadow", deployment_id=DEPLOYMENT, request_id=ids, key=ids, prediction="0")
    scene.monitor.feedback([{"request_id": name, "label": 1} for name in ids[5:]])
    found = scene.monitor.rollout(rollout(strategy="shadow"))
    assert (found.stable[0].labelled, found.stable[0].correct) == (10, 10)
    assert (found.candidate[0].labelled, found.candidate[0].correct) == (10, 0)
    assert (found.stable[0].labelled_keys, found.stable[0].wrong_keys) == (10, 0)
    assert (found.candidate[0].labelled_keys, found.candidate[0].wrong_keys) == (10, 10)


def test_a_person_counts_once_in_a_rollout_with_the_first_error_and_the_first_label(scene: Scene) -> None:
    facts = {"deployment_id": DEPLOYMENT}
    scene.send(4, key=["a", "a", "b", "c"], status=[500, 500, 500, 200], **facts)
    moved = {"version": CANDIDATE, "role": "candidate", "epoch": 4, "share": 0.25}
    scene.send(4, key=["a", "b", "c", "d"], status=[500, 200, 500, 200], **moved, **facts)
    labels = {"r3": 1, "r5": 0, "r7": 0}
    scene.monitor.feedback([{"request_id": name, "label": label} for name, label in labels.items()])
    scene.send(1, key="d", **moved, **facts)
    scene.monitor.feedback([{"request_id": "r8", "label": 1}])
    found = scene.monitor.rollout(rollout())
    assert [(a.error_keys, a.labelled_keys, a.wrong_keys) for a in found.stable] == [(2, 1, 0)]
    assert [(a.error_keys, a.labelled_keys, a.wrong_keys) for a in found.candidate] == [(1, 2, 2)]
    assert (found.candidate[0].errors, found.candidate[0].labelled, found.candidate[0].correct) == (2, 3, 1)


def test_a_candidate_that_serves_everyone_is_still_the_candidate(scene: Scene) -> None:
    scene.send(10, version=CANDIDATE, role="stable", deployment_id=DEPLOYMENT, epoch=5, share=1.0)
    found = scene.monitor.rollout(rollout(status="baking"))
    assert found.stable == ()
    assert found.candidate[0].requests == 10


def test_a_rollout_that_has_not_begun_has_no_arms(scene: Scene) -> None:
    scene.send(10, deployment_id=DEPLOYMENT)
    assert scene.monitor.rollout(rollout(first_epoch=None)).stable == ()


def test_rows_of_another_deployment_are_not_counted(scene: Scene) -> None:
    scene.send(10, deployment_id="dep-2")
    assert scene.monitor.rollout(rollout()).stable == ()


def test_after_a_restart_counts_begin_at_zero_and_the_judge_holds(scene: Scene) -> None:
    scene.send(900, deployment_id=DEPLOYMENT)
    scene.send(900, version=CANDIDATE, role="candidate", deployment_id=DEPLOYMENT)
    scene.restarted()
    scene.send(9, deployment_id=DEPLOYMENT)
    scene.send(1, version=CANDIDATE, role="candidate", deployment_id=DEPLOYMENT)
    deployment = rollout(step_started_s=scene.clock.now_s())
    assert decide(scene.monitor.rollout(deployment), deployment, scene.clock.now_s() + 61).verdict == "HOLD"


def test_an_open_alert_on_the_candidate_is_a_cause_until_someone_acknowledges_it(scene: Scene) -> None:
    alert = scene.monitor.raise_alert(
        cause="c", kind="drift", severity="warning", model_key=KEY, version=CANDIDATE, message="moved", evidence={}
    )
    assert scene.monitor.rollout(rollout()).open_causes == ("drift",)
    assert scene.monitor.rollout(rollout(version=STABLE)).open_causes == ()
    scene.monitor.acknowledge(alert.alert_id, reason="expected", by="bo")
    assert scene.monitor.rollout(rollout()).open_causes == ()


def test_groups_that_are_selected_differently_are_a_delta_once_that_is_sure(scene: Scene) -> None:
    candidate = {"version": CANDIDATE, "role": "candidate", "deployment_id": DEPLOYMENT}
    assert scene.monitor.rollout(rollout()).fairness_delta is None
    sexes = ["f", "m"] * 40
    scene.send(70, sex=sexes[:70], prediction=(["0", "1", "1", "1"] * 20)[:70], **candidate)
    assert 0 <= (scene.monitor.rollout(rollout()).fairness_delta or 0) < 0.1
    for _ in range(20):
        scene.send(80, sex=sexes, prediction=["0", "1", "1", "1"] * 20, **candidate)
    assert 0.3 < (scene.monitor.rollout(rollout()).fairness_delta or 0) < 0.5


def test_one_person_of_a_group_asking_again_is_no_delta(scene: Scene) -> None:
    candidate = {"version": CANDIDATE, "role": "candidate", "deployment_id": DEPLOYMENT}
    for _ in range(20):
        scene.send(80, key=["k0", "k1"] * 40, sex=["f", "m"] * 40, prediction=["0", "1"] * 40, **candidate)
    assert scene.monitor.rollout(rollout()).fairness_delta is None


# Alerts


def test_a_version_that_fails_often_is_one_critical_alert(scene: Scene) -> None:
    scene.send(200, status=[500] * 20 + [200] * 180)
    scene.send(200, status=[500] * 20 + [200] * 180)
    (alert,) = scene.monitor.alerts(status="open")
    assert (alert.kind, alert.severity, alert.version) == ("slo", "critical", STABLE)
    assert alert.evidence["errors"] == 20
    assert len(scene.journal.events(types=["MLDL_VIOLATION"])) == 1


def test_one_error_among_few_requests_is_no_alert(scene: Scene) -> None:
    scene.send(20, status=[500] + [200] * 19)
    assert scene.causes() == set()


def test_older_callers_are_noticed_in_one_window_and_reported_once(scene: Scene) -> None:
    scene.send(100)
    assert scene.causes() == set()
    for _ in range(5):
        scene.send(100, age=scene.random.normal(60, 10, 100))
    (alert,) = scene.monitor.alerts(status="open")
    assert (alert.cause, alert.kind, alert.severity) == (f"drift:{KEY}:{STABLE}", "drift", "warning")
    assert re.search(r"mean of age (39|40)\S* → (59|60|61)", alert.message)
    worst = alert.evidence["columns"][0]
    assert worst["column"] == "age"
    assert worst["p"] <= worst["threshold"]
    assert len(scene.journal.events(types=["MLDL_DRIFT_ALERT"])) == 1


def test_a_month_without_drift_keeps_to_the_budget_of_false_alarms(tmp_path: Path) -> None:
    budget, windows = 16, 400
    scene = Scene(tmp_path, f"mldl: {{monitoring: {{window_rows: 50, false_alarms_per_month: {budget}}}}}")
    for number in range(windows):
        times = (number + np.arange(1, 51) / 50) * 30 * 86_400 / windows
        scene.send(50, at_s=times.tolist())
    found = scene.figures()["drift"]
    assert found["windows"] == windows
    assert 0 < found["windows_drifted"] <= budget + 3 * budget**0.5  # expected: the budget at most


def test_a_drift_that_goes_on_after_it_was_resolved_is_a_new_alert(scene: Scene) -> None:
    scene.send(100, age=90.0)
    (first,) = scene.monitor.alerts(status="open")
    scene.monitor.resolve(first.alert_id, reason="known", by="bo")
    scene.clock.advance(60)
    scene.send(100, age=90.0)
    (second,) = scene.monitor.alerts(status="open")
    assert second.alert_id != first.alert_id


def test_one_person_asking_again_and_again_is_no_drift(scene: Scene) -> None:
    for _ in range(10):
        scene.send(100, key="k0", age=25.0)
    assert scene.causes() == set()
    assert scene.figures()["drift"]["windows"] == 0


def test_failed_requests_are_no_drift(scene: Scene) -> None:
    scene.send(300, version=CANDIDATE, role="candidate", status=422, prediction=None, score=None, age=None)
    assert scene.causes() == set()


def test_a_version_without_reference_rows_says_so_and_is_counted_all_the_same(scene: Scene) -> None:
    scene.send(300, version="9.9.9")
    found = scene.figures("9.9.9")
    assert found["requests"] == 300
    assert "9.9.9" in found["drift"]["why_not"]


def test_an_alert_that_cannot_be_written_is_written_with_a_later_batch(scene: Scene) -> None:
    scene.journal.away = True
    scene.send(200, status=500)
    scene.journal.away = False
    assert scene.causes() == set()
    scene.send(1)
    assert scene.causes() == {f"slo:errors:{KEY}:{STABLE}"}


# History and figures of the system


def test_rows_reach_parquet_after_ten_seconds_whole_and_by_day(scene: Scene, tmp_path: Path) -> None:
    scene.send(30)
    assert not (tmp_path / "history").exists()
    scene.clock.advance(10)
    scene.send(5, deployment_id=DEPLOYMENT)
    (file,) = (tmp_path / "history" / KEY).rglob("*.parquet")
    assert file.parent.name == "day=2023-11-14"
    table = pq.ParquetFile(file).read()
    assert table.num_rows == 35
    assert set(table["deployment_id"].to_pylist()) == {"", DEPLOYMENT}
    assert {"f.age", "prediction", "version", "epoch"} <= set(table.column_names)


def test_a_history_file_has_five_thousand_rows_at_most(scene: Scene, tmp_path: Path) -> None:
    scene.send(12_000)
    rows = [pq.ParquetFile(file).metadata.num_rows for file in (tmp_path / "history").rglob("*.parquet")]
    assert sorted(rows) == [2000, 5000, 5000]


def test_a_history_that_cannot_be_written_loses_rows_and_nothing_else(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file where the folder should be")
    scene.send(5000)
    assert scene.figures()["requests"] == 5000
    assert scene.monitor.live()["telemetry"]["history_rows_lost"] == 5000


def test_the_systems_figures_come_from_the_journal(scene: Scene) -> None:
    assert scene.monitor.live()["kpis"]["canary_pass_rate"] is None
    for number, status in enumerate(("succeeded", "succeeded", "rolled_back", "canary")):
        body = rollout(deployment_id=f"dep-{number}", status=status).model_dump(mode="json")
        write = Write(kind="deployment", key=f"dep-{number}", expected_version=0, body=body)
        kind = "MLDL_DEPLOYMENT_ROLLED_BACK" if status == "rolled_back" else "MLDL_DEPLOYMENT_STEPPED"
        scene.journal.append([write], [fact(kind)], actor="deployments", reason="test")
    scene.send(100, age=90.0)
    kpis = scene.monitor.live()["kpis"]
    assert kpis["canary_pass_rate"] == pytest.approx(2 / 3)
    assert (kpis["rollbacks"], kpis["drift_alerts_7d"], kpis["violations"]) == (1, 1, 0)
    scene.clock.advance(8 * 86_400)
    assert scene.monitor.live()["kpis"]["drift_alerts_7d"] == 0


def fact(kind: str) -> Any:
    from contracts.events import Fact

    return Fact.model_validate({"type": kind, "subject": KEY})


def test_live_figures_are_json(scene: Scene) -> None:
    scene.send(300)
    assert json.loads(json.dumps(scene.monitor.live(), allow_nan=False))["endpoints"][KEY]


def test_prometheus_gets_every_series_with_help_and_type_and_histograms_that_add_up(scene: Scene) -> None:
    scene.send(100, latency_ms=float("12"))
    scene.send(10, latency_ms=120_000.0, status=500)
    lines = scene.monitor.prometheus().splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    typed = {line.split(" ")[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split(" ")[2] for line in lines if line.startswith("# HELP")} == typed
    assert all(any(name in {t, f"{t}_bucket", f"{t}_sum", f"{t}_count"} for t in typed) for name in names)
    labels = f'model_key="{KEY}",version="{STABLE}",role="stable"'
    assert f"mldl_requests_total{{{labels}}} 110" in lines
    assert f"mldl_request_errors_total{{{labels}}} 10" in lines
    buckets = [line for line in lines if line.startswith("mldl_request_latency_seconds_bucket")]
    counts = [int(line.rsplit(" ", 1)[1]) for line in buckets]
    assert counts == sorted(counts)
    assert counts[-2:] == [100, 110]
    assert 'le="+Inf"' in buckets[-1]
    assert f"mldl_request_latency_seconds_count{{{labels}}} 110" in lines


def test_without_traffic_prometheus_text_is_still_whole(scene: Scene) -> None:
    text = scene.monitor.prometheus()
    assert text.startswith("# HELP")
    assert text.endswith("\n")


def test_figures_of_a_stream_can_be_read_while_batches_come(scene: Scene) -> None:
    from concurrent.futures import Future, ThreadPoolExecutor

    batches = [scene.batch(50, deployment_id=DEPLOYMENT) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        work: list[Future[Any]] = [pool.submit(scene.monitor.ingest, batch) for batch in batches]
        work += [pool.submit(scene.monitor.prometheus) for _ in range(10)]
        work += [pool.submit(scene.monitor.rollout, rollout()) for _ in range(10)]
        for one in work:
            one.result()
    assert scene.figures()["requests"] == 2000
