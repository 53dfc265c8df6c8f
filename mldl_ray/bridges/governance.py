"""Governance, embedded: policies as data, and whether an act meets them. Not here: the rules, and writing anything.

A word counts only for the bytes and the evaluation that its author saw, so a version built or judged anew starts
without any. Of each person the latest word counts. Who trained or registered a version neither approves it, nor grants
it exceptions, nor loosens the policy for it. A rollback is always allowed: going back to what served must always work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, get_args

from contracts.access import PERMITTED
from contracts.errors import Incompatible
from contracts.evaluations import AgainstStable, Evaluation
from contracts.policies import (
    Compliance,
    ExceptedFinding,
    GovernedAct,
    Policy,
    PolicyException,
    PolicyFinding,
)
from contracts.ports import Clock, Document, Journal
from contracts.records import Approval, Dataset, TrainedBundle
from contracts.rollouts import Endpoint
from mldl_ray.bridges import governance_rules
from mldl_ray.bridges.governance_rules import PEOPLES, Case, field_of
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import version_key

POLICY_KEY = "default"
EXCEPTION = "policy_exception"
"""Kind of the exceptions."""
COMPARISON = "comparison"
"""Kind of the latest comparison of a version with what was stable then; made by evaluating it again."""
APPROVERS = frozenset(role for role, acts in PERMITTED.items() if "approve" in acts)
MOST_BEGUN = 20_000
"""Versions whose authors are remembered: a job's history holds all that it ever tried, and is long to read."""


class _Beginning(NamedTuple):
    """Who made the first record of something, and where in the journal."""

    actor: str
    position: int


