"""Searches and what comes of them, in one process: the rules that hold wherever trials run."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible, Refused
from contracts.ports import SearchOutcome
from contracts.records import TrialRecord
from contracts.specs import DataRef
from mldl_ray.adapters import load_adapter
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.blobs.artifact import fetch_artifact, read_manifest
from mldl_ray.blobs.tables import table_from_parquet
from mldl_ray.clock import SettableClock, SystemClock
from mldl_ray.settings import Defaults, load_defaults
from mldl_ray.training.finish import Finished, Source
from mldl_ray.training.job import Earlier, Ids, read_job, train, with_defaults
from mldl_ray.training.ledger import Ledger
from mldl_ray.training.plan import Plan
from mldl_ray.training.problem import Problem
from mldl_ray.training.rows import TrainingRows
from mldl_ray.training.serial import SerialTrials
from mldl_ray.training.trial import Trial

IDS = Ids("job-1", "eval-1")


@cache
def table(rows: int = 600) -> pa.Table:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=rows), rng.normal(size=rows)
    margin = 1.5 * a - b + rng.logistic(size=rows)
    colour = [("red", "blue", None)[i % 3] for i in range(rows)]
    return pa.table({"a": a, "b": b, "colour": colour, "y": np.where(margin > 0, "in", "out"), "value": 2 * a + b})


def plan_of(*, task: str = "classification", roles: dict[str, Any] | None = None, **parts: Any) -> Plan:
    target = "y" if task == "classification" else "value"
    ref = DataRef.model_validate({"uri": "x", "target": target, "exclude": ("value", "y")} | (roles or {}))
    base: dict[str, Any] = {
        "spec": {"model_key": "m", "family": "lr", "task": task},
        "cv": {"folds": 3},
        "hpo": {"strategy": "random", "max_trials": 4},
    }
    return Plan.of(read_job(base | parts), TrainingRows.of(table(), ref, task), Defaults())  # type: ignore[arg-type]


def run(plan: Plan, blobs: MemoryBlobs | None = None, **parts: Any) -> tuple[Finished, SearchOutcome]:
    return train(
        plan,
        Source("d", "v1", "sha256:d"),
        IDS,
        trials=SerialTrials(SystemClock()),
        blobs=blobs or MemoryBlobs(),
        clock=SystemClock(),
        **parts,
    )


def search(plan: Plan, clock: Any = None, **parts: Any) -> SearchOutcome:
    clock = clock or SystemClock()
    problem = plan.problem(started_s=clock.now_s(), **parts)
    return SerialTrials(clock).search(problem, lambda _: None)


# Problems


def test_a_folds_encoder_never_sees_the_rows_that_judge() -> None:
    plan = plan_of()
    problem = plan.problem(started_s=0)
    values = np.array(plan.train.features["a"].to_pylist())
    for fold, split in zip(problem.folds, plan.folds, strict=True):
        assert fold.encoder.centre.shape == (fold.train.M.shape[1],)
        assert fold.encoder.shift[0] == pytest.approx(values[split.train].mean())
        assert fold.judge.M.shape[0] == len(split.judge)


def test_rows_that_tell_early_stopping_when_to_stop_are_training_rows_that_are_not_fitted() -> None:
    plan = plan_of(spec={"model_key": "m", "family": "xgb"})
    for fold, split in zip(plan.problem(started_s=0).folds, plan.folds, strict=True):
        assert fold.rounds is not None
        assert len(fold.rounds.M) + len(fold.train.M) == len(split.train)


def test_the_familys_defaults_come_first_then_what_won_elsewhere() -> None:
    plan = plan_of(hpo={"strategy": "bayes", "max_trials": 4})
    problem = plan.problem(started_s=0, warm=[{"C": 0.5, "tol": 1e-3}, {"C": 1e9}, {"C": 1.0}])
    assert problem.points == ({"C": 1.0}, {"C": 0.5})


def test_a_grid_that_is_too_large_is_tried_in_a_seeded_order() -> None:
    hpo = {"strategy": "grid", "max_trials": 3}
    one, two = (plan_of(hpo=hpo, seed=seed).problem(started_s=0).points for seed in (1, 1))
    assert one == two
    assert len(one) == 3
    assert len(plan_of(hpo={"strategy": "grid"}).problem(started_s=0).points) == 5


def test_a_search_with_everything_fixed_is_one_trial() -> None:
    spec = {"model_key": "m", "family": "lr", "hyperparams": {"C": 0.1}}
    for strategy in ("bayes", "random", "grid"):
        outcome = search(plan_of(spec=spec, hpo={"strategy": strategy, "max_trials": 9}))
        assert [trial.config for trial in outcome.trials] == [{}]


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"spec": {"model_key": "m", "family": "oracle"}}, "no family 'oracle'"),
        ({"spec": {"model_key": "m", "family": "lr", "task": "regression"}}, "cannot do 'regression'"),
        ({"spec": {"model_key": "m", "family": "lr", "hyperparams": {"depth": 1}}}, "no hyperparameter 'depth'"),
        ({"spec": {"model_key": "m", "family": "xgb", "adapter": "adapters.lr.LRAdapter"}}, "spec.adapter is"),
        ({"hpo": {"metric": "rmse"}}, "not for classification"),
        ({"hpo": {"metric": "luck"}}, "no metric 'luck'"),
        ({"cv": {"folds": 40, "strategy": "group"}}, "needs group_column"),
    ],
)
def test_a_job_that_cannot_run_is_refused_before_anything_is_fitted(parts: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        plan_of(**parts)


def test_the_seeds_name_of_an_adapter_is_accepted_for_its_family() -> None:
    assert plan_of(spec={"model_key": "m", "family": "xgb", "adapter": "adapters.xgb.XGBAdapter"}).proposals.space


def test_what_a_job_does_not_say_comes_from_the_configuration() -> None:
    defaults = load_defaults(
        "mldl: {training: {cv: {folds: 7}, hpo: {max_trials: 9, strategy: random}}, calibration: {default: platt}}"
    )
    job = with_defaults(read_job({"spec": {"model_key": "m", "family": "lr"}, "hpo": {"strategy": "grid"}}), defaults)
    assert (job.cv.folds, job.hpo.max_trials, job.hpo.strategy, job.calibration) == (7, 9, "grid", "platt")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"spec": {"family": "lr"}}, "spec.model_key: Field required"),
        ({"spec": {"model_key": "m", "family": "lr"}, "folds": 3}, "folds: there is no such field"),
        ({"spec": {"model_key": "m", "family": "lr"}, "cv": {"folds": 1}}, "cv.folds: .* \\(got 1\\)"),
        ([1], "a job is an object"),
    ],
)
def test_a_wrong_document_is_refused_by_field(document: Any, complaint: str) -> None:
    with pytest.raises(Incompatible, match=complaint):
        read_job(document)


# Searches


@pytest.mark.parametrize("strategy", ["bayes", "random", "grid", "hyperband"])
@pytest.mark.parametrize("family", ["lr", "xgb"])
def test_every_strategy_finds_a_configuration(strategy: str, family: str) -> None:
    space = {"learning_rate": {"kind": "float", "low": 0.05, "high": 0.3}} if family == "xgb" else None
    spec = {"model_key": "m", "family": family, "hyperparams": {"n_estimators": 9} if family == "xgb" else {}}
    outcome = search(plan_of(spec=spec, hpo={"strategy": strategy, "max_trials": 5, "search_space": space}))
    assert outcome.best is not None
    assert outcome.best.score == max(trial.score or 0 for trial in outcome.trials if trial.status == "completed")
    assert 1 <= len(outcome.trials) <= 5


def test_hyperband_hands_out_the_familys_resource_and_the_winner_gets_all_of_it() -> None:
    space = {"n_estimators": {"kind": "int", "low": 1, "high": 27}, "eta": {"kind": "float", "low": 0.01, "high": 0.3}}
    hpo = {"strategy": "hyperband", "max_trials": 9, "search_space": space}
    plan = plan_of(spec={"model_key": "m", "family": "xgb"}, hpo=hpo)
    assert (plan.resource, plan.rungs) == ("n_estimators", (3.0, 9.0, 27.0))
    finished, outcome = run(plan)
    assert finished.bundle.hyperparams["n_estimators"] == 27
    assert {len(trial.fold_scores) for trial in outcome.trials} & {1, 2}


def test_less_is_a_smaller_loss_for_metrics_where_less_is_better() -> None:
    outcome = search(plan_of(hpo={"strategy": "grid", "metric": "logloss"}))
    assert outcome.best is not None
    assert outcome.best.score == min(trial.score or math.inf for trial in outcome.trials)


def test_losing_configurations_are_stopped_after_their_first_folds() -> None:
    space = {"C": {"kind": "float", "low": 1e-9, "high": 10, "log": True}}
    hpo = {"strategy": "random", "max_trials": 25, "search_space": space, "metric": "logloss"}
    stopping = search(plan_of(hpo=hpo, cv={"folds": 5}))
    patient = search(plan_of(hpo=hpo | {"early_stop": False}, cv={"folds": 5}))
    assert stopping.best is not None
    assert patient.best is not None
    assert stopping.best.score == pytest.approx(patient.best.score, abs=0.002)
    assert {trial.status for trial in patient.trials} == {"completed"}
    assert any(trial.status == "pruned" and len(trial.fold_scores) < 3 for trial in stopping.trials)


def test_a_search_that_is_taken_up_again_decides_as_one_that_was_not_interrupted() -> None:
    hpo = {"strategy": "random", "max_trials": 12, "metric": "logloss"}
    plan = plan_of(hpo=hpo, cv={"folds": 5})
    whole = search(plan)
    resumed = search(plan, done=whole.trials[:5])
    assert essence(resumed) == essence(whole)


def essence(outcome: SearchOutcome) -> list[tuple[Any, ...]]:
    return [(trial.config, trial.fold_scores, trial.status) for trial in outcome.trials]


CONDITIONAL = {
    "solver": {"kind": "categorical", "choices": ["lbfgs", "saga"]},
    "l1_ratio": {"kind": "float", "low": 0.1, "high": 0.9, "when": {"solver": ["saga"]}},
    "C": {"kind": "float", "low": 1e-3, "high": 10, "log": True},
}


@pytest.mark.parametrize("strategy", ["bayes", "random", "grid", "hyperband"])
def test_every_strategy_keeps_the_conditions_of_axes(strategy: str) -> None:
    hpo = {"strategy": strategy, "max_trials": 14, "search_space": CONDITIONAL, "early_stop": False}
    outcome = search(plan_of(hpo=hpo))
    assert all(("l1_ratio" in t.config) == (t.config["solver"] == "saga") for t in outcome.trials)
    assert {trial.config["solver"] for trial in outcome.trials} == {"lbfgs", "saga"}
    assert not [trial.error for trial in outcome.trials if trial.status == "failed"]


@pytest.mark.parametrize("at", [1, 11, 15])
def test_proposals_of_a_search_that_is_taken_up_again_are_those_of_one_that_was_not_interrupted(at: int) -> None:
    plan = plan_of(hpo={"strategy": "bayes", "max_trials": 16, "search_space": CONDITIONAL})
    whole = search(plan)
    assert essence(search(plan, done=whole.trials[:at])) == essence(whole)
    assert len({str(trial.config) for trial in whole.trials}) == 16


def test_hyperband_refuses_conditions_on_what_it_hands_out() -> None:
    trees = {"kind": "int", "low": 1, "high": 27}
    depth = {"kind": "int", "low": 1, "high": 3, "when": {"n_estimators": [27]}}
    hpo = {"strategy": "hyperband", "search_space": {"n_estimators": trees, "max_depth": depth}}
    with pytest.raises(Incompatible, match="max_depth cannot hang on it"):
        plan_of(spec={"model_key": "m", "family": "xgb"}, hpo=hpo)


@pytest.mark.parametrize("strategy", ["random", "hyperband"])
def test_every_trial_records_all_figures_of_the_task(strategy: str) -> None:
    outcome = search(plan_of(hpo={"strategy": strategy, "max_trials": 3, "metric": "brier"}))
    for trial in outcome.trials:
        assert set(trial.metrics) == {"f1", "auroc", "logloss", "calibration", "precision", "brier"}
        assert trial.metrics["brier"] == trial.score
        assert trial.fit_seconds is not None
    assert len({trial.metrics["auroc"] for trial in outcome.trials}) > 1


def test_a_configuration_that_breaks_down_is_recorded_and_the_search_goes_on() -> None:
    space = {"solver": {"kind": "categorical", "choices": ["lbfgs", "saga"]}}
    spec = {"model_key": "m", "family": "lr", "hyperparams": {"l1_ratio": 0.5}}
    outcome = search(plan_of(spec=spec, hpo={"strategy": "grid", "search_space": space}))
    failed, completed = sorted(outcome.trials, key=lambda trial: trial.status != "failed")
    assert failed.config == {"solver": "lbfgs"}
    assert failed.error is not None
    assert "lr broke down" in failed.error
    assert completed == outcome.best


def test_when_every_configuration_breaks_down_the_first_reason_is_given() -> None:
    spec = {"model_key": "m", "family": "lr", "hyperparams": {"l1_ratio": 0.5, "solver": "lbfgs"}}
    with pytest.raises(Incompatible, match=r"no configuration could be fitted .* lr broke down"):
        run(plan_of(spec=spec))


def slow(clock: SettableClock, seconds: float) -> Callable[[Trial], None]:
    real = Trial.advance

    def advance(self: Trial) -> None:
        clock.advance(seconds)
        real(self)
        self.step_s[-1] = seconds

    return advance


@pytest.mark.parametrize("budget", [{"max_seconds": 100}, {"cost_units": 0.01}])
def test_a_budget_ends_a_search_before_it_is_broken(budget: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SettableClock()
    monkeypatch.setattr(Trial, "advance", slow(clock, seconds=2.0))
    plan = plan_of(budget=budget, hpo={"strategy": "random", "max_trials": 50, "early_stop": False})
    began = clock.now_s()
    outcome = search(plan, clock)
    assert outcome.budget_exhausted
    assert 5 < len(outcome.trials) < 50
    assert clock.now_s() - began < 95
    assert outcome.best is not None


def test_a_budget_of_trials_is_reached_and_said_to_be() -> None:
    _, outcome = run(plan_of(budget={"max_trials": 2}))
    assert len(outcome.trials) == 2
    assert outcome.budget_exhausted
    assert not run(plan_of(budget={"max_trials": 4}))[1].budget_exhausted


def test_a_budget_that_ends_before_one_fold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SettableClock()
    plan = plan_of(budget={"max_seconds": 1})
    clock.advance(-10)
    problem = plan.problem(started_s=clock.now_s())
    clock.advance(10)
    assert not SerialTrials(clock).search(problem, lambda _: None).trials
    with pytest.raises(Refused, match="the budget end"):
        run(plan_of(budget={"max_seconds": 1e-9}))


def test_the_ledger_counts_what_running_trials_hold() -> None:
    clock = SettableClock()
    heard: list[TrialRecord] = []
    ledger = Ledger(plan_of().problem(started_s=clock.now_s()), clock, heard.append)
    ledger.began("one", {"C": 1.0}, 0)
    clock.advance(5)
    ledger.began("two", {"C": 2.0}, 1)
    clock.advance(1)
    assert ledger.cpu_seconds == 7
    ledger.ended("one")
    assert [(record.trial_id, record.status, record.seconds) for record in heard] == [("one", "pruned", 6.0)]


# What comes of them


def test_a_job_leaves_a_complete_artifact_and_a_complete_record() -> None:
    blobs = MemoryBlobs()
    roles = {"sensitive": ("colour",)}
    spec = {"model_key": "m", "family": "lr", "tags": ["t"], "feature_view": "view_v1"}
    finished, outcome = run(plan_of(spec=spec, roles=roles), blobs)
    bundle = finished.bundle
    manifest = read_manifest(blobs, bundle.validation_hash)
    assert bundle.artifact_uri == f"blobs:{bundle.validation_hash}"
    assert {"adapter.json", "serving.json", "form.onnx", "reference.parquet", "evaluation.json", "card.html"} <= set(
        manifest["files"]
    )
    reference = table_from_parquet(blobs.get(manifest["files"]["reference.parquet"]["digest"]))
    assert reference.column_names == ["f.a", "f.b", "f.colour", "score", "prediction", "loss"]
    assert reference.num_rows == 120
    assert bundle.version is None
    assert {"f1", "auroc", "logloss", "calibration", "precision"} <= set(bundle.metrics) & set(bundle.intervals)
    assert bundle.calibration.method == "isotonic"
    assert bundle.calibration.ece_uncalibrated is not None
    assert bundle.fairness.delta is not None
    assert bundle.robustness.noise_sensitivity is not None
    assert bundle.lineage.model_dump(exclude={"trainer_hash"}) == {
        "dataset_id": "d",
        "version": "v1",
        "feature_view": "view_v1",
        "dataset_digest": "sha256:d",
        "job_id": "job-1",
        "parent": None,
    }
    assert (bundle.tags, bundle.evaluation_id) == (("t",), "eval-1")
    assert bundle.serving_form is not None
    assert bundle.serving_form.kind == "onnx"
    assert bundle.cost.cost_units == pytest.approx(bundle.cost.cpu_seconds * 0.0001)
    assert bundle.cv_score == outcome.best.score if outcome.best else None
    assert [column["name"] for column in bundle.input_schema["columns"]] == ["a", "b", "colour"]


def test_the_hold_out_takes_no_part_in_learning(tmp_path: Any) -> None:
    """Shuffled labels in the hold-out change its figures, and not one byte of the model."""
    plan = plan_of()
    blobs = MemoryBlobs()
    honest, _ = run(plan, blobs)
    held = plan.held_out
    shuffled = held.take(np.arange(len(held)))
    order = np.random.default_rng(1).permutation(len(held))
    shuffled.__dict__["y"] = held.y[order]
    twisted = Plan(**{**plan.__dict__, "held_out": shuffled})
    other, _ = run(twisted, blobs)
    files = [read_manifest(blobs, f.bundle.validation_hash)["files"] for f in (honest, other)]
    for name in ("adapter.json", "form.onnx", "serving.json"):
        assert files[0][name]["digest"] == files[1][name]["digest"]
    assert other.bundle.metrics["auroc"] < honest.bundle.metrics["auroc"] - 0.1


def test_the_same_job_gives_the_same_model_and_another_seed_another_trainer_hash() -> None:
    one, two = (run(plan_of())[0].bundle for _ in range(2))
    assert one.hyperparams == two.hyperparams
    assert one.metrics == two.metrics
    assert one.lineage.trainer_hash == two.lineage.trainer_hash
    assert run(plan_of(seed=1))[0].bundle.lineage.trainer_hash != one.lineage.trainer_hash


def test_a_model_answers_the_labels_that_it_was_given(tmp_path: Any) -> None:
    blobs = MemoryBlobs()
    finished, _ = run(plan_of(spec={"model_key": "m", "family": "xgb", "hyperparams": {"n_estimators": 20}}), blobs)
    fetch_artifact(blobs, finished.bundle.validation_hash, tmp_path / "a")
    model = load_adapter(tmp_path / "a")
    assert model.classes == ["in", "out"]
    assert set(model.predict(table().select(["a", "b", "colour"]))) == {"in", "out"}


@pytest.mark.parametrize("method", ["isotonic", "platt", "temperature", "none"])
def test_the_calibrator_that_was_asked_for_is_applied(method: str) -> None:
    assert run(plan_of(calibration=method))[0].bundle.calibration.method == method


def test_values_are_learned_and_judged_without_calibration() -> None:
    spec = {"model_key": "m", "family": "xgb", "task": "regression", "hyperparams": {"n_estimators": 60}}
    bundle = run(plan_of(task="regression", spec=spec))[0].bundle
    assert set(bundle.metrics) == {"rmse", "mae", "r2"}
    assert bundle.metrics["r2"] > 0.8
    assert bundle.calibration.method == "none"


def test_a_winner_that_answers_too_slowly_cannot_win() -> None:
    spec = {"model_key": "m", "family": "lr", "constraints": {"latency_ms": 1e-6}}
    with pytest.raises(Incompatible, match="none of the best 4 configurations keeps the constraints"):
        run(plan_of(spec=spec, hpo={"strategy": "grid", "max_trials": 4}))
    assert (
        run(plan_of(spec={"model_key": "m", "family": "lr", "constraints": {"latency_ms": 1000}}))[0].bundle.version
        is None
    )


def test_a_configuration_that_is_passed_over_says_why_and_the_next_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([5.0, 0.1])
    monkeypatch.setattr("mldl_ray.training.finish.latency_ms", lambda *_: next(took))
    heard: list[TrialRecord] = []
    spec = {"model_key": "m", "family": "lr", "constraints": {"latency_ms": 1.0}}
    finished, outcome = run(
        plan_of(spec=spec, hpo={"strategy": "grid", "max_trials": 4}), on_trial=lambda record, _: heard.append(record)
    )
    first, second = sorted(outcome.trials, key=lambda trial: -(trial.score or 0))[:2]
    assert first.passed_over == "answers one row in 5 ms (95th percentile), and constraints.latency_ms is 1"
    assert heard[-1] == first
    assert second.passed_over is None
    assert (outcome.best, finished.bundle.cv_score) == (second, second.score)
    assert finished.bundle.hyperparams["C"] == second.config["C"]


def test_a_configuration_whose_refit_would_break_the_cost_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"C": {"kind": "categorical", "choices": [1e-9, 1.0, 1e-8, 2e-9]}}
    real = Trial.advance

    def advance(self: Trial) -> None:
        real(self)
        self.step_s[-1] = 900.0 if self._config["C"] == 1.0 else 0.01  # the best one, by far, and the dearest

    monkeypatch.setattr(Trial, "advance", advance)
    monkeypatch.setattr("mldl_ray.training.ledger.breach", lambda *_, **__: None)
    spec = {"model_key": "m", "family": "lr", "constraints": {"cost_units": 0.3}}
    _, outcome = run(plan_of(spec=spec, hpo={"strategy": "grid", "search_space": space, "metric": "logloss"}))
    dear = next(trial for trial in outcome.trials if trial.config["C"] == 1.0)
    assert str(dear.passed_over).startswith("is too dear: cost_units is 0.3")
    assert outcome.best is not None
    assert outcome.best.config["C"] != 1.0


def test_warm_settings_are_tried_before_any_drawn_one() -> None:
    heard: list[TrialRecord] = []

    def hear(record: TrialRecord, _: Problem) -> None:
        heard.append(record)

    run(plan_of(hpo={"strategy": "bayes", "max_trials": 3}), earlier=Earlier(warm=[{"C": 0.5}]), on_trial=hear)
    assert [record.config for record in heard[:2]] == [{"C": 1.0}, {"C": 0.5}]
