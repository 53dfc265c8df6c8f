"""What each type of event says: the shape of its ``data``, published in ``mldl.events.yaml`` and checked in tests.

Whoever appends a fact appends it in one of these shapes; a shape grows by fields that have a default.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.access import Role
from contracts.events import EventType
from contracts.life import Collected, Deletion
from contracts.policies import GovernedAct, Policy, PolicyException, PolicyFinding
from contracts.records import Approval, RestorePlan
from contracts.slos import Silence, Slo
from contracts.specs import Json, Words

Figures = dict[str, float | None]


class TrainingStarted(Words):
    """A job's turn has come. Subject: the job."""

    model_key: str
    family: str
    trials_total: int | None = Field(description="Most that it tries.")


class CandidateReady(Words):
    """A job has a model. Subject: the job."""

    model_key: str
    family: str | None
    metrics: Figures
    artifact_uri: str


class Evaluated(Words):
    """A model was judged. Subject: the evaluation."""

    model_key: str
    metrics: Figures
    family: str | None = None
    version: str | None = Field(default=None, description="Absent: it is not registered yet.")
    job_id: str | None = None


class TrainingEnded(Words):
    """A job is over. Subject: the job."""

    status: Literal["succeeded", "failed", "cancelled"]
    code: str | None = Field(default=None, description="Of the error it failed with.")
    message: str | None = None
    facts: Json | None = None


class ModelRegistered(Words):
    """A job's model became a version. Subject: the model_key."""

    model_key: str
    version: str
    validation_hash: str
    evaluation_id: str | None
    job_id: str
    family: str | None
    parent: str | None = Field(description="The version before.")
    why: str = Field(description="Why it has this number.")


class AliasMoved(Words):
    """An own alias leads to another version, or is gone. Subject: the model_key."""

    model_key: str
    alias: str
    before: str | None = Field(description="Where it led; absent: it is new.")
    version: str | None = Field(description="Where it leads; absent: it is gone.")


class ModelRetired(Words):
    """A version is deployed no more, or may be again. Subject: the model_key."""

    model_key: str
    version: str
    change: Literal["retired", "reinstated"]


class ApprovalRequested(Words):
    """A version waits for approval. Subject: the model_key."""

    model_key: str
    version: str
    validation_hash: str
    evaluation_id: str | None


class DeploymentRequested(Words):
    """Somebody wants a version to serve. Subject: the deployment."""

    model_key: str
    version: str
    strategy: str


class DeploymentStepped(Words):
    """A rollout took a step. Subject: the deployment."""

    model_key: str
    version: str
    pct: float = Field(description="Of the sticky keys.")
    why: str


class DeploymentPromoted(Words):
    """A version serves everything. Subject: the deployment."""

    model_key: str
    version: str
    before: str | None = Field(alias="from", description="What served until then.")


class DeploymentRolledBack(Words):
    """A rollout ended without success. Subject: the deployment."""

    model_key: str
    version: str
    to: str | None = Field(description="What serves.")
    why: str | None = None


class DeploymentHeld(Words):
    """A person holds a rollout where it is. Subject: the deployment."""

    model_key: str
    version: str
    why: str


class DeploymentResumed(DeploymentHeld):
    """A held rollout may go on. Subject: the deployment."""

    held_by: str


class RolloutRollback(Words):
    """A rollout is to give everything back. Subject: the deployment."""

    model_key: str
    version: str
    to: str | None
    why: str


class SnapshotRollback(Words):
    """The state of a snapshot is to be put back. Subject: the snapshot."""

    snapshot_id: str
    position: int
    risk: Literal["none", "low", "medium", "high"]


class AlertOpened(Words):
    """Something a person should know, or that it is over. Subject: the model_key."""

    alert_id: str
    cause: str
    kind: str
    severity: Literal["info", "warning", "critical"]
    version: str | None
    message: str
    status: Literal["open", "acknowledged", "resolved"]
    reason: str | None


class RolloutViolation(Words):
    """A rollout did harm, or failed its check. Subject: the deployment."""

    model_key: str
    version: str
    rule: str
    why: str


class PolicyViolation(Words):
    """The policy refused an act. Subject: the model_key."""

    rule: Literal["policy"]
    act: GovernedAct
    model_key: str
    version: str | None
    reasons: tuple[str, ...]
    findings: tuple[PolicyFinding, ...]


class FeatureViewRegistered(Words):
    """A feature view, or a new version of one. Subject: its name."""

    name: str
    version: str
    dataset_id: str
    inputs: int = Field(description="Columns that callers send.")
    outputs: int = Field(description="Columns that a model learns from.")


