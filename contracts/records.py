"""What happened: the bodies that the journal keeps and the answers that callers read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from contracts.advice import FamilyAdvice
from contracts.consequences import Affected, FeedbackLost, SchemaBreak, Trouble
from contracts.evaluations import Calibration, Evaluation, Fairness, Interval, PredictionInterval, Robustness
from contracts.policies import Compliance as Compliance  # noqa: PLC0414  # mypy's way to say: may be had from here
from contracts.policies import Policy as Policy  # noqa: PLC0414  # the same
from contracts.quality import QualityReport
from contracts.retraining import Retrained
from contracts.specs import JobSpec, Json, ModelSpec, Words


class Lineage(Words):
    """Where a version comes from."""

    dataset_id: str | None = None
    version: str | None = None
    feature_view: str | None = None
    trainer_hash: str | None = None
    dataset_digest: str | None = None
    job_id: str | None = None
    parent: str | None = Field(default=None, description="The version that this one follows.")


class ServingForm(Words):
    """What serves a version, and the proof that it equals the native model."""

    kind: Literal["onnx", "native"]
    file: str | None = Field(default=None, description="Name in the artifact's manifest.")
    tolerance: float | None = None
    largest_difference: float | None = None
    rows_compared: int = 0
    why_native: str | None = None


class Cost(Words):
    """What training held, at the configured prices."""

    cost_units: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    trials: int = 0


class TrainedBundle(Words):
    """A trained model with everything known about it. ``version`` is given at registration."""

    model_key: str
    version: str | None = None
    artifact_uri: str = Field(description="blobs:sha256:… of the manifest, or where a foreign artifact lies.")
    metrics: dict[str, float] = Field(default_factory=dict)
    calibration: Calibration = Calibration()
    fairness: Fairness = Fairness()
    robustness: Robustness = Robustness()
    lineage: Lineage = Lineage()
    validation_hash: str = Field(description="Digest of the manifest: files, schema, library versions.")
    created_at: str
    family: str | None = None
    task: str | None = None
    classes: tuple[Any, ...] = Field(default=(), description="Labels that it can answer, in order; classification.")
    spec: ModelSpec | None = None
    hyperparams: Json = Field(default_factory=dict, description="The winning configuration.")
    intervals: dict[str, Interval] = Field(default_factory=dict)
    prediction_interval: PredictionInterval | None = Field(default=None, description="Regression only.")
    input_schema: Json = Field(default_factory=dict)
    serving_form: ServingForm | None = None
    cost: Cost = Cost()
    tags: tuple[str, ...] = ()
    evaluation_id: str | None = None
    cv_score: float | None = None
    status: Literal["registered", "retired"] = "registered"
    version_why: str | None = Field(default=None, description="Why it has its number: what changed, or who wanted it.")


class Progress(Words):
    """How far a job is."""

    trials_done: int = 0
    trials_total: int = 0
    best_score: float | None = None
    eta_s: float | None = None


class TrialRecord(Words):
    """One configuration and what came of it."""

    trial_id: str
    config: Json
    score: float | None
    fold_scores: tuple[float, ...] = ()
    status: Literal["completed", "pruned", "failed"]
    seconds: float
    error: str | None = None
    metrics: dict[str, float] = Field(
        default_factory=dict,
        description="Every figure of the task, as the score is one: over the folds that were taken.",
    )
    fit_seconds: float | None = Field(default=None, description="One fit on a fold; None when none was timed.")
    passed_over: str | None = Field(
        default=None, description="Why it cannot win: the constraint that it breaks, or that the search was over."
    )
    number: int | None = Field(default=None, description="Its place in the order of proposals, from 0.")
    attempts: int = Field(default=1, description="How often it was tried; each time counts in its seconds.")


class WarmStart(Words):
    """A configuration that a search began with because it did well elsewhere, and where that was."""

    config: Json = Field(description="As it was tried here: on this search's axes.")
    job_id: str = Field(description="The job that it was found by.")
    model_key: str
    distance: float = Field(description="How unlike the data are; 0: the same meta-features, 1: ten times the rows.")


JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Job(Words):
    """A training job: what was asked, how far it is, what came of it."""

    job_id: str
    status: JobState
    job: JobSpec
    metric: str | None = None
    progress: Progress = Progress()
    trials: tuple[TrialRecord, ...] = ()
    cost_units: float = 0.0
    budget_exhausted: bool = False
    bundle: TrainedBundle | None = None
    evaluation: Evaluation | None = None
    error: Json | None = Field(default=None, description="{code, message, facts} when failed.")
    created_at_s: float = 0.0
    ended_at_s: float | None = None
    registered_version: str | None = None
    requested_by: str = ""
    began_at_s: float | None = Field(default=None, description="When its turn came; none while it waits.")
    warm_started_from: tuple[WarmStart, ...] = Field(
        default=(), description="Configurations that experience put among the first; see hpo.warm_start."
    )
    advice: FamilyAdvice | None = Field(default=None, description="Why this family, where none was asked for.")
    quality: QualityReport | None = Field(
        default=None, description="Its rows held against the quality rules of their dataset; none where it has none."
    )
    alert_id: str | None = Field(default=None, description="Of the drift that the policy had it train for.")


class Approval(Words):
    """One person's word on one version, bound to the bytes and the evaluation that they saw."""

    approval_id: str
    model_key: str
    version: str
    decision: Literal["approved", "rejected"]
    by: str
    role: str
    reason: str
    validation_hash: str
    evaluation_id: str | None = None
    at_s: float
    expires_at_s: float | None = None