class EmbeddedGovernance:
    """Answer from the journal. ``as_of_s`` (Unix seconds) asks how it was at a moment."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._makers: dict[str, str] = {}  # who made a key never changes
        self._begun: dict[tuple[str, str | None], list[_Beginning]] = {}  # nor does who began a version

    def policy(self, *, as_of_s: float | None = None) -> Policy:
        """Give the policy in force; the defaults until somebody sets one."""
        document = self._journal.read("policy", POLICY_KEY, as_of=self._position(as_of_s))
        return Policy.model_validate(document.body) if document is not None else Policy()

    def held_to(self, bundle: TrainedBundle, *, by: str | None = None, as_of_s: float | None = None) -> list[Policy]:
        """Give the policies that a version must meet.

        The one in force, and where an author of the version set that since work on it began, also the last that none
        of them set: an author's change tightens at once, and loosens for others only.

        Args:
            bundle: The version.
            by: Who registers it now.
            as_of_s: At which moment.
        """
        at = self._position(as_of_s)
        past = [d for d in self._journal.history("policy", POLICY_KEY) if at is None or d.position <= at]
        if not past:
            return [Policy()]
        beneficiaries, began = self.authors(bundle) | {by}, self._began(bundle)
        own = 0
        while own < len(past) and past[-1 - own].actor in beneficiaries and past[-1 - own].position > began:
            own += 1
        before = _policy_of(past[-1 - own]) if own < len(past) else Policy()
        in_force = _policy_of(past[-1])
        return [in_force] if before == in_force else [in_force, before]

    def approvals(self, bundle: TrainedBundle, *, as_of_s: float | None = None) -> tuple[Approval, ...]:
        """Give the words that count for a version, each person's latest, oldest first; rejections are among them."""
        words = latest_words(self._words(bundle, as_of_s), bundle)
        if not words:
            return ()
        standing = set.intersection(
            *(
                {word.approval_id for word in self._standing(words, bundle, policy, as_of_s)}
                for policy in self.held_to(bundle, as_of_s=as_of_s)
            )
        )
        return tuple(word for word in words if word.approval_id in standing)

    def authors(self, bundle: TrainedBundle) -> frozenset[str]:
        """Name who trained a version and who registered it."""
        return frozenset(beginning.actor for beginning in self._beginnings(bundle))

    def barred(self, bundle: TrainedBundle, policy: Policy) -> frozenset[str]:
        """Name who may neither approve a version nor grant it exceptions.

        Its authors, and every name under which they could act because they made a key for it.
        """
        if policy.author_may_approve:
            return frozenset()
        barred = set(self.authors(bundle))
        if policy.key_maker_may_approve:
            return frozenset(barred)
        made = [(self._maker(d), str((d.body or {}).get("name"))) for d in scan_all(self._journal, "api_key")]
        while more := {name for maker, name in made if maker in barred} - barred:
            barred |= more
        return frozenset(barred)

    def check(
        self,
        act: GovernedAct,
        bundle: TrainedBundle,
        *,
        by: str | None = None,
        policy: Policy | None = None,
        as_of_s: float | None = None,
    ) -> Compliance:
        """Say whether an act may be done with a version, and everything that speaks against it.

        Args:
            act: Which; of a rollback, the findings are warnings.
            bundle: The version; for a rollback the one that is gone back to.
            by: Who acts: exceptions that they granted themselves do not count.
            policy: Try this one instead of what is in force.
            as_of_s: Judge as it would have been at that moment.

        Raises:
            Incompatible: An act that no policy speaks about.
        """
        if act not in get_args(GovernedAct):
            acts = ", ".join(get_args(GovernedAct))
            raise Incompatible(f"no policy speaks about {act!r}; it can be asked about: {acts}", {"act": act})
        registrar = by if act == "register" else None
        held = [policy] if policy is not None else self.held_to(bundle, by=registrar, as_of_s=as_of_s)
        found: dict[str, PolicyFinding] = {}
        excepted: dict[str, ExceptedFinding] = {}
        for one in held:
            for finding in governance_rules.against(self._case(act, bundle, one, as_of_s)):
                exception = self._exception(finding, bundle, one, by, as_of_s)
                if exception is None:
                    found.setdefault(finding.sentence, finding)
                else:
                    kept = ExceptedFinding(**dict(finding), exception_id=exception.exception_id)
                    excepted.setdefault(finding.sentence, kept)
        return answer(act, found.values(), tuple(excepted.values()))

    def _case(self, act: GovernedAct, bundle: TrainedBundle, policy: Policy, as_of_s: float | None) -> Case:
        new = act == "register" or bundle.version is None  # nobody can have spoken of it or compared it yet
        words = [] if new else latest_words(self._words(bundle, as_of_s), bundle)
        evaluation, stable = self._evaluation(bundle), self._stable(bundle, as_of_s)
        key = version_key(bundle.model_key, str(bundle.version))
        again = None if new else self._journal.read(COMPARISON, key, as_of=self._position(as_of_s))
        if evaluation is not None and again is not None:
            compared = AgainstStable.model_validate(again.body)
            if compared.version == stable:
                evaluation = evaluation.model_copy(update={"against_stable": compared})
        return Case(
            act=act,
            bundle=bundle,
            policy=policy,
            standing=tuple(self._standing(words, bundle, policy, as_of_s)),
            evaluation=evaluation,
            dataset=self._dataset(bundle),
            stable=stable,
            now_s=self._now_s(as_of_s),
        )

    def _standing(
        self, words: list[Approval], bundle: TrainedBundle, policy: Policy, as_of_s: float | None
    ) -> list[Approval]:
        barred = self.barred(bundle, policy) if words else frozenset()
        return [word for word in words if counts(word, policy, self._now_s(as_of_s), barred)]

    def _exception(
        self, finding: PolicyFinding, bundle: TrainedBundle, policy: Policy, by: str | None, as_of_s: float | None
    ) -> PolicyException | None:
        """Find an exception that lets a finding pass."""
        if field_of(finding.rule) in PEOPLES or bundle.version is None:
            return None
        for document in scan_all(self._journal, EXCEPTION, as_of=self._position(as_of_s)):
            one = PolicyException.model_validate(document.body)
            if (
                (one.model_key, one.version, one.rule) == (bundle.model_key, bundle.version, finding.rule)
                and excepts(one, bundle, policy, self._now_s(as_of_s))
                and (policy.author_may_approve or one.granted_by != by)
                and one.granted_by not in self.barred(bundle, policy)
            ):
                return one
        return None

    def _evaluation(self, bundle: TrainedBundle) -> Evaluation | None:
        document = self._journal.read("evaluation", bundle.evaluation_id) if bundle.evaluation_id else None
        return Evaluation.model_validate(document.body) if document is not None else None

    def _dataset(self, bundle: TrainedBundle) -> Dataset | None:
        own = bundle.lineage
        document = self._journal.read("dataset", f"{own.dataset_id}@{own.version}") if own.dataset_id else None
        return Dataset.model_validate(document.body) if document is not None else None

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

    def _beginnings(self, bundle: TrainedBundle) -> list[_Beginning]:
        """Give the first record of its registration and of its training."""
        key, job_id = version_key(bundle.model_key, str(bundle.version)), bundle.lineage.job_id
        if (known := self._begun.get((key, job_id))) is not None:
            return known
        registered = self._journal.history("model_version", key)
        trained = self._journal.history("job", job_id) if job_id else []
        firsts = [history[0] for history in (registered, trained) if history]
        found = [_Beginning(first.actor, first.position) for first in firsts]
        if registered and (trained or not job_id):
            if len(self._begun) >= MOST_BEGUN:
                self._begun.clear()
            self._begun[key, job_id] = found
        return found

    def _began(self, bundle: TrainedBundle) -> int:
        return min((beginning.position for beginning in self._beginnings(bundle)), default=0)

    def _maker(self, key: Document) -> str:
        if key.key not in self._makers:
            self._makers[key.key] = self._journal.history("api_key", key.key)[0].actor
        return self._makers[key.key]

    def _now_s(self, as_of_s: float | None) -> float:
        return self._clock.now_s() if as_of_s is None else as_of_s

    def _position(self, as_of_s: float | None) -> int | None:
        return None if as_of_s is None else self._journal.position(at_s=as_of_s)


