"""Which documents a rollback gives back, and why the others stay. A new kind joins in one line, here."""

from __future__ import annotations

RESTORABLE = {
    "endpoint": "endpoint",
    "policy": "policy",
    "policy_exception": "exception to the policy",
    "alias": "alias",
    "model_version": "version",
    "approval": "approval",
    "approval_request": "request to approve",
    "dataset": "dataset",
    "feature_view": "feature view",
    "quality_rules": "data quality rules",
    "slo": "service level",
    "silence": "silence of alerts",
}
"""Kind → what it is called. The order is that of a plan: what users notice first."""

EXCLUDED = {
    "job": "what was trained happened; a rollback does not undo it",
    "experience": "what was learned from jobs stays true",
    "evaluation": "a measurement stays true",
    "comparison": "a measurement stays true",
    "deployment": "a rollout that was under way is not resumed: its evidence is gone; live ones end where they must",
    "alert": "what was seen happened",
    "snapshot": "the way back must not vanish with a rollback",
    "api_key": "a revoked key must not open the door again",
    "subscription": "where events go belongs to their receivers, who were told of what happened since",
    "subscription_offset": "what was delivered was delivered",
    "advice": "what was said was said",
    "exchange": "what was exchanged with other kernels was exchanged",
    "deletion": "that a version was deleted stays known; no snapshot holds one that was",
    "retraining": "a cooldown must not begin anew because of a rollback",
    "dead_letter": "what could not be delivered is still to be told",
}
"""Kind → why a rollback leaves it alone."""

FIRST_KINDS = ("model_version", "approval_request", "approval", "policy", "dataset", "endpoint")
"""What the digest of a snapshot covered before it was the chain's."""
