"""What served at a moment: which versions with how much of the traffic, by whose word and on what evidence."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.records import Approval
from contracts.rollouts import Decision
from contracts.specs import Words


class ServedVersion(Words):
    """A version that answered, or was asked in the shadow, at a moment."""

    version: str
    role: Literal["stable", "candidate", "shadow"]
    traffic_pct: float = Field(description="Intended percent of the requests whose answer callers got; 0 of a shadow.")
    since_s: float = Field(description="Since when it had this share, Unix seconds.")
    decided_by: str = Field(description="Who gave it this share: a person, or deployment-manager by the evidence.")
    why: str
    deployment_id: str | None = Field(default=None, description="That gave it its share; absent: a rollback of state.")
    strategy: str | None = None
    requested_by: str | None = Field(default=None, description="Who asked for that deployment.")
    decision: Decision | None = Field(default=None, description="The deployment's last verdict by then: its grounds.")
    registered_by: str | None = None
    approvals: tuple[Approval, ...] = Field(default=(), description="The words that counted at that moment.")
    approved: bool = Field(default=False, description="They were those that the policy of that moment asked for.")
    evaluation_id: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    validation_hash: str | None = Field(default=None, description="Digest of the artifact's manifest.")


class Served(Words):
    """What an endpoint served at a moment."""

    model_key: str
    at_s: float = Field(description="The moment that was asked about, Unix seconds.")
    position: int = Field(description="Of the journal then: everything here is read as of it.")
    deployment_id: str | None = Field(default=None, description="The deployment that was asked about, if one was.")
    epoch: int | None = Field(default=None, description="Of the route table; absent: there was no endpoint.")
    route: Literal["single", "shared"] | None = None
    replicas: int | None = None
    previous: str | None = Field(default=None, description="The version to fall back to.")
    versions: tuple[ServedVersion, ...] = Field(default=(), description="Stable first; empty: nothing served.")
    until_s: float | None = Field(default=None, description="When this next changed, if it has.")