def answer(
    act: GovernedAct, findings: Iterable[PolicyFinding], excepted: tuple[ExceptedFinding, ...] = ()
) -> Compliance:
    """Put an answer together: nothing forbids a rollback.

    >>> answer("rollback", [PolicyFinding(rule="max_ece", sentence="it is badly calibrated")]).allowed
    True
    """
    findings = tuple(findings)
    reasons = () if act == "rollback" else tuple(finding.sentence for finding in findings)
    return Compliance(allowed=not reasons, reasons=reasons, act=act, findings=findings, excepted=excepted)


def excepts(one: PolicyException, bundle: TrainedBundle, policy: Policy, now_s: float) -> bool:
    """Say whether an exception counts for a version now; a shorter bound set later cuts earlier ones too."""
    ends_s = min(one.expires_at_s, one.at_s + policy.exception_max_s)
    return one.ended_by is None and one.validation_hash == bundle.validation_hash and now_s < ends_s


def latest_words(words: Iterable[Approval], bundle: TrainedBundle) -> list[Approval]:
    """Keep the latest word of each person on exactly these bytes and this evaluation.

    Args:
        words: In the order in which they were given.
        bundle: The version.
    """
    latest: dict[str, Approval] = {}
    for word in words:
        seen = (word.model_key, word.version, word.validation_hash, word.evaluation_id)
        if seen == (bundle.model_key, bundle.version, bundle.validation_hash, bundle.evaluation_id):
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
    for finding in governance_rules.objections(standing, policy):
        yield finding.sentence


def _policy_of(document: Document) -> Policy:
    return Policy.model_validate(document.body) if document.body is not None else Policy()


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
    _check_people(policy)
    if unknown := sorted(set(policy.asked_at_registration) - ASKABLE):
        raise Incompatible(
            f"asked_at_registration names {', '.join(unknown)}; a registration can be asked for: "
            f"{', '.join(sorted(ASKABLE))}",
            {"unknown": unknown},
        )
    if unknown := sorted(set(policy.metric_bounds) - set(METRICS)):
        raise Incompatible(
            f"metric_bounds names {', '.join(unknown)}, which no evaluation reports; there are: "
            f"{', '.join(sorted(METRICS))}",
            {"unknown": unknown},
        )
    return policy


ASKABLE = frozenset(Policy.model_fields) & (
    governance_rules.FIGURES | {"families", "licences", "max_cost_units", "data", "card_requires"}
)
"""Fields that can be met before anybody has approved anything."""


def _check_people(policy: Policy) -> None:
    for role, least in policy.approvals_by_role.items():
        if role not in APPROVERS:
            raise Incompatible(
                f"approvals_by_role names {role}, who may not approve; it takes {' or '.join(sorted(APPROVERS))}",
                {"role": role},
            )
        if least < 1:
            raise Incompatible(f"approvals_by_role.{role} {least} must be at least 1, or absent", {"role": role})
    names = [freeze.name for freeze in policy.freezes]
    if len(set(names)) < len(names):
        raise Incompatible(f"two freezes have one name; theirs are: {', '.join(names)}", {"freezes": names})