class RetrainingDecided(Words):
    """Drift had a version trained again, or would have. Subject: the model_key."""

    model_key: str
    version: str | None
    alert_id: str
    outcome: Literal["submitted", "refused"]
    job_id: str | None
    why: str


class QualityRulesChanged(Words):
    """The rules that a dataset's rows are held to. Subject: the dataset_id."""

    change: Literal["set", "removed"]
    rules: int


class DatasetRegistered(Words):
    """Rows were kept. Subject: the dataset."""

    dataset_id: str
    version: str
    digest: str
    rows: int
    columns: int
    source: str


class SnapshotExported(Words):
    """A moment to go back to has a name. Subject: the snapshot."""

    position: int
    digest: str
    counts: dict[str, int]


class SnapshotRestored(Words):
    """The state of a snapshot was put back. Subject: the snapshot."""

    plan: RestorePlan


class PolicyChanged(Words):
    """Another policy is in force. Subject: the policy."""

    policy: Policy
    before: Policy


class KeyChanged(Words):
    """A key was made or revoked. Subject: the key."""

    key_id: str
    name: str
    role: Role
    change: str


class EndpointScaled(Words):
    """An endpoint is to run with another number of replicas. Subject: the model_key."""

    model_key: str
    before: int = Field(alias="from")
    to: int


class ExceptionChanged(PolicyException):
    """An exception from the policy was granted or ended. Subject: the exception."""

    change: str


class SloSet(Slo):
    """An objective is in force. Subject: the model_key."""

    before: Slo | None


class SloRemoved(Words):
    """An objective is no longer in force. Subject: the model_key."""

    name: str
    removed: Slo


DATA: dict[EventType, tuple[type[Words], ...]] = {
    "MLDL_TRAINING_STARTED": (TrainingStarted,),
    "MLDL_CANDIDATE_READY": (CandidateReady,),
    "MLDL_EVALUATED": (Evaluated,),
    "MLDL_MODEL_REGISTERED": (ModelRegistered,),
    "MLDL_DEPLOYMENT_REQUESTED": (DeploymentRequested,),
    "MLDL_DEPLOYMENT_PROMOTED": (DeploymentPromoted,),
    "MLDL_DRIFT_ALERT": (AlertOpened,),
    "MLDL_VIOLATION": (AlertOpened, RolloutViolation, PolicyViolation),
    "ROLLBACK_REQUESTED": (RolloutRollback, SnapshotRollback),
    "MLDL_TRAINING_ENDED": (TrainingEnded,),
    "MLDL_DATASET_REGISTERED": (DatasetRegistered,),
    "MLDL_FEATURE_VIEW_REGISTERED": (FeatureViewRegistered,),
    "MLDL_QUALITY_RULES_CHANGED": (QualityRulesChanged,),
    "MLDL_RETRAINING_DECIDED": (RetrainingDecided,),
    "MLDL_APPROVAL_REQUESTED": (ApprovalRequested,),
    "MLDL_APPROVAL_DECIDED": (Approval,),
    "MLDL_DEPLOYMENT_STEPPED": (DeploymentStepped,),
    "MLDL_DEPLOYMENT_ROLLED_BACK": (DeploymentRolledBack,),
    "MLDL_ALERT_RESOLVED": (AlertOpened,),
    "MLDL_SNAPSHOT_EXPORTED": (SnapshotExported,),
    "MLDL_SNAPSHOT_RESTORED": (SnapshotRestored,),
    "MLDL_POLICY_CHANGED": (PolicyChanged,),
    "MLDL_KEY_CHANGED": (KeyChanged,),
    "MLDL_ENDPOINT_SCALED": (EndpointScaled,),
    "MLDL_DEPLOYMENT_HELD": (DeploymentHeld,),
    "MLDL_DEPLOYMENT_RESUMED": (DeploymentResumed,),
    "MLDL_EXCEPTION_CHANGED": (ExceptionChanged,),
    "MLDL_SLO_CHANGED": (SloSet, SloRemoved),
    "MLDL_SILENCE_CHANGED": (Silence,),
    "MLDL_ALIAS_MOVED": (AliasMoved,),
    "MLDL_MODEL_RETIRED": (ModelRetired,),
    "MLDL_MODEL_DELETED": (Deletion,),
    "MLDL_FILES_COLLECTED": (Collected,),
}
"""Type → the shapes that its data may have: one of them."""
