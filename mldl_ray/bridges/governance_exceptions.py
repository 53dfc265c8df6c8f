"""Exceptions: a rule that need not hold for one version's bytes for a while, granted, listed and taken back."""

from __future__ import annotations

from contracts.errors import Conflict, Forbidden, Incompatible, NotFound
from contracts.events import Fact
from contracts.policies import ExceptionRequest, Policy, PolicyException
from contracts.ports import Clock, Journal, Once
from contracts.records import TrainedBundle
from mldl_ray.bridges.governance import ASKABLE, EXCEPTION, EmbeddedGovernance, excepts
from mldl_ray.bridges.governance_rules import PEOPLES, field_of
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, scan_all, write
from mldl_ray.registry.catalog import Catalog, is_alias, version_key


class PolicyExceptions:
    """The exceptions in the journal; holds nothing."""

    def __init__(self, journal: Journal, governance: EmbeddedGovernance, clock: Clock) -> None:
        self._journal, self._governance, self._clock = journal, governance, clock

    def grant(self, asked: ExceptionRequest, *, by: str, once: Once | None = None) -> PolicyException:
        """Let a version pass a rule for a while.

        Args:
            asked: Which rule, for which version, how long and why.
            by: Who grants it; none of the version's authors.
            once: The same request again gives the same exception.

        Raises:
            Forbidden: Who asks trained or registered the version, or holds a key that its authors made.
            Incompatible: A rule that allows none, an alias, or longer than the policy's bound.
            NotFound: No such version.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return PolicyException.model_validate(earlier.documents[0].body)
        if is_alias(asked.version):
            raise Incompatible(f"{asked.version} may mean another version tomorrow; name an exact number")
        bundle = Catalog(self._journal).bundle(asked.model_key, asked.version)
        self._check(asked, bundle, by)
        now_s = self._clock.now_s()
        one = PolicyException(
            exception_id=new_id("exc", once),
            model_key=asked.model_key,
            version=asked.version,
            rule=asked.rule,
            reason=asked.reason,
            granted_by=by,
            at_s=now_s,
            expires_at_s=now_s + asked.lasts_s,
            validation_hash=bundle.validation_hash,
        )
        return self._change(one, 0, "granted", by, asked.reason, once)

    def end(self, exception_id: str, *, reason: str, by: str, once: Once | None = None) -> PolicyException:
        """Take an exception back before its time.

        Raises:
            NotFound: No such exception.
            Conflict: It was taken back already.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return PolicyException.model_validate(earlier.documents[0].body)
        one, version = load(self._journal, EXCEPTION, exception_id, PolicyException)
        if one is None:
            raise NotFound(f"there is no exception {exception_id!r}; list them with GET /policy/exceptions")
        if one.ended_by is not None:
            raise Conflict(f"{one.ended_by} took exception {exception_id} back already", {"exception_id": exception_id})
        ended = one.model_copy(update={"ended_by": by, "active": False})
        return self._change(ended, version, "ended", by, reason, once)

    def list(self, *, model_key: str | None = None, active: bool | None = None) -> list[PolicyException]:
        """List exceptions, newest first, with whether each counts now; only those that do, or do not, when asked."""
        every = [PolicyException.model_validate(document.body) for document in scan_all(self._journal, EXCEPTION)]
        found = [self._now(one) for one in every if model_key in {None, one.model_key}]
        meant = [one for one in found if active in {None, one.active}]
        return sorted(meant, key=lambda one: one.at_s, reverse=True)

    def _check(self, asked: ExceptionRequest, bundle: TrainedBundle, by: str) -> None:
        policies = self._governance.held_to(bundle)
        if field_of(asked.rule) in PEOPLES or field_of(asked.rule) not in ASKABLE | {"freezes"}:
            raise Incompatible(
                f"no exception can be made of {asked.rule!r}; there are the rules {', '.join(sorted(ASKABLE))} and "
                "freezes, and none for people's approvals",
                {"rule": asked.rule},
            )
        longest_s = min(policy.exception_max_s for policy in policies)
        if asked.lasts_s > longest_s:
            raise Incompatible(
                f"lasts_s {asked.lasts_s:g} is longer than the policy allows an exception to last, {longest_s:g} s",
                {"lasts_s": asked.lasts_s, "bound": longest_s},
            )
        if any(by in self._governance.barred(bundle, policy) for policy in policies):
            raise Forbidden(
                f"{by} trained or registered {asked.model_key} {asked.version}, or uses a key that its authors made, "
                "so somebody else has to grant this",
                {"by": by, "authors": sorted(self._governance.authors(bundle))},
            )

    def _now(self, one: PolicyException) -> PolicyException:
        document = self._journal.read("model_version", version_key(one.model_key, one.version))
        if document is None:
            return one.model_copy(update={"active": False})
        bundle = TrainedBundle.model_validate(document.body)
        policy: Policy = self._governance.policy()
        return one.model_copy(update={"active": excepts(one, bundle, policy, self._clock.now_s())})

    def _change(
        self, one: PolicyException, version: int, change: str, by: str, reason: str, once: Once | None
    ) -> PolicyException:
        data = {"change": change} | one.model_dump(mode="json")
        fact = Fact(type="MLDL_EXCEPTION_CHANGED", subject=one.exception_id, data=data)
        writes = [write(EXCEPTION, one.exception_id, version, one)]
        receipt = self._journal.append(writes, [fact], actor=by, reason=reason, once=once)
        return PolicyException.model_validate(receipt.documents[0].body)
