"""Bodies and answers of the HTTP surface that are not records themselves; what the journal keeps is in ``records``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from contracts.access import Role
from contracts.consequences import Affected, FeedbackLost, SchemaBreak, Trouble
from contracts.events import EventType
from contracts.ports import AppState
from contracts.records import Impact, JobState, Policy
from contracts.rollouts import Deployment, DeploymentState
from contracts.specs import (
    DataRef,
    DeploymentSpec,
    Json,
    ModelKey,
    Name,
    NumberWanted,
    Reason,
    SearchDimension,
    Task,
    Words,
)


class Problem(Words):
    """An error (RFC 9457). ``code`` is stable; ``detail`` is for a person; ``facts`` are for a program."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str = ""
    facts: Json = Field(default_factory=dict)


class Component(Words):
    """How one part of the system is."""

    status: Literal["ok", "slow", "failed"]
    detail: str | None = None


class Health(Words):
    """How the system is; ``degraded`` when a component failed."""

    status: Literal["ok", "degraded"]
    version: str
    components: dict[str, Component]
    adapters: dict[str, str] = Field(description="Family → ``available``, or why not.")


class Why(Words):
    """The reason of a change that needs nothing else."""

    reason: Reason


class JobAccepted(Words):
    """A training job that was recorded and will run."""

    job_id: str
    status: JobState
    family: str | None = Field(default=None, description="What is trained.")


class EvaluateRequest(Words):
    """Which model to judge, on which rows (its own held-out rows when absent)."""

    job_id: Name | None = None
    model_key: ModelKey | None = None
    version: str | None = Field(default=None, max_length=64)
    data: DataRef | None = None
    metrics: tuple[str, ...] = Field(default=(), description="The task's own when empty.")

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if (self.job_id is None) == (self.model_key is None) or (self.model_key is None) != (self.version is None):
            raise ValueError("give exactly one of job_id, or model_key with version")
        return self


class Setting(Words):
    """One hyperparameter of a family."""

    name: str
    kind: Literal["float", "int", "bool", "choice", "text"]
    default: Any = None
    choices: tuple[Any, ...] = ()
    search: SearchDimension | None = Field(default=None, description="How a search moves it when nobody says how.")


class FamilyView(Words):
    """What a model family can do, or why it cannot be had here."""

    family: str
    state: str = Field(description="`available`, or what is missing and what installs it.")
    adapter: str | None = Field(default=None, description="Its class.")
    tasks: tuple[Task, ...] = ()
    probabilities: bool | None = None
    explain: Literal["exact", "sampled"] | None = None
    warm_start: bool | None = None
    sequence: bool | None = Field(default=None, description="A row holds a series of steps.")
    early_stopping: bool | None = None
    resource: str | None = Field(default=None, description="The setting that hyperband hands out.")
    settings: tuple[Setting, ...] = ()


class ExplainRequest(Words):
    """Rows to explain, as in a prediction."""

    inputs: tuple[Json | tuple[Any, ...], ...] = Field(
        min_length=1, max_length=200, description="Records, or rows in column order."
    )


class ExplainAnswer(Words):
    """How much each column moved each row's raw scores: the base and a row's attributions add up to its score."""

    model_key: str
    version: str
    method: Literal["exact", "sampled"]
    outputs: tuple[Any, ...] = Field(
        description="What each raw score is of: a class, cluster, action, component, or `value`."
    )
    base: tuple[float, ...] = Field(description="The scores of an average training row, one per output.")
    rows: tuple[dict[str, tuple[float, ...]], ...] = Field(description="Column → its part of each score.")


class SampleRequest(Words):
    """How many rows a generating version shall make."""

    rows: int = Field(default=10, ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, description="The same seed makes the same rows.")


class SampleAnswer(Words):
    """Rows that a version made."""

    model_key: str
    version: str
    rows: tuple[Json, ...]


class RegisterRequest(Words):
    """Which job's model becomes a version."""

    job_id: Name
    tags: tuple[str, ...] = ()
    reason: Reason
    number: NumberWanted | None = Field(default=None, description="What changed decides when absent.")


class ApproveRequest(Words):
    """One person's word on a version."""

    decision: Literal["approved", "rejected"] = "approved"
    reason: Reason


class DeployRequest(Words):
    """Which version should serve, and how it gets there."""

    model_key: ModelKey
    version: str = Field(min_length=1, max_length=64)
    spec: DeploymentSpec = DeploymentSpec()
    reason: str = Field(default="", max_length=2000)


class DeploymentAccepted(Words):
    """A deployment that was recorded and will proceed."""

    deployment_id: str
    status: DeploymentState


class DeploymentView(Deployment):
    """A deployment as readers see it."""

    candidate: str = Field(description="The version on its way.")
    traffic: dict[str, float] = Field(description="Intended share of requests per version, 0–1, now.")
    advice: Json | None = Field(
        default=None,
        description="What the specialists say: verdict, confidence, why, votes. It comes seconds after the request and "
        "stops nothing.",
    )


class PromoteRequest(Words):
    """Send a rollout on, to its next step or to a percentage."""

    deployment_id: Name
    to_pct: float | None = Field(default=None, gt=0, le=100)
    reason: Reason


