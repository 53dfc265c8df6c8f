"""Whether an evaluation keeps a policy's bounds: on the worse end of each interval, so that luck does not pass."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.evaluations import Evaluation, Interval
from contracts.records import Policy
from mldl_ray.evaluation.metrics import METRICS


def gate(evaluation: Evaluation, policy: Policy, *, stable: str | None = None) -> list[str]:
    """Say why an evaluation fails a policy; empty when it passes.

    A metric passes when the *lower* end of its interval reaches the policy's bound; one where lower is better (rmse)
    when the *upper* end does not exceed it. ``fairness_delta_max`` and ``max_ece`` are compared with upper ends too,
    the latter with that of the debiased error, as the plain one is never 0 by chance alone. ``stable_margin`` passes
    when the lower end of the paired difference shows that the version is not worse by more. What was not measured, or
    has no interval, fails: a policy that asks is not met by silence.

    Args:
        evaluation: Of the version.
        policy: What must hold.
        stable: The version that serves now, when it is another one: the comparison must be with it. Where nothing
            serves there is nothing to compare with, and ``stable_margin`` asks for nothing.

    >>> from contracts.evaluations import Evaluation, Interval
    >>> sure = {"f1": Interval(value=0.82, low=0.79, high=0.85)}
    >>> measured = Evaluation(model_key="m", rows=500, metrics={"f1": 0.82}, intervals=sure)
    >>> gate(measured, Policy(metric_bounds={"f1": 0.75}))
    []
    >>> gate(measured, Policy(metric_bounds={"f1": 0.8}))
    ['f1 is 0.820, but no more than 0.790 is sure (95%, 500 rows); the policy asks for at least 0.8']
    """
    reasons = [*_failures(evaluation, policy)]
    if policy.stable_margin is not None:
        reasons += _against_stable(evaluation, policy.stable_margin, stable)
    return reasons


def _failures(evaluation: Evaluation, policy: Policy) -> Iterator[str]:
    for name, bound in policy.metric_bounds.items():
        if name not in METRICS:
            yield f"the policy bounds {name!r}, which is no metric; there are: {', '.join(METRICS)}"
        elif METRICS[name].higher_is_better:
            yield from _at_least(evaluation, name, bound)
        else:
            yield from _at_most(evaluation, name, name, bound)
    if policy.fairness_delta_max is not None:
        yield from _at_most(evaluation, "fairness_delta", "the fairness delta", policy.fairness_delta_max)
    if policy.max_ece is not None:
        yield from _at_most(evaluation, "ece_debiased", "the debiased calibration error", policy.max_ece)


def _at_least(evaluation: Evaluation, name: str, bound: float) -> Iterator[str]:
    interval = evaluation.intervals.get(name)
    if interval is None:
        yield _unmeasured(evaluation, name, name, f"at least {bound:g}")
    elif interval.low < bound:
        sure = f"no more than {interval.low:.3f} is sure"
        yield f"{name} is {interval.value:.3f}, but {sure} {_grounds(evaluation, interval)} at least {bound:g}"


def _at_most(evaluation: Evaluation, name: str, title: str, bound: float) -> Iterator[str]:
    interval = evaluation.intervals.get(name)
    if interval is None:
        yield _unmeasured(evaluation, name, title, f"at most {bound:g}")
    elif interval.high > bound:
        may = f"may be {interval.high:.3f}"
        yield f"{title} is {interval.value:.3f} and {may} {_grounds(evaluation, interval)} at most {bound:g}"


def _against_stable(evaluation: Evaluation, margin: float, stable: str | None) -> Iterator[str]:
    found = evaluation.against_stable
    asked = f"the policy asks that it is surely not worse than stable by more than {margin:g}"
    if found is None:
        why = evaluation.left_out.get("against_stable")
        if why is not None or stable is not None:
            yield f"it was not compared with the stable version ({why or 'evaluate it again'}); {asked}"
    elif stable not in {None, found.version}:
        yield f"it was compared with version {found.version}, and {stable} is stable now; evaluate it again; {asked}"
    elif found.low < -margin:
        grounds = f"({found.level:.0%}, {found.rows:,} rows, paired with version {found.version})"
        may = f"may be worse by {-found.low:.3f}"
        yield f"{found.metric} differs from stable by {found.difference:+.3f} and {may} {grounds}; {asked}"


def _grounds(evaluation: Evaluation, interval: Interval) -> str:
    return f"({interval.level:.0%}, {evaluation.rows:,} rows); the policy asks for"


def _unmeasured(evaluation: Evaluation, name: str, title: str, asked: str) -> str:
    why = evaluation.left_out.get(name) or evaluation.left_out.get(f"{name} interval")
    if why is None:
        why = {"fairness_delta": "no sensitive column was given", "ece_debiased": "there are no probabilities"}.get(
            name
        )
    why = why or "it was not asked for; name it among the metrics"
    return f"{title} is not known with its uncertainty ({why}); the policy asks for {asked}"
