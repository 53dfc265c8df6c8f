"""A policy held against the past: what was registered and deployed that it would have refused then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from contracts.policies import DryRun, GovernedAct, Policy, WouldRefuse
from contracts.ports import Document, Journal
from contracts.records import TrainedBundle
from contracts.rollouts import Deployment
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import version_key


def dry_run(journal: Journal, governance: EmbeddedGovernance, policy: Policy, limit: int) -> DryRun:
    """Judge each registration and each deployment as of its own moment, by the words and exceptions of that moment.

    Args:
        journal: The past.
        governance: Judges.
        policy: What is tried; who wrote it is not looked at.
        limit: Most registrations, and most deployments; the newest.
    """
    versions = {document.key: document for document in scan_all(journal, "model_version")}
    newest = sorted(versions.values(), key=lambda document: document.position)[-limit:]
    rollouts = [Deployment.model_validate(document.body) for document in scan_all(journal, "deployment")]
    latest = sorted(rollouts, key=lambda one: one.created_at_s)[-limit:]
    judge = _Judge(governance, policy)
    refused = [*_registrations(journal, newest, judge), *_deployments(latest, versions, judge)]
    rules = Counter(rule for one in refused for rule in {finding.rule for finding in one.findings})
    in_force = governance.policy()
    return DryRun(
        registrations=len(newest),
        deployments=len(latest),
        refused=tuple(sorted(refused, key=lambda one: one.at_s, reverse=True)),
        by_rule=dict(rules.most_common()),
        left_out=len(versions) - len(newest) + len(rollouts) - len(latest),
        changed=tuple(name for name in Policy.model_fields if getattr(policy, name) != getattr(in_force, name)),
    )


class _Judge:
    """One policy, asked about many acts."""

    def __init__(self, governance: EmbeddedGovernance, policy: Policy) -> None:
        self._governance, self._policy = governance, policy

    def refuses(
        self, act: GovernedAct, bundle: TrainedBundle, at_s: float, by: str, deployment_id: str | None = None
    ) -> WouldRefuse | None:
        """Give what would have been refused, or None."""
        told = self._governance.check(act, bundle, by=by, policy=self._policy, as_of_s=at_s)
        if told.allowed:
            return None
        return WouldRefuse(
            act=act,
            model_key=bundle.model_key,
            version=str(bundle.version),
            at_s=at_s,
            by=by,
            deployment_id=deployment_id,
            findings=told.findings,
        )


def _registrations(journal: Journal, newest: Iterable[Document], judge: _Judge) -> Iterator[WouldRefuse]:
    for document in newest:
        first = journal.history("model_version", document.key)[0]
        bundle = TrainedBundle.model_validate(first.body)
        if (refused := judge.refuses("register", bundle, first.at_s, first.actor)) is not None:
            yield refused


def _deployments(
    latest: Iterable[Deployment], versions: Mapping[str, Document], judge: _Judge
) -> Iterator[WouldRefuse]:
    for one in latest:
        document = versions.get(version_key(one.model_key, one.version))
        if document is None:
            continue  # a rollback withdrew the version
        bundle = TrainedBundle.model_validate(document.body)
        refused = judge.refuses("deploy", bundle, one.created_at_s, one.requested_by, one.deployment_id)
        if refused is not None:
            yield refused
