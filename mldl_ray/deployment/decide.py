"""The judge of a rollout: telemetry in, PROMOTE, HOLD or ROLLBACK out, with the grounds. Pure.

Harm is looked for at every look, with tests that stay valid while one keeps looking; ``spec.alpha`` is the chance of a
false rollback over the whole rollout, split evenly over ``TESTS`` (and ``cost``, where prices are given). Absolute
guardrails stand beside them. Promotion needs a proof of its own: that even in the worst case still plausible, the next
step spoils no more than ``spec.harm_budget`` of all requests: next share × upper bound of the extra error rate. So a
small step needs little proof and a large one needs more. Once there are labels of both arms, the same is asked of wrong
answers, with ``spec.quality_margin``. Too little evidence is HOLD, never a silent pass. A step that is to end before
its window also needs latency and quality shown (``promptness``).

The unit of the harm tests is the sticky key: somebody whose record fails, or is hard to get right, brings it again and
again, and always to the same arm. So each key counts once, with its first error and its first label; where telemetry
does not count that, the evidence is discounted by how often a key came.

The tests themselves are beside this: ``grounds``, ``slowness``, ``quality``, ``costs``, ``baking``; the proof is in
``exposure``.
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.rollouts import Decision, Deployment, RolloutTelemetry
from contracts.specs import Json
from mldl_ray.deployment.arms import requests_and_errors
from mldl_ray.deployment.baking import baking
from mldl_ray.deployment.costs import cost
from mldl_ray.deployment.exposure import Exposure, exposure_finding, exposure_of
from mldl_ray.deployment.findings import Case, Ground, finding
from mldl_ray.deployment.grounds import causes, errors, errors_in_a_row, latency, live_guardrails, share
from mldl_ray.deployment.promptness import against_early, against_window, latency_proof
from mldl_ray.deployment.quality import Proof, comparison, quality, quality_proof
from mldl_ray.deployment.slowness import slow_answers

__all__ = ["TESTS", "decide"]

TESTS = ("errors", "latency", "slow_answers", "quality", "share", "baking")
_LOOKS = (errors_in_a_row, errors, latency, slow_answers, quality, cost, share, baking, live_guardrails, causes)
Answer = tuple[str, str, str]
"""Verdict, rule, and one sentence."""


def decide(telemetry: RolloutTelemetry, deployment: Deployment, now_s: float) -> Decision:
    """Judge one rollout now.

    Args:
        telemetry: Counts of both arms, per epoch, since the rollout began.
        deployment: Its spec, steps and current step.
        now_s: Unix seconds.

    Returns:
        The verdict with its rule, one sentence for the person on call, and the evidence per metric.
    """
    tests = len(TESTS) + (deployment.spec.costs is not None)
    case, evidence = Case(telemetry, deployment, now_s, deployment.spec.alpha / tests), Json()
    grounds = list(_grounds(case, evidence))
    comparison(case, evidence)
    if grounds:
        verdict, rule, why = "ROLLBACK", grounds[0].rule, grounds[0].why
    else:
        verdict, rule, why = _onwards(case, evidence)
    pct = deployment.steps[min(deployment.step, len(deployment.steps) - 1)]
    return Decision.model_validate(
        {"verdict": verdict, "rule": rule, "why": why, "at_s": now_s, "step_pct": pct, "evidence": evidence}
    )


def _grounds(case: Case, evidence: Json) -> Iterator[Ground]:
    for look in _LOOKS:
        yield from look(case, evidence)


def _onwards(case: Case, evidence: Json) -> Answer:
    """Say how the rollout goes on when there is no harm."""
    deployment = case.deployment
    if deployment.status == "baking":
        left_s = (deployment.step_started_s or case.now_s) + deployment.bake_window_s - case.now_s
        return "HOLD", "baking", f"no harm seen; the bake window ends in {max(0.0, left_s):.0f} s"
    answer = _advance(case, evidence)
    if deployment.strategy != "shadow":
        return answer
    would = answer[0] == "PROMOTE" or answer[1] == "window"
    words = f"a shadow is never promoted by itself; its copies {'would' if would else 'would not yet'} allow it"
    evidence["promotion"] = finding("shown" if would else "too_little", f"{words}: {answer[2]}")
    return "HOLD", "shadow", f"{words}: {answer[2]}"


def _advance(case: Case, evidence: Json) -> Answer:
    exposure = exposure_of(case.telemetry, case.deployment)
    evidence["exposure"] = exposure_finding(case, exposure)
    proof = quality_proof(case, evidence)
    if not exposure.shown:
        return _too_risky(case, exposure, evidence)
    if proof is not None and not proof.shown:
        return _too_few_labels(proof, evidence)
    began_s = case.now_s if case.deployment.step_started_s is None else case.deployment.step_started_s
    left_s = began_s + case.deployment.promotion_window_s - case.now_s
    if left_s > 0 and not case.deployment.spec.early_promotion:
        return "HOLD", "window", f"no harm seen; the step ends in {left_s:.0f} s"
    slowness = latency_proof(case, evidence)
    obstacle = against_window(slowness)
    if obstacle is None and left_s > 0:
        obstacle = against_early(slowness, labels_shown=proof is not None)
    if obstacle is not None:
        ends = f"; its window ends in {left_s:.0f} s" if left_s > 0 else ""
        return "HOLD", obstacle[0], obstacle[1] + ends
    of_quality = "quality was not observed"
    if proof is not None:
        of_quality = f"at most {proof.worst_case:.2%} of all answers could turn wrong ({proof.n} labelled)"
    return (
        "PROMOTE",
        "non_inferior",
        f"at {exposure.next_share:.0%} at most {exposure.worst_case:.2%} of all requests could be spoiled; "
        f"{exposure.budget:.2%} is the budget ({exposure.requests} candidate requests seen); {of_quality}",
    )


def _too_risky(case: Case, exposure: Exposure, evidence: Json) -> Answer:
    if exposure.requests_needed is None:
        return (
            "HOLD",
            "too_many_errors",
            f"{requests_and_errors(case.telemetry.candidate)[1]} of {exposure.requests} candidate requests failed; "
            f"going on like that the next step ({exposure.next_share:.0%}) would spoil more than the budget of "
            f"{exposure.budget:.2%}",
        )
    missing = exposure.requests_needed - exposure.requests
    when = _when(evidence["exposure"]["time_to_decide_s"])
    return "HOLD", "too_little_evidence", f"about {missing} more candidate requests are needed{when}"


def _too_few_labels(proof: Proof, evidence: Json) -> Answer:
    if proof.needed is None:
        return (
            "HOLD",
            "quality_worse",
            f"answers are wrong {proof.difference:.2%} more often than stable's; going on like that the next step "
            f"would turn more than the margin of {proof.margin:.2%} of all answers wrong",
        )
    when = _when(evidence["quality_proof"]["time_to_decide_s"])
    return "HOLD", "too_few_labels", f"about {proof.needed - proof.n} more labelled people are needed{when}"


def _when(seconds: float | None) -> str:
    return "; none has come in this step" if seconds is None else f", at this rate in {seconds:.0f} s"