class HoldRequest(Words):
    """Keep a rollout where it is, or let it go on."""

    deployment_id: Name
    reason: Reason


class ScaleRequest(Words):
    """Have an endpoint run with another number of replicas."""

    replicas: int = Field(ge=1, le=256)
    reason: Reason


class RollbackRequest(Words):
    """What to go back to: a snapshot of everything, or what served before one deployment."""

    snapshot_id: Name | None = None
    deployment_id: Name | None = None
    reason: Reason
    dry_run: bool = Field(default=False, description="Only say what would change.")
    force: bool = Field(default=False, description="To a snapshot even where files of its versions are not there.")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.snapshot_id is None) == (self.deployment_id is None):
            raise ValueError("give exactly one of snapshot_id or deployment_id")
        if self.force and self.snapshot_id is None:
            raise ValueError("force is for a snapshot; the rollback of a deployment is never refused for its files")
        return self


class Rollback(Words):
    """What a rollback changes, or would change when it was not ``applied``."""

    snapshot_id: str | None = None
    deployment_id: str | None = None
    position: int | None = Field(default=None, description="Of the snapshot, in the journal.")
    impacts: tuple[Impact, ...] = ()
    risk: Literal["none", "low", "medium", "high"] = "none"
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
    undo_snapshot_id: str | None = Field(default=None, description="Of a rollback to a snapshot: the way back.")


class PredictRequest(Words):
    """Rows to answer: records by feature name, or rows in the order of the features."""

    inputs: tuple[Json | tuple[Any, ...], ...]
    keys: tuple[str, ...] | None = Field(default=None, description="Sticky key per row; the header's when absent.")


class PredictAnswer(Words):
    """One prediction per row, and who answered."""

    model_config = ConfigDict(extra="allow")

    predictions: tuple[Any, ...]
    model_version: str
    request_id: str


class Label(Words):
    """What turned out to be true for a prediction: that of a request, or the latest of a key until a time."""

    request_id: str | None = Field(default=None, min_length=1, max_length=255)
    label: str | int | float | bool
    model_key: ModelKey | None = Field(default=None, description="With key and at_s, instead of request_id.")
    key: str | None = Field(default=None, min_length=1, max_length=255, description="The sticky key.")
    at_s: float | None = Field(default=None, ge=0, description="Unix seconds; the key's latest answer until then.")

    @model_validator(mode="after")
    def _names_one_answer(self) -> Self:
        by_key = [value is not None for value in (self.model_key, self.key, self.at_s)]
        if any(by_key) != all(by_key) or all(by_key) == (self.request_id is not None):
            raise ValueError("a label names a request_id, or a model_key, a key and at_s")
        return self


class FeedbackRequest(Words):
    """Labels that became known."""

    items: tuple[Label, ...] = Field(min_length=1, max_length=10_000)


class FeedbackFile(Words):
    """Labels in a file that the service can read."""

    uri: str = Field(
        min_length=1, max_length=2000, description="Parquet or CSV: request_id, label; or key, at_s, label."
    )
    model_key: ModelKey | None = Field(default=None, description="For key and at_s, without a column model_key.")


class FeedbackAnswer(Words):
    """How many labels met a prediction that is still in the window."""

    accepted: int
    unknown: int


class DatasetRequest(Words):
    """Rows to register under a name."""

    data: DataRef
    dataset_id: Name | None = Field(default=None, description="The file's name when absent.")
    reason: str = Field(default="", max_length=2000)


class PolicyRequest(Words):
    """A policy that replaces the one in force."""

    policy: Policy
    reason: Reason


class KeyRequest(Words):
    """A new bearer key."""

    name: Name
    role: Role


class KeyView(Words):
    """A bearer key, without its secret."""

    key_id: str
    name: str
    role: str
    created_at_s: float
    revoked: bool = False


class KeyMade(KeyView):
    """A new bearer key; the secret is said once and stored nowhere."""

    secret: str


class AuditEntry(Words):
    """One line of the journal: who did what, when, to what, why."""

    position: int
    at_s: float
    actor: str
    type: str
    subject: str
    reason: str


class EndpointView(Words):
    """What serves a model_key now."""

    model_key: str
    stable: str | None
    previous: str | None = Field(default=None, description="The version before, for the way back.")
    deployment_ids: tuple[str, ...] = Field(default=(), description="The rollouts that are going on, oldest first.")
    epoch: int
    replicas: int
    route: Literal["single", "shared"] = Field(default="single", description="In an app of its own, or in the pool.")
    live_replicas: int = Field(description="Those that asked for a route table within seconds.")
    applied: bool = Field(description="Every live replica has the current route table.")
    app_state: AppState


class WebhookRequest(Words):
    """An address that events are posted to."""

    url: str = Field(max_length=2000)
    types: tuple[EventType, ...] = Field(default=(), description="Only these; all when empty.")
    secret: str = Field(max_length=1000, description="Shared with the receiver, who checks signatures with it.")


class WebhookView(Words):
    """Who gets which events, and how far they are; the secret is not shown."""

    subscription_id: str
    url: str
    types: tuple[EventType, ...]
    created_by: str
    position: int = Field(description="Everything up to this journal position was delivered.")
    failing_since_s: float | None = None
    error: str | None = None
