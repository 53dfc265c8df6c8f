"""What an endpoint served at a moment, read from the journal's history. Not here: how that is shown (``served_page``).

An endpoint's document changes together with its deployments' in one append, so its versions are the timeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from contracts.errors import NotFound
from contracts.ports import Document, Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Deployment, Endpoint
from contracts.served import Served, ServedVersion
from contracts.specs import Json
from mldl_ray.bridges.governance import EmbeddedGovernance, objections
from mldl_ray.deployment.plan import candidate_share, traffic
from mldl_ray.registry.catalog import Catalog, version_key

Role = Literal["stable", "candidate", "shadow"]


class _Share(NamedTuple):
    """How a version came to what it had of the traffic."""

    version: str
    role: Role
    pct: float
    since_s: float
    decided_by: str
    why: str
    deployment: Deployment | None


class History:
    """Answer from the journal; holds nothing."""

    def __init__(self, journal: Journal, governance: EmbeddedGovernance) -> None:
        self._journal, self._governance = journal, governance

    def served(self, model_key: str, at_s: float) -> Served:
        """Say what a model's endpoint served at a moment (Unix seconds).

        Raises:
            NotFound: No version of it was registered then.
        """
        position = self._journal.position(at_s=at_s)
        documents = self._journal.history("endpoint", model_key)
        past = [document for document in documents if document.position <= position]
        asked = Served(model_key=model_key, at_s=at_s, position=position)
        if not past or past[-1].body is None:
            Catalog(self._journal, as_of=position).resolve(model_key, "latest")
            return asked.model_copy(update={"until_s": self._until_s(documents, position)})
        endpoint = Endpoint.model_validate(past[-1].body)
        facts = {
            "epoch": endpoint.epoch,
            "route": endpoint.route,
            "replicas": endpoint.replicas,
            "previous": endpoint.previous,
            "versions": tuple(self._version(model_key, one, position, at_s) for one in self._shares(past, position)),
            "until_s": self._until_s(documents, position),
        }
        return asked.model_copy(update=facts)

    def served_by(self, deployment_id: str, at_s: float) -> Served:
        """Say what the endpoint of a deployment served at a moment (Unix seconds).

        Raises:
            NotFound: There was no such deployment then.
        """
        position = self._journal.position(at_s=at_s)
        document = self._journal.read("deployment", deployment_id, as_of=position)
        if document is None:
            first = next(iter(self._journal.history("deployment", deployment_id)), None)
            known = f"it was asked for at {first.at_s:.3f}" if first is not None else "list them with GET /deployments"
            raise NotFound(f"there was no deployment {deployment_id!r} at that moment; {known}")
        model_key = Deployment.model_validate(document.body).model_key
        return self.served(model_key, at_s).model_copy(update={"deployment_id": deployment_id})

    def _shares(self, past: Sequence[Document], position: int) -> Iterator[_Share]:
        endpoint = Endpoint.model_validate(past[-1].body)
        if endpoint.stable is None:
            return
        live = list(self._live(endpoint, position))
        shares = traffic(endpoint, live)
        yield self._stable(past, endpoint.stable, 100 * shares[endpoint.stable], position)
        for one in live:
            if one.status == "canary":
                yield _of_rollout(one, "candidate")
            elif one.status == "shadow":
                yield _of_rollout(one, "shadow")

    def _stable(self, past: Sequence[Document], stable: str, pct: float, position: int) -> _Share:
        """Tell by which append the endpoint came to its stable version, and by which deployment."""
        begun, before = past[-1], None
        for document in reversed(past):
            if (document.body or {}).get("stable") != stable:
                before = document
                break
            begun = document
        names = [name for document in (begun, before) if document is not None for name in _deployments(document)]
        moved = (self._journal.read("deployment", name, as_of=begun.position) for name in dict.fromkeys(names))
        mover = next((one for one in moved if one is not None and one.position == begun.position), None)
        now = None if mover is None else self._journal.read("deployment", mover.key, as_of=position)
        deployment = None if now is None else Deployment.model_validate(now.body)
        return _Share(stable, "stable", round(pct, 4), begun.at_s, begun.actor, begun.reason, deployment)

    def _version(self, model_key: str, share: _Share, position: int, at_s: float) -> ServedVersion:
        facts = ServedVersion(
            version=share.version,
            role=share.role,
            traffic_pct=share.pct,
            since_s=share.since_s,
            decided_by=share.decided_by,
            why=share.why,
            **_rollout(share.deployment),
        )
        key = version_key(model_key, share.version)
        document = self._journal.read("model_version", key, as_of=position)
        if document is None:
            return facts  # its record was withdrawn by then
        bundle = TrainedBundle.model_validate(document.body)
        words = self._governance.approvals(bundle, as_of_s=at_s)
        known = {
            "registered_by": self._journal.history("model_version", key)[0].actor,
            "approvals": words,
            "approved": not any(objections(words, self._governance.policy(as_of_s=at_s))),
            "evaluation_id": bundle.evaluation_id,
            "metrics": dict(bundle.metrics),
            "validation_hash": bundle.validation_hash,
        }
        return facts.model_copy(update=known)

    def _until_s(self, documents: Sequence[Document], position: int) -> float | None:
        """Say when what was served next changed; keys, replicas and held rollouts change nothing of it."""
        past = [document for document in documents if document.position <= position]
        now = self._picture(past[-1], position) if past else {}
        for document in documents[len(past) :]:
            if self._picture(document, document.position) != now:
                return document.at_s
        return None

    def _picture(self, document: Document, position: int) -> dict[str, float]:
        if document.body is None:
            return {}
        endpoint = Endpoint.model_validate(document.body)
        live = list(self._live(endpoint, position))
        shadows = {f"shadow {one.version}": 0.0 for one in live if one.status == "shadow" and endpoint.stable}
        return traffic(endpoint, live) | shadows

    def _live(self, endpoint: Endpoint, position: int) -> Iterator[Deployment]:
        for name in endpoint.deployment_ids:
            document = self._journal.read("deployment", name, as_of=position)
            if document is not None:
                yield Deployment.model_validate(document.body)


def _of_rollout(deployment: Deployment, role: Role) -> _Share:
    """Tell since when a rollout has had what it has, and who gave it that: a hold changes neither."""
    begun = last = deployment.history[-1]
    for change in reversed(deployment.history):
        if (change.status, change.traffic.get(deployment.version)) != (
            last.status,
            last.traffic.get(deployment.version),
        ):
            break
        begun = change
    pct = round(100 * candidate_share(deployment), 4)
    return _Share(deployment.version, role, pct, begun.at_s, begun.actor, begun.reason, deployment)


def _rollout(deployment: Deployment | None) -> Json:
    if deployment is None:
        return {}
    return {
        "deployment_id": deployment.deployment_id,
        "strategy": deployment.strategy,
        "requested_by": deployment.requested_by,
        "decision": next(reversed(deployment.decisions), None),
    }


def _deployments(document: Document) -> tuple[str, ...]:
    return () if document.body is None else Endpoint.model_validate(document.body).deployment_ids
