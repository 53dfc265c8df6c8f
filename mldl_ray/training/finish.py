"""From the winning configuration to a stored version: refit, judge, compile, keep. How one refits is in ``make``."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from contracts.errors import Incompatible, Refused
from contracts.evaluations import Evaluation
from contracts.ports import Blobs, SearchOutcome
from contracts.records import Cost, Lineage, ServingForm, TrainedBundle, TrialRecord
from contracts.specs import Json
from contracts.telemetry import FEATURE
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.blobs.artifact import store_artifact
from mldl_ray.blobs.tables import parquet_bytes
from mldl_ray.evaluation import Stable, card_html
from mldl_ray.features.serving import ServedView
from mldl_ray.serving_form import ServingModel, compile_form
from mldl_ray.training.budget import Caps, Spent, finish_s, shortfall
from mldl_ray.training.judge import About
from mldl_ray.training.make import Maker
from mldl_ray.training.problem import Problem
from mldl_ray.training.trial import best_of

REFERENCE_ROWS = 5000
SAMPLE_ROWS = 500
TIMED = 200
CANDIDATES = 5
"""Configurations that are refitted at most until one keeps the latency that was asked for."""
LIBRARIES = ("numpy", "scikit-learn", "xgboost", "torch", "gymnasium", "pyarrow", "onnxruntime", "mldl-ray")


@dataclass(frozen=True)
class Source:
    """Where the rows come from, for the lineage."""

    dataset_id: str | None = None
    version: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Finished:
    """What a job leaves behind."""

    bundle: TrainedBundle
    evaluation: Evaluation
    passed_over: tuple[TrialRecord, ...] = ()  # better ones that break a constraint, with the reason


def finish(
    maker: Maker,
    problem: Problem,
    outcome: SearchOutcome,
    source: Source,
    *,
    job_id: str,
    evaluation_id: str,
    blobs: Blobs,
    now_s: float,
    stable: Stable | None = None,
    on_passed: Callable[[TrialRecord], None] = lambda _: None,
) -> Finished:
    """Make a version of the best configuration that keeps the model's constraints and the budget.

    Args:
        maker: Fits and judges.
        problem: What was searched.
        outcome: What the search found.
        source: Where the rows come from.
        job_id: Name of the job.
        evaluation_id: Name of the evaluation.
        blobs: Where the version's files go.
        now_s: Unix seconds.
        stable: The version that serves, to compare the new one with.
        on_passed: Hears of every better configuration that breaks a constraint, with the reason in its record.

    Raises:
        Incompatible: No trial was completed, or none of the best keeps the constraints.
        Refused: The budget ended before one was judged.
    """
    began = time.perf_counter()
    limit, passed, refits = maker.job.spec.constraints.latency_ms, list[TrialRecord](), 0

    def pass_over(trial: TrialRecord, reason: str) -> None:
        passed.append(trial.model_copy(update={"passed_over": reason}))
        on_passed(passed[-1])

    about = About(
        evaluation_id,
        iso(now_s),
        maker.job.spec.model_key,
        dataset_digest=source.digest,
        seed=maker.job.seed,
        stable=stable,
    )
    for trial in _candidates(problem, outcome):
        if refits == CANDIDATES:
            break
        so_far = Spent(now_s - problem.started_s, outcome.cpu_seconds, outcome.gpu_seconds).more(
            time.perf_counter() - began
        )
        if dear := too_dear(problem, trial, so_far):
            pass_over(trial, dear)
            continue
        refits += 1
        with tempfile.TemporaryDirectory(prefix="mldl-artifact-") as name:
            folder = Path(name)
            made = maker.fit(problem, problem.winner(trial.config))
            model, judged = made.model, maker.judge(made, about)
            rows, view = maker.rows(model), served_view(maker)
            asked = rows if maker.asked is None else maker.asked.inputs
            model.save(folder)
            form = compile_form(model, folder, rows.slice(0, SAMPLE_ROWS)) if answers(model) else None
            if view is not None:
                view.write(folder)  # after the proof, which is of the model alone
            if limit is not None and form is not None and (slow := too_slow(latency_ms(folder, asked), limit)):
                pass_over(trial, slow)
                continue
            cpu = outcome.cpu_seconds + time.perf_counter() - began
            cost = cost_of(cpu, outcome, problem.caps)
            bundle = _bundle(maker, model, judged, form, source, job_id)
            if view is not None:
                bundle = bundle.model_copy(update={"input_schema": view.schema.to_json()})
            bundle = bundle.model_copy(update={"cost": cost, "cv_score": trial.score})
            held_out = reference(model, rows, asked, maker.truth) if answers(model) else None
            return Finished(_store(model, held_out, bundle, judged, folder, blobs), judged, tuple(passed))
    raise Incompatible(
        f"none of the best {len(passed)} configurations keeps the constraints: the best one {passed[0].passed_over}; "
        "choose a lighter family or higher limits",
        {"passed_over": {trial.trial_id: trial.passed_over for trial in passed}},
    )


def too_slow(found_ms: float, limit_ms: float) -> str | None:
    """Say that a configuration answers too slowly; None when it does not.

    >>> too_slow(0.5, limit_ms=0.3)
    'answers one row in 0.5 ms (95th percentile), and constraints.latency_ms is 0.3'
    >>> too_slow(0.2, limit_ms=0.3)
    """
    if found_ms <= limit_ms:
        return None
    return f"answers one row in {found_ms:.3g} ms (95th percentile), and constraints.latency_ms is {limit_ms:g}"


def too_dear(problem: Problem, trial: TrialRecord, spent: Spent) -> str | None:
    """Say that the refit of a configuration, by the time that its own fits took, would break a cap of the job."""
    if trial.fit_seconds is None or problem.repeats:
        return None  # a policy's training ends when it must
    short = shortfall(problem.caps, spent, finish_s(trial.fit_seconds, len(problem.once)))
    return None if short is None else f"is too dear: {short}"


def cost_of(cpu_seconds: float, outcome: SearchOutcome, caps: Caps) -> Cost:
    """Price what a job held: all its cpu-seconds, and the gpu-seconds of its trials."""
    units = caps.cost(Spent(0.0, cpu_seconds, outcome.gpu_seconds))
    return Cost(cost_units=units, cpu_seconds=cpu_seconds, gpu_seconds=outcome.gpu_seconds, trials=len(outcome.trials))


def answers(model: BaseModelAdapter) -> bool:
    """Say whether a model answers rows at all; one that generates them does not, and cannot be deployed."""
    return model.task != "generation"


def latency_ms(folder: Path, rows: pa.Table, *, calls: int = TIMED) -> float:
    """Time one-row predictions of a compiled version on the way that serving takes.

    Returns:
        The 95th percentile of ``calls`` calls, milliseconds, on this machine.
    """
    serving = ServingModel.load(folder)
    records = rows.slice(0, 20).to_pylist()
    took = []
    for call in range(calls):
        record = [records[call % len(records)]]
        at = time.perf_counter()
        serving.predict(record)
        took.append(time.perf_counter() - at)
    return float(np.quantile(took, 0.95) * 1000)


def trainer_hash(family: str, hyperparams: Json, seed: int) -> str:
    """Name what made a model: its family, settings and seed, the libraries and this code, by their versions."""
    facts = {"family": family, "hyperparams": hyperparams, "seed": seed, "libraries": libraries()}
    return "sha256:" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def libraries() -> dict[str, str]:
    """List the versions of the libraries that a model depends on; absent ones are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def served_view(maker: Maker) -> ServedView | None:
    """Give the feature view that requests will go through; none where they are taken as they come."""
    return None if maker.asked is None else ServedView(maker.asked.view, maker.asked.schema)


