"""Governance with a second opinion: a kernel on another machine that must agree before anything moves.

It is asked last, when the policy here has nothing against the act, and it fails closed: while it is down or slow,
nothing is registered, deployed or promoted. A rollback never asks it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pydantic import TypeAdapter, ValidationError

from contracts.errors import MldlError, Unavailable
from contracts.policies import Compliance, GovernedAct, Policy, PolicyFinding
from contracts.ports import Clock, Journal
from contracts.records import TrainedBundle
from contracts.specs import Json
from mldl_ray.bridges._remote import RemoteKernel
from mldl_ray.bridges.governance import EmbeddedGovernance, answer
from mldl_ray.settings import Settings

DEADLINE_S = 10.0
"""Of a whole answer; who asks is a person or a program that waits."""
_FINDINGS = TypeAdapter(tuple[PolicyFinding, ...])


class RemoteGovernance(EmbeddedGovernance):
    """Ask ``POST <url>/check`` for ``{"allowed": …, "findings": [{rule, value, bound, sentence}]}``.

    Args:
        journal: Where the policy is that is held against first.
        clock: Time.
        kernel: Asks.
    """

    def __init__(self, journal: Journal, clock: Clock, kernel: RemoteKernel) -> None:
        super().__init__(journal, clock)
        self._kernel = kernel

    def check(
        self,
        act: GovernedAct,
        bundle: TrainedBundle,
        *,
        by: str | None = None,
        policy: Policy | None = None,
        as_of_s: float | None = None,
    ) -> Compliance:
        """Say whether both agree; a policy that is only tried, and the past, are judged here alone.

        Raises:
            Unavailable: The kernel does not answer in time, or answers something else.
            Incompatible: An act that no policy speaks about.
        """
        here = super().check(act, bundle, by=by, policy=policy, as_of_s=as_of_s)
        if act == "rollback" or not here.allowed or policy is not None or as_of_s is not None:
            return here
        found = self._findings(self._asked(act, self._question(act, bundle, by)))
        return answer(act, found, here.excepted)

    def _question(self, act: GovernedAct, bundle: TrainedBundle, by: str | None) -> Json:
        evaluation = self._evaluation(bundle)
        return {
            "act": act,
            "by": by,
            "bundle": bundle.model_dump(mode="json"),
            "evaluation": evaluation.model_dump(mode="json") if evaluation is not None else None,
            "approvals": [word.model_dump(mode="json") for word in self.approvals(bundle)],
            "policy": self.policy().model_dump(mode="json"),
        }

    def _asked(self, act: GovernedAct, question: Json) -> Json:
        try:
            return _in_time(lambda: self._kernel.ask("check", question))
        except Unavailable as error:
            raise Unavailable(
                f"the governance bridge cannot be asked, so nothing may {act} until it answers; a rollback still may "
                f"({error.message})",
                error.facts | {"bridge": "governance", "act": act},
            ) from error

    @staticmethod
    def _findings(told: Json) -> tuple[PolicyFinding, ...]:
        allowed: Any = told["allowed"]
        try:
            found = _FINDINGS.validate_python(told.get("findings") or ())
        except ValidationError as error:
            raise Unavailable(f"the governance bridge answered no findings: {error.errors()[0]['msg']}") from error
        if not isinstance(allowed, bool) or (allowed and found):
            said = f"allowed {allowed!r} with {len(found)} findings"
            raise Unavailable(f"the governance bridge answered {said}, which means nothing; nothing may move")
        if allowed or found:
            return found
        return (PolicyFinding(rule="bridge", sentence="the governance bridge forbids it and does not say why"),)


def _in_time(ask: Callable[[], Json]) -> Json:
    """Wait for an answer, however slowly it drips in, no longer than the deadline.

    Raises:
        Unavailable: It was not there by then, or it is none.
    """
    told: Future[Json] = Future()

    def wait() -> None:
        try:
            told.set_result(ask())
        except MldlError as error:
            told.set_exception(error)

    threading.Thread(target=wait, name="governance-bridge", daemon=True).start()
    try:
        return told.result(DEADLINE_S)
    except TimeoutError as error:
        raise Unavailable(f"it did not answer within {DEADLINE_S:g} s") from error


def open_governance(settings: Settings, journal: Journal, clock: Clock) -> EmbeddedGovernance:
    """Give the governance that the settings name: embedded, or with a remote kernel's agreement."""
    remote = settings.mldl.bridges.governance
    if remote is None:
        return EmbeddedGovernance(journal, clock)
    return RemoteGovernance(journal, clock, RemoteKernel.of(remote, frozenset({"allowed"})))
