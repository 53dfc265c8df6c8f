"""Governance, embedded: policies as data, and whether a version meets them. Not here: writing approvals or policies.

A word counts only for the bytes and the evaluation that its author saw, so a version built or judged anew starts
without any. Of each person the latest word counts. Rollbacks never ask: going back to what served must always work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from contracts.access import PERMITTED
from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable, Evaluation
from contracts.ports import Clock, Journal
from contracts.records import Approval, Compliance, Policy, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.evaluation.gate import gate
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import version_key

DeployAct = Literal["deploy"]
POLICY_KEY = "default"
COMPARISON = "comparison"
"""Kind of the latest comparison of a version with what was stable then; made by evaluating it again."""
APPROVERS = frozenset(role for role, acts in PERMITTED.items() if "approve" in acts)


class EmbeddedGovernance:
    """Answer from the journal; holds nothing itself. ``as_of_s`` (Unix seconds) asks how it was at a moment."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock

    def policy(self, *, as_of_s: float | None = None) -> Policy:
        """Give the policy in force; the defaults until somebody sets one."""
        document = self._journal.read("policy", POLICY_KEY, as_of=self._position(as_of_s))
        return Policy.model_validate(document.body) if document is not None else Policy()

    def approvals(self, bundle: TrainedBundle, *, as_of_s: float | None = None) -> tuple[Approval, ...]:
        """Give the words that count for a version, each person's latest, oldest first; rejections are among them."""
        policy = self.policy(as_of_s=as_of_s)
        words = latest_words(self._words(bundle, as_of_s), bundle)
        now_s = self._clock.now_s() if as_of_s is None else as_of_s
        barred = frozenset() if policy.author_may_approve or not words else self.authors(bundle)
        return tuple(word for word in words if counts(word, policy, now_s, barred))

    def authors(self, bundle: TrainedBundle) -> frozenset[str]:
        """Name who trained a version and who registered it."""
        registered = self._journal.history("model_version", version_key(bundle.model_key, str(bundle.version)))
        trained = self._journal.history("job", bundle.lineage.job_id) if bundle.lineage.job_id else []
        return frozenset(history[0].actor for history in (registered, trained) if history)

    def check(self, act: DeployAct, bundle: TrainedBundle, *, as_of_s: float | None = None) -> Compliance:
        """Say whether the policy lets a version be deployed, and everything that speaks against it.

        Raises:
            Incompatible: An act that no policy speaks about.
        """
        if act != "deploy":
            raise Incompatible(f"no policy speaks about {act!r}; it can be asked about: deploy", {"act": act})
        policy = self.policy(as_of_s=as_of_s)
        reasons = [
            *objections(self.approvals(bundle, as_of_s=as_of_s), policy),
            *self._figures(bundle, policy, as_of_s),
        ]
        return Compliance(allowed=not reasons, reasons=tuple(reasons))

    def _figures(self, bundle: TrainedBundle, policy: Policy, as_of_s: float | None) -> list[str]:
        limits = (policy.fairness_delta_max, policy.max_ece, policy.stable_margin)
        if not policy.metric_bounds and all(limit is None for limit in limits):
            return []
        document = self._journal.read("evaluation", bundle.evaluation_id) if bundle.evaluation_id else None
        if document is None:
            return ["it was never evaluated, and the policy sets bounds on its figures; evaluate it first"]
        evaluation, stable = Evaluation.model_validate(document.body), self._stable(bundle, as_of_s)
        key = version_key(bundle.model_key, str(bundle.version))
        again = self._journal.read(COMPARISON, key, as_of=self._position(as_of_s))
        if again is not None and (compared := AgainstStable.model_validate(again.body)).version == stable:
            evaluation = evaluation.model_copy(update={"against_stable": compared})
        return gate(evaluation, policy, stable=stable)

    def _stable(self, bundle: TrainedBundle, as_of_s: float | None) -> str | None:
        """Name the version that serves, unless it is the one that is asked about."""
        document = self._journal.read("endpoint", bundle.model_key, as_of=self._position(as_of_s))
        stable = None if document is None else Endpoint.model_validate(document.body).stable
        return None if stable == bundle.version else stable

    def _words(self, bundle: TrainedBundle, as_of_s: float | None) -> list[Approval]:
        prefix = f"{version_key(bundle.model_key, str(bundle.version))}-"
        documents = scan_all(self._journal, "approval", prefix=prefix, as_of=self._position(as_of_s))
        ordered = sorted(documents, key=lambda document: (document.position, (document.body or {}).get("at_s", 0.0)))
        return [Approval.model_validate(document.body) for document in ordered]

    def _position(self, as_of_s: float | None) -> int | None:
        return None if as_of_s is None else self._journal.position(at_s=as_of_s)