def reference(
    model: BaseModelAdapter,
    rows: pa.Table,
    asked: pa.Table | None = None,
    truth: npt.NDArray[Any] | None = None,
) -> pa.Table:
    """Give held-out rows in the telemetry's columns, with the model's scores: what live traffic is compared with.

    Telemetry holds what callers send: ``asked``, where a feature view makes the model's rows of it. With the ``truth``
    there is also a column ``loss``: 0 or 1 for classes, the distance for values; never the truth itself.
    """
    rows, told = rows.slice(0, REFERENCE_ROWS), dict[str, pa.Array]()
    truth = None if truth is None else truth[:REFERENCE_ROWS]
    if model.task == "classification":
        proba = model.predict_proba(rows)
        scores = proba[:, 1] if proba.shape[1] == 2 else proba.max(axis=1)
        said = [model.classes[place] for place in proba.argmax(axis=1).tolist()]
        told["prediction"] = pa.array([orjson.dumps(one).decode() for one in said], pa.string())  # as telemetry has it
        if truth is not None:
            told["loss"] = pa.array([float(a != b) for a, b in zip(said, truth.tolist(), strict=True)], pa.float64())
    else:
        raw = model.raw_matrix(model.encoder.transform(rows))
        scores = raw.max(axis=1) if model.task in {"clustering", "reinforcement"} else raw[:, 0]
        if model.task == "regression" and truth is not None:
            told["loss"] = pa.array(np.abs(scores - truth), pa.float64())
    sent = rows if asked is None else asked.slice(0, REFERENCE_ROWS)
    named = sent.rename_columns([FEATURE + name for name in sent.column_names])
    told = {"score": pa.array(scores, pa.float64())} | told
    for name, values in told.items():
        named = named.append_column(name, values)
    return named


