"""Rollouts around a rollback of everything: which live ones must end, and which old ones are not taken up again."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.ports import Document, Journal
from contracts.rollouts import LIVE_STATES, Deployment
from mldl_ray.journal.documents import scan_all
from mldl_ray.snapshots.state import State, endpoint_at


def ended(journal: Journal, now: State, then: State) -> Iterator[Document]:
    """Find the live deployments that cannot go on: begun since, of a changed endpoint, or of a withdrawn version."""
    before, after = now.content["endpoint"], then.content["endpoint"]
    for document in scan_all(journal, "deployment"):
        deployment = Deployment.model_validate(document.body)
        if deployment.status not in LIVE_STATES:
            continue
        key = deployment.model_key
        was = endpoint_at(journal, key, then.position)
        begun = was is not None and deployment.deployment_id in was.deployment_ids
        version = journal.read("model_version", f"{key}@{deployment.version}", as_of=then.position)
        if before.get(key) != after.get(key) or not begun or version is None:
            yield document


def not_resumed(journal: Journal, position: int, then: State) -> Iterator[str]:
    """Tell of rollouts that were under way at a position and are over: a rollback gives back stable versions only."""
    for kind, key in sorted(then.documents):
        was = endpoint_at(journal, key, position) if kind == "endpoint" else None
        for deployment_id in was.deployment_ids if was is not None else ():
            document = journal.read("deployment", deployment_id)
            if document is None or document.body is None:
                continue
            rollout = Deployment.model_validate(document.body)
            if rollout.status not in LIVE_STATES:
                yield f"the rollout of {key} {rollout.version} that was under way then is {rollout.status}; it stays so"