def latest_words(words: Iterable[Approval], bundle: TrainedBundle) -> list[Approval]:
    """Keep the latest word of each person on exactly these bytes and this evaluation.

    Args:
        words: In the order in which they were given.
        bundle: The version.
    """
    latest: dict[str, Approval] = {}
    for word in words:
        if (word.validation_hash, word.evaluation_id) == (bundle.validation_hash, bundle.evaluation_id):
            latest.pop(word.by, None)
            latest[word.by] = word
    return list(latest.values())


def counts(word: Approval, policy: Policy, now_s: float, barred: Collection[str]) -> bool:
    """Say whether a word counts now; a rejection stands until its author takes it back.

    Args:
        word: Somebody's latest.
        policy: In force; a shorter lifetime set later cuts earlier approvals too.
        now_s: Unix seconds.
        barred: Who may not approve this version.
    """
    if word.decision == "rejected":
        return True
    return word.role in APPROVERS and word.by not in barred and now_s < expiry_s(word, policy)


def expiry_s(word: Approval, policy: Policy) -> float:
    """Give the moment when an approval ends (Unix seconds), infinite when it does not."""
    promised = float("inf") if word.expires_at_s is None else word.expires_at_s
    allowed = float("inf") if policy.approval_ttl_s is None else word.at_s + policy.approval_ttl_s
    return min(promised, allowed)


def missing_approvals(standing: Iterable[Approval], policy: Policy) -> int:
    """Say how many more people have to approve, given the words that count."""
    return max(0, policy.approvals_required - sum(word.decision == "approved" for word in standing))


def objections(standing: Iterable[Approval], policy: Policy) -> Iterator[str]:
    """Say what is wrong with the words that count: a rejection, or too few approvals."""
    standing = tuple(standing)
    for word in standing:
        if word.decision == "rejected":
            yield f"{word.by} rejected it: {word.reason}"
    if missing := missing_approvals(standing, policy):
        approved = policy.approvals_required - missing
        yield (
            f"it has {approved} of {policy.approvals_required} approvals; {missing} more "
            f"{'person' if missing == 1 else 'people'} with role approver or admin must approve it"
        )


def check_policy(policy: Policy) -> Policy:
    """Refuse a policy that nothing could meet, or whose words mean nothing.

    Raises:
        Incompatible: A figure out of range, an unknown metric, or another name than ``default``.
    """
    if policy.name != POLICY_KEY:
        raise Incompatible(f"policy {policy.name!r} would never be asked; there is one, named {POLICY_KEY}")
    if policy.approval_ttl_s is not None and policy.approval_ttl_s <= 0:
        raise Incompatible(f"approval_ttl_s {policy.approval_ttl_s:g} must be above 0 seconds, or absent for no end")
    if policy.stable_margin is not None and policy.stable_margin < 0:
        raise Incompatible(f"stable_margin {policy.stable_margin:g} must not be negative", {"field": "stable_margin"})
    for name in ("fairness_delta_max", "max_ece"):
        limit = getattr(policy, name)
        if limit is not None and not 0 <= limit <= 1:
            raise Incompatible(f"{name} {limit:g} must be between 0 and 1", {"field": name})
    if unknown := sorted(set(policy.metric_bounds) - set(METRICS)):
        raise Incompatible(
            f"metric_bounds names {', '.join(unknown)}, which no evaluation reports; there are: "
            f"{', '.join(sorted(METRICS))}",
            {"unknown": unknown},
        )
    return policy