def iso(now_s: float) -> str:
    """Write a moment as the records do.

    >>> iso(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _candidates(problem: Problem, outcome: SearchOutcome) -> list[TrialRecord]:
    ranked = best_of(problem, outcome.trials)
    if ranked:
        return ranked
    failures = [trial for trial in outcome.trials if trial.status == "failed"]
    if failures:
        raise Incompatible(
            f"no configuration could be fitted ({len(failures)} failed); the first: {failures[0].error}",
            {"failed": len(failures), "config": failures[0].config},
        )
    raise Refused(
        "the budget ended before one configuration was judged on one fold; raise it, or use fewer folds or rows",
        {"seconds": problem.caps.seconds, "cost_units": problem.caps.cost_units},
    )


def _bundle(
    maker: Maker, model: BaseModelAdapter, judged: Evaluation, form: ServingForm | None, source: Source, job_id: str
) -> TrainedBundle:
    """Compose the record; the digest of the artifact is not known yet."""
    spec = maker.job.spec
    return TrainedBundle(
        model_key=spec.model_key,
        artifact_uri="",
        validation_hash="",
        metrics=judged.metrics,
        intervals=judged.intervals,
        calibration=judged.calibration,
        fairness=judged.fairness,
        robustness=judged.robustness,
        prediction_interval=judged.prediction_interval,
        lineage=Lineage(
            dataset_id=source.dataset_id,
            version=source.version,
            dataset_digest=source.digest,
            feature_view=spec.feature_view,
            trainer_hash=trainer_hash(spec.family, model.hyperparams, model.seed),
            job_id=job_id,
        ),
        created_at=judged.created_at,
        family=spec.family,
        task=spec.task,
        spec=spec,
        hyperparams=model.hyperparams,
        input_schema=model.schema.to_json(),
        serving_form=form,
        tags=spec.tags,
        evaluation_id=judged.evaluation_id,
    )


def _store(
    model: BaseModelAdapter,
    held_out: pa.Table | None,
    bundle: TrainedBundle,
    judged: Evaluation,
    folder: Path,
    blobs: Blobs,
) -> TrainedBundle:
    if held_out is not None:
        (folder / "reference.parquet").write_bytes(parquet_bytes(held_out))
    (folder / "evaluation.json").write_text(judged.model_dump_json(indent=1), encoding="utf-8")
    (folder / "card.html").write_text(card_html(bundle, judged), encoding="utf-8")
    facts: Json = {
        "model_key": bundle.model_key,
        "family": bundle.family,
        "task": bundle.task,
        "classes": model.classes,
        "input_schema": bundle.input_schema,
        "lineage": bundle.lineage.model_dump(mode="json"),
        "libraries": libraries(),
    }
    digest = store_artifact(blobs, folder, facts)
    return bundle.model_copy(update={"artifact_uri": f"blobs:{digest}", "validation_hash": digest})