class VersionView(Words):
    """A registered version as readers see it."""

    bundle: TrainedBundle
    approvals: tuple[Approval, ...] = ()
    approved: bool = False
    missing_approvals: int = 0
    aliases: tuple[str, ...] = ()
    registered_by: str | None = None


class ModelView(Words):
    """A model as readers see it: its versions together."""

    model_key: str
    versions: int
    newest: VersionView = Field(description="The version with the highest number.")
    aliases: dict[str, str | None] = Field(description="Alias → the version it leads to; none where it leads nowhere.")
    waiting: int = Field(description="Versions that need approval and on which nobody has said a word yet.")


class Waiting(Words):
    """Versions that lack approvals, as far as was looked."""

    views: tuple[VersionView, ...]
    whole: bool = Field(description="False: others may lack them as well; asking again looks further.")


class Alert(Words):
    """Something a person should know, sent once per cause."""

    alert_id: str
    cause: str = Field(description="Same cause while open: same alert.")
    kind: Literal["drift", "slo", "guardrail", "traffic", "data_quality"]
    severity: Literal["info", "warning", "critical"]
    model_key: str
    version: str | None = None
    message: str
    evidence: Json = Field(default_factory=dict)
    status: Literal["open", "acknowledged", "resolved"] = "open"
    opened_at_s: float
    resolved_at_s: float | None = None
    resolved_by: str | None = Field(default=None, description="A person; `monitor` when the cause was over by itself.")
    reason: str | None = None
    acknowledged_at_s: float | None = None
    acknowledged_by: str | None = None
    silence_id: str | None = Field(default=None, description="Nobody was told yet, because of this silence.")
    flaps: int = Field(default=0, description="How often its cause came back soon after it was over, until now.")
    retraining: Retrained | None = Field(default=None, description="What the policy's retrain_on did about it.")


SnapshotKind = Literal["named", "scheduled", "before_rollback"]
"""Taken by a person, by the timetable, or by a rollback before it changes anything."""


class Snapshot(Words):
    """A moment that one can go back to: a journal position, and what proves that it is still the same."""

    snapshot_id: str
    kind: SnapshotKind = "named"
    position: int
    digest: str = Field(description="sha256 of the journal's chain at that position: it commits to the whole state.")
    chained: bool = Field(default=False, description="False in older ones: their digest is over the state itself.")
    artifacts: tuple[str, ...] = Field(default=(), description="Of older ones; found when it is planned since.")
    reason: str
    created_by: str
    created_at_s: float
    counts: dict[str, int] = Field(default_factory=dict, description="Documents per kind.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Defaults in force then; told, never applied.")


class Impact(Words):
    """One thing that a rollback would change."""

    kind: str
    key: str
    effect: Literal["restored", "withdrawn", "returned"]
    before: str | None
    after: str | None
    sentence: str


class RestorePlan(Words):
    """What a rollback would do, and how risky that is."""

    snapshot_id: str
    position: int
    impacts: tuple[Impact, ...]
    risk: Literal["none", "low", "medium", "high"]
    risk_score: int = Field(default=0, ge=0, le=100, description="0: nothing changes; from 20 medium, from 50 high.")
    risk_reasons: tuple[str, ...] = Field(default=(), description="Gravest first.")
    missing_artifacts: tuple[str, ...] = Field(default=(), description="Digests of what ``troubles`` names.")
    troubles: tuple[Trouble, ...] = Field(default=(), description="Any: refused, unless forced.")
    affected: tuple[Affected, ...] = Field(default=(), description="Of a plan, where the monitor answers.")
    schema_breaks: tuple[SchemaBreak, ...] = ()
    approvals_voided: tuple[str, ...] = Field(default=(), description="Ids of approvals that would no longer count.")
    feedback_lost: tuple[FeedbackLost, ...] = Field(default=(), description="Of a plan, where the monitor answers.")
    forced: bool = Field(default=False, description="Done in spite of ``troubles``, for the reason given.")
    checked_artifacts: int = Field(default=0, description="Stored files of what would come back that were checked.")
    notes: tuple[str, ...] = Field(default=(), description="What a rollback does not change: settings, old rollouts.")
    applied: bool = False
    undo_snapshot_id: str | None = Field(default=None, description="Taken by the rollback itself: the way back.")


class Dataset(Words):
    """Registered rows: content-addressed, described once, never changed."""

    dataset_id: str
    version: str
    digest: str = Field(description="Of the Parquet blob.")
    rows: int
    columns: dict[str, str] = Field(description="Name → Arrow type.")
    target: str | None = None
    sensitive: tuple[str, ...] = ()
    time_column: str | None = None
    weight_column: str | None = None
    group_column: str | None = None
    features: tuple[str, ...] | None = Field(default=None, description="Columns to learn from; all others when absent.")
    exclude: tuple[str, ...] = ()
    statistics: dict[str, Json] = Field(default_factory=dict, description="Per column: kind, count, missing, spread.")
    source: str
    created_at_s: float


class ApiKey(Words):
    """A bearer key, by its hash only."""

    key_id: str
    name: str
    role: str
    sha256: str
    created_at_s: float
    revoked: bool = False
