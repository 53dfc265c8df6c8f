"""Service levels: what burns a budget, when somebody is told, when it is over, and what a restart keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.errors import NotFound
from contracts.slos import SilenceRequest, Slo, SloView
from mldl_ray.monitoring.budget import Ledger, Tally, burns
from tests.rooms.test_monitor_actor import KEY, STABLE, Scene

DAY_S = 86_400.0
HOUR_S = 3600.0


def objective(**fields: Any) -> Slo:
    return Slo.model_validate({"name": "up", "model_key": KEY, "kind": "availability"} | fields)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def set_slo(scene: Scene, **fields: Any) -> SloView:
    return scene.monitor.set_slo(objective(**fields), reason="asked for", by="ann")


def view(scene: Scene) -> SloView:
    return scene.monitor.slos()[0]


def failing(scene: Scene, count: int = 100) -> None:
    scene.send(count, status=[500] * count, prediction=[None] * count)


def test_burn_needs_the_long_and_the_short_window(scene: Scene) -> None:
    ledger, slo = Ledger(30 * DAY_S), objective()
    ledger.add(0.0, bad=200, events=1000)
    assert burns(ledger, slo, 60.0)[0].burning
    assert not burns(ledger, slo, 1200.0)[0].burning  # the last five minutes were quiet
    ledger.add(1200.0, bad=0, events=1000)
    assert not burns(ledger, slo, 1200.0)[0].burning


def test_slow_burn_is_a_warning_and_a_few_requests_are_nothing() -> None:
    ledger, few, slo = Ledger(30 * DAY_S), Ledger(30 * DAY_S), objective()
    for minute in range(360):
        ledger.add(minute * 60.0, bad=8, events=100)
    critical, warning = burns(ledger, slo, 359 * 60.0)
    assert (critical.burning, warning.burning) == (False, True)
    few.add(0.0, bad=1, events=3)
    assert not any(burn.burning for burn in burns(few, slo, 0.0))


def test_windows_are_scaled_to_the_slos_own() -> None:
    spans = [(burn.long_s, burn.short_s) for burn in burns(Ledger(30 * DAY_S), objective(), 0.0)]
    assert spans == [(HOUR_S, 300.0), (6 * HOUR_S, 1800.0)]
    week = objective(window_s=7 * DAY_S)
    assert burns(Ledger(7 * DAY_S), week, 0.0)[0].long_s == pytest.approx(HOUR_S * 7 / 30)


def test_ledger_keeps_the_window_and_no_more_in_a_fixed_size() -> None:
    ledger = Ledger(DAY_S)
    for at_s in range(0, int(3 * DAY_S), 60):
        ledger.add(float(at_s), bad=1, events=10)
    tally = ledger.within(3 * DAY_S - 60, DAY_S)
    assert tally == Tally(tally.events // 10, tally.events)
    assert tally.events == pytest.approx(14_400, rel=0.01)
    assert Ledger.of(ledger.to_json()).within(3 * DAY_S - 60, DAY_S) == tally


def test_errors_after_the_slo_was_set_use_its_budget(scene: Scene) -> None:
    failing(scene, 50)
    set_slo(scene, objective=0.9)
    scene.send(980)
    failing(scene, 20)
    scene.clock.advance(2)
    found = view(scene)
    assert (found.bad, found.events) == (20, 1000)
    assert found.attained == pytest.approx(0.98)
    assert found.budget_left == pytest.approx(0.8)


def test_a_burning_slo_alerts_once_and_is_over_by_itself(scene: Scene) -> None:
    set_slo(scene)
    scene.send(500)
    failing(scene, 500)
    scene.clock.advance(2)
    scene.monitor.tick()
    (alert,) = [one for one in scene.monitor.alerts(status="open") if one.cause == "slo:up"]
    assert (alert.severity, view(scene).alert_id) == ("critical", alert.alert_id)
    for _ in range(8):
        scene.clock.advance(100)
        scene.send(500)
        scene.monitor.tick()
    over = scene.monitor.alert(alert.alert_id)
    assert (over.status, over.resolved_by) == ("resolved", "monitor")
    assert str(over.reason).startswith("recovered")


def test_a_burst_of_plain_errors_is_over_by_itself_too(scene: Scene) -> None:
    scene.send(1000, status=[500] * 900 + [200] * 100)
    (alert,) = scene.monitor.alerts(status="open")
    for _ in range(4):
        scene.clock.advance(61)
        scene.send(100)
    assert scene.monitor.alert(alert.alert_id).status == "resolved"


@pytest.mark.parametrize(
    ("fields", "facts", "bad"),
    [
        ({"kind": "latency", "bound": 10.0}, {"latency_ms": [5.0] * 90 + [50.0] * 10}, 10),
        ({"kind": "cost", "bound": 0.001}, {"latency_ms": 50.0}, 1),
        ({"kind": "cost", "bound": 1.0}, {"latency_ms": 50.0}, 0),
        ({"kind": "fairness", "bound": 0.1}, {"sex": ["f", "m"] * 50, "prediction": ["1", "0"] * 50}, 1),
        ({"kind": "fairness", "bound": 0.1}, {"sex": ["f", "m"] * 50, "prediction": ["1"] * 100}, 0),
    ],
)
def test_each_kind_counts_its_own_bad_events(
    scene: Scene, fields: dict[str, Any], facts: dict[str, Any], bad: int
) -> None:
    set_slo(scene, **fields)
    scene.send(100, **facts)
    scene.clock.advance(60)
    found = view(scene)
    assert found.events > 0
    assert found.bad == bad


def test_quality_and_calibration_are_counted_from_labels(scene: Scene) -> None:
    set_slo(scene, kind="quality", objective=0.9)
    set_slo(scene, name="calibrated", kind="calibration", bound=0.05)
    scene.send(600, score=0.95)
    scene.monitor.feedback([{"request_id": f"r{i}", "label": int(i % 2)} for i in range(600)])
    scene.clock.advance(60)
    calibrated, quality = scene.monitor.slos()
    assert (quality.bad, quality.events) == (300, 600)
    assert (calibrated.bad, calibrated.events) == (1, 1)


def test_budget_survives_a_restart(scene: Scene) -> None:
    set_slo(scene)
    failing(scene, 40)
    scene.clock.advance(11)
    scene.monitor.tick()
    before = view(scene)
    scene.restarted()
    assert view(scene).model_copy(update={"alert_id": before.alert_id}) == before


def test_damaged_ledger_begins_anew(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    set_slo(scene)
    (scene.settings.home / "slos.json").write_text("{half")
    scene.restarted()
    assert view(scene).events == 0
    assert "cannot be read" in caplog.text


def test_changed_objective_keeps_what_was_counted_and_a_changed_kind_does_not(scene: Scene) -> None:
    set_slo(scene)
    scene.send(100)
    scene.clock.advance(2)
    assert view(scene).events == 100
    assert set_slo(scene, objective=0.5).events == 100
    assert set_slo(scene, kind="latency", bound=5.0).events == 0


def test_slo_of_no_model_of_no_bound_or_of_no_name_is_refused(scene: Scene) -> None:
    with pytest.raises(NotFound, match="nobody"):
        set_slo(scene, model_key="nobody")
    with pytest.raises(NotFound):
        scene.monitor.remove_slo("none", reason="x", by="ann")
    for wrong in ({"kind": "latency"}, {"bound": 3.0}, {"objective": 1.0}, {"window_s": 60.0}):
        with pytest.raises(ValidationError):
            objective(**wrong)


def test_removed_slo_is_gone_and_its_alert_is_over(scene: Scene) -> None:
    set_slo(scene)
    failing(scene, 500)
    scene.clock.advance(2)
    scene.monitor.tick()
    scene.monitor.remove_slo("up", reason="not needed", by="ann")
    assert scene.monitor.slos() == []
    scene.clock.advance(2)
    scene.monitor.tick()
    scene.clock.advance(70)
    scene.monitor.tick()
    assert "slo:up" not in scene.causes()
    assert [event.type for event in scene.journal.events(types=["MLDL_SLO_CHANGED"])] == ["MLDL_SLO_CHANGED"] * 2


def test_budget_and_burn_are_in_both_metrics(scene: Scene) -> None:
    set_slo(scene, objective=0.75)
    scene.send(98)
    failing(scene, 2)
    scene.clock.advance(2)
    scene.monitor.tick()
    assert scene.monitor.live()["slos"]["up"]["budget_left"] == pytest.approx(0.92)
    text = scene.monitor.prometheus()
    assert 'mldl_slo_budget_left_ratio{slo="up",model_key="churn",kind="availability"} 0.92' in text
    assert "mldl_slo_burn_rate" in text


def test_silenced_alert_is_listed_and_told_of_when_the_silence_ends(scene: Scene) -> None:
    scene.monitor.silence(SilenceRequest(model_key=KEY, lasts_s=100, reason="at night"), by="ann")
    alert = scene.monitor.raise_alert(
        cause="drift:x", kind="drift", severity="warning", model_key=KEY, version=STABLE, message="moved"
    )
    assert scene.monitor.alerts(status="open") == [alert]
    assert scene.journal.events(types=["MLDL_DRIFT_ALERT"]) == []
    scene.clock.advance(101)
    scene.monitor.tick()
    (event,) = scene.journal.events(types=["MLDL_DRIFT_ALERT"])
    assert event.data["alert_id"] == alert.alert_id
