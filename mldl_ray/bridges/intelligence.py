"""Intelligence, embedded: specialists vote on a version, or on what to train, and a sentence sums them up.

It recommends; nobody has to follow. What a policy demands is governance's matter, and what live traffic shows is judged
by ``mldl_ray.deployment``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from contracts.advice import FamilyAdvice
from contracts.evaluations import Evaluation
from contracts.ports import Clock, Journal
from contracts.records import Alert, TrainedBundle
from contracts.rollouts import Deployment
from contracts.specs import Constraints, Json, Task
from mldl_ray.adapters import describe
from mldl_ray.bridges import mlt
from mldl_ray.bridges._families import Question, advise, candidates
from mldl_ray.bridges._specialists import SPECIALISTS, Case, Vote
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.journal.documents import scan_all
from mldl_ray.registry.catalog import Catalog

Verdict = Literal["deploy", "canary", "hold"]
DEPLOY_SHARE, CANARY_SHARE = 0.75, 0.5
ADVICE = "advice"
"""Kind of the documents that keep, by deployment, what was said when it was asked for."""


class Consensus(NamedTuple):
    """What the specialists make of it together."""

    verdict: Verdict
    confidence: float
    why: str


class EmbeddedIntelligence:
    """Gather what the journal knows about a version and ask the specialists.

    Args:
        journal: Where everything is recorded.
        clock: Tells whether approvals still count.
        fairness_delta_max: The limit where the policy names none.
    """

    def __init__(self, journal: Journal, clock: Clock, *, fairness_delta_max: float = 0.02) -> None:
        self._journal, self._fairness_delta_max = journal, fairness_delta_max
        self._governance = EmbeddedGovernance(journal, clock)

    def recommend(self, model_key: str, version: str) -> Json:
        """Say whether to deploy a version: ``verdict`` (deploy, canary or hold), ``confidence``, ``why``, ``votes``.

        Raises:
            NotFound: No such version.
        """
        case = self._case(Catalog(self._journal).bundle(model_key, version))
        votes = [specialist(case) for specialist in SPECIALISTS]
        found = consensus(votes)
        return {
            "model_key": model_key,
            "version": case.bundle.version,
            "compared_with": case.stable.version if case.stable else None,
            **found._asdict(),
            "votes": [vote.model_dump(mode="json") for vote in votes],
        }

    def family(
        self,
        meta: Json,
        task: Task,
        constraints: Constraints,
        *,
        series: bool = False,
        allowed: Iterable[str] | None = None,
    ) -> FamilyAdvice:
        """Recommend a family to train.

        Args:
            meta: Of the data, from ``mlt.meta_of``.
            task: What it is for.
            constraints: How fast it must answer.
            series: Whether rows hold series of steps.
            allowed: Families that may be had at all; all when None.

        Raises:
            Incompatible: None that is available does the task.
        """
        able = candidates(describe(), task, series=series)
        able = able if allowed is None else able & frozenset(allowed)
        bodies = [d.body for d in scan_all(self._journal, mlt.KIND) if d.body]
        return advise(Question(task, meta, constraints, able, bodies))

    def _case(self, bundle: TrainedBundle) -> Case:
        stable = self._stable(bundle)
        return Case(
            bundle=bundle,
            evaluation=self._evaluation(bundle),
            stable=stable,
            stable_evaluation=self._evaluation(stable) if stable else None,
            policy=self._governance.policy(),
            fairness_delta_max=self._fairness_delta_max,
            compliance=self._governance.check("deploy", bundle),
            rolled_back=tuple(self._rolled_back(bundle)),
            alerts=tuple(self._alerts(bundle)),
        )

    def _stable(self, bundle: TrainedBundle) -> TrainedBundle | None:
        catalog = Catalog(self._journal)
        number = catalog.stable(bundle.model_key)
        return catalog.bundle(bundle.model_key, number) if number not in {None, bundle.version} else None

    def _evaluation(self, bundle: TrainedBundle) -> Evaluation | None:
        document = self._journal.read("evaluation", bundle.evaluation_id) if bundle.evaluation_id else None
        return Evaluation.model_validate(document.body) if document is not None else None

    def _rolled_back(self, bundle: TrainedBundle) -> list[Deployment]:
        found = [Deployment.model_validate(document.body) for document in scan_all(self._journal, "deployment")]
        mine = [d for d in found if (d.model_key, d.version) == (bundle.model_key, bundle.version)]
        return sorted((d for d in mine if d.status == "rolled_back"), key=lambda d: d.created_at_s)

    def _alerts(self, bundle: TrainedBundle) -> list[Alert]:
        found = [Alert.model_validate(document.body) for document in scan_all(self._journal, "alert")]
        return [
            a
            for a in found
            if a.model_key == bundle.model_key and a.status != "resolved" and a.version in {None, bundle.version}
        ]


def consensus(votes: Sequence[Vote]) -> Consensus:
    """Weigh the votes by their confidence; one that blocks decides alone.

    From three quarters of the weight in favour: deploy. From a half: only as a canary. Below, or when nobody can judge:
    hold.

    >>> said = Vote(specialist="risk", verdict="against", confidence=0.9, reason="the policy does not", blocking=True)
    >>> consensus([said]).why
    'hold: risk decides alone: the policy does not'
    """
    if blocking := [vote for vote in votes if vote.blocking and vote.verdict == "against"]:
        first = blocking[0]
        return Consensus("hold", first.confidence, f"hold: {first.specialist} decides alone: {first.reason}")
    voting = [vote for vote in votes if vote.verdict != "abstains"]
    total = sum(vote.confidence for vote in voting)
    if not total:
        return Consensus("hold", 0.0, "hold: no specialist could judge it")
    share = sum(vote.confidence for vote in voting if vote.verdict == "for") / total
    verdict: Verdict = "deploy" if share >= DEPLOY_SHARE else "canary" if share >= CANARY_SHARE else "hold"
    against = [f"{vote.specialist} ({vote.reason})" for vote in voting if vote.verdict == "against"]
    favour = sum(vote.verdict == "for" for vote in voting)
    why = f"{verdict}: {favour} of {len(voting)} specialists are for it"
    return Consensus(
        verdict, round(max(share, 1 - share), 3), f"{why}; against: {', '.join(against)}" if against else why
    )
