"""Facts: what the control plane says when something has happened.

An event exists if and only if its state change does: both are one append to the journal.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from contracts.specs import Json, Words

EventType = Literal[
    "MLDL_TRAINING_STARTED",
    "MLDL_CANDIDATE_READY",
    "MLDL_EVALUATED",
    "MLDL_MODEL_REGISTERED",
    "MLDL_DEPLOYMENT_REQUESTED",
    "MLDL_DEPLOYMENT_PROMOTED",
    "MLDL_DRIFT_ALERT",
    "MLDL_VIOLATION",
    "ROLLBACK_REQUESTED",
    "MLDL_TRAINING_ENDED",
    "MLDL_DATASET_REGISTERED",
    "MLDL_APPROVAL_REQUESTED",
    "MLDL_APPROVAL_DECIDED",
    "MLDL_DEPLOYMENT_STEPPED",
    "MLDL_DEPLOYMENT_ROLLED_BACK",
    "MLDL_ALERT_RESOLVED",
    "MLDL_SNAPSHOT_EXPORTED",
    "MLDL_SNAPSHOT_RESTORED",
    "MLDL_POLICY_CHANGED",
    "MLDL_KEY_CHANGED",
    "MLDL_ENDPOINT_SCALED",
    "MLDL_DEPLOYMENT_HELD",
    "MLDL_DEPLOYMENT_RESUMED",
    "MLDL_EXCEPTION_CHANGED",
    "MLDL_SLO_CHANGED",
    "MLDL_SILENCE_CHANGED",
    "MLDL_ALIAS_MOVED",
    "MLDL_MODEL_RETIRED",
    "MLDL_MODEL_DELETED",
    "MLDL_FILES_COLLECTED",
    "MLDL_FEATURE_VIEW_REGISTERED",
    "MLDL_QUALITY_RULES_CHANGED",
    "MLDL_RETRAINING_DECIDED",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Fact(Words):
    """An event before it is recorded: the journal adds its place, time and author."""

    type: EventType
    subject: str = Field(description="What it is about: a model_key, job_id, deployment_id…")
    data: Json = Field(default_factory=dict)


class Event(Fact):
    """A recorded event, in the form of a CloudEvent's attributes plus its place in the journal."""

    id: str
    position: int = Field(description="Of the append that it belongs to; rises without gaps.")
    at_s: float = Field(description="Unix seconds.")
    actor: str
    reason: str
